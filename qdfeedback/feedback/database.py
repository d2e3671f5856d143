"""The database behind a judgment store: SQLite by default, PostgreSQL by URL; one schema, one way to write.

What is handed in is kept once `Database.writing` is left: committed, on the disk, and in the file that lies at the
place, not in one that was deleted or replaced meanwhile. What goes wrong is a `StoreError` of one line.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from qdfeedback import files, sqlite_damage, sqlite_files
from qdfeedback.feedback import opening
from qdfeedback.feedback.tables import SCHEMA
from qdfeedback.sqlite_files import Identity, StoreError

FORGET = 50  # tries
_MAKING = "qdfeedback"  # the lock of who makes tables


class Database:
    """Connections to one database.

    Args:
        where: a file path for SQLite, or an SQLAlchemy URL.
        create: makes the tables where there is nothing; without it they must be there.
        write: False only reads: nothing is made or changed, not even what an earlier version did not have.

    Attributes:
        name: the file, or the URL without its password.
        made: its tables were made just now.

    Raises:
        ValueError: The place cannot be opened, holds nothing or what is not ours, is damaged, or was written by another
            version.
    """

    def __init__(self, where: Path | str, *, create: bool = True, write: bool = True) -> None:
        url, create = opening.url_of(where), create and write
        self.name = opening.safe(url)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._path = Path(str(url.database))
        self._held: sqlite3.Connection | None = None  # while it is open, no other file can be taken for this one
        self._known: Identity | None = None
        self._mode: sqlite_files.Mode = "create" if create else "write"
        if self.is_sqlite:
            opening.look_at_file(self._path, create=create)
            if not write:
                self._mode = sqlite_files.reading(self._path)
        self.engine = opening.engine_of(url, self._connect if self.is_sqlite else None)
        if self.is_sqlite:
            sa.event.listen(self.engine, "begin", _begin_sqlite)
        self._reading = self._readers(url)
        self._turn = threading.Lock()  # threads of one process wait here, and not in the database
        try:
            if self.is_sqlite:
                self._hold()
            self.made = self._prepare(create=create, write=write)
        except (OSError, ValueError, sa.exc.SQLAlchemyError) as error:
            self.close()
            if not isinstance(error, OSError):
                raise
            line = str(error) if self.is_sqlite else f"cannot open the judgment store {error}"
            raise ValueError(line) from None

    def close(self) -> None:
        """Lets go of all connections."""
        self.engine.dispose()
        self._reading.dispose()
        if self._held is not None:
            self._held.close()

    def forget(self) -> None:
        """Writes over what SQLite still keeps of deleted rows beside the database; others that write have to pause."""
        for _ in range(FORGET if self.is_sqlite else 0):
            with self._turn, self._in_words(), self._reading.connect() as connection:
                busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
            if not busy:
                return
            time.sleep(0.1)

    @contextmanager
    def writing(self, *, lock: str | None = None) -> Iterator[sa.Connection]:
        """Gives a transaction that is durable when the block is left, and undone when it raises.

        Args:
            lock: transactions with one name run one after another. On SQLite all that write do.

        Raises:
            StoreError: The database cannot be written, or is gone: nothing of the block counts as kept.
        """
        with self._turn, self._in_words():
            with self.engine.begin() as connection:
                if lock is not None and not self.is_sqlite:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(lock, 0))))
                yield connection
            self._check()

    def rows(self, query: sa.Select[*tuple[Any, ...]], **values: Any) -> Sequence[sa.RowMapping]:
        """Returns what a query finds, with these values for its bound parameters.

        Raises:
            StoreError: The database cannot be read, or is gone.
        """
        with self._in_words(), self._reading.connect() as connection:
            found: Sequence[sa.RowMapping] = connection.execute(query, values).mappings().all()
        self._check()
        return found

    def value(self, query: sa.Select[*tuple[Any, ...]], **values: Any) -> Any:
        """Returns the first column of the first row, None where there is no row.

        Raises:
            StoreError: The database cannot be read, or is gone.
        """
        with self._in_words(), self._reading.connect() as connection:
            found = connection.scalar(query, values)
        self._check()
        return found

    def insert_new(self, table: sa.Table) -> Any:
        """Returns an insert that leaves rows alone that are there already."""
        dialect: Any = sqlite if self.is_sqlite else postgresql
        return dialect.insert(table).on_conflict_do_nothing()

    # --- within

    def _prepare(self, *, create: bool, write: bool) -> bool:
        """Looks at what is there, makes the tables that are missing, and returns whether all were."""
        with self._in_words(), self._reading.connect() as connection:
            found = opening.schema_of(connection, self.name)
        if found is None and not create:
            raise ValueError(f"{self.name} holds no judgments yet, or no more")
        self.schema, made = found or SCHEMA, False
        if write and found != SCHEMA:
            with self.writing(lock=_MAKING) as connection:
                made = opening.make_or_migrate(connection, self.name)
            self.schema = SCHEMA
        if made and self.is_sqlite:
            files.sync_folder(self._path.parent)
        if self._mode == "create":
            self._mode = "write"  # one that is deleted is not made again
        return made

    def _readers(self, url: sa.URL) -> sa.Engine:
        """Returns the engine for single queries, each a transaction of its own."""
        if self.is_sqlite:
            return self.engine.execution_options(isolation_level="AUTOCOMMIT")
        return sa.create_engine(url, isolation_level="AUTOCOMMIT", pool_reset_on_return=None, **opening.POOL)

    def _hold(self) -> None:
        """Keeps a connection of its own, and notes which files it works on: all others must work on these too."""
        try:
            self._held = self._connect()
        except sqlite3.Error as error:
            raise StoreError(sqlite_damage.explain(self._path, error, opening.KIND)) from None
        self._known = sqlite_files.identity(self._path)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite_files.connect(self._path, self._mode)
        try:
            self._check()
        except StoreError:
            connection.close()
            raise
        return connection

    def _check(self) -> None:
        """Refuses to go on where the files that are worked on are no longer those at the place."""
        if self._known is not None:
            wrong = sqlite_files.gone(self._path, self._known, still=self._mode == "still")
            if wrong is not None:
                raise StoreError(wrong)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """Makes one line of what a database reports: the statement and what is stored stay out of it."""
        try:
            yield
        except sa.exc.TimeoutError:
            raise StoreError(f"{self.name}: all connections have been at work for a minute; try again") from None
        except sa.exc.DBAPIError as error:
            if _is_ours(error):
                raise
            says = opening.told(self._path, error) if self.is_sqlite else f"{self.name}: {_postgres_says(error)}"
            raise StoreError(says) from None


def _is_ours(error: sa.exc.DBAPIError) -> bool:
    """True for a call that no database can answer: a fault of the program, whose traceback is wanted."""
    of_program = isinstance(error, sa.exc.ProgrammingError | sa.exc.InterfaceError)
    return of_program and getattr(error.orig, "sqlstate", None) is None


def _postgres_says(error: sa.exc.DBAPIError) -> str:
    """Returns the first line of what the server said, where that holds no value: of connections, rights and tables."""
    code = str(getattr(error.orig, "sqlstate", None) or "08" * isinstance(error, sa.exc.OperationalError))
    first = next(iter(str(error.orig).splitlines()), "")
    return first if code[:2] in ("08", "25", "28", "3D", "42", "53", "55", "57", "58") else type(error.orig).__name__


def _begin_sqlite(connection: sa.Connection) -> None:
    """Takes the write lock at once: a transaction that reads first and writes later could fail in between."""
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
