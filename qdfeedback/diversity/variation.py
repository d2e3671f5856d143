"""Whether features differ: from what is all alike nothing can be learned."""

from __future__ import annotations

import logging

import numpy as np

from qdfeedback.types import Bools, Floats, listed

log = logging.getLogger(__name__)

ROUNDING = 4.0  # units in the last place: columns that differ by less are alike
FLAT = 1e-6  # a direction in which features differ by less than this share of the widest counts as none


def varying(features: Floats) -> Bools:
    """Returns (d,) bool, True for the columns in which rows differ by more than rounding; a log line names others.

    Args:
        features: (n, d), finite.

    Raises:
        ValueError: All rows are alike.
    """
    features = np.asarray(features)
    features = features if features.dtype.kind == "f" else features.astype(np.float64)
    size = np.abs(features).max(axis=0, initial=0.0).astype(np.float64)
    spread = (features.max(axis=0) - features.min(axis=0)).astype(np.float64)
    differ: Bools = spread > ROUNDING * np.finfo(features.dtype).eps * size
    if not differ.any():
        raise ValueError(f"features must differ: {len(features)} rows of {len(size)} columns are all alike")
    if not differ.all():
        alike = np.flatnonzero(~differ)
        log.info("%d of %d feature columns are constant and say nothing: %s", len(alike), len(size), listed(alike))
    return differ


def check_directions(prepared: Floats, dim: int) -> None:
    """Refuses to learn more measures than there are directions in which features differ.

    Args:
        prepared: (n, c), centred.
        dim: number of measures, k.

    Raises:
        ValueError: There are fewer.
    """
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
    few = 4 * dim + 16  # rows that differ in enough directions already, mostly
    if _directions(prepared[:few]) < dim and (found := _directions(prepared)) < dim:
        raise ValueError(f"dim must be at most the number of directions in which features differ, {found}; got {dim}")


def _directions(rows: Floats) -> int:
    size = np.linalg.svd(rows, compute_uv=False)
    return int((size > FLAT * size[0]).sum()) if size.any() else 0
