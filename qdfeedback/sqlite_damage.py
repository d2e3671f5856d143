"""What is wrong with a SQLite file, in a line, and how much of it can be read."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from qdfeedback import sqlite_files
from qdfeedback.sqlite_files import Kind, code

WHOLE, QUICK = 8 << 20, 128 << 20  # bytes: up to these a file is checked wholly, or without its indices, at opening
GAP = 100_000  # rows between two that can be read: up to so many are looked for one by one


def damage(connection: sqlite3.Connection, path: Path) -> str | None:
    """Returns the first thing that is wrong within a file; a large one is looked at less closely, or not at all."""
    size = path.stat().st_size
    if size > QUICK:
        return None
    check = "integrity_check" if size <= WHOLE else "quick_check"
    try:
        (found,) = connection.execute(f"PRAGMA {check}(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if code(error) != sqlite3.SQLITE_CORRUPT:
            raise
        return str(error)
    return None if found == "ok" else " ".join(str(found).replace("*** in database main ***", "").split())


def explain(path: Path, error: BaseException, kind: Kind) -> str:
    """Returns a line about an error of SQLite: the file, what is wrong, what to do; nothing of what was stored.

    Args:
        path: of the database.
        error: as sqlite3 raised it.
        kind: what it is.
    """
    base = code(error)
    text = " ".join(str(error).split())
    if base is None and "UTF-8" in text:  # the text itself follows
        return damaged(path, "it holds text that is not UTF-8", kind)
    if base == sqlite3.SQLITE_NOTADB:
        return f"cannot open the {kind.what} {path}: {text}, or its beginning is damaged; put a backup in its place"
    if base in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT):
        return damaged(path, text, kind)
    if base == sqlite3.SQLITE_ERROR and "no such" in text:
        return f"{path} is damaged, or another program's: it has {text.replace('no such', 'no')}"
    if base == sqlite3.SQLITE_FULL:
        return f"cannot write {kind.rows} to {path}: the disk is full; what was kept before stands"
    if base == sqlite3.SQLITE_READONLY:
        return f"cannot write {kind.rows} to {path}: it, its folder or the disk is read-only ({text})"
    if base in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        wait = f"{sqlite_files.WAIT:g} seconds"
        return f"{path} is locked: another program has been at work on it for {wait}; end it and try again"
    if base == sqlite3.SQLITE_CANTOPEN:
        return f"cannot open the {kind.what} {path}, or what lies beside it: {_why_not(path)}"
    if base == sqlite3.SQLITE_IOERR:
        return f"the disk fails at {path}: {text}"
    return f"{path} cannot be used: {text}"


def damaged(path: Path, wrong: str, kind: Kind) -> str:
    """Returns a line that says what is wrong within a file, how much of it can be read, and how to save that."""
    n, log = readable(path, kind.table), path.with_name(f"{path.name}{sqlite_files.LOG}")
    some = "an unknown number" if n is None else str(n or "none")
    beside = f" and {log.name}" if log.exists() else ""
    return (
        f"{path} is damaged ({wrong}); {some} of its {kind.rows} can be read. Put a backup in its place; or save what "
        f"can be read with `python -m qdfeedback.rescue {path} NEW`, move it{beside} aside, and put NEW in its place"
    )


def readable(path: Path, table: str) -> int | None:
    """Returns how many rows of a table can be read, None where that is not known."""
    try:
        with closing(sqlite_files.connect(path, sqlite_files.reading(path))) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone():
                return None
            return sum(1 for _ in rows(connection, table))
    except sqlite3.Error:
        return None


def rows(connection: sqlite3.Connection, table: str) -> Iterator[list[Any]]:
    """Gives every row of a table that can be read: from its beginning, from its end, then those between one by one."""
    connection.text_factory = bytes
    query, seen = f"SELECT rowid, * FROM {quoted(table)}", set[int]()
    for step in ("ORDER BY rowid", "ORDER BY rowid DESC", "between"):
        between = [number for number in range(1, max(seen, default=0)) if number not in seen][:GAP]
        asked = [f"{query} WHERE rowid = {number}" for number in between] if step == "between" else [f"{query} {step}"]
        whole = True
        for one in asked:
            try:
                for row in connection.execute(one):
                    if row[0] not in seen:
                        seen.add(row[0])
                        yield from _decoded(row[1:])
            except (sqlite3.DatabaseError, UnicodeDecodeError):  # what SQLite says can be no text
                whole = False
        if whole:
            return


def _decoded(row: tuple[Any, ...]) -> Iterator[list[Any]]:
    """Gives a row with its texts, nothing where one of them is none."""
    try:
        yield [value.decode() if isinstance(value, bytes) else value for value in row]
    except UnicodeDecodeError:
        return


def quoted(name: str) -> str:
    """Returns a name as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def _why_not(path: Path) -> str:
    """Returns why a file cannot be opened, as far as it can be seen from outside."""
    folder, own = path.absolute().parent, os.access in os.supports_effective_ids
    if not folder.is_dir():
        return f"there is no folder {folder}"
    if not path.exists():
        return "it is not there"
    if not os.access(path, os.R_OK, effective_ids=own):
        return "you may not read it"
    if not os.access(folder, os.W_OK, effective_ids=own):
        return f"you may not write into its folder {folder}"
    return "the system refuses"
