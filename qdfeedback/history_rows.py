"""Candidates as Arrow columns, from numpy arrays that are filled, written and filled again."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from qdfeedback.types import Batch, Ints, Solutions

FORMAT = "1"
HELD_BYTES = 2**25


def schema_of(solutions: Solutions, names: Sequence[str]) -> pa.Schema:
    """Returns the columns for solutions like these and features with these names."""
    sample = np.asarray(solutions)
    shape: Any = sample.shape[1:]
    if sample.dtype.names:
        parts = {name: sample.dtype[name] for name in sample.dtype.names}
        shape = {name: None if is_text(part) else part.shape for name, part in parts.items()}
        solution = pa.struct([pa.field(name, _column(part.base, shape[name])) for name, part in parts.items()])
    else:
        shape = None if is_text(sample.dtype) else shape
        solution = _column(sample.dtype, shape)
    fixed = _fixed_columns(len(names))
    return pa.schema(
        [*fixed[:4], ("solution", solution), *fixed[4:]],
        metadata={"format": FORMAT, "solution_shape": json.dumps(shape), "feature_names": json.dumps(list(names))},
    )


def is_text(dtype: np.dtype[Any]) -> bool:
    """True for text: of numpy's fixed width, or as objects."""
    return dtype.kind in "USO"


