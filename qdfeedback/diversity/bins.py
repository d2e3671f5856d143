"""Cells of unequal width: a piecewise-linear map of feature columns in front of a grid archive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdfeedback.types import Floats


@dataclass(frozen=True)
class Bins:
    """Measures that count cells: 3.25 is a quarter of the way through the fourth cell.

    What a language model finds likely is crowded near 0 and 1, so that equal steps of probability are no equal steps of
    meaning (Bradley 2024, sec. 4.1). A grid archive over `ranges` with `dims` cells has its borders at the edges; as
    with `numpy.digitize`, a value on an edge belongs to the cell above it.

    Attributes:
        indices: k of the d columns.
        edges: for each, the borders of its cells in order, both ends included; what lies outside falls into the first
            or the last cell. They are compared in float32, as features are kept.
    """

    indices: tuple[int, ...]
    edges: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        """Refuses edges that are out of order, and columns that cannot be."""
        if not self.indices or min(self.indices) < 0:
            raise ValueError(f"indices must be numbers of columns from 0, one at least, got {self.indices}")
        if len(self.indices) != len(self.edges):
            raise ValueError(f"edges must be given for {len(self.indices)} columns, got {len(self.edges)}")
        for edges in self.edges:
            if len(edges) < 3 or not (np.diff(np.asarray(edges, dtype=np.float32)) > 0).all():  # NaN does not rise
                raise ValueError(f"edges must rise, and make two cells or more, got {edges}")

    @property
    def dim(self) -> int:
        """The number of measures."""
        return len(self.indices)

    @property
    def dims(self) -> tuple[int, ...]:
        """The number of cells along each measure."""
        return tuple(len(edges) - 1 for edges in self.edges)

    @property
    def ranges(self) -> Floats:
        """(k, 2) ranges of the measures."""
        return np.array([(0.0, cells) for cells in self.dims])

    def project(self, features: Floats) -> Floats:
        """Returns (n, k) float64 measures of (n, d) features; NaN stays NaN."""
        found = np.empty((len(features), self.dim))
        for measure, (index, edges) in enumerate(zip(self.indices, self.edges, strict=True)):
            found[:, measure] = np.interp(
                features[:, index], np.asarray(edges, dtype=np.float32), np.arange(len(edges))
            )
        return found
