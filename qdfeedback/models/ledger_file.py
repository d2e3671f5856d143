"""The SQLite file of a ledger: made where there is none, known again, and named where something is wrong with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from qdfeedback import sqlite_damage, sqlite_files
from qdfeedback.sqlite_files import Identity, Mode, StoreError

KIND = sqlite_files.Kind("ledger of replies", "replies", "replies")
VERSION = 1  # of the tables; files from before this was noted say 0, and have the same
_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, call TEXT NOT NULL, reply TEXT NOT NULL, run TEXT NOT NULL,
    requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost REAL NOT NULL,
    utc REAL NOT NULL);
CREATE TABLE IF NOT EXISTS intents (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, worst REAL NOT NULL, process TEXT NOT NULL,
    run TEXT NOT NULL, utc REAL NOT NULL);
CREATE TABLE IF NOT EXISTS failures (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, model TEXT NOT NULL, reason TEXT NOT NULL,
    run TEXT NOT NULL, cost REAL NOT NULL, possibly_paid INTEGER NOT NULL, utc REAL NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS spent (one INTEGER PRIMARY KEY CHECK (one = 1), paid REAL NOT NULL, reserved REAL NOT NULL);
INSERT OR IGNORE INTO spent VALUES (1, 0, 0);
"""


class LedgerFile:
    """The file, for any number of threads and processes.

    Args:
        path: of the file; made where there is none or an empty one.

    Raises:
        ValueError: There is something else, or it is damaged.
        StoreError: The system refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: Identity | None = None
        sqlite_files.check_place(path, KIND, create=True)
        if path.exists() and path.stat().st_size:
            sqlite_files.looked_at(path, self._look)
        with self.writing(mode="create") as connection:
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        self._known = replace(sqlite_files.identity(path), log=None, shared=None)  # these come and go

    @contextmanager
    def reading(self, mode: Mode = "write") -> Iterator[sqlite3.Connection]:
        """Gives a connection.

        Raises:
            StoreError: The file is gone, damaged, locked, or another one; the disk is full; the system refuses.
        """
        self._check()
        try:
            with closing(sqlite_files.connect(self.path, mode)) as connection:
                self._check()
                yield connection
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise StoreError(sqlite_damage.explain(self.path, error, KIND)) from None

    @contextmanager
    def writing(self, mode: Mode = "write") -> Iterator[sqlite3.Connection]:
        """Gives a transaction that is durable when the block is left, and undone when it raises.

        Raises:
            StoreError: As for `reading`; nothing of the block counts as kept.
        """
        with self.reading(mode) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            self._check()

    def _check(self) -> None:
        wrong = sqlite_files.gone(self.path, self._known) if self._known is not None else None
        if wrong is not None:
            raise StoreError(wrong)

    def _look(self, mode: Mode) -> None:
        """Refuses what is no ledger, or is damaged; changes nothing."""
        with self.reading(mode) as connection:
            rows = connection.execute("SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")
            there = {name: kind for kind, name in rows}
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            wrong = sqlite_damage.damage(connection, self.path) if there else None
            columns = {name: _columns(connection, name) for name in _wanted()}
        if there and "replies" not in there:
            some = ", ".join(sorted(there)[:5])
            raise ValueError(f"{self.path} is no {KIND.what}, it holds other tables ({some}): it is left as it is")
        if version > VERSION:
            raise ValueError(f"{self.path} was written by a later version ({version}), this one reads {VERSION}")
        if wrong is not None:
            raise ValueError(sqlite_damage.damaged(self.path, wrong, KIND))
        for name, kind in there.items():
            if kind != "table":
                raise ValueError(f"{self.path} holds a {kind} {name!r}, which no {KIND.what} has: do not use it")
        for name, wanted in _wanted().items():
            if missing := wanted - columns[name] if there else set():
                what = f"column {min(missing)} of table {name}" if columns[name] else f"table {name}"
                raise ValueError(f"{self.path} lacks the {what}: it is damaged, or another program's; use a backup")


def _wanted() -> dict[str, set[str]]:
    """Returns the columns of each table."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_TABLES)
        return {name: _columns(connection, name) for name in ("replies", "intents", "failures", "spent")}


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}
