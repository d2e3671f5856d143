"""Axes learned along a run from triplets: as they stand here, qdhf-active, which asks where it is in doubt.

    Learned((0, 1, 2), feedback, Schedule(in_rounds(1000, answers=250, rounds=20)))

How axes are fitted stands in `fits.py`, which questions are asked in `questions.py`, the published way in
`published.py`, axes that ask nobody in `aurora.py`, axes that are known in `known.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from qdfeedback.diversity import models
from qdfeedback.diversity.columns import Joined, OnColumns
from qdfeedback.diversity.unsupervised import fit_pca
from qdfeedback.feedback.store import Judged
from qdfeedback.learning.asking import ask_by_schedule, judged_by, measurable
from qdfeedback.learning.feedback import Feedback, Tally
from qdfeedback.learning.fits import FitTriplets, Likelihood, Seen, turned
from qdfeedback.learning.part import Change, Now, Placing, View
from qdfeedback.learning.questions import Choose, Uncertain
from qdfeedback.learning.schedule import Schedule, schedule_of
from qdfeedback.types import Annotator, Diversity, Ints


class _HasColumns(Protocol):
    columns: tuple[int, ...]
    pinned: Diversity | None
    model: models.Model | None


def diversity_of(part: _HasColumns) -> Diversity | None:
    """Returns the measures of a part's model, after those that are pinned; None where it has none yet."""
    if part.model is None:
        return None
    learned = OnColumns(part.columns, part.model)
    return learned if part.pinned is None else Joined((part.pinned, learned))


@dataclass
class Learned:
    """Axes learned from answers to "which of two is more like a third?" (QDHF, Ding 2024).

    While too few have answered, they are principal components. Too few new answers change nothing.

    Attributes:
        columns: c of the d feature columns, from which they are learned.
        feedback: who answers, and where answers are kept.
        schedule: when how much is asked; the iterations of its cold start are those after which principal components
            of all candidates are axes.
        choose: which questions.
        fitted: how.
        dim: how many, k.
        pinned: measures put before them: true ones, or what a language model is asked.
        placing: how candidates are placed on them.
        tally: how many answers the model knows, and how many are wanted before anything is learned.
        named_by: the columns whose values name a question, so that the same one asked again is known; `columns` if not
            given.
        load: gives back a model that `fitted` made, from its file.
        model: the present one.
        accuracy: of fits, on random triplets that they did not see; None = not known.
    """

    columns: tuple[int, ...]
    feedback: Feedback
    schedule: Schedule
    choose: Choose = field(default_factory=Uncertain)
    fitted: FitTriplets = field(default_factory=Likelihood)
    dim: int = 2
    pinned: Diversity | None = None
    placing: Placing = field(default_factory=Placing)
    tally: Tally = field(default_factory=Tally)
    named_by: tuple[int, ...] | None = None
    load: Callable[[Path], models.Model] = models.load
    model: models.Model | None = field(default=None, init=False)
    accuracy: float | None = field(default=None, init=False)
    role: str = field(default="axes", init=False)
    task: str = field(default="triplet", init=False)

    def __post_init__(self) -> None:
        """Refuses to ask people about what no checkpoint holds."""
        if self.feedback.annotator.publishes and getattr(self.choose, "fresh", None) is not None:
            raise ValueError("choose must not make new candidates where people answer: no checkpoint would hold them")

    @property
    def annotator(self) -> Annotator:
        """Who is asked."""
        return self.feedback.annotator

    @property
    def diversity(self) -> Diversity | None:
        """The present measures."""
        return diversity_of(self)

    def askable(self, view: View) -> Ints:
        """Returns today's elites, or first candidates, that can be measured and judged."""
        return measurable(view, self.columns, self.annotator)

    def due(self, now: Now) -> bool:
        """By the schedule."""
        if now.moment == "before":
            return now.iteration in self.schedule.asks
        return self.schedule.at_end if now.moment == "end" else now.iteration in self.schedule.after

    def ask(self, now: Now, view: View) -> None:
        """Asks what the schedule wants, about what is in the archive."""
        ask_by_schedule(self, now, view, must=self.model is None, named_by=self.named_by)

    def fit(self, now: Now, view: View) -> Change | None:
        """Returns axes fitted to all answers, turned to lie as those before; None where too few are new."""
        if now.moment in ("begin", "after"):
            self.model = fit_pca(view.scored(view.sample())[:, self.columns], dim=self.dim)
            return Change(self.model)
        judged = judged_by(self, now)
        news = self.tally.news(judged)
        if news == "learn":
            self.model, self.accuracy = self._learn(judged, now, view)
        elif news == "forget" or self.model is None:  # nobody who counts has said much
            self.model, self.accuracy = self._components(view), None
        else:
            return None
        return Change(self.model)

    def _learn(self, judged: Judged, now: Now, view: View) -> tuple[models.Model, float | None]:
        points, local = view.points_of(judged.items, self.columns)
        seen = Seen(
            points, local, judged.purpose, self.schedule.is_over(now.iteration), self.model,
            lambda: view.features(self.askable(view))[:, self.columns],
        )  # fmt: skip
        return self.fitted(seen, dim=self.dim, rng=view.rng)

    def _components(self, view: View) -> models.Model:
        points = view.features(self.askable(view))[:, self.columns]
        if self.model is not None and len(points) <= self.dim:
            return self.model
        return turned(fit_pca(points, dim=self.dim), points, self.model)

    def state(self) -> dict[str, Any]:
        """Returns the schedule and what is known of the answers."""
        return {"schedule": self.schedule.state(), "accuracy": self.accuracy, "tally": self.tally.state()}

    def restore(self, state: Mapping[str, Any], model: Path | None) -> None:
        """Goes on from there; refits that were made stay as they were, whatever the schedule says now."""
        self.schedule = schedule_of(state["schedule"])
        self.accuracy = state["accuracy"]
        self.tally.restore(state["tally"])
        self.model = None if model is None else self.load(model)
