"""Measures read straight from feature columns, learned models that read some columns only, and both joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qdfeedback.types import Diversity, Floats
from qdfeedback.values import no_string


@lru_cache
def _selection(indices: tuple[int, ...]) -> slice | list[int]:
    """Returns a slice, which copies nothing, where the columns lie side by side.

    Raises:
        ValueError: There is none, or one below 0.
    """
    if not indices or min(indices) < 0:
        raise ValueError(f"indices must be numbers of columns from 0, one at least, got {indices}")
    run = range(indices[0], indices[0] + len(indices))
    return slice(run.start, run.stop) if tuple(run) == indices else list(indices)


@dataclass(frozen=True)
class Columns:
    """Measures that are feature columns.

    Attributes:
        indices: k of the d columns.
    """

    indices: tuple[int, ...]

    @property
    def dim(self) -> int:
        """The number of measures."""
        return len(self.indices)

    def project(self, features: Floats) -> Floats:
        """Returns the (n, k) columns of (n, d) features."""
        return features[:, _selection(self.indices)]


def columns(names: Sequence[str], *wanted: str) -> Columns:
    """Returns the measures that are the wanted columns, in that order.

    Raises:
        ValueError: There is no such column, or none was asked for.
    """
    no_string(names, "names")
    unknown = [name for name in wanted if name not in names]
    if unknown or not wanted:
        raise ValueError(f"wanted must name columns of {tuple(names)}, got {wanted}")
    return Columns(tuple(tuple(names).index(name) for name in wanted))


@dataclass(frozen=True)
class OnColumns:
    """A model that was fitted on some columns, applied to all of them.

    Attributes:
        indices: the columns that the model reads.
        model: features (n, len(indices)) → measures (n, k).
    """

    indices: tuple[int, ...]
    model: Diversity

    @property
    def dim(self) -> int:
        """The number of measures."""
        return self.model.dim

    def project(self, features: Floats) -> Floats:
        """Returns (n, k) measures of (n, d) features."""
        return self.model.project(features[:, _selection(self.indices)])


@dataclass(frozen=True)
class Calibrated:
    """A model that reads some columns through curves (`feedback.calibration`).

    Attributes:
        model: features → measures.
        curves: columns, and what becomes of their values.
    """

    model: Diversity
    curves: tuple[tuple[int, Callable[[Floats], Floats]], ...]

    @property
    def dim(self) -> int:
        """The number of measures."""
        return self.model.dim

    def project(self, features: Floats) -> Floats:
        """Returns (n, k) measures of (n, d) features."""
        read = np.array(features)
        for index, curve in self.curves:
            read[:, index] = curve(features[:, index])
        return self.model.project(read)


@dataclass(frozen=True)
class Joined:
    """Several models side by side: pinned axes next to learned ones.

    Attributes:
        parts: each contributes its own measures, in this order.
    """

    parts: tuple[Diversity, ...]

    @property
    def dim(self) -> int:
        """The number of measures of all parts together."""
        return sum(part.dim for part in self.parts)

    def project(self, features: Floats) -> Floats:
        """Returns (n, k) measures of (n, d) features."""
        return np.concatenate([part.project(features) for part in self.parts], axis=1)
