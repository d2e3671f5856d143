"""Few-shot prompts from a pool of texts that grows by a rule: what QDAIF is compared with (Bradley 2024, app.).

Written(model, FromPool(line, seeds, Best(100)), sampling)      "LMX, quality only"
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from qdfeedback.bounds import Amount, Count, Finite, check
from qdfeedback.generators.language import EXAMPLES, Requests
from qdfeedback.generators.similar import Words
from qdfeedback.models.frames import few_shot
from qdfeedback.types import Floats, Outcome, Placement, Proposal
from qdfeedback.values import no_string


@dataclass(frozen=True)
class Member:
    """A text in a pool.

    Attributes:
        id: of the candidate, -1 = a seed that is none.
        text: itself.
        quality: as judged; NaN = it was not.
        place: (k,) where it lies, in shares of the ranges.
    """

    id: int
    text: str
    quality: float = float("nan")
    place: tuple[float, ...] = ()


class Rule(Protocol):
    """Which texts a pool takes in, and which it gives up."""

    def take(self, pool: list[Member], new: Member) -> None:
        """Changes the pool by a text that was judged."""
        ...


@dataclass(frozen=True)
class Everything:
    """Every text, whatever its quality: random search."""

    def take(self, pool: list[Member], new: Member) -> None:
        """Takes it."""
        pool.append(new)


@dataclass(frozen=True)
class Best:
    """The best texts: quality only.

    Attributes:
        most: how many.
    """

    most: Count = 100

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")

    def take(self, pool: list[Member], new: Member) -> None:
        """Takes it, and drops the worst where there are too many; what has no quality counts as worst."""
        pool.append(new)
        if len(pool) > self.most:
            worst = min(range(len(pool)), key=lambda i: np.nan_to_num(pool[i].quality, nan=-np.inf))
            del pool[worst]


@dataclass
class Unlike:
    """Texts whose words are unlike those of every text in the pool: a ROUGE-L filter.

    Attributes:
        threshold: of ROUGE-L, which must stay below it.
        least_quality: None = none is asked for, and the pool has no limit.
        most: with a least quality: the oldest are dropped.
    """

    threshold: Amount = 0.7
    least_quality: Finite | None = None
    most: Count = 100
    _words: Words = field(default_factory=Words, repr=False)

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")

    def take(self, pool: list[Member], new: Member) -> None:
        """Takes it if it is good enough and new."""
        if len(self._words) != len(pool):
            self._words = Words(one.text for one in pool)
        if self.least_quality is not None and not new.quality > self.least_quality:
            return
        if self._words.likest(new.text) >= self.threshold:
            return
        pool.append(new)
        self._words.add(new.text)
        if self.least_quality is not None and len(pool) > self.most:
            del pool[0]
            self._words.forget_first()


@dataclass
class Novel:
    """Texts far from all earlier ones in the space of the measures: novelty search in AI feedback.

    Novelty is the mean distance to the `nearest` texts that were ever taken. The threshold rises by a twentieth after
    more than two were taken in a row, and falls by a twentieth after more than twenty were not.

    Attributes:
        least_quality: None = none is asked for.
        threshold: of novelty, where measures reach from 0 to 1.
        nearest: how many neighbours count.
        most: in the pool: the oldest are dropped, but remembered as places.
    """

    least_quality: Finite | None = None
    threshold: Amount = 0.05
    nearest: Count = 15
    most: Count = 100
    places: list[tuple[float, ...]] = field(default_factory=list)
    taken: int = 0
    passed: int = 0

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")

    def take(self, pool: list[Member], new: Member) -> None:
        """Takes it if it is new; with a least quality, if it is also good enough."""
        novel = self._novelty(new) > self.threshold
        self.taken, self.passed = (self.taken + 1, 0) if novel else (0, self.passed + 1)
        if self.taken > 2:
            self.threshold *= 1.05
        if self.passed > 20:
            self.threshold *= 0.95
        if not novel or (self.least_quality is not None and not new.quality > self.least_quality):
            return
        self.places.append(new.place)
        pool.append(new)
        if len(pool) > self.most:
            del pool[0]

    def _novelty(self, new: Member) -> float:
        if not self.places:
            return float("inf")
        away = np.linalg.norm(np.array(self.places) - np.array(new.place), axis=1)
        return float(np.sort(away)[: self.nearest].mean())

    def state(self) -> dict[str, Any]:
        """Returns what changes."""
        return {
            "threshold": self.threshold, "places": self.places, "taken": self.taken, "passed": self.passed,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Sets what changes."""
        self.threshold, self.taken, self.passed = state["threshold"], state["taken"], state["passed"]
        self.places = [tuple(place) for place in state["places"]]


def _ranges(placement: Placement) -> tuple[Floats, Floats]:
    """Returns (k,) where measures begin, and how far they reach; categories are numbers from 0."""
    archive = placement.archive
    low = getattr(archive, "lower_bounds", None)
    if low is None:
        return np.zeros(archive.measure_dim), np.maximum(np.asarray(archive.dims, dtype=float) - 1, 1)
    return np.asarray(low), np.asarray(archive.upper_bounds) - np.asarray(low)


class FromPool:
    """Three texts of the pool, drawn at random, as examples.

    Args:
        line: what stands before each text.
        seeds: the first members; they are the first candidates too.
        rule: how the pool changes.
        name: of the operator.
    """

    def __init__(self, line: str, seeds: tuple[str, ...], rule: Rule, name: str) -> None:
        no_string(seeds, "seeds")
        self.line, self.rule, self.name = line, rule, name
        self.pool = [Member(i, text) for i, text in enumerate(seeds)]
        self.next_id = len(seeds)
        self.low: Floats = np.zeros(0)
        self.width: Floats = np.ones(0)

    def __call__(self, placement: Placement, n: int, rng: np.random.Generator) -> Requests:
        """Returns n prompts."""
        self.low, self.width = _ranges(placement)
        count = min(EXAMPLES, len(self.pool))
        rows = [rng.choice(len(self.pool), count, replace=False) for _ in range(n)]
        prompts = [few_shot(self.line, [self.pool[i].text for i in row]) for row in rows]
        return Requests(prompts, np.array([[self.pool[i].id for i in row] for row in rows]).reshape(n, count))

    def tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """Hands the texts that were judged to the rule, in their order."""
        for row in np.flatnonzero(outcome.valid):
            place = tuple(((outcome.measures[row] - self.low) / self.width).tolist())
            new = Member(self.next_id + int(row), str(proposal.solutions[row]), float(outcome.objective[row]), place)
            self.rule.take(self.pool, new)
        self.next_id += len(proposal)

    def state(self) -> dict[str, Any]:
        """Returns the pool and what the rule keeps."""
        own = self.rule.state() if hasattr(self.rule, "state") else None
        rows = [[one.id, one.text, None if np.isnan(one.quality) else one.quality, one.place] for one in self.pool]
        return {"pool": rows, "next_id": self.next_id, "rule": own}

    def restore(self, state: dict[str, Any]) -> None:
        """Sets both."""
        self.next_id = int(state["next_id"])
        self.pool = [
            Member(row, text, float("nan") if quality is None else quality, tuple(place))
            for row, text, quality, place in state["pool"]
        ]
        if state["rule"] is not None:
            self.rule.restore(state["rule"])  # type: ignore[attr-defined]
