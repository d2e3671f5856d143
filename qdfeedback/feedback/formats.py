"""Triplets and features as files that people have."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from qdfeedback.array_files import held, is_array, is_numbers, read_array
from qdfeedback.csv_files import read_table, whole_number
from qdfeedback.types import Floats, Ints

COLUMNS = ("anchor", "near", "far")
_MOST = np.iinfo(np.int64).max  # a number beyond it names no item either


def read_features(path: Path) -> Floats:
    """Returns the (n, d) float32 features in a `.npy` file; NaN = could not be measured.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds something else, or a number too large for float32; the message says what.
    """
    array = read_array(path)
    if array.ndim != 2 or not is_numbers(array):
        raise ValueError(f"{path} must hold numbers of shape (n, d), a row per item; it holds {held(array)}")
    if not array.size:
        raise ValueError(f"{path} holds no features: its shape is {array.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        found = array.astype(np.float32)
    if (rows := np.flatnonzero(np.isinf(found).any(axis=1))).size:
        raise ValueError(f"{path}, row {rows[0]}: an infinite number, or one above 3e38, of {len(rows)} such rows")
    return found


def read_triplets(path: Path, items: int | None = None) -> Ints:
    """Returns (t, 3) int64 rows of the features: anchor, near, far.

    Args:
        path: a `.npy` file of shape (t, 3), or a CSV file with the columns anchor, near, far (any order, more columns
            may follow; separated by commas, semicolons or tabs).
        items: how many features there are, if that is known: what points elsewhere is named with its line.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The columns are missing, an entry is no whole number, names no item, or one twice.
    """
    path = Path(path)
    array = _from_array(path) if is_array(path) else _from_table(path)
    if not len(array):
        raise ValueError(f"{path} holds no triplets")
    wrong, why = _wrong(array, items)
    if wrong is not None:
        where = f"{path}, row {wrong}" if is_array(path) else next(islice(_rows(path), wrong, None))[0]
        raise ValueError(f"{where}: {why}")
    _, counts = np.unique(array, axis=0, return_counts=True)
    if counts.min() > 1:
        warnings.warn(
            f"{path}: every triplet stands there {counts.min()} times or more: was the file joined with itself?",
            stacklevel=2,
        )
    return array


def _wrong(triplets: Ints, items: int | None) -> tuple[int | None, str]:
    """Returns the first row that cannot be, and why; None where all can."""
    low, high = int(triplets.min()), int(triplets.max())
    last = high if items is None else items - 1
    outside = (triplets < 0) | (triplets > last)
    if (rows := np.flatnonzero(outside.any(axis=1))).size:
        strange = triplets[rows[0]][outside[rows[0]]][0]
        rows_of = "rows of the features count from 0" + ("" if items is None else f" to {last}")
        from_one = "; these seem to count from 1: take 1 from each" if low == 1 and high == items else ""
        return int(rows[0]), f"there is no item {strange}: {rows_of}{from_one}"
    twice = (triplets == np.roll(triplets, 1, axis=1)).any(axis=1)
    if twice.any():
        row = int(twice.argmax())
        return row, f"anchor, near and far must be three items that differ, got {', '.join(map(str, triplets[row]))}"
    return None, ""


def _from_array(path: Path) -> Ints:
    array = read_array(path)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iu":
        with np.errstate(invalid="ignore"):
            whole = (
                array.dtype.kind == "f" and array.ndim == 2 and array.shape[1] == 3 and (array == array.round()).all()
            )
        remedy = ": save it with .astype(int)" if whole else ""
        raise ValueError(
            f"{path} must hold integers of shape (t, 3), anchor, near, far; it holds {held(array)}{remedy}"
        )
    found: Ints = np.minimum(array, array.dtype.type(min(_MOST, np.iinfo(array.dtype).max))).astype(np.int64)
    return found


def _from_table(path: Path) -> Ints:
    found = [
        [min(max(whole_number(cells[name], f"{where}: {name}"), -_MOST), _MOST) for name in COLUMNS]
        for where, cells in _rows(path)
    ]
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    return read_table(path, COLUMNS).records()
