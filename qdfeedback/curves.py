"""Figures along a run: of its own archive, and of the placements that follow it in spaces of their own.

On learned axes the figures of the moment jump at every refit. At the end, the history is scored once more in one fixed
space, the axes that the run ends with: those figures can be compared along the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from qdfeedback import metrics
from qdfeedback.bounds import Count, check
from qdfeedback.history import History
from qdfeedback.types import Placement


class Observed(Protocol):
    """A run of which figures are taken."""

    evaluations: int
    offered: int
    last: int
    over: str

    @property
    def history(self) -> History:
        """Every candidate."""
        ...

    @property
    def placement(self) -> Placement:
        """The present one."""
        ...

    @property
    def answers(self) -> int:
        """How many the present models know."""
        ...

    @property
    def clipped(self) -> float:
        """Share of new candidates outside the ranges."""
        ...

    @property
    def follow(self) -> Mapping[str, Placement]:
        """Further placements, by name."""
        ...

    def followed(self, name: str) -> Placement:
        """Returns one of them, brought up to date."""
        ...


@dataclass
class Curves:
    """Rows for `curves.csv`; give it to the loop as a stateful piece, so that a run that goes on has them all.

    Attributes:
        every: iterations between two rows; the last iteration has one too.
        more: gives further figures of a run, or others of the same name.
        rows: so far.
    """

    every: Count = 1
    more: Callable[[Observed], Mapping[str, Any]] | None = None
    rows: list[dict[str, Any]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")
        self._began, self._before = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """Time spent on the run, over all its sessions."""
        return self._before + time.perf_counter() - self._began

    def due(self, loop: Observed) -> bool:
        """Whether a row is to be taken after this iteration."""
        return loop.last % self.every == 0 or loop.offered >= loop.evaluations or bool(loop.over)

    def add(self, loop: Observed) -> dict[str, Any]:
        """Takes a row and returns it: QD score and coverage of the archive, the same of each placement that follows."""
        own = metrics.score(loop.placement.archive)
        row: dict[str, Any] = {
            "iteration": loop.last, "evaluations": len(loop.history), "answers": loop.answers,
            "qd_score": own.qd_score, "coverage": own.coverage,
        }  # fmt: skip
        for name in loop.follow:
            found = metrics.score(loop.followed(name).archive)
            row |= {f"qd_score_{name}": found.qd_score, f"coverage_{name}": found.coverage}
        row |= {"clipped": loop.clipped, "seconds": round(self.seconds, 2)}
        row |= {} if self.more is None else self.more(loop)
        self.rows.append(row)
        return row

    def told(self, row: Mapping[str, Any]) -> str:
        """Returns a row in a few words, for a progress bar; of placements that follow, the first one's figures."""
        follows = [name.removeprefix("qd_score") for name in row if name.startswith("qd_score_")]
        space = follows[0] if follows else ""
        said = f"QD score {row[f'qd_score{space}']:.1f}, {row[f'coverage{space}']:.0f} % of cells"
        said += f", {row['answers']:,} answers" if row["answers"] else ""
        return said + (f", {row['paid']:.4g} paid" if row.get("paid") else "")

    def with_fixed(self, loop: Observed, *, apart: Sequence[tuple[int, int]] = ()) -> list[dict[str, Any]]:
        """Returns the rows with the figures of the history in one fixed space: that in which the run stands now.

        They are `qd_score_fixed` and `coverage_fixed`. An archive that has no cells to count in has none.

        Args:
            loop: the run, at its end.
            apart: (first id, id after the last) of candidates that no archive is to hold.
        """
        if not hasattr(loop.placement.archive, "index_of") or not self.rows:
            return self.rows
        marks = [row["evaluations"] for row in self.rows]
        found = metrics.score_along(loop.history, loop.placement, marks, apart=apart)
        return [
            row | {"qd_score_fixed": one.qd_score, "coverage_fixed": one.coverage}
            for row, one in zip(self.rows, found, strict=True)
        ]

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
