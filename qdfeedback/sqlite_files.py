"""SQLite files of ours: opened, known again, and said in a line what is wrong with them.

SQLite goes on writing into a file that was deleted, makes an empty one where one is missing, and names no file in its
errors; a reader leaves files of its own beside the one that it reads. None of this here.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

Found = TypeVar("Found")
Mode = Literal["create", "write", "read", "still"]
WAIT = 60.0  # seconds for others that write
LONGEST = 64 << 20  # bytes of one value: no table of ours holds more
LOG, _SHARED, _JOURNAL = "-wal", "-shm", "-journal"  # lies beside a file that is in use


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
    except UnicodeDecodeError as error:  # Python's, of what SQLite says is wrong with a damaged schema
        connection.close()
        raise sqlite3.DatabaseError("its schema is not UTF-8") from error
    except BaseException:
        connection.close()
        raise
    return connection


def reading(path: Path) -> Mode:
    """Returns how to read a file: "still" where no process has it open, and none was killed while it had."""
    real = path.resolve()
    return "read" if any(_beside(real, end).exists() for end in (LOG, _JOURNAL)) else "still"


def identity(path: Path, real: Path | None = None) -> Identity:
    """Returns which files lie at a path now.

    Args:
        path: of the database.
        real: where its links led when it was opened; None = they are followed now.
    """
    real = path.resolve() if real is None else real
    main, log, shared = (_stat(one) for one in (path, _beside(real, LOG), _beside(real, _SHARED)))
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
        return f"{path}{LOG} or {_SHARED} was deleted or replaced while {path.name} was in use"
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


def looked_at(path: Path, look: Callable[[Mode], Found]) -> Found:
    """Returns what `look` finds in a file that others may begin to write just then.

    Args:
        path: of the file.
        look: opens it in the mode that it is given; what it raises counts if nobody wrote meanwhile.
    """
    while True:
        before, mode = identity(path), reading(path)
        try:
            return look(mode)
        except (ValueError, OSError):
            if mode != "still" or identity(path) == before:
                raise
            time.sleep(0.05)


def _patiently(do: Callable[[], object]) -> None:
    """Does what SQLite refuses at once while another process does the same, and waits for no one."""
    for wait in (0.05,) * 200 + (None,):
        try:
            do()
            return
        except sqlite3.OperationalError as error:
            if wait is None or code(error) != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(wait)


def code(error: BaseException) -> int | None:
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
