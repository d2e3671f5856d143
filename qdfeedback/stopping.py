"""When a run ends before its evaluations are used up: a new rule goes here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from qdfeedback.bounds import Count, check
from qdfeedback.types import Batch, Placement


class InVainError(RuntimeError):
    """For a long time, no candidate could be evaluated."""


class Stop(Protocol):
    """A rule that looks at every batch."""

    def __call__(self, batch: Batch, placement: Placement) -> str | None:
        """Returns why the search is over after this batch, None where it goes on.

        Args:
            batch: the iteration that has just been made.
            placement: where it was placed; its archive holds all elites.

        Raises:
            RuntimeError: There is no use in going on.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Returns what it has counted, as JSON."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from there."""
        ...


@dataclass
class InVain:
    """Gives up where candidates fail one after another: batches of a generator that may fail are not refused alone.

    Attributes:
        most: candidates without one that could be scored and measured.
        count: since the last one.
    """

    most: Count = 200
    count: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")

    def __call__(self, batch: Batch, placement: Placement) -> None:  # noqa: ARG002
        """Counts.

        Raises:
            InVainError: They are too many; says why the last one failed.
        """
        self.count = 0 if batch.valid.any() else self.count + len(batch)
        if self.count >= self.most:
            raise InVainError(f"{self.count} candidates in a row without a score; the last: {batch.errors[-1]}")

    def state(self) -> dict[str, Any]:
        """Returns the count."""
        return {"count": self.count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from there."""
        self.count = int(state["count"])
