"""Triplets as files that people have."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from qdfeedback.types import Floats, Ints


def read_features(path: Path) -> Floats:
    """Returns the (n, d) float32 features in a `.npy` file.

    Raises:
        ValueError: The file holds something else.
    """
    array = _npy(path)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise ValueError(f"{path} must hold numbers of shape (n, d), it holds {array.dtype} {array.shape}")
    return array.astype(np.float32)


def read_triplets(path: Path) -> Ints:
    """Returns (t, 3) int64 rows of the features: anchor, near, far.

    Args:
        path: a `.npy` file of shape (t, 3), or a `.csv` file with the columns anchor, near, far (any order, more
            columns may follow).

    Raises:
        ValueError: The columns are missing, or an entry is not a whole number.
    """
    path = Path(path)
    if path.suffix == ".csv":
        return _csv(path)
    array = _npy(path)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iu":
        raise ValueError(f"{path} must hold integers of shape (t, 3), it holds {array.dtype} {array.shape}")
    return array.astype(np.int64)


def _npy(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except ValueError as error:
        raise ValueError(f"{path} is not a plain .npy array: {error}") from error


def _csv(path: Path) -> Ints:
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        missing = {"anchor", "near", "far"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{path} must have the columns anchor, near, far; {', '.join(sorted(missing))} not found")
        try:
            rows = [(int(row["anchor"]), int(row["near"]), int(row["far"])) for row in reader]
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
    return np.array(rows, dtype=np.int64).reshape(-1, 3)
