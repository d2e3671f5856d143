"""Records and protocols that every stage shares.

Axis letters, used in every docstring of the package:
    n batch, d features, k measures, m ensemble members, t queries or triplets, p parents.

Records are frozen dataclasses of arrays: a stage reads one and returns another. Protocols name what a
stage must offer; any class with these methods will do, nothing has to be inherited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ribs.archives import ArchiveBase

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]
Solutions = Any
"""(n, …) array of numeric solutions, or (n,) array of str for text."""
Artifacts = Any
"""A sequence of n rendered candidates, of whatever type the domain and its encoder agree on."""

WIDTHS = {"triplet": 3, "pair": 2, "rating": 1}
"""Task → how many candidates a question of it is about."""


def width_of(task: str) -> int:
    """Returns how many candidates a question of a task is about.

    Raises:
        ValueError: There is no such task.
    """
    if task not in WIDTHS:
        raise ValueError(f"task must be one of {tuple(WIDTHS)}, got {task!r}")
    return WIDTHS[task]


ID_FIELD = {"id": ((), np.int64)}
"""The extra field that every archive carries: `GridArchive(…, extra_fields=ID_FIELD)`."""


def listed(numbers: Ints, most: int = 5) -> str:
    """Returns the first few of some numbers as text, and how many more there are: for messages that name rows."""
    named, more = ", ".join(str(int(one)) for one in numbers[:most]), len(numbers) - most
    return f"{named} and {more} more" if more > 0 else named


@dataclass(frozen=True)
class Scores:
    """How good n candidates are, higher is better; NaN = could not be scored.

    Attributes:
        mean: (n,) best guess.
        std: (n,) standard deviation of that guess, 0 where the score is exact.
    """

    mean: Floats
    std: Floats


@dataclass(frozen=True)
class Proposal:
    """What a generator asks to have evaluated.

    Attributes:
        solutions: (n, …) solutions.
        parents: (n, p) int64 candidate ids that each one came from, -1 = none or unknown.
        origin: (n,) str, the operator that made each one.
        errors: n reasons why a candidate could not be made, None = it was; in place of all of them None = all were.
            What could not be made is kept and counted, and never rendered.
    """

    solutions: Solutions
    parents: Ints
    origin: NDArray[np.str_]
    errors: Sequence[str | None] | None = None

    def __len__(self) -> int:
        return len(self.solutions)


def first(solutions: Solutions) -> Proposal:
    """Returns the proposal of first solutions, which have no parents."""
    n = len(solutions)
    return Proposal(solutions, np.full((n, 1), -1, dtype=np.int64), np.full(n, "initial"))


@dataclass(frozen=True)
class Batch:
    """One iteration, complete.

    Attributes:
        ids: (n,) int64, consecutive over the whole run.
        iteration: counted from 0.
        proposal: what was evaluated.
        artifacts: n rendered candidates.
        errors: n reasons why a candidate could not be rendered, None = rendered.
        features: (n, d) float32, NaN = could not be measured.
        scores: (n,) means and standard deviations.
        measures: (n, k).
        objective: (n,) what the archive maximises, a function of the scores.
        valid: (n,) bool, True where objective and measures are finite; only these rows enter an archive.
    """

    ids: Ints
    iteration: int
    proposal: Proposal
    artifacts: Artifacts
    errors: Sequence[str | None]
    features: Floats
    scores: Scores
    measures: Floats
    objective: Floats
    valid: Bools

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Outcome:
    """What became of a batch in the archive; the arrays line up with the proposal's rows.

    Attributes:
        status: (n,) 0 = not added, 1 = improved a cell, 2 = filled a new cell. 0 for rows that are not valid.
        value: (n,) improvement over the cell, as pyribs defines it; of rows below the placement's least objective, what
            they lack, below the value of every other row; NaN for rows that are not valid.
        objective: (n,) and
        measures: (n, k), NaN for rows that are not valid.
        valid: (n,) bool.
    """

    status: Ints
    value: Floats
    objective: Floats
    measures: Floats
    valid: Bools


@dataclass(frozen=True)
class Elites:
    """What an archive holds, in the archive's own order.

    Attributes:
        ids: (n,) int64 candidate ids.
        solutions: (n, …), resolved: never ids.
        objective: (n,).
        measures: (n, k).
    """

    ids: Ints
    solutions: Solutions
    objective: Floats
    measures: Floats

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Queries:
    """Questions of one task: which of two is more like a third, which of two is better, or how good one is.

    Attributes:
        uids: (t,) str, unique in a study and the same when a resumed run asks again.
        items: (t, w) int64 candidate ids: anchor, left, right of a "triplet"; left, right of a "pair"; the one that
            gets a "rating".
        purpose: (t,) str: "random" for those drawn without regard to the model, which alone measure its
            accuracy; otherwise the name of the acquisition.
        task: "triplet", "pair" or "rating".

    Raises:
        ValueError: There is no such task, or the shapes do not fit it.
    """

    uids: NDArray[np.str_]
    items: Ints
    purpose: NDArray[np.str_]
    task: str = "triplet"

    def __post_init__(self) -> None:
        n, width = len(self.uids), width_of(self.task)
        if np.shape(self.items) != (n, width) or len(self.purpose) != n:
            raise ValueError(
                f"{n} questions of task {self.task!r} need items of shape ({n}, {width}) and as many purposes, "
                f"got {np.shape(self.items)} and {len(self.purpose)}"
            )

    def __len__(self) -> int:
        return len(self.uids)

    def where(self, rows: Bools | Ints) -> Queries:
        """Returns those of some rows."""
        return Queries(self.uids[rows], self.items[rows], self.purpose[rows], self.task)


@dataclass(frozen=True)
class Answers:
    """What an annotator said; it may answer fewer queries than it was asked.

    Attributes:
        query: (a,) int64 rows of the queries.
        choice: (a,) int8: 0 = left, 1 = right, -1 = cannot decide; 0 for ratings.
        probability: (a,) that right is the answer, NaN = the annotator gave none.
        value: (a,) ratings; None where the task is another.
    """

    query: Ints
    choice: Ints
    probability: Floats
    value: Floats | None = None

    def __len__(self) -> int:
        return len(self.query)


class Domain(Protocol):
    """What is searched."""

    def initial(self, n: int, rng: np.random.Generator) -> Solutions:
        """Returns n first solutions."""
        ...

    def render(self, solutions: Solutions, seeds: Ints) -> tuple[Artifacts, Sequence[str | None]]:
        """Returns n artifacts and n reasons for failure (None = rendered).

        Args:
            solutions: (n, …).
            seeds: (n,) uint64, one per candidate: a row's result depends on its solution and its seed only.
        """
        ...

    def present(self, artifact: Any) -> str | bytes | NDArray[np.uint8]:
        """Returns text, an image (h, w, 3) or video (frames, h, w, 3), or a PNG file's bytes, for people and judges."""
        ...


