"""The database behind a judgment store: SQLite by default, PostgreSQL by URL; one schema, one way to write."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from qdfeedback.feedback.tables import SCHEMA, meta, versions

POOL: dict[str, Any] = {"pool_size": 8, "max_overflow": 0, "pool_timeout": 60, "hide_parameters": True}
"""Threads wait for one of a few connections, which costs less than opening more; no error tells what was stored."""

FORGET = 50  # tries


class Database:
    """Connections to one database.

    Args:
        where: a file path for SQLite, or an SQLAlchemy URL.
        create: makes the tables where there are none; without it they must be there.

    Attributes:
        name: the file, or the URL without its password.
        made: its tables were made just now.

    Raises:
        ValueError: The place cannot be opened, holds nothing, or was written by another version.
    """

    def __init__(self, where: Path | str, *, create: bool = True) -> None:
        url = _url(where)
        self.name = str(where) if "://" not in str(where) else _safe(url)
        if not create and url.get_backend_name() == "sqlite":
            _check_there(Path(url.database or ""), self.name)
        self.engine = _engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        if self.is_sqlite:
            sa.event.listen(self.engine, "connect", _configure_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
        self._reading = self._readers(url)
        self._turn = threading.Lock()  # threads of one process wait here, and not in the database
        try:
            self.made = _create(self.engine)
            with self._reading.connect() as connection:
                found = connection.scalar(sa.select(versions.c.version))
        except sa.exc.SQLAlchemyError as error:
            self.engine.dispose()
            raise ValueError(f"cannot open the judgment store {_safe(url)}: {error.__cause__ or error}") from error
        if found != SCHEMA:
            self.engine.dispose()
            raise ValueError(f"the judgment store {_safe(url)} has schema {found}, this version reads {SCHEMA}")

    def close(self) -> None:
        """Lets go of all connections."""
        self.engine.dispose()
        self._reading.dispose()

    def _readers(self, url: sa.URL) -> sa.Engine:
        """Returns the engine for single queries, each a transaction of its own."""
        if self.is_sqlite:
            return self.engine.execution_options(isolation_level="AUTOCOMMIT")
        return sa.create_engine(url, isolation_level="AUTOCOMMIT", pool_reset_on_return=None, **POOL)

    def forget(self) -> None:
        """Writes over what SQLite still keeps of deleted rows beside the database; others that write have to pause."""
        for _ in range(FORGET if self.is_sqlite else 0):
            with self._turn, self._reading.connect() as connection:
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
            OSError: The database cannot be written, or is gone.
        """
        try:
            with self._turn, self.engine.begin() as connection:
                if lock is not None and not self.is_sqlite:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(lock, 0))))
                yield connection
        except sa.exc.OperationalError as error:
            where = _safe(self.engine.url)
            raise OSError(f"cannot write judgments to {where}: {error.orig}") from error

    def rows(self, query: sa.Select[*tuple[Any, ...]], **values: Any) -> Sequence[sa.RowMapping]:
        """Returns what a query finds, with these values for its bound parameters."""
        with self._reading.connect() as connection:
            return connection.execute(query, values).mappings().all()

    def value(self, query: sa.Select[*tuple[Any, ...]], **values: Any) -> Any:
        """Returns the first column of the first row, None where there is no row."""
        with self._reading.connect() as connection:
            return connection.scalar(query, values)

    def insert_new(self, table: sa.Table) -> Any:
        """Returns an insert that leaves rows alone that are there already."""
        dialect: Any = sqlite if self.is_sqlite else postgresql
        return dialect.insert(table).on_conflict_do_nothing()


def _url(where: Path | str) -> sa.URL:
    """Returns where the database is; a path may hold what means something in a URL."""
    if "://" not in str(where):
        return sa.URL.create("sqlite", database=str(where))
    try:
        return sa.make_url(str(where))
    except sa.exc.ArgumentError as error:
        raise ValueError(f"the judgment store needs a file path or a database URL: {error}") from error


def _engine(url: sa.URL) -> sa.Engine:
    try:
        engine = sa.create_engine(url, **POOL)
    except ModuleNotFoundError as error:
        line = 'pip install "qdfeedback[postgres]"' if "psycopg" in str(error) else "use SQLite or PostgreSQL"
        raise ValueError(f"cannot open the judgment store {_safe(url)}: {error.name} is missing; {line}") from error
    except sa.exc.ArgumentError as error:
        raise ValueError(f"the judgment store {_safe(url)} needs a file path or a database URL: {error}") from error
    if engine.dialect.name not in ("sqlite", "postgresql"):
        raise ValueError(f"the judgment store must be SQLite or PostgreSQL, got {engine.dialect.name}")
    return engine


def _configure_sqlite(connection: Any, _: Any) -> None:
    """Lets readers and a writer work at once, and a second writer wait for its turn."""
    connection.isolation_level = None  # transactions begin where `_begin_sqlite` says
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 60000")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA secure_delete = ON")  # what was deleted is overwritten
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    """Takes the write lock at once: a transaction that reads first and writes later could fail in between."""
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _check_there(path: Path, name: str) -> None:
    if not path.exists():
        raise ValueError(f"there is no judgment store {name}")
    if path.is_file() and not path.stat().st_size:
        raise ValueError(f"the judgment store {name} is empty: all that it held is gone")


def _create(engine: sa.Engine) -> bool:
    """Makes the tables where there are none, and says so; a process that loses the race finds them there."""
    try:
        with engine.begin() as connection:
            there, marked = (sa.inspect(connection).has_table(name) for name in ("judgments", versions.name))
            meta.create_all(connection)
            if not marked:
                connection.execute(sa.insert(versions).values(version=0 if there else SCHEMA))
            connection.execute(sa.update(versions).where(versions.c.version == 1).values(version=SCHEMA))
            return not there
    except (sa.exc.OperationalError, sa.exc.IntegrityError, sa.exc.ProgrammingError):
        if not sa.inspect(engine).has_table(versions.name):
            raise
    return False


def _safe(url: sa.URL) -> str:
    return url.render_as_string(hide_password=True)
