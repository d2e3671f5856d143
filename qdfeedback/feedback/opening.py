"""How a judgment store is opened: what lies at the place is looked at before anything is made or changed there."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from qdfeedback import sqlite_damage, sqlite_files
from qdfeedback.feedback.tables import ALLOWED, SCHEMA, SINCE, judgments, meta, versions
from qdfeedback.run_settings import read_settings
from qdfeedback.text_files import beginning, why

POOL: dict[str, Any] = {"pool_size": 8, "max_overflow": 0, "pool_timeout": 60, "hide_parameters": True}
"""Threads wait for one of a few connections, which costs less than opening more; no error tells what was stored."""

KIND = sqlite_files.Kind("judgment store", judgments.name, "judgments")
_STORED = {sa.Integer: "integer", sa.Boolean: "integer", sa.Float: "real", sa.String: "text"}


def url_of(where: Path | str) -> sa.URL:
    """Returns where a database is; a path may hold what means something in a URL.

    Raises:
        ValueError: It is neither a path nor the URL of a database that can be used.
    """
    if "://" not in str(where):
        return sa.URL.create("sqlite", database=str(Path(where).absolute()))
    try:
        url = sa.make_url(str(where))
    except (sa.exc.ArgumentError, ValueError) as error:
        raise ValueError("the judgment store needs a file path or a database URL") from error
    if url.get_backend_name() != "sqlite":
        return url
    if url.drivername not in ("sqlite", "sqlite+pysqlite") or url.query or url.host or url.username:
        raise ValueError(f"{safe(url)}: the URL of a SQLite file is sqlite:///PATH, without options")
    if url.database in (None, "", ":memory:") or str(url.database).startswith("file:"):
        raise ValueError(f"{safe(url)} names no file: a judgment store must outlive the process")
    return url.set(database=str(Path(str(url.database)).absolute()))


def safe(url: sa.URL) -> str:
    """Returns a URL without its password, of a SQLite file the path."""
    is_path = url.get_backend_name() == "sqlite" and not url.query and url.database
    return str(url.database) if is_path else url.render_as_string(hide_password=True)


def database_of(folder: Path) -> str:
    """Returns the database that a run or study folder names, or holds.

    Raises:
        ValueError: There is none; or it lies elsewhere, where only somebody who trusts the folder may say to look.
    """
    known = read_settings(folder).get("database") if (folder / "settings.json").exists() else None
    if not isinstance(known, str | None):
        raise ValueError(f"{folder / 'settings.json'} must name its database as text, it is {known!r:.80}")
    if known and ":***@" in known:
        raise ValueError(f"name the database of {folder} with --database: the run folder does not keep its password")
    path = folder / "judgments.db"
    if not known and not path.exists() and not path.is_symlink():
        raise ValueError(f"{folder} has no judgments.db: name the study's database with --database")
    try:
        url = url_of(known or path)
        real = Path(str(url.database)).resolve() if url.get_backend_name() == "sqlite" else None
    except ValueError as error:  # no path can hold what it says
        raise ValueError(f"{folder / 'settings.json'} must name its database: {why(error)}") from error
    if real is None or not real.is_relative_to(folder.resolve()):
        found = real is not None and os.path.exists(real)  # its owner needs its path whole
        where = str(real) if found else beginning(str(real or safe(url)))
        raise ValueError(
            f"{folder} has its database elsewhere, at {where}: if you trust whom the folder is from, name it yourself, "
            f"with --database"
        )
    return known or str(path)


def engine_of(url: sa.URL, connect: Callable[[], sqlite3.Connection] | None = None) -> sa.Engine:
    """Returns what connects to a database.

    Args:
        url: of the database.
        connect: opens a SQLite file.

    Raises:
        ValueError: It is of a kind that cannot be used, or a package is missing.
    """
    own: dict[str, Any] = {} if connect is None else {"creator": connect}
    try:
        engine = sa.create_engine(url, **own, **POOL)
    except ModuleNotFoundError as error:
        line = 'pip install "qdfeedback[postgres]"' if "psycopg" in str(error) else "use SQLite or PostgreSQL"
        raise ValueError(f"cannot open the judgment store {safe(url)}: {error.name} is missing; {line}") from error
    except sa.exc.ArgumentError as error:
        raise ValueError(f"the judgment store {safe(url)} needs a file path or a database URL: {error}") from error
    if engine.dialect.name not in ("sqlite", "postgresql"):
        raise ValueError(f"the judgment store must be SQLite or PostgreSQL, got {engine.dialect.name}")
    return engine


def look_at_file(path: Path, *, create: bool) -> None:
    """Refuses a SQLite file that is no store of ours, or is not whole; changes nothing.

    Raises:
        ValueError: Says what is wrong with it, and what can be done.
    """
    sqlite_files.check_place(path, KIND, create=create)
    if not path.exists() or not path.stat().st_size:
        return
    sqlite_files.looked_at(path, lambda mode: _look(path, mode, create=create))


def _look(path: Path, mode: sqlite_files.Mode, *, create: bool) -> None:
    engine = engine_of(sa.URL.create("sqlite", database=str(path)), lambda: sqlite_files.connect(path, mode))
    try:
        with engine.connect() as connection:
            found = schema_of(connection, str(path))
            if found is None and not create:
                raise ValueError(f"{path} holds no tables: what it held is gone, put a copy in its place")
            wrong = unsound(connection, path) if found is not None else None
    except (sa.exc.DBAPIError, sqlite3.Error, UnicodeDecodeError) as error:
        raise ValueError(told(path, error)) from None
    except sa.exc.NoSuchTableError:
        raise ValueError(sqlite_damage.damaged(path, "a table that it names is not there", KIND)) from None
    finally:
        engine.dispose()
    if wrong is not None:
        raise ValueError(sqlite_damage.damaged(path, wrong, KIND))


def schema_of(connection: sa.Connection, name: str) -> int | None:
    """Returns the schema of the store that a connection leads to, None where it leads to nothing.

    Raises:
        ValueError: There is something else, a store of another version, or one that lacks a table or column.
    """
    look = sa.inspect(connection)
    there = set(look.get_table_names())
    is_file = connection.dialect.name == "sqlite"
    if not (there if is_file else there & set(meta.tables)):
        return None
    columns = {table: {str(column["name"]) for column in look.get_columns(table)} for table in there & set(meta.tables)}
    if "version" not in columns.get(versions.name, ()) or judgments.name not in there:
        if {"trial_id", "annotator_id", "winner_id"} <= columns.get(judgments.name, set()):
            raise ValueError(f"{name} was written by an earlier version that noted no schema; this one reads {SCHEMA}")
        some = ", ".join(sorted(there)[:5])
        raise ValueError(f"{name} is no judgment store, it holds other tables ({some}): it is left as it is")
    found = connection.scalars(sa.select(versions.c.version)).all()
    if len(found) != 1 or found[0] not in range(1, SCHEMA + 1):
        says = ", ".join(map(str, found)) or "none"
        raise ValueError(f"{name} has schema {says}, this version reads 1 to {SCHEMA}")
    for table in meta.sorted_tables:
        missing = {column.name for column in table.columns} - columns.get(table.name, set())
        if missing and SINCE.get(table.name, 1) <= found[0]:
            what = f"column {min(missing)} of table {table.name}" if table.name in there else f"table {table.name}"
            raise ValueError(f"{name} lacks the {what}: it is damaged, or another program's; put a backup in its place")
    if is_file:
        _refuse_code(connection, name)
    return int(found[0])


def make_or_migrate(connection: sa.Connection, name: str) -> bool:
    """Makes the tables that are missing; returns whether all were.

    Raises:
        ValueError: There is something else.
    """
    found = schema_of(connection, name)
    if found != SCHEMA:
        meta.create_all(connection)
        there = sa.insert(versions) if found is None else sa.update(versions)
        connection.execute(there.values(version=SCHEMA))
    return found is None


def unsound(connection: sa.Connection, path: Path) -> str | None:
    """Returns the first thing that is wrong within a file: with its structure, or with a value that cannot be.

    What is only another text or number than it was cannot be told; a large file is looked at less closely.
    """
    raw: Any = connection.connection.dbapi_connection
    wrong = sqlite_damage.damage(raw, path)
    if wrong is not None or path.stat().st_size > sqlite_damage.WHOLE:
        return wrong
    there = set(sa.inspect(connection).get_table_names())
    for table, query in _bad_values().items():
        found = raw.execute(query).fetchone() if table in there else None
        if found is not None:
            return f"table {table} holds a {found[0]} that cannot be"
    return None


@cache
def _bad_values() -> dict[str, str]:
    """Returns for each table the query for a column that holds what it cannot: made once, as they are long."""
    found = {}
    for table in meta.sorted_tables:
        wrong = {column.name: _cannot_be(column) for column in table.columns}
        which = sa.case(*((one, sa.literal(name, sa.String)) for name, one in wrong.items()))
        query = sa.select(which).where(sa.or_(*wrong.values())).limit(1)  # faster than to ask for the case
        found[table.name] = str(query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    return found


def remove_what_cannot_be(path: Path) -> None:
    """Removes rows that hold a value which no store of ours holds, from a file that was saved from a damaged one."""
    engine = engine_of(sa.URL.create("sqlite", database=str(path)), lambda: sqlite_files.connect(path, "write"))
    with engine.begin() as connection:
        there = set(sa.inspect(connection).get_table_names())
        for table in (table for table in meta.sorted_tables if table.name in there):
            connection.execute(sa.delete(table).where(sa.or_(*map(_cannot_be, table.columns))))
    engine.dispose()


def told(path: Path, error: sa.exc.DBAPIError | sqlite3.Error | UnicodeDecodeError) -> str:
    """Returns a line about an error of SQLite."""
    return sqlite_damage.explain(path, getattr(error, "orig", None) or error, KIND)


def _cannot_be(column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    """Returns the condition for a value that no store of ours holds in a column."""
    kind = next(stored for one, stored in _STORED.items() if isinstance(column.type, one))
    wrong = sa.func.typeof(column, type_=sa.String) != kind
    wrong = sa.and_(wrong, column.is_not(None)) if column.nullable else wrong
    allowed = ALLOWED.get((column.table.name, column.name))
    return wrong if allowed is None else sa.or_(wrong, column.not_in(allowed))


def _refuse_code(connection: sa.Connection, name: str) -> None:
    """Refuses what runs when a table is read or written, and could have been put into a file by anybody."""
    schema = sa.table("sqlite_master", sa.column("type"), sa.column("name"), sa.column("sql"))
    runs = sa.or_(schema.c.type.in_(["trigger", "view"]), schema.c.sql.ilike("create virtual%"))
    for kind, what in connection.execute(sa.select(schema.c.type, schema.c.name).where(runs)):
        raise ValueError(f"{name} holds a {kind} {what!r}, which no store of ours has: do not use it")
