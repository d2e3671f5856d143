"""What every learned part does when it asks: about whom, how often, under which name, and what has been answered."""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import numpy as np

from qdfeedback.feedback.queries import ask
from qdfeedback.feedback.refit_names import refit_name
from qdfeedback.feedback.store import Judged
from qdfeedback.learning.feedback import Feedback
from qdfeedback.learning.part import Now, View
from qdfeedback.learning.questions import Choose
from qdfeedback.learning.schedule import Schedule
from qdfeedback.types import Annotator, Ints


class Asks(Protocol):
    """A part that asks."""

    role: str
    task: str
    columns: tuple[int, ...]
    feedback: Feedback
    schedule: Schedule
    choose: Choose

    @property
    def model(self) -> Any:
        """The present one, None before the first fit."""
        ...

    def askable(self, view: View) -> Ints:
        """Returns the ids of candidates that can be asked about."""
        ...


def measurable(view: View, columns: tuple[int, ...], annotator: Annotator | None) -> Ints:
    """Returns the ids of today's elites, or first candidates, whose columns are finite and that can be judged."""
    ids, d = view.current(), len(view.history.names)
    if not columns or not all(isinstance(one, int | np.integer) and 0 <= one < d for one in columns):
        raise ValueError(f"columns must be numbers of the {d} feature columns, from 0, got {columns!r:.200}")
    known = np.isfinite(view.features(ids)[:, columns]).all(axis=1)
    if annotator is not None:
        known &= annotator.can_judge(ids)
    return ids[known]


def enough(ids: Ints, choose: Choose, view: View, which: str, *, must: bool) -> bool:
    """Returns whether there are as many candidates as a way of choosing needs; a warning says so where there are not.

    Raises:
        ValueError: There must be.
    """
    least = getattr(choose, "least", 3)
    if len(ids) >= least or (getattr(choose, "fresh", None) is not None and view.placement is None):
        return True
    said = f"{which}: {len(ids)} candidates can be measured and judged, {least} are needed to ask about them"
    if must:
        raise ValueError(said)
    warnings.warn(said, stacklevel=4)
    return False


def ask_by_schedule(part: Asks, now: Now, view: View, *, must: bool, named_by: tuple[int, ...] | None = None) -> None:
    """Asks what a part's schedule wants now, about what is in the archive.

    Args:
        part: asks.
        now: before which iteration.
        view: the run.
        must: refuse to go on where there is too little to ask about; else a warning says so.
        named_by: the columns whose values name a question; the part's own if not given.

    Raises:
        ValueError: There is too little to ask about.
    """
    n = part.schedule.asks.get(now.iteration, 0) if now.moment == "before" else 0
    if not n:
        return
    ids = part.askable(view)
    if not enough(ids, part.choose, view, f"{part.role}, before iteration {now.iteration}", must=must):
        return
    chosen = part.choose(view, ids, view.features(ids)[:, part.columns], part.model, n)
    shown = view.features(chosen.ids)[:, part.columns if named_by is None else named_by][chosen.rows]
    batch = f"{now.iteration:06d}"
    part.feedback.ask(ask(chosen.rows, chosen.ids, chosen.purpose, batch=batch, shown=shown, task=part.task))


def judged_by(part: Asks, now: Now) -> Judged:
    """Returns the judgments that a part's refit uses now."""
    asked = part.schedule.until(now.iteration)
    return part.feedback.judged(refit_name(part.role, now.iteration), part.task, asked=asked)
