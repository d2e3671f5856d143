"""When a learned part asks, and how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qdfeedback.bounds import Bounds, check_number
from qdfeedback.types import Ints

PUBLISHED = (0.0, 0.1, 0.25, 0.5)
"""Of the run: when QDHF refits (Ding 2024, App. B)."""


@dataclass(frozen=True)
class Schedule:
    """Before which iterations something is asked.

    Attributes:
        asks: iteration → questions; 0 = nothing new is asked, what has been answered since is looked at.
        at_end: look once more when the search is over.
        after: iterations after which a part begins without answers: its cold start; 0 = the first population.
    """

    asks: Mapping[int, int] = field(default_factory=dict)
    at_end: bool = False
    after: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        """Questions in all."""
        return sum(self.asks.values())

    @property
    def last(self) -> int:
        """The last iteration before which something is asked or looked at, 0 where there is none."""
        return max(self.asks, default=0)

    def until(self, iteration: int) -> int:
        """Returns the questions before an iteration and those earlier."""
        return sum(count for when, count in self.asks.items() if when <= iteration)

    def is_over(self, iteration: int) -> bool:
        """Whether nothing is asked after the questions before an iteration; looks may come."""
        return all(when <= iteration for when, count in self.asks.items() if count)

    def state(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {"asks": sorted(self.asks.items()), "at_end": self.at_end, "after": list(self.after)}


def schedule_of(state: Mapping[str, Any]) -> Schedule:
    """Returns the schedule that `Schedule.state` gave."""
    return Schedule({int(when): int(count) for when, count in state["asks"]}, state["at_end"], tuple(state["after"]))


def iterations_of(evaluations: int, batch_size: int, first: int | None = None) -> int:
    """Returns the iterations of a run, its first population among them, as `in_rounds` and others want them.

    Args:
        evaluations: candidates in all.
        batch_size: in an iteration.
        first: in the first population; a batch if not given.
    """
    return 1 - ((batch_size if first is None else first) - evaluations) // batch_size


def in_rounds(
    iterations: int, answers: int, rounds: int, *, first: int = 1, until: int | None = None
) -> dict[int, int]:
    """Returns iteration → questions: `answers` of them in rounds at even distances over the first part of a run.

    Args:
        iterations: of the run, the first population among them; the last one has the number below this.
        answers: in all.
        rounds: at most so many, with two questions at least in each where there are as many.
        first: the iteration of the first round.
        until: that of the last one; half the iterations later if not given.

    Raises:
        ValueError: A number is out of its bounds.
    """
    check_number(rounds, "rounds", Bounds(1), kind=int)
    rounds = max(min(rounds, answers // 2), 1)
    span = iterations / 2 if until is None else max(until - first, 0)
    return _dealt(first + np.linspace(0, span, rounds).astype(int), iterations, answers)


def as_published(iterations: int, answers: int, shares: tuple[float, ...] = PUBLISHED) -> dict[int, int]:
    """Returns iteration → questions as QDHF asks them, in equal parts after these shares of the iterations."""
    return _dealt(np.array([1 + int(share * iterations) for share in shares]), iterations, answers)


def with_looks(asks: Mapping[int, int], iterations: int, looks: int = 20) -> dict[int, int]:
    """Returns the schedule with looks at what people have answered, over the second half of the iterations."""
    when = np.linspace(iterations / 2, iterations, looks, endpoint=False).astype(int)
    return {int(iteration): 0 for iteration in when if iteration > max(asks, default=0)} | dict(asks)


def _dealt(rounds: Ints, iterations: int, answers: int) -> dict[int, int]:
    """Returns iteration → questions, as many in each round; rounds that fall together, or too late, are one."""
    when = np.unique(np.minimum(rounds, max(iterations - 1, 1))).tolist()
    counts = np.diff(np.linspace(0, answers, len(when) + 1).round().astype(int))
    return {iteration: int(count) for iteration, count in zip(when, counts, strict=True)}
