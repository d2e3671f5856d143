"""What is known and never changes: axes that are true ones, columns, or what a model is asked, and a fixed quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qdfeedback.learning.part import Change, Now, Placing, View
from qdfeedback.types import Annotator, Diversity, Floats, Ints, Quality


@dataclass(frozen=True)
class Known:
    """Axes that never change, over ranges that never move.

    Attributes:
        diversity: features → measures.
        ranges: (k, 2).
    """

    diversity: Diversity
    ranges: Floats
    role: str = "axes"
    annotator: Annotator | None = None

    @property
    def placing(self) -> Placing:
        """Every candidate, over the ranges."""
        return Placing(ranges=np.asarray(self.ranges, dtype=float), grows=False, end=None)

    def askable(self, view: View) -> Ints:
        """Returns all that is in the archive."""
        return view.current()

    def due(self, now: Now) -> bool:
        """Once, when the first population is there."""
        return now.moment == "begin"

    def ask(self, now: Now, view: View) -> None:
        """Asks nobody."""

    def fit(self, now: Now, view: View) -> Change:  # noqa: ARG002
        """Returns that there is something to place candidates on."""
        return Change()

    def state(self) -> dict[str, Any]:
        """Returns nothing."""
        return {}

    def restore(self, state: Mapping[str, Any], model: Path | None) -> None:
        """Has nothing to go on from."""


@dataclass(frozen=True)
class KnownQuality:
    """A quality that never changes, as a part that is never due: a loop makes one of a quality that is no part.

    Attributes:
        quality: features → scores.
    """

    quality: Quality
    role: str = "quality"
    annotator: Annotator | None = None
    least: float = -np.inf

    def due(self, now: Now) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def ask(self, now: Now, view: View) -> None:
        """Asks nobody."""

    def fit(self, now: Now, view: View) -> None:
        """Changes nothing."""

    def state(self) -> dict[str, Any]:
        """Returns nothing."""
        return {}

    def restore(self, state: Mapping[str, Any], model: Path | None) -> None:
        """Has nothing to go on from."""
