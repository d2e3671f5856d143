"""SQLite files of ours: opened, known again, and said in a line what is wrong with them.

SQLite goes on writing into a file that was deleted, makes an empty one where one is missing, and names no file in its
errors; a reader leaves files of its own beside the one that it reads. None of this here.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

Mode = Literal["create", "write", "read", "still"]
WAIT = 60.0  # seconds for others that write
LONGEST = 64 << 20  # bytes of one value: no table of ours holds more
WHOLE, QUICK = 16 << 20, 128 << 20  # bytes: up to these a file is checked wholly, or without its indices, at opening
_LOG, _SHARED, _JOURNAL = "-wal", "-shm", "-journal"  # lies beside a file that is in use


class StoreError(OSError):
    """A database cannot be used: one line that names it and the remedy, and nothing of what it holds."""


@dataclass(frozen=True)
class Kind:
    """What a file is to its user.

    Attributes:
        what: it is called.
        table: whose rows are worth saving.
        rows: what these are called.
    """

    what: str
    table: str
    rows: str


@dataclass(frozen=True)
class Identity:
    """Which files a connection works on: device and inode of each, None where there is none.

    Attributes:
        real: the path with all links followed, beside which SQLite keeps the others.
        main: the database.
        log: what was written last.
        shared: where processes see each other's locks.
        size: bytes of the database.
        changed: when it was last changed, in nanoseconds.
    """

    real: Path
    main: tuple[int, int] | None
    log: tuple[int, int] | None
    shared: tuple[int, int] | None
    size: int
    changed: int


def connect(path: Path, mode: Mode) -> sqlite3.Connection:
    """Returns a connection that can be handed from thread to thread, in which each statement is a transaction.

    Args:
        path: the file.
        mode: "create" makes it where it is missing, the others do not; "read" reads what others may write, "still" what
            nobody does, and leaves nothing beside it (`reading` says which).

    Raises:
        sqlite3.Error: It cannot be opened; `explain` says in words why.
    """
    options = {"create": "rwc", "write": "rw", "read": "ro", "still": "ro&immutable=1"}[mode]
    uri = f"file:{quote(str(path.absolute()))}?mode={options}"
    connection = sqlite3.connect(uri, uri=True, timeout=WAIT, isolation_level=None, check_same_thread=False)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        connection.execute("PRAGMA trusted_schema = OFF")  # a schema that others wrote calls nothing with side effects
        connection.execute("PRAGMA cell_size_check = ON")
        if mode in ("create", "write"):
            _patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"))  # readers and a writer work at once
            connection.execute("PRAGMA synchronous = FULL")  # what is committed is on the disk
            connection.execute("PRAGMA secure_delete = ON")  # what was deleted is overwritten
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # only now its files are open
    except BaseException:
        connection.close()
        raise
    return connection


def reading(path: Path) -> Mode:
    """Returns how to read a file: "still" where no process has it open, and none was killed while it had."""
    real = path.resolve()
    return "read" if any(_beside(real, end).exists() for end in (_LOG, _JOURNAL)) else "still"


def identity(path: Path, real: Path | None = None) -> Identity:
    """Returns which files lie at a path now.

    Args:
        path: of the database.
        real: where its links led when it was opened; None = they are followed now.
    """
    real = path.resolve() if real is None else real
    main, log, shared = (_stat(one) for one in (path, _beside(real, _LOG), _beside(real, _SHARED)))
    size, changed = (main.st_size, main.st_mtime_ns) if main else (0, 0)
    return Identity(real, _which(main), _which(log), _which(shared), size, changed)


def gone(path: Path, known: Identity, *, still: bool = False) -> str | None:
    """Returns what became of the files that a connection works on; None where they lie where they lay.

    Args:
        path: of the database.
        known: its identity when the connection was opened.
        still: nobody was to change it either.
    """
    now = identity(path, known.real)
    if now.main is None:
        return f"{path} is gone: it was deleted or moved while it was in use"
    if now.main != known.main:
        return f"{path} is another file now: it was replaced while it was in use"
    if now.size < known.size:
        return f"{path} was cut from {known.size} to {now.size} bytes while it was in use"
    if still:
        return f"{path} was changed while it was read: do it again" if now.changed != known.changed else None
    if (known.log and now.log != known.log) or (known.shared and now.shared != known.shared):
        return f"{path}{_LOG} or {_SHARED} was deleted or replaced while {path.name} was in use"
    return None


def check_place(path: Path, kind: Kind, *, create: bool) -> None:
    """Refuses a path at which no database can be.

    Raises:
        ValueError: It is no file, it is missing or empty and must not be made, or its folder is missing.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a {kind.what}")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no ordinary file, and no {kind.what}")
    if create:
        if not path.absolute().parent.is_dir():
            raise ValueError(f"cannot make the {kind.what} {path}: there is no folder {path.parent}")
        return
    if not path.exists():
        raise ValueError(f"there is no {kind.what} {path}")
    if not path.stat().st_size:
        raise ValueError(f"the {kind.what} {path} is empty: what it held is gone; put a backup in its place")