class Encoder(Protocol):
    """The waist: artifacts in, named feature columns out."""

    @property
    def names(self) -> tuple[str, ...]:
        """The d column names."""
        ...

    def encode(self, artifacts: Artifacts) -> Floats:
        """Returns (n, d) float32; NaN = could not be measured."""
        ...


class Quality(Protocol):
    """What is good."""

    def score(self, features: Floats) -> Scores:
        """Returns the scores of (n, d) features, higher is better."""
        ...


class Diversity(Protocol):
    """What is different."""

    @property
    def dim(self) -> int:
        """The number of measures, k."""
        ...

    def project(self, features: Floats) -> Floats:
        """Returns (n, k) measures of (n, d) features."""
        ...


class TripletModel(Protocol):
    """What an acquisition needs of a learned similarity: an opinion of every ensemble member."""

    def member_probability(self, features: Floats, triplets: Ints) -> Floats:
        """Returns (m, t): each member's probability that the second item is nearer to the first than the third."""
        ...


class PairModel(Protocol):
    """What an acquisition needs of a learned preference: an opinion of every ensemble member."""

    def member_probability(self, features: Floats, pairs: Ints) -> Floats:
        """Returns (m, t): each member's probability that the first item is better than the second."""
        ...


def mean_objective(scores: Scores) -> Floats:
    """Returns the (n,) means: the objective when scores are exact."""
    return scores.mean


@dataclass(frozen=True)
class Placement:
    """One way of laying out a history: what is good, what is different, and the archive of both.

    Attributes:
        quality: features → scores.
        diversity: features → measures.
        archive: a pyribs archive with `ID_FIELD`. With `solution_dim=()` and int64 solutions it holds
            candidate ids in place of solutions.
        objective: scores → (n,) what the archive maximises.
        resolve: ids (n,) → solutions, needed by archives that hold ids only.
        least: what has a lower objective is no elite.

    Raises:
        ValueError: The archive has no field for ids.
    """

    quality: Quality
    diversity: Diversity
    archive: ArchiveBase
    objective: Callable[[Scores], Floats] = mean_objective
    resolve: Callable[[Ints], Solutions] | None = None
    least: float = -np.inf

    def __post_init__(self) -> None:
        if "id" not in getattr(self.archive, "field_list", ID_FIELD):
            raise ValueError(
                "the archive has no field for the ids of candidates: build it with extra_fields=ID_FIELD "
                "(from qdfeedback.types), or by qdfeedback.archives"
            )

    @property
    def holds_ids(self) -> bool:
        """True where the archive stores candidate ids in place of solutions."""
        return bool(self.archive.solution_dim == () and self.archive.dtypes["solution"] == np.int64)

    def resolved(self, ids: Ints) -> Solutions:
        """Returns the solutions of an archive's ids.

        Raises:
            RuntimeError: Nothing resolves them.
        """
        if self.resolve is None:
            raise RuntimeError("the archive holds ids: give the placement `resolve`, e.g. history.take")
        return self.resolve(ids)


class Generator(Protocol):
    """Where new candidates come from.

    One that changes along a run offers more, or a run that goes on ends differently from one that was never stopped:

        state() -> (arrays, JSON)                   all that changes; arrays by name
        restore(placement, arrays, JSON)            goes on from there
        recall(history)                             is told of all candidates when a run begins or goes on
        needs_elites: bool                          True where there must be elites from the beginning
    """

    def ask(self, placement: Placement, n: int, rng: np.random.Generator) -> Proposal:
        """Returns n new candidates, made from the placement's elites (or from nothing while it is empty)."""
        ...

    def tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """Takes in what became of the proposal asked for last."""
        ...


class Annotator(Protocol):
    """Who judges: a person, a model or a simulation, indistinguishable from here on."""

    @property
    def kind(self) -> str:
        """`person`, `model` or `simulation`."""
        ...

    @property
    def name(self) -> str:
        """Who it was: a pseudonym, or a model's name and version."""
        ...

    @property
    def publishes(self) -> bool:
        """True where answers come later, from people: what is asked about must lie in a checkpoint on disk first."""
        ...

    def can_judge(self, ids: Ints) -> Bools:
        """Returns (n,) bool, False for the candidates about which it knows that it has no answer."""
        ...

    def answer(self, queries: Queries) -> Answers:
        """Returns the answers it has to t questions; what it needs to know of a candidate, it looks up by its id."""
        ...
