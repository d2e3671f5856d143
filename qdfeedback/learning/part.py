"""What a learned part is, what it may read, and what its fit leads to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from qdfeedback.history import History
from qdfeedback.runs import Run
from qdfeedback.search import NothingEvaluatedError, Search, elites, evaluate, is_apart, without_axes
from qdfeedback.types import Annotator, Bools, Diversity, Floats, Ints, Placement, Quality, Scores, Solutions, first

Moment = Literal["begin", "before", "after", "end"]
IN_VAIN = 1000  # candidates of which none can be measured
REDRAW = 32  # at least so many at a time: a lone one that fails would be a batch without a valid row


@dataclass(frozen=True)
class Now:
    """Where a run stands when its parts are looked at.

    Attributes:
        iteration: with "before" the one that comes, with "after" the one that is over, with "begin" 0; with "end" the
            one that would come next.
        moment: "begin" = the first population is there; "before" or "after" an iteration; "end" = the search is over.
    """

    iteration: int
    moment: Moment


class Model(Protocol):
    """What a fit gives: a value that never changes and can be kept."""

    def save(self, path: Path) -> None:
        """Writes it to a file; a part's `load` gives it back."""
        ...


@dataclass(frozen=True)
class Change:
    """What a fit leads to.

    Attributes:
        model: what was fitted, to be kept in the run folder; None = nothing to keep, as of axes that are known.
    """

    model: Model | None = None


@dataclass
class View:
    """What a part may read of a run, and the one thing that it may do: have candidates evaluated.

    Attributes:
        run: the folder, with its history.
        search: domain, encoder, generator.
        rng: the run's random numbers; whoever draws from them does so in the order of the run.
        quality: what is good at present.
        objective: scores → (n,) what the archive maximises.
        placement: the present one, None before the first axes.
        apart: (first id, id after the last) of candidates that were evaluated to be judged alone: no archive holds one.
    """

    run: Run
    search: Search
    rng: np.random.Generator
    quality: Quality
    objective: Callable[[Scores], Floats]
    placement: Placement | None = None
    apart: list[tuple[int, int]] = field(default_factory=list)

    @property
    def history(self) -> History:
        """Every candidate."""
        return self.run.history

    def features(self, ids: Ints) -> Floats:
        """Returns the (n, d) features of candidates."""
        return self.history.take(ids, "features")

    def points_of(self, items: Ints, columns: Sequence[int]) -> tuple[Floats, Ints]:
        """Returns some columns of the candidates in (t, w) questions, each once, (i, c), and the questions as rows."""
        ids, rows = np.unique(items, return_inverse=True)
        return self.features(ids)[:, list(columns)], rows.reshape(items.shape)

    def is_apart(self, ids: Ints) -> Bools:
        """Returns (n,) bool, True for candidates that were evaluated to be judged alone."""
        return is_apart(ids, self.apart)

    def current(self) -> Ints:
        """Returns the ids of today's elites in the archive's order; before there is one, of all candidates."""
        if self.placement is not None:
            return np.empty(0, dtype=np.int64) if self.placement.archive.empty else elites(self.placement).ids
        ids: Ints = np.arange(len(self.history))
        return ids[~self.is_apart(ids)]

    def evaluate(
        self, draw: Callable[[int, np.random.Generator], Solutions], n: int, *, columns: Sequence[int] = ()
    ) -> Ints:
        """Returns the ids of n candidates that are evaluated and kept, and never offered to the archive.

        Args:
            draw: (n, rng) → n solutions; those that cannot be measured are drawn again.
            n: how many.
            columns: of the features, which must be finite; all if not given.

        Raises:
            NothingEvaluatedError: For a long time, none could be measured.
        """
        wanted_columns = list(columns) if columns else slice(None)

        place = without_axes(self.quality, self.objective)
        good, wanted, in_vain = np.empty(0, dtype=np.int64), n, 0
        while len(good) < n:
            if in_vain >= IN_VAIN:
                raise NothingEvaluatedError(f"{in_vain} candidates in a row could not be measured, to be judged alone")
            proposal = first(draw(wanted, self.rng))
            batch = evaluate(self.search, proposal, place, first_id=len(self.history), iteration=0)
            self.history.append(batch)
            self.apart.append((int(batch.ids[0]), int(batch.ids[-1]) + 1))
            fine = np.isfinite(batch.features[:, wanted_columns]).all(axis=1)
            in_vain = 0 if fine.any() else in_vain + len(batch)
            good = np.concatenate([good, batch.ids[fine]])
            wanted = max(n - len(good), REDRAW)
        return good[:n]

    def sample(self) -> Floats:
        """Returns (n, d) features of the history, evenly spaced where it is large, without those set apart."""
        features = self.history.sample("features")
        every = -(-len(self.history) // max(len(features), 1))
        return features[~self.is_apart(np.arange(len(features)) * every)] if self.apart else features

    def scored(self, features: Floats) -> Floats:
        """Returns the rows of features that have a finite objective."""
        return features[np.isfinite(self.objective(self.quality.score(features)))]


class Part(Protocol):
    """Something that may change along a run."""

    @property
    def role(self) -> str:
        """`axes` or `quality`: names its models, answers and notes."""
        ...

    @property
    def annotator(self) -> Annotator | None:
        """Who is asked, None where nobody is."""
        ...

    def due(self, now: Now) -> bool:
        """Whether it wants to ask or to fit now."""
        ...

    def ask(self, now: Now, view: View) -> None:
        """Asks what is to be asked now."""
        ...

    def fit(self, now: Now, view: View) -> Change | None:
        """Fits itself to all answers so far; None: nothing moves."""
        ...

    def state(self) -> dict[str, Any]:
        """Returns what changes along a run, its model apart, as JSON."""
        ...

    def restore(self, state: Mapping[str, Any], model: Path | None) -> None:
        """Goes on from there.

        Args:
            state: as `state` gave it.
            model: file of the model that was saved last.
        """
        ...


class AxesPart(Part, Protocol):
    """Axes: what is different, and how candidates are placed on it."""

    @property
    def diversity(self) -> Diversity | None:
        """The present measures, None before the first ones."""
        ...

    @property
    def placing(self) -> Placing:
        """Over which ranges candidates are placed anew, and which."""
        ...

    def askable(self, view: View) -> Ints:
        """Returns the ids of today's elites, or first candidates, that can be measured and judged."""
        ...


class QualityPart(Part, Protocol):
    """A quality that is learned."""

    @property
    def quality(self) -> Quality:
        """The present one."""
        ...

    @property
    def least(self) -> float:
        """What has a lower objective is no elite."""
        ...


@dataclass(frozen=True)
class Placing:
    """How candidates are placed when axes have changed.

    Attributes:
        rows: "history" places every candidate anew; "elites" today's elites alone, the first population at first: what
            collides is lost, as in the published procedure.
        ranges: (k, 2) that never move; None = they are fitted.
        of: to whose measures: quantiles of the "history", or minimum and maximum of the "elites" (which also count
            where elites alone are placed anew).
        quantile: of the history, this share may lie outside on each side.
        margin: room on each side, as a share of the width.
        grows: fit them anew where more than 1 % of the new candidates lie outside.
        end: the margin at the end of a run, where nothing needs room outside any more; None = nothing is placed then.
    """

    rows: Literal["history", "elites"] = "history"
    ranges: Floats | None = None
    of: Literal["history", "elites"] = "history"
    quantile: float = 0.001
    margin: float = 0.1
    grows: bool = True
    end: float | None = 0.01
