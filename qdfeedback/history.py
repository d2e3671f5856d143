"""Every evaluated candidate, on disk, append-only.

The file is an Arrow IPC stream: one schema message, then record batches, its parts. It is read through a memory map,
a part at a time, so memory does not grow with the run, and pyarrow, polars or duckdb open it as it is. `history.sums`
beside it holds the checksum of every part: it is compared when the part is first read.
"""

from __future__ import annotations

import json
import os
import warnings
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from qdfeedback.files import sync_files, write_atomic
from qdfeedback.history_asides import keep_damaged, keep_tail
from qdfeedback.history_parts import (
    UNREADABLE,
    Part,
    Sums,
    checksum,
    find_parts,
    is_whole,
    missing_rows,
    read_sums,
    schema_line,
)
from qdfeedback.history_rows import (
    FORMAT,
    Waiting,
    array_of,
    check_columns,
    in_memory,
    is_full,
    names_in,
    schema_of,
)
from qdfeedback.text_files import beginning, why
from qdfeedback.types import Batch, Ints

FLUSH_ROWS = 8192


@dataclass(frozen=True)
class Position:
    """How far a history reaches: what a checkpoint remembers and a resumed run cuts back to."""

    rows: int
    bytes: int


class DamagedHistoryError(ValueError):
    """A part of a history is not what was written; the message says which candidates it held."""


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
        self._parts: list[Part] = []  # row after row, as far as all are there
        self._starts: list[int] = []  # first row of each
        self._checked: set[int] = set()  # offsets of those that were compared with their checksums
        self._whole: set[int] = set()  # offsets of those whose columns were looked at
        self._damaged: list[Part] = []  # not what was written
        self._beyond: list[Part] = []  # whole, after what is damaged
        self._rows = 0  # on disk
        self._bytes = 0
        self._filling: Waiting | None = None  # rows in memory
        self._leaving: Waiting | None = None  # rows on their way to the disk, and
        self._task: Future[Part] | None = None  # who takes them there
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="history")
        if path.exists() and path.stat().st_size:
            self._scan()

    @property
    def sums(self) -> Path:
        """The file of checksums."""
        return self.path.with_suffix(".sums")

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
            sync_files(self.path, self.sums)
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
            self._take_in(task.result())
            self._leaving.clear()

    def _take_in(self, part: Part) -> None:
        self._parts.append(part)
        self._starts.append(part.start)
        self._rows, self._bytes = part.start + part.rows, part.offset + part.size

    def _send(self) -> Future[Part]:
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

    def _write(self, rows: pa.RecordBatch) -> Part:
        """Appends the rows, then their checksum."""
        head = b"" if self._bytes else rows.schema.serialize().to_pybytes()
        body = rows.serialize()
        if self.path.exists() and self.path.stat().st_size != self._bytes:
            self._set_aside(self._bytes)  # what a crash left behind
            os.truncate(self.path, self._bytes)
        part = Part(self._rows, rows.num_rows, self._bytes + len(head), body.size, zlib.crc32(memoryview(body)))
        noted = self.sums.stat().st_size if self.sums.exists() else 0
        try:
            with self.path.open("ab") as file:
                file.write(head)
                file.write(body)
            with self.sums.open("ab") as file:
                file.write(((schema_line(head) if head else "") + part.line()).encode())
        except OSError as error:
            for path, size in ((self.path, self._bytes), (self.sums, noted)):
                if path.exists():
                    os.truncate(path, size)
            raise OSError(error.errno, f"cannot append to {self.path}: {error.strerror}") from error
        return part

    def cut(self, position: Position) -> Path | None:
        """Drops every row after a position that `flush` gave; returns the file that keeps what is dropped.

        Raises:
            ValueError: The history is shorter than that, or damaged before it.
        """
        self._settle()
        if position.bytes > self._bytes or position.rows > self._rows:
            why = self.damage() or "the file was cut or replaced"
            raise ValueError(f"{self.path} holds {self._rows} candidates, the checkpoint needs {position.rows}: {why}")
        ends = {0: 0} | {part.offset + part.size: part.start + part.rows for part in self._parts}
        if ends.get(position.bytes) != position.rows:
            raise ValueError(
                f"{self.path} has no part that ends at byte {position.bytes} with row {position.rows}: the file was "
                "replaced"
            )
        self._filling = None
        keep, aside = [part for part in self._parts if part.start < position.rows], None
        if self.path.exists():
            aside = self._set_aside(position.bytes)
            if self.path.stat().st_size > position.bytes:
                os.truncate(self.path, position.bytes)
        self._parts, self._starts = keep, [part.start for part in keep]
        self._damaged, self._beyond = [], []
        self._rows, self._bytes = position.rows, position.bytes
        if not keep:
            self._schema = self._like = None
        self._write_sums()
        return aside

    def _write_sums(self) -> None:
        """Writes the checksums anew, those that nobody noted among them: from here on, damage is noticed."""
        if self._schema is None:
            self.sums.unlink(missing_ok=True)
            return
        lines = [schema_line(self._schema.serialize().to_pybytes())]
        for i, part in enumerate(self._parts):
            if part.crc is None:
                self._parts[i] = replace(part, crc=checksum(self.path, part.offset, part.size))
            lines.append(self._parts[i].line())
        write_atomic(self.sums, "".join(lines).encode())

    def _set_aside(self, keep: int) -> Path | None:
        """Copies what the file holds after so many bytes, before it is cut; returns the copy."""
        if self.path.stat().st_size <= keep:
            return None
        if damage := self.damage():
            return keep_damaged(self.path, self._schema, [*self._parts, *self._beyond], damage)
        return keep_tail(self.path, self._schema, keep)

    def rows(self, start: int, rows: int) -> pa.Table:
        """Returns some rows as an Arrow table.

        Raises:
            DamagedHistoryError: A part that holds one of them is not what was written.
        """
        self.flush()
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, start + rows, side="left"))
        table = pa.Table.from_batches([self._batch(part) for part in self._parts[first:last]], self._schema)
        return table.slice(start - self._starts[first], rows)

    # --- reading

    def chunks(self, *columns: str, start: int = 0, rows: int = 65536) -> Iterator[dict[str, NDArray[Any]]]:
        """Yields the rows from `start` on, in order, as dicts of arrays.

        Args:
            columns: of id, iteration, origin, solution (n, …), features (n, d), error.
            start: the first row.
            rows: at most so many rows at a time.

        Raises:
            DamagedHistoryError: A part is not what was written.
        """
        self.flush()
        self._check_all_there()
        for part in self._parts:
            if part.start + part.rows <= start:
                continue
            batch = self._batch(part)
            for low in range(max(start - part.start, 0), batch.num_rows, rows):
                some = batch.slice(low, rows)
                yield {name: array_of(some, name) for name in columns}

    def take(self, ids: Ints, column: str) -> NDArray[Any]:
        """Returns one column of the given candidates, in their order.

        Raises:
            IndexError: An id lies outside the history.
            DamagedHistoryError: A part that holds one of them is not what was written.
        """
        self.flush()
        ids = np.asarray(ids, dtype=np.int64)
        if len(ids) and (ids.min() < 0 or ids.max() >= self._rows):
            raise IndexError(f"ids must lie in [0, {self._rows}), got {ids.min()} to {ids.max()}")
        where = np.searchsorted(self._starts, ids, side="right") - 1
        found: NDArray[Any] | None = None
        for index in np.unique(where) if len(ids) else range(min(1, len(self._parts))):  # none has a shape too
            mask = where == index
            values = array_of(self._batch(self._parts[index]), column)[ids[mask] - self._starts[index]]
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

    def sample(self, column: str, most: int | None = 100_000) -> NDArray[Any]:
        """Returns a column of every candidate, or of evenly spaced ones where there are more than `most`.

        Args:
            column: which.
            most: None = every candidate, whose id is its row.
        """
        every = 1 if most is None else max(1, -(-len(self) // most))
        parts = []
        for chunk in self.chunks("id", column):
            parts.append(chunk[column][chunk["id"] % every == 0])
        return np.concatenate(parts) if parts else np.empty((0,))

    def _batch(self, part: Part) -> pa.RecordBatch:
        if part.offset not in self._checked:
            if not is_whole(self.path, part):
                last = part.start + part.rows - 1
                raise DamagedHistoryError(
                    f"{self.path} is damaged where it holds the candidates {part.start} to {last}"
                )
            self._checked.add(part.offset)
        with pa.memory_map(str(self.path)) as file:
            file.seek(part.offset)
            try:
                rows = pa.ipc.read_record_batch(pa.ipc.read_message(file), self._schema)
            except UNREADABLE as error:
                raise DamagedHistoryError(f"{self.path} is damaged: {why(error)}") from error
        if part.offset not in self._whole and not is_full(rows, part.rows):
            raise DamagedHistoryError(f"{self.path} is damaged: candidates from {part.start} on lack what all have")
        self._whole.add(part.offset)
        return rows

    # --- what is whole

    def check(self) -> None:
        """Compares every part with its checksum; what comes after a damaged one counts no longer as held.

        `damage` then says what was lost, and `cut` keeps what is there in files of its own.
        """
        self._settle()
        for i, part in enumerate(self._parts):
            if part.offset not in self._checked and not is_whole(self.path, part):
                self._damaged.append(part)
                self._beyond = [*(one for one in self._parts[i + 1 :] if is_whole(self.path, one)), *self._beyond]
                self._damaged += [one for one in self._parts[i + 1 :] if one not in self._beyond]
                self._keep(self._parts[:i])
                return
            self._checked.add(part.offset)

    def damage(self) -> str | None:
        """Returns a sentence that says which candidates are lost; None where no damage is known of."""
        if not self._damaged and not self._beyond:
            return None
        gaps = missing_rows([*self._parts, *self._beyond], self._damaged)
        if not gaps:
            return f"{self.path} is damaged where it names its columns: no row is lost"
        rows = sum(last - first + 1 for first, last in gaps)
        ids = ", ".join(f"{first} to {last}" for first, last in gaps)
        return f"{self.path} is damaged: {rows} rows are lost, the candidates {ids}"

    def _check_all_there(self) -> None:
        if damage := self.damage():
            raise DamagedHistoryError(damage)

    def _keep(self, parts: list[Part]) -> None:
        self._parts, self._starts = [], []
        self._rows = 0
        for part in parts:
            self._take_in(part)
        if not parts:
            self._bytes = 0 if self._schema is None else self._schema.serialize().size

    def _scan(self) -> None:
        noted, size = read_sums(self.sums), self.path.stat().st_size
        found = self._columns(noted)
        if found is None:
            warnings.warn(f"{self.path} is torn in its first message: it counts as empty", stacklevel=3)
            return
        self._schema, begin, damaged = found
        parts = find_parts(self.path, self._schema, begin, noted.parts)
        if damaged:
            self._beyond, self._damaged = parts, [Part(0, 0, 0, begin, None)]
            return
        self._bytes = begin
        for i, part in enumerate(parts):
            if part.start != self._rows or part.offset != self._bytes:
                self._beyond = parts[i:]
                break
            self._take_in(part)
        if not self._beyond and (torn := size - self._bytes):
            warnings.warn(f"{self.path}: {torn} bytes after row {self._rows} are torn and left out", stacklevel=3)

    def _columns(self, noted: Sums) -> tuple[pa.Schema, int, bool] | None:
        """Returns the columns, the bytes that they take, and whether the file's own note of them is damaged.

        None where a crash tore it.
        """
        try:
            with pa.memory_map(str(self.path)) as file:
                schema, begin = pa.ipc.read_schema(pa.ipc.read_message(file)), file.tell()
        except (*UNREADABLE, KeyError, TypeError) as error:
            with self.path.open("rb") as head:
                ours = head.read(4) == b"\xff\xff\xff\xff"
            if noted.schema and self.path.stat().st_size > len(noted.schema):  # they stand there a second time
                schema = pa.ipc.read_schema(pa.py_buffer(noted.schema))
                self._check(schema)
                return schema, len(noted.schema), True
            if not ours:
                raise ValueError(f"{self.path} is not a history: {why(error)}") from error
            return None
        with self.path.open("rb") as file:
            damaged = bool(noted.schema) and file.read(len(noted.schema)) != noted.schema
        if damaged:
            schema = pa.ipc.read_schema(pa.py_buffer(noted.schema))
        self._check(schema)
        return schema, len(noted.schema) if damaged else begin, damaged

    def _check(self, schema: pa.Schema) -> None:
        found = (schema.metadata or {}).get(b"format", b"none").decode(errors="replace")
        if found != FORMAT:
            raise ValueError(
                f"{self.path} has history format {beginning(found, 40)}, this version reads format {FORMAT}"
            )
        try:
            names = names_in(schema)
            check_columns(schema, len(names))
        except ValueError as error:
            raise ValueError(f"{self.path} is not a history: {why(error)}") from error
        if names != self.names:
            raise ValueError(f"{self.path} has other feature columns than expected: {_difference(names, self.names)}")


def _difference(found: Sequence[str], expected: Sequence[str]) -> str:
    """Returns in which names two lists of columns differ, the first few of each."""
    lacks = [name for name in expected if name not in found]
    has = [name for name in found if name not in expected]
    said = [
        f"{which} {', '.join(map(repr, names[:5]))}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"
        for which, names in (("it lacks", lacks), ("it has besides", has))
        if names
    ]
    if not said:
        at = next((i for i, (one, two) in enumerate(zip(found, expected, strict=False)) if one != two), len(expected))
        said = [f"the same in another order, from column {at} on"]
    return "; ".join(said)


def read_history(path: Path) -> History:
    """Returns the history in a file as it is now: what a run at work writes at this moment is not there yet.

    Raises:
        ValueError: It is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the end of the file is torn for a moment
        return History(path, names_of(path))


def names_of(path: Path) -> tuple[str, ...]:
    """Returns the feature columns of the history in a file.

    Raises:
        ValueError: It is none.
    """
    try:
        with pa.memory_map(str(path)) as file:
            schema = pa.ipc.read_schema(pa.ipc.read_message(file))
        return names_in(schema)
    except (*UNREADABLE, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a history: {why(error)}") from error
