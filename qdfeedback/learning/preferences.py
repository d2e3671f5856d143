"""A quality learned along a run from answers to "which of two is better?"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from qdfeedback.learning.asking import ask_by_schedule, judged_by, measurable
from qdfeedback.learning.feedback import Feedback, Tally
from qdfeedback.learning.part import Change, Now, View
from qdfeedback.learning.questions import Choose, Uncertain
from qdfeedback.learning.schedule import Schedule, schedule_of
from qdfeedback.quality.linear import LinearUtility, fit_utility, load_utility
from qdfeedback.quality.transforms import Equal, OnColumns, Shifted
from qdfeedback.types import Annotator, Floats, Ints, Quality

FitPairs = Callable[[Floats, Ints], LinearUtility]
"""(i, c) features, (t, 2) rows of them: better, worse → a utility."""


@dataclass
class LearnedQuality:
    """What people or models find better, learned from pairs.

    A utility has no zero. At each refit it gets one, the score that only a few of all candidates so far stay below;
    these are no elites. It holds until the next refit: the QD score counts from there, and so may the thresholds of a
    soft archive (`threshold_min=0`).

    Attributes:
        columns: c of the d feature columns, from which it is learned.
        feedback: who answers, and where answers are kept.
        schedule: when how much is asked.
        choose: which questions.
        fitted: how.
        cold: the quality before the first answers; by default everything that was measured is equally good.
        zero_quantile: this share of all candidates lies below 0.
        tally: how many answers the model knows, and how many are wanted before anything is learned.
        load: gives back a model that `fitted` made, from its file.
        model: the present one.
        zero: its score that counts as 0.
    """

    columns: tuple[int, ...]
    feedback: Feedback
    schedule: Schedule
    choose: Choose = field(default_factory=lambda: Uncertain("pair"))
    fitted: FitPairs = fit_utility
    cold: Quality | None = None
    zero_quantile: float = 0.02
    tally: Tally = field(default_factory=Tally)
    load: Callable[[Path], LinearUtility] = load_utility
    model: LinearUtility | None = field(default=None, init=False)
    zero: float = field(default=0.0, init=False)
    role: str = field(default="quality", init=False)
    task: str = field(default="pair", init=False)

    def __post_init__(self) -> None:
        """Refuses a beginning that it does not have."""
        if self.schedule.after:
            raise ValueError("a quality begins with `cold`: its schedule must have no iterations `after`")

    @property
    def annotator(self) -> Annotator:
        """Who is asked."""
        return self.feedback.annotator

    @property
    def quality(self) -> Quality:
        """The present one."""
        if self.model is None:
            return Equal(self.columns) if self.cold is None else self.cold
        return Shifted(OnColumns(self.columns, self.model), self.zero)

    @property
    def least(self) -> float:
        """What has a lower objective is no elite."""
        return -np.inf if self.model is None else 0.0

    def askable(self, view: View) -> Ints:
        """Returns today's elites, or first candidates, that can be measured and judged."""
        return measurable(view, self.columns, self.annotator)

    def due(self, now: Now) -> bool:
        """By the schedule."""
        if now.moment == "before":
            return now.iteration in self.schedule.asks
        return now.moment == "end" and self.schedule.at_end

    def ask(self, now: Now, view: View) -> None:
        """Asks what the schedule wants, about what is in the archive."""
        ask_by_schedule(self, now, view, must=False)

    def fit(self, now: Now, view: View) -> Change | None:
        """Returns a utility fitted to all answers, with its zero; None where too few are new."""
        judged = judged_by(self, now)
        news = self.tally.news(judged)
        if news == "nothing":
            return None
        if news == "forget":
            self.model, self.zero = None, 0.0
            return Change()
        self.model = self.fitted(*view.points_of(judged.items, self.columns))
        scores = self.model.score(view.sample()[:, self.columns]).mean
        self.zero = float(np.nanquantile(scores, self.zero_quantile))
        return Change(self.model)

    def state(self) -> dict[str, Any]:
        """Returns the schedule, the zero, and what is known of the answers."""
        return {
            "schedule": self.schedule.state(), "zero": self.zero, "tally": self.tally.state(),
            "learned": self.model is not None,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any], model: Path | None) -> None:
        """Goes on from there."""
        self.schedule, self.zero = schedule_of(state["schedule"]), state["zero"]
        self.tally.restore(state["tally"])
        self.model = self.load(model) if model is not None and state["learned"] else None
