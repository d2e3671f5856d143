"""Axes fitted to the features alone, without anybody's opinion: AURORA, as Ding 2024 compares with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdfeedback.diversity import models
from qdfeedback.diversity.unsupervised import fit_autoencoder, fit_pca
from qdfeedback.learning.asking import measurable
from qdfeedback.learning.axes import diversity_of
from qdfeedback.learning.part import Change, Now, Placing, View
from qdfeedback.learning.published import PLACING
from qdfeedback.learning.schedule import PUBLISHED, Schedule, as_published, schedule_of
from qdfeedback.types import Annotator, Diversity, Ints


@dataclass
class Unsupervised:
    """Axes fitted to the features alone (AURORA), or never (what a method without axes is shown on, or known before).

    Attributes:
        columns: c of the d feature columns.
        schedule: before which iterations they are fitted.
        fitted: how; principal components by default.
        dim: how many, k.
        pinned: measures put before them.
        placing: how candidates are placed on them.
        judged_by: they are fitted to what this annotator can judge alone, as those that are compared with them are.
        load: gives back a model that `fitted` made, from its file.
        model: the present one.
    """

    columns: tuple[int, ...]
    schedule: Schedule
    fitted: Callable[..., models.Model] | None = None
    dim: int = 2
    pinned: Diversity | None = None
    placing: Placing = field(default_factory=Placing)
    judged_by: Annotator | None = None
    load: Callable[[Path], models.Model] = models.load
    model: models.Model | None = field(default=None, init=False)
    role: str = field(default="axes", init=False)
    annotator: Annotator | None = field(default=None, init=False)

    @property
    def diversity(self) -> Diversity | None:
        """The present measures."""
        return diversity_of(self)

    def askable(self, view: View) -> Ints:
        """Returns today's elites, or first candidates, that can be measured."""
        return measurable(view, self.columns, self.judged_by)

    def due(self, now: Now) -> bool:
        """By the schedule."""
        return now.moment == "before" and now.iteration in self.schedule.asks

    def ask(self, now: Now, view: View) -> None:
        """Asks nobody."""

    def fit(self, now: Now, view: View) -> Change:  # noqa: ARG002
        """Returns axes fitted to today's elites."""
        points = view.features(self.askable(view))[:, self.columns]
        self.model = (
            fit_pca(points, dim=self.dim) if self.fitted is None else self.fitted(points, dim=self.dim, rng=view.rng)
        )
        return Change(self.model)

    def state(self) -> dict[str, Any]:
        """Returns the schedule."""
        return {"schedule": self.schedule.state()}

    def restore(self, state: Mapping[str, Any], model: Path | None) -> None:
        """Goes on from there."""
        self.schedule = schedule_of(state["schedule"])
        self.model = None if model is None else self.load(model)


def aurora(
    columns: tuple[int, ...],
    *,
    iterations: int,
    autoencoder: bool = False,
    again: bool = False,
    dim: int = 2,
    pinned: Diversity | None = None,
    placing: Placing = PLACING,
    judged_by: Annotator | None = None,
) -> Unsupervised:
    """Returns axes fitted without anybody's opinion (AURORA, as Ding 2024 compares with it).

    Args:
        columns: c of the d feature columns.
        iterations: of the run.
        autoencoder: in place of principal components.
        again: fit them four times along the run, to today's elites; else once, to the first population.
        dim: how many.
        pinned: measures put before them.
        placing: how candidates are placed on them.
        judged_by: as in `Unsupervised`.
    """
    schedule = Schedule(as_published(iterations, 0, PUBLISHED if again else PUBLISHED[:1]))
    fitted = fit_autoencoder if autoencoder else None
    return Unsupervised(columns, schedule, fitted, dim, pinned, placing, judged_by)