def in_memory(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Returns the type in which rows like these wait, text as objects: its width differs from batch to batch."""
    if dtype.names:
        return np.dtype([(name, object if is_text(dtype[name]) else dtype[name]) for name in dtype.names])
    return np.dtype(object) if is_text(dtype) else dtype


def _column(dtype: np.dtype[Any], shape: tuple[int, ...] | None) -> pa.DataType:
    if shape is None:
        return pa.string()
    value = pa.from_numpy_dtype(dtype)
    return pa.list_(value, int(np.prod(shape))) if shape else value


def names_in(schema: pa.Schema) -> tuple[str, ...]:
    """Returns the names of the features that a file's columns tell.

    Raises:
        ValueError: They tell none.
    """
    try:
        names = json.loads((schema.metadata or {})[b"feature_names"])
    except (KeyError, ValueError, RecursionError) as error:
        raise ValueError("its columns name no features") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("its columns name no features")
    return tuple(names)


def check_columns(schema: pa.Schema, features: int) -> None:
    """Refuses columns of a file that are not those of `schema_of`.

    Raises:
        ValueError: One is missing or of another type, or the shape of a solution is not that of its column.
    """
    wanted = _fixed_columns(features)
    if schema.names != [*(name for name, _ in wanted[:4]), "solution", *(name for name, _ in wanted[4:])]:
        raise ValueError(f"its columns are {', '.join(schema.names)}")
    for name, kind in wanted:
        if schema.field(name).type != kind:
            raise ValueError(f"its column {name} is {schema.field(name).type} in place of {kind}")
    try:
        shape, column = json.loads(schema.metadata[b"solution_shape"]), schema.field("solution").type
        parts = shape if isinstance(shape, dict) else {"": shape}
        kinds = [part.type for part in column] if isinstance(shape, dict) else [column]
        if isinstance(shape, dict) and [part.name for part in column] != list(shape):
            raise ValueError
        if not all(_goes_with(kind, one) for kind, one in zip(kinds, parts.values(), strict=True)):
            raise ValueError
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError("the shape of its solutions is not that of their column") from error


def _goes_with(kind: pa.DataType, shape: Any) -> bool:
    """True where a column can hold values of a shape; None is text."""
    if shape is None:
        return bool(pa.types.is_string(kind))
    if not isinstance(shape, list) or not all(type(one) is int and one >= 0 for one in shape):
        return False
    values = kind.value_type if pa.types.is_fixed_size_list(kind) else kind
    fits = kind.list_size == math.prod(shape) if pa.types.is_fixed_size_list(kind) else not shape
    return fits and bool(pa.types.is_integer(values) or pa.types.is_floating(values) or pa.types.is_boolean(values))


def is_full(rows: pa.RecordBatch, count: int) -> bool:
    """True where a part has its rows, and nothing is missing in them that every candidate has."""
    here = (rows.column(name) for name in ("id", "iteration", "parents", "origin", "features"))
    return rows.num_rows == count and not any(column.null_count for column in here)


def _fixed_columns(features: int) -> list[tuple[str, pa.DataType]]:
    """Returns the columns that every history has, all but the solutions, in their order."""
    return [
        ("id", pa.int64()), ("iteration", pa.int32()), ("parents", pa.list_(pa.int64())), ("origin", pa.string()),
        ("features", pa.list_(pa.float32(), features)), ("error", pa.string()),
    ]  # fmt: skip


class Waiting:
    """Rows that are not on disk yet, in arrays that are filled, written and filled again.

    Only what the file keeps is held here: a batch's artifacts, images say, are free to go.

    Args:
        schema: the file's columns.
        batch: the first one to be taken; all later ones have solutions like it.
        rows: how many to hold, unless they are so large that fewer fill `HELD_BYTES`.
    """

    def __init__(self, schema: pa.Schema, batch: Batch, *, rows: int) -> None:
        self._schema = schema
        solutions = np.asarray(batch.proposal.solutions)
        row_bytes = (solutions.nbytes + batch.features.nbytes) // len(batch) + 1
        self._room = max(len(batch), min(rows, HELD_BYTES // row_bytes))
        self._n = 0
        self._solutions = np.empty((self._room, *solutions.shape[1:]), dtype=in_memory(solutions.dtype))
        self._features = np.empty((self._room, *batch.features.shape[1:]), dtype=np.float32)
        self._iterations = np.empty(self._room, dtype=np.int32)
        self._parents: list[Ints] = []
        self._origins: list[NDArray[np.str_]] = []
        self._errors: list[Sequence[str | None]] = []

    def __len__(self) -> int:
        return self._n

    def has_room(self, n: int) -> bool:
        """True where n more rows can be taken."""
        return self._n + n <= self._room

    def take(self, batch: Batch) -> None:
        """Copies the rows of a batch."""
        rows = slice(self._n, self._n + len(batch))
        self._solutions[rows] = batch.proposal.solutions
        self._features[rows] = batch.features
        self._iterations[rows] = batch.iteration
        self._parents.append(batch.proposal.parents)
        self._origins.append(batch.proposal.origin)
        self._errors.append(batch.errors)
        self._n = rows.stop

    def clear(self) -> None:
        """Forgets all rows: they are on disk."""
        self._n = 0
        self._parents, self._origins, self._errors = [], [], []

    def record_batch(self, first_id: int) -> pa.RecordBatch:
        """Returns what waits; its arrays are views that hold until the next `take`."""
        n = self._n
        columns = {
            "id": pa.array(np.arange(first_id, first_id + n, dtype=np.int64)),
            "iteration": pa.array(self._iterations[:n]),
            "parents": _parents(self._parents),
            "origin": _labels(self._origins),
            "solution": _fixed(self._solutions[:n], self._schema.field("solution")),
            "features": _fixed(self._features[:n], self._schema.field("features")),
            "error": (
                pa.array([error for part in self._errors for error in part], pa.string())
                if any(part.count(None) < len(part) for part in self._errors)
                else pa.nulls(n, pa.string())
            ),
        }
        return pa.record_batch([columns[name] for name in self._schema.names], schema=self._schema)


def _parents(parents: Sequence[Ints]) -> pa.ListArray:
    flat = np.concatenate([part.ravel() for part in parents]).astype(np.int64, copy=False)
    widths = {part.shape[1] for part in parents}
    if len(widths) == 1:
        offsets = np.arange(sum(len(part) for part in parents) + 1, dtype=np.int32) * np.int32(widths.pop())
    else:
        lengths = np.concatenate([np.full(len(part), part.shape[1], dtype=np.int32) for part in parents])
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, flat)


def _fixed(values: NDArray[Any], field: pa.Field) -> pa.Array:
    if pa.types.is_struct(field.type):
        parts = [_fixed(np.ascontiguousarray(values[part.name]), part) for part in field.type]
        return pa.StructArray.from_arrays(parts, fields=list(field.type))
    if pa.types.is_fixed_size_list(field.type):
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), field.type.list_size)
    return pa.array(values, field.type)


def _labels(parts: Sequence[NDArray[np.str_]]) -> pa.Array:
    """Returns the labels as one column; where all are the same, the usual case, they are not spelled out."""
    one = str(parts[0][0])
    looked_at = {id(part): part for part in parts}  # a generator may hand out one array again and again
    if all(part[0] == one and part.tobytes() == part[:1].tobytes() * len(part) for part in looked_at.values()):
        return pa.repeat(one, sum(len(part) for part in parts))
    return pa.concat_arrays([pa.array(part, pa.string()) for part in parts])


def array_of(rows: pa.RecordBatch, name: str) -> NDArray[Any]:
    """Returns a column as an array, where it can be without a copy; solutions in their shape, text as objects."""
    column = rows.column(name)
    kind = column.type
    if pa.types.is_struct(kind):
        return _named_parts(column, _shape_of(rows))
    if pa.types.is_fixed_size_list(kind):
        shape = _shape_of(rows) if name == "solution" else (kind.list_size,)
        array: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=True).reshape(len(rows), *shape)
        return array
    return np.asarray(column.to_numpy(zero_copy_only=not (pa.types.is_string(kind) or pa.types.is_list(kind))))


def _shape_of(rows: pa.RecordBatch) -> Any:
    return json.loads(rows.schema.metadata[b"solution_shape"])


def _named_parts(column: pa.StructArray, shapes: dict[str, Any]) -> NDArray[Any]:
    """Returns a structured array of solutions with several named parts, text as objects."""
    parts = dict(zip(shapes, column.flatten(), strict=True))
    values = {
        name: part.to_numpy(zero_copy_only=False) if shapes[name] is None
        else (part.flatten() if shapes[name] else part).to_numpy().reshape(len(column), *shapes[name])
        for name, part in parts.items()
    }  # fmt: skip
    found = np.empty(len(column), dtype=[(name, one.dtype, one.shape[1:]) for name, one in values.items()])
    for name, one in values.items():
        found[name] = one
    return found
