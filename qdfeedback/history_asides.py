"""What is kept of a history before anything of it is cut: copies with names of their own, beside it.

`history.cut-1.arrows`      rows after a checkpoint from which the run went on; removed once it has made them again
`history.damaged-1.arrows`  the whole file, as it was when damage was found
`history.saved-1.arrows`    all rows of that file that could be read, for any tool that reads Arrow
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from qdfeedback.files import beside, sync_files
from qdfeedback.history_parts import UNREADABLE, Part, find_parts

Rows = Callable[[int, int], pa.Table]
"""First row and how many → these rows of a history, `History.rows`."""


def keep_damaged(path: Path, schema: pa.Schema | None, whole: Sequence[Part], damage: str) -> Path:
    """Returns a copy of a damaged file, and keeps all of it that can be read; a warning says what is lost."""
    aside, saved = beside(path, "damaged"), beside(path, "saved")
    shutil.copyfile(path, aside)
    _copy(path, schema, whole, saved)
    sync_files(aside, saved)
    rows = sum(part.rows for part in whole)
    warnings.warn(f"{damage}; the file is kept as {aside}, the {rows} rows that can be read as {saved}", stacklevel=5)
    return aside


def keep_tail(path: Path, schema: pa.Schema | None, keep: int) -> Path:
    """Returns a copy of what a file holds after so many bytes."""
    aside = beside(path, "cut")
    _copy(path, schema if keep else None, [Part(0, 0, keep, path.stat().st_size - keep, None)], aside)
    sync_files(aside)
    return aside


def forget_cuts(path: Path, count: int, rows: Rows) -> None:
    """Removes copies of rows that were cut when a run went on, and that it has made again since, to the last bit.

    Args:
        path: of the history.
        count: how many rows it holds.
        rows: reads them.
    """
    for aside in sorted(path.parent.glob(f"{path.stem}.cut-*{path.suffix}")):
        if _was_made_again(aside, count, rows):
            aside.unlink()


def _was_made_again(aside: Path, count: int, rows: Rows) -> bool:
    try:
        with pa.memory_map(str(aside)) as file:
            schema, begin = pa.ipc.read_schema(pa.ipc.read_message(file)), file.tell()
    except UNREADABLE:
        return False
    size = aside.stat().st_size
    parts = find_parts(aside, schema, begin, {}) if size > begin else []
    if sum(part.size for part in parts) < size - begin:
        return False  # nobody can compare what cannot be read
    for part in parts:
        with pa.memory_map(str(aside)) as file:
            file.seek(part.offset)
            cut = pa.Table.from_batches([pa.ipc.read_record_batch(pa.ipc.read_message(file), schema)])
        if part.start + part.rows > count:
            return False
        one, two = (table.combine_chunks().to_batches() for table in (cut, rows(part.start, part.rows)))
        if len(one) != 1 or len(two) != 1 or not one[0].serialize().equals(two[0].serialize()):
            return False
    return True


def _copy(path: Path, schema: pa.Schema | None, parts: Sequence[Part], target: Path) -> None:
    with path.open("rb") as file, target.open("wb") as out:
        out.write(b"" if schema is None else schema.serialize().to_pybytes())
        for part in parts:
            file.seek(part.offset)
            out.write(file.read(part.size))
