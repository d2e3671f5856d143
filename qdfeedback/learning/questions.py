"""Which questions a learned part asks: a new way of choosing them goes here.

A way of choosing is called with what the part may ask about, and returns candidates, rows of them, and why each
question is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from qdfeedback.feedback.queries import RANDOM, choose, uniform_triplets
from qdfeedback.learning.part import Model, View
from qdfeedback.types import WIDTHS, Floats, Ints, Solutions


class Chosen(NamedTuple):
    """Questions before they are asked.

    Attributes:
        ids: (i,) candidates.
        rows: (t, w) rows of ids.
        purpose: (t,) str, why each is asked; only those that are "random", drawn without regard to the model, may
            measure its accuracy.
    """

    ids: Ints
    rows: Ints
    purpose: np.ndarray


class Choose(Protocol):
    """A way of choosing questions."""

    def __call__(self, view: View, ids: Ints, points: Floats, model: Model | None, n: int) -> Chosen:
        """Returns n questions.

        Args:
            view: the run.
            ids: (i,) candidates that can be asked about.
            points: (i, c) what the part knows of them.
            model: the present one of the part, None before the first fit.
            n: how many.
        """
        ...


@dataclass(frozen=True)
class Uncertain:
    """Triplets or pairs about which an ensemble disagrees, some drawn at random among them (`queries.choose_triplets`).

    Attributes:
        task: "triplet" or "pair".
        bald: False draws all at random.
    """

    task: str = "triplet"
    bald: bool = True

    @property
    def least(self) -> int:
        """Candidates that it needs."""
        return WIDTHS[self.task]

    def __call__(self, view: View, ids: Ints, points: Floats, model: Model | None, n: int) -> Chosen:
        """Returns n questions; all are random until there is an ensemble."""
        known = model if self.bald and hasattr(model, "member_probability") else None
        rows, purpose = choose(self.task, known, points, n, rng=view.rng)  # type: ignore[arg-type]
        return Chosen(ids, rows, purpose)


@dataclass(frozen=True)
class Uniform:
    """Triplets drawn as the released QDHF code draws them, items independently of each other.

    Attributes:
        fresh: (n, rng) → n solutions: the first round is about new candidates, three for each question, which are
            evaluated and never offered to the archive; None = about those that are there.
        columns: of the features, which must be finite for a new candidate to be asked about; all if none are given.
        least: candidates that it needs.
    """

    fresh: Callable[[int, np.random.Generator], Solutions] | None = None
    columns: tuple[int, ...] = ()
    least: ClassVar[int] = 1

    def __call__(self, view: View, ids: Ints, points: Floats, model: Model | None, n: int) -> Chosen:  # noqa: ARG002
        """Returns n questions."""
        purpose = np.full(n, RANDOM)
        if self.fresh is not None and view.placement is None:
            return Chosen(
                view.evaluate(self.fresh, 3 * n, columns=self.columns), np.arange(3 * n).reshape(n, 3), purpose
            )
        return Chosen(ids, uniform_triplets(len(ids), n, view.rng, degenerate=True), purpose)
