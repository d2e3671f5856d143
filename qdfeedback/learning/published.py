"""QDHF as published (Ding 2024, App. B and released code): four refits on random triplets of elites.

Each trains from scratch on all judgments so far, sets the ranges to the minimum and maximum of today's elites, and
re-inserts those alone: what collides is lost, and what lies outside later is clipped into the border. `qdhf-base` asks
for everything at once, about random candidates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qdfeedback.diversity import models
from qdfeedback.learning.axes import Learned
from qdfeedback.learning.feedback import Feedback, Tally
from qdfeedback.learning.fits import Seen
from qdfeedback.learning.part import Placing
from qdfeedback.learning.questions import Uniform
from qdfeedback.learning.schedule import PUBLISHED, Schedule, as_published
from qdfeedback.types import Diversity, Solutions

PLACING = Placing(rows="elites", of="elites", margin=0.0, grows=False, end=None)
LEAST = 4
"""Judgments: of fewer, none can be held out."""


def fit_hinge(seen: Seen, *, dim: int, rng: np.random.Generator) -> tuple[models.Model, float | None]:
    """Returns axes by the published training, and the accuracy on the last quarter of the answers."""
    from qdfeedback.diversity.published import fit_published  # torch takes a second to load

    model = fit_published(seen.points, seen.triplets, dim=dim, rng=rng)
    return model, model.note["validation_accuracy"]


def qdhf(
    columns: tuple[int, ...],
    feedback: Feedback,
    *,
    iterations: int,
    answers: int,
    fresh: Callable[[int, np.random.Generator], Solutions] | None = None,
    at_once: bool = False,
    dim: int = 2,
    pinned: Diversity | None = None,
    named_by: tuple[int, ...] | None = None,
) -> Learned:
    """Returns axes that are learned as published.

    Args:
        columns: c of the d feature columns.
        feedback: who answers.
        iterations: of the run.
        answers: in all.
        fresh: draws candidates for the first round, which are judged and never offered to the archive; None = it is
            about the first population.
        at_once: ask for everything in the first round (`qdhf-base`).
        dim: how many axes are learned.
        pinned: measures put before them.
        named_by: as in `Learned`.
    """
    schedule = Schedule(as_published(iterations, answers, PUBLISHED[:1] if at_once else PUBLISHED))
    return Learned(
        columns,
        feedback,
        schedule,
        Uniform(fresh, columns),
        fit_hinge,
        dim,
        pinned,
        PLACING,
        Tally(least=LEAST),
        named_by,
    )
