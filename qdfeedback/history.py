"""Every evaluated candidate, on disk, append-only.

The file is an Arrow IPC stream: one schema message, then record batches. It is read through a memory map, a
batch at a time, so memory does not grow with the run, and pyarrow, polars or duckdb open it as it is.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from qdfeedback.files import sync_folder
from qdfeedback.history_rows import FORMAT, Waiting, in_memory, schema_of
from qdfeedback.types import Batch, Ints

FLUSH_ROWS = 8192


@dataclass(frozen=True)
class Position:
    """How far a history reaches: what a checkpoint remembers and a resumed run cuts back to."""

    rows: int
    bytes: int


class History:
    """An append-only record of candidates; row i holds the candidate with id i.

    Args:
        path: the file; made by the first `append` if it is not there.
        names: the d feature columns.
        commit: True makes every batch durable before `append` returns (for candidates that cost money or
            minutes); False leaves that to `flush(sync=True)`, and a crash loses what came after it.

    Raises:
        ValueError: The file is not a history, was written by another version, or has other columns.
    """

    def __init__(self, path: Path, names: Sequence[str], *, commit: bool = False) -> None:
        self.path = path
        self.names = tuple(names)
        self._commit = commit
        self._schema: pa.Schema | None = None
        self._like: tuple[Any, ...] | None = None  # type and shape of a solution, once seen
        self._starts: list[int] = []  # first row of each record batch
        self._offsets: list[int] = []  # where its bytes begin
        self._rows = 0  # on disk
        self._bytes = 0
        self._filling: Waiting | None = None  # rows in memory
        self._leaving: Waiting | None = None  # rows on their way to the disk, and
        self._task: Future[tuple[int, int]] | None = None  # who takes them there
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="history")
        if path.exists() and path.stat().st_size:
            self._scan()

    def __len__(self) -> int:
        return self._rows + sum(len(part) for part in (self._leaving, self._filling) if part is not None)

    @property
    def solution_shape(self) -> tuple[int, ...] | None:
        """The shape of one solution; None for text, () for one of several named parts.

        Raises:
            RuntimeError: Nothing was appended yet.
        """
        if self._schema is None:
            raise RuntimeError(f"the history {self.path} is empty: append a batch first")
        shape = json.loads(self._schema.metadata[b"solution_shape"])
        return None if shape is None else () if isinstance(shape, dict) else tuple(shape)

    # --- writing

    def append(self, batch: Batch) -> None:
        """Takes in one batch.

        Raises:
            ValueError: Its ids do not continue the history, or its solutions or features are of another type or
                shape than those before.
            OSError: The disk is full; the history keeps all that it held before.
        """
        if not len(batch):
            return
        if int(batch.ids[0]) != len(self):
            raise ValueError(f"batch.ids must continue the history at {len(self)}, they start at {batch.ids[0]}")
        self._check_batch(batch)
        if self._filling is not None and not self._filling.has_room(len(batch)):
            self._hand_over()
        if self._filling is None or not self._filling.has_room(len(batch)):
            assert self._schema is not None
            self._filling = Waiting(self._schema, batch, rows=FLUSH_ROWS)
        self._filling.take(batch)
        if self._commit:
            self.flush(sync=True)

    def flush(self, *, sync: bool = False) -> Position:
        """Writes what waits in memory; with `sync`, returns only when it would survive a power cut.

        Raises:
            OSError: The disk is full; what could not be written stays in memory, to be tried again.
        """
        self._hand_over()
        self._settle()
        if sync and self._bytes:
            handle = os.open(self.path, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
            sync_folder(self.path.parent)
        return Position(self._rows, self._bytes)

    def _hand_over(self) -> None:
        """Sends what waits in memory on its way to the disk; the search goes on meanwhile."""
        self._settle()
        if self._filling:
            self._filling, self._leaving = self._leaving, self._filling
            self._task = self._send()

    def _settle(self) -> None:
        """Waits until what is on its way has arrived; what failed to arrive is sent again by the next call."""
        if self._leaving:
            task, self._task = self._task or self._send(), None
            offset, size = task.result()
            self._starts.append(self._rows)
            self._offsets.append(offset)
            self._bytes = offset + size
            self._rows += len(self._leaving)
            self._leaving.clear()

    def _send(self) -> Future[tuple[int, int]]:
        assert self._leaving is not None
        return self._writer.submit(self._write, self._leaving.record_batch(self._rows))

    def _check_batch(self, batch: Batch) -> None:
        if batch.features.shape != (len(batch), len(self.names)):
            raise ValueError(
                f"batch.features must have shape {(len(batch), len(self.names))}, got {batch.features.shape}"
            )
        solutions = np.asarray(batch.proposal.solutions)
        like = (in_memory(solutions.dtype), solutions.shape[1:])
        if like == self._like:
            return
        schema = schema_of(solutions, self.names)
        if self._schema is None:
            self._schema = schema
        elif schema != self._schema or schema.metadata != self._schema.metadata:
            raise ValueError(
                f"solutions must be as those before, {self._schema.field('solution').type}; "
                f"got {solutions.dtype} of shape {solutions.shape[1:]}"
            )
        self._like = like

    def _write(self, rows: pa.RecordBatch) -> tuple[int, int]:
        """Appends the rows; returns where their bytes begin and how many there are."""
        head = b"" if self._bytes else rows.schema.serialize().to_pybytes()
        body = rows.serialize()
        if self.path.exists() and self.path.stat().st_size != self._bytes:
            os.truncate(self.path, self._bytes)  # what a crash left behind
        try:
            with self.path.open("ab") as file:
                file.write(head)
                file.write(body)
        except OSError as error:
            if self.path.exists():
                os.truncate(self.path, self._bytes)
            raise OSError(error.errno, f"cannot append to {self.path}: {error.strerror}") from error
        return self._bytes + len(head), body.size

    def cut(self, position: Position) -> None:
        """Drops every row after a position that `flush` gave.

        Raises:
            ValueError: The history is shorter than that.
        """
        self._settle()
        if position.bytes > self._bytes:
            raise ValueError(
                f"{self.path} holds {self._rows} candidates, the checkpoint needs {position.rows}: "
                "the file was cut or replaced"
            )
        self._filling = None
        if self.path.exists():
            os.truncate(self.path, position.bytes)
        keep = sum(1 for start in self._starts if start < position.rows)
        self._starts, self._offsets = self._starts[:keep], self._offsets[:keep]
        self._rows, self._bytes = position.rows, position.bytes

    # --- reading

    def chunks(self, *columns: str, start: int = 0, rows: int = 65536) -> Iterator[dict[str, NDArray[Any]]]:
        """Yields the rows from `start` on, in order, as dicts of arrays.

        Args:
            columns: of id, iteration, origin, solution (n, …), features (n, d), error.
            start: the first row.
            rows: at most so many rows at a time.
        """
        self.flush()
        ends = [*self._starts[1:], self._rows] if self._starts else []
        for first, offset, end in zip(self._starts, self._offsets, ends, strict=True):
            if end <= start:
                continue
            batch = self._batch(offset)
            for low in range(max(start - first, 0), batch.num_rows, rows):
                part = batch.slice(low, rows)
                yield {name: self._array(part, name) for name in columns}

    def take(self, ids: Ints, column: str) -> NDArray[Any]:
        """Returns one column of the given candidates, in their order.

        Raises:
            IndexError: An id lies outside the history.
        """
        self.flush()
        ids = np.asarray(ids, dtype=np.int64)
        if len(ids) and (ids.min() < 0 or ids.max() >= self._rows):
            raise IndexError(f"ids must lie in [0, {self._rows}), got {ids.min()} to {ids.max()}")
        where = np.searchsorted(self._starts, ids, side="right") - 1
        found: NDArray[Any] | None = None
        for index in np.unique(where) if len(ids) else range(min(1, len(self._offsets))):  # none has a shape too
            mask = where == index
            values = self._array(self._batch(self._offsets[index]), column)[ids[mask] - self._starts[index]]
            if found is None:
                found = np.empty(
                    (len(ids), *values.shape[1:]), dtype=object if values.dtype.kind == "O" else values.dtype
                )
            found[mask] = values
        if found is None:
            return np.empty((0, len(self.names)) if column == "features" else (0,), dtype=np.float32)
        return found

    def failed(self) -> int:
        """Returns how many candidates have an error in place of a result."""
        return sum(len(part["error"]) - part["error"].tolist().count(None) for part in self.chunks("error"))

    def sample(self, column: str, most: int = 100_000) -> NDArray[Any]:
        """Returns a column of every candidate, or of evenly spaced ones where there are more than `most`."""
        total = len(self)
        every = max(1, -(-total // most))
        parts = []
        for chunk in self.chunks("id", column):
            parts.append(chunk[column][chunk["id"] % every == 0])
        return np.concatenate(parts) if parts else np.empty((0,))

    def _batch(self, offset: int) -> pa.RecordBatch:
        with pa.memory_map(str(self.path)) as file:
            file.seek(offset)
            return pa.ipc.read_record_batch(pa.ipc.read_message(file), self._schema)

    def _array(self, batch: pa.RecordBatch, name: str) -> NDArray[Any]:
        column = batch.column(name)
        kind = column.type
        array: NDArray[Any]
        if pa.types.is_struct(kind):
            return self._parts(column)
        if pa.types.is_fixed_size_list(kind):
            shape = self.solution_shape if name == "solution" else (len(self.names),)
            array = column.flatten().to_numpy(zero_copy_only=True).reshape(len(batch), *(shape or ()))
        else:
            array = column.to_numpy(zero_copy_only=not (pa.types.is_string(kind) or pa.types.is_list(kind)))
        return array

    def _parts(self, column: pa.StructArray) -> NDArray[Any]:
        """Returns a structured array of solutions with several named parts, text as objects."""
        assert self._schema is not None
        shapes = json.loads(self._schema.metadata[b"solution_shape"])
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

    def _scan(self) -> None:
        with pa.memory_map(str(self.path)) as file:
            try:
                schema = pa.ipc.read_schema(pa.ipc.read_message(file))
            except (pa.ArrowInvalid, OSError, EOFError) as error:
                if not self.path.read_bytes()[:4].startswith(b"\xff\xff"):
                    raise ValueError(f"{self.path} is not a history: {error}") from error
                warnings.warn(f"{self.path} is torn in its first message: it counts as empty", stacklevel=3)
                return
            self._check(schema)
            self._schema, self._bytes = schema, file.tell()
            while self._bytes < file.size():
                try:
                    batch = pa.ipc.read_record_batch(pa.ipc.read_message(file), schema)
                except (pa.ArrowInvalid, OSError, EOFError):
                    break
                self._starts.append(self._rows)
                self._offsets.append(self._bytes)
                self._rows += batch.num_rows
                self._bytes = file.tell()
            torn = file.size() - self._bytes
        if torn:
            warnings.warn(f"{self.path}: {torn} bytes after row {self._rows} are torn and left out", stacklevel=3)

    def _check(self, schema: pa.Schema) -> None:
        found = (schema.metadata or {}).get(b"format", b"none").decode()
        if found != FORMAT:
            raise ValueError(f"{self.path} has history format {found}, this version reads format {FORMAT}")
        names = tuple(json.loads(schema.metadata[b"feature_names"]))
        if names != self.names:
            raise ValueError(f"{self.path} has the feature columns {names}, expected {self.names}")


def names_of(path: Path) -> tuple[str, ...]:
    """Returns the feature columns of the history in a file.

    Raises:
        ValueError: It is none.
    """
    try:
        with pa.memory_map(str(path)) as file:
            schema = pa.ipc.read_schema(pa.ipc.read_message(file))
        return tuple(json.loads(schema.metadata[b"feature_names"]))
    except (pa.ArrowInvalid, OSError, EOFError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a history: {error}") from error
