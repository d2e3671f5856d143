"""pyribs archives for a placement: how to build one anew, over which ranges, and what fell outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from qdfeedback.bounds import Bounds, check_number
from qdfeedback.types import ID_FIELD, Floats

if TYPE_CHECKING:
    from ribs.archives import ArchiveBase


class Build(Protocol):
    """What builds archives."""

    def __call__(self, ranges: Floats, seed: int, /) -> ArchiveBase:
        """Returns a new empty archive over (k, 2) ranges."""


def grid(solution_dim: int | tuple[int, ...], dims: Sequence[int], **soft: float) -> Build:
    """Returns a builder of grid archives with dims[i] cells along measure i.

    Args:
        solution_dim: shape of a solution; () for archives that hold ids.
        dims: k numbers of cells.
        soft: `learning_rate` and `threshold_min` of CMA-MAE's soft archive.

    Raises:
        ValueError: A number of cells is below 1.
    """
    for cells in dims:
        check_number(cells, "dims", Bounds(1), kind=int)

    def build(ranges: Floats, seed: int) -> ArchiveBase:
        from ribs.archives import GridArchive  # takes seconds to load

        return GridArchive(
            solution_dim=solution_dim,
            dims=dims,
            ranges=[(float(low), float(high)) for low, high in ranges],
            seed=seed,
            solution_dtype=np.int64 if solution_dim == () else None,
            extra_fields=ID_FIELD,
            **soft,
        )

    return build


def cvt(solution_dim: int | tuple[int, ...], dim: int, cells: int, *, seed: int = 0, **soft: float) -> Build:
    """Returns a builder of centroidal Voronoi archives with `cells` cells in `dim` measures.

    The centroids are found once in the unit cube (k-means on 20 samples a cell) and stretched over the
    ranges of each archive, so that a cell keeps its place when the ranges move.

    Raises:
        ValueError: `dim` or `cells` is below 1.
    """
    check_number(dim, "dim", Bounds(1), kind=int)
    from ribs.archives import CVTArchive, k_means_centroids

    check_number(cells, "cells", Bounds(1), kind=int)
    samples = np.random.default_rng(seed).random((20 * cells, dim))
    unit, _ = k_means_centroids(
        centroids=cells,
        ranges=[(0, 1)] * dim,
        samples=samples,
        seed=seed,
        k_means_kwargs={"n_init": 1, "init": "random", "max_iter": 50},
    )

    def build(ranges: Floats, archive_seed: int) -> ArchiveBase:
        ranges = np.asarray(ranges, dtype=float)
        return CVTArchive(
            solution_dim=solution_dim,
            centroids=ranges[:, 0] + unit * (ranges[:, 1] - ranges[:, 0]),
            ranges=[(float(low), float(high)) for low, high in ranges],
            seed=archive_seed,
            solution_dtype=np.int64 if solution_dim == () else None,
            extra_fields=ID_FIELD,
            **soft,
        )

    return build


def ranges(measures: Floats, *, quantile: float = 0.001, margin: float = 0.05) -> Floats:
    """Returns (k, 2) lower and upper bounds that fit the measures.

    Args:
        measures: (n, k); rows with NaN do not count.
        quantile: this share may lie outside on each side; 0 = minimum and maximum.
        margin: room on each side, as a share of the width between the quantiles.

    Raises:
        ValueError: No row is finite, a measure is constant, or a share is out of its bounds.
    """
    check_number(quantile, "quantile", Bounds(0, below=0.5))
    check_number(margin, "margin", Bounds(0))
    measures = measures[np.isfinite(measures).all(axis=1)]
    if not len(measures):
        raise ValueError("measures has no finite row to fit ranges to")
    low, high = np.quantile(measures, [quantile, 1 - quantile], axis=0)
    width = high - low
    if (width <= 0).any():
        raise ValueError(f"measure {int(np.argmin(width))} is constant: it cannot span an archive")
    return np.stack([low - margin * width, high + margin * width], axis=1)


def bounds(archive: ArchiveBase) -> Floats:
    """Returns the (k, 2) ranges of an archive."""
    return np.stack([archive.lower_bounds, archive.upper_bounds], axis=1)


def clipped_share(measures: Floats, archive: ArchiveBase) -> float:
    """Returns the share of finite (n, k) measures outside the archive's ranges: pyribs clips them into its border."""
    measures = measures[np.isfinite(measures).all(axis=1)]
    outside = (measures < archive.lower_bounds) | (measures > archive.upper_bounds)
    return float(outside.any(axis=1).mean()) if len(measures) else 0.0


def shares_outside(batches: Sequence[Floats], archive: ArchiveBase) -> list[float]:
    """Returns `clipped_share` of each of several (n, k) measures in one go.

    Args:
        batches: one array of measures each; rows with NaN do not count.
        archive: whose ranges.
    """
    measures = np.concatenate(batches)
    inside = all(
        column.min(initial=np.inf) >= low and column.max(initial=-np.inf) <= high  # False where there is a NaN
        for column, low, high in zip(measures.T, archive.lower_bounds, archive.upper_bounds, strict=True)
    )
    return [0.0] * len(batches) if inside else [clipped_share(one, archive) for one in batches]


def categorical(dims: Sequence[int]) -> Build:
    """Returns a builder of archives that hold ids, with one cell for each combination of categories.

    A measure is the number of its category, from 0; the ranges are not needed, and only say where categories lie.
    """
    from ribs.archives import CategoricalArchive

    def build(ranges: Floats, seed: int) -> ArchiveBase:  # noqa: ARG001
        return CategoricalArchive(
            solution_dim=(),
            categories=[range(number) for number in dims],
            seed=seed,
            solution_dtype=np.int64,
            measures_dtype=np.float64,
            extra_fields=ID_FIELD,
        )

    return build
