"""Saves what can be read of a damaged database of ours into a new file.

python -m qdfeedback.rescue judgments.db NEW
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from qdfeedback import sqlite_damage, sqlite_files
from qdfeedback.feedback import opening
from qdfeedback.feedback.tables import judgments


def rescue(path: Path, new: Path) -> dict[str, int]:
    """Writes a new file with the tables of a damaged one and each row that can be read; returns how many of each.

    Args:
        path: of the damaged file, which is only read.
        new: where nothing is yet.

    Raises:
        ValueError: There is no such file, or something at the new place.
        sqlite3.Error: Not even the names of its tables can be read.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if new.exists():
        raise ValueError(f"{new} is there already: name a new file")
    with closing(sqlite_files.connect(path, sqlite_files.reading(path))) as old:
        made = old.execute("SELECT type, name, sql FROM sqlite_schema WHERE type IN ('table', 'index')").fetchall()
        (version,) = old.execute("PRAGMA user_version").fetchone()
        with closing(sqlite_files.connect(new, "create")) as to:
            to.execute("BEGIN")
            own = [(kind, name, sql) for kind, name, sql in made if sql and not name.startswith("sqlite_")]
            for _, _, sql in sorted(own, key=lambda one: one[0] != "table"):
                to.execute(sql)
            found = [name for kind, name, _ in own if kind == "table"]
            for name in found:
                _copy(old, to, name)
            for table, last in _last_ids(old):
                to.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (last, table.decode()))
            to.execute(f"PRAGMA user_version = {int(version)}")
            to.execute("COMMIT")
    if judgments.name in found:
        opening.remove_what_cannot_be(new)
    return {name: _count(new, name) for name in found}


def _copy(old: sqlite3.Connection, to: sqlite3.Connection, table: str) -> None:
    for row in sqlite_damage.rows(old, table):
        with contextlib.suppress(sqlite3.IntegrityError):  # a row that its table cannot hold
            marks = ", ".join("?" * len(row))
            to.execute(f"INSERT OR IGNORE INTO {sqlite_damage.quoted(table)} VALUES ({marks})", row)


def _count(path: Path, table: str) -> int:
    with closing(sqlite_files.connect(path, "write")) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {sqlite_damage.quoted(table)}").fetchone()[0])


def _last_ids(old: sqlite3.Connection) -> list[tuple[bytes, int]]:
    """Returns the highest id that each table ever gave, so that none is given twice."""
    try:
        return [row for row in old.execute("SELECT name, seq FROM sqlite_sequence") if isinstance(row[1], int)]
    except sqlite3.DatabaseError:
        return []


def main(argv: Sequence[str] | None = None) -> None:
    """Saves, and says how much."""
    given = list(sys.argv[1:] if argv is None else argv)
    if len(given) != 2:
        sys.exit("usage: python -m qdfeedback.rescue DAMAGED NEW")
    try:
        found = rescue(Path(given[0]), Path(given[1]))
    except (ValueError, OSError, sqlite3.Error) as error:
        sys.exit(f"error: nothing of {given[0]} can be saved: {error}")
    print(", ".join(f"{n} {name}" for name, n in found.items() if n) + f" saved in {given[1]}")  # noqa: T201


if __name__ == "__main__":
    main()
