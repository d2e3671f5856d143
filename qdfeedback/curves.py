"""Figures along a run: of its own archive, and of the placements that follow it in spaces of their own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qdfeedback import metrics
from qdfeedback.bounds import Count, check
from qdfeedback.loop import Loop


@dataclass
class Curves:
    """Rows for `curves.csv`; give it to the loop as a stateful piece, so that a run that goes on has them all.

    Attributes:
        every: iterations between two rows; the last iteration has one too.
        rows: so far.
    """

    every: Count = 1
    rows: list[dict[str, Any]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")
        self._began, self._before = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """Time spent on the run, over all its sessions."""
        return self._before + time.perf_counter() - self._began

    def due(self, loop: Loop) -> bool:
        """Whether a row is to be taken after this iteration."""
        return loop.last % self.every == 0 or loop.offered >= loop.evaluations or bool(loop.over)

    def add(self, loop: Loop, **more: Any) -> dict[str, Any]:
        """Takes a row and returns it: QD score and coverage of the archive, the same of each placement that follows.

        Args:
            loop: the run.
            more: further figures, or others of the same name.
        """
        own = metrics.score(loop.placement.archive)
        row: dict[str, Any] = {
            "iteration": loop.last, "evaluations": len(loop.history), "answers": loop.answers,
            "qd_score": own.qd_score, "coverage": own.coverage,
        }  # fmt: skip
        for name in loop.follow:
            found = metrics.score(loop.followed(name).archive)
            row |= {f"qd_score_{name}": found.qd_score, f"coverage_{name}": found.coverage}
        row |= {"clipped": loop.clipped, "seconds": round(self.seconds, 2)} | more
        self.rows.append(row)
        return row

    def refits(self) -> list[int]:
        """Returns the numbers of evaluations at which other answers were known than before."""
        return sorted(
            {
                row["evaluations"]
                for before, row in zip(self.rows, self.rows[1:], strict=False)
                if row["answers"] != before["answers"]
            }
        )

    def state(self) -> dict[str, Any]:
        """Returns what `restore` needs, as JSON."""
        return {"rows": self.rows, "seconds": self.seconds}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.rows, self._before = list(state["rows"]), state["seconds"]
