"""Quality read straight from one feature column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qdfeedback.types import Floats, Scores
from qdfeedback.values import no_string


@dataclass(frozen=True)
class Column:
    """Scores that are a feature column, exact.

    Attributes:
        index: which column.
        sign: -1 where lower is better.
        curve: how its values are to be read (`feedback.calibration`); None = as they are.
    """

    index: int
    sign: float = 1.0
    curve: Callable[[Floats], Floats] | None = None

    def score(self, features: Floats) -> Scores:
        """Returns the column of (n, d) features as scores, with std 0."""
        values = features[:, self.index] if self.curve is None else self.curve(features[:, self.index])
        mean = np.multiply(values, self.sign, dtype=np.float64)
        return Scores(mean, np.zeros(len(mean)))


def column(names: Sequence[str], name: str, *, sign: float = 1.0) -> Column:
    """Returns the quality that reads the named column.

    Raises:
        ValueError: There is no such column.
    """
    no_string(names, "names")
    if name not in names:
        raise ValueError(f"name must be one of {tuple(names)}, got {name!r}")
    return Column(tuple(names).index(name), sign)