def damage(connection: sqlite3.Connection, path: Path) -> str | None:
    """Returns the first thing that is wrong within a file; a large one is looked at less closely, or not at all."""
    size = path.stat().st_size
    if size > QUICK:
        return None
    check = "integrity_check" if size <= WHOLE else "quick_check"
    try:
        (found,) = connection.execute(f"PRAGMA {check}(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if _code(error) != sqlite3.SQLITE_CORRUPT:
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
    base = _code(error)
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
        return f"{path} is locked: another program has been at work on it for {WAIT:g} seconds; end it and try again"
    if base == sqlite3.SQLITE_CANTOPEN:
        return f"cannot open the {kind.what} {path}, or what lies beside it: {_why_not(path)}"
    if base == sqlite3.SQLITE_IOERR:
        return f"the disk fails at {path}: {text}"
    return f"{path} cannot be used: {text}"


def damaged(path: Path, wrong: str, kind: Kind) -> str:
    """Returns a line that says what is wrong within a file, how much of it can be read, and how to save that."""
    n = readable(path, kind.table)
    some = "an unknown number" if n is None else str(n or "none")
    name, log = path.name, _beside(path.resolve(), _LOG)
    return (
        f"{path} is damaged ({wrong}); {some} of its {kind.rows} can be read. Put a backup in its place, or move it"
        f"{f' and {log.name}' if log.exists() else ''} into a folder aside/ and save what can be saved: "
        f"sqlite3 aside/{name} .recover | sqlite3 {name}"
    )


def readable(path: Path, table: str) -> int | None:
    """Returns how many rows of a table can be read, from both ends up to what is damaged; None = not even some."""
    found: set[int] = set()
    try:
        with closing(connect(path, reading(path))) as connection:
            connection.text_factory = bytes
            for order in ("ASC", "DESC"):
                try:
                    for row in connection.execute(f"SELECT rowid, * FROM {table} NOT INDEXED ORDER BY rowid {order}"):
                        found.add(row[0])
                except sqlite3.OperationalError as error:
                    if "no such" in str(error):
                        return None
                except sqlite3.DatabaseError:
                    pass
    except sqlite3.Error:
        return None
    return len(found)


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


def _patiently(do: Callable[[], object]) -> None:
    """Does what SQLite refuses at once while another process does the same, and waits for no one."""
    for wait in (0.05,) * 200 + (None,):
        try:
            do()
            return
        except sqlite3.OperationalError as error:
            if wait is None or _code(error) != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(wait)


def _code(error: BaseException) -> int | None:
    """Returns SQLite's number of an error, None for what Python itself found wrong."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _beside(real: Path, end: str) -> Path:
    return real.with_name(real.name + end)


def _which(found: os.stat_result | None) -> tuple[int, int] | None:
    return None if found is None else (found.st_dev, found.st_ino)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
