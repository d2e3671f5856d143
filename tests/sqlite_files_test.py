from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from qdfeedback import sqlite_files
from qdfeedback.sqlite_files import Mode

N = 2000


def notes(path: Path) -> Path:
    with closing(sqlite_files.connect(path, "create")) as connection:
        connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO notes (text) VALUES (?)", [(f"note {i} " * 5,) for i in range(N)])
        connection.execute("COMMIT")
    return path


@pytest.mark.parametrize("mode", ["write", "read", "still"])
def test_only_one_mode_makes_a_file(tmp_path: Path, mode: Mode) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        sqlite_files.connect(tmp_path / "n.db", mode)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a?mode=memory", "a%41", "a#b", "file:x", ":memory:"])
def test_names_that_mean_something_in_a_uri(tmp_path: Path, name: str) -> None:
    notes(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with closing(sqlite_files.connect(tmp_path / name, "still")) as connection:
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (N,)


def test_a_value_that_is_too_long_is_refused(tmp_path: Path, monkeypatch) -> None:
    """A file that somebody sent must not take all memory."""
    with closing(sqlite_files.connect(notes(tmp_path / "n.db"), "write")) as connection:
        connection.execute("INSERT INTO notes (text) VALUES (zeroblob(100000))")
    monkeypatch.setattr(sqlite_files, "LONGEST", 50_000)
    with (
        closing(sqlite_files.connect(tmp_path / "n.db", "read")) as connection,
        pytest.raises(sqlite3.DataError, match="too big"),
    ):
        connection.execute("SELECT text FROM notes").fetchall()


def test_who_looks_while_others_write_looks_again(tmp_path: Path) -> None:
    """The log is gone, so the file seems still; then another process writes it, and it is read half old, half new."""
    path, modes = notes(tmp_path / "n.db"), list[Mode]()

    def look(mode: Mode) -> str:
        modes.append(mode)
        if len(modes) == 1:
            path.with_name("n.db-wal").touch()
            raise ValueError("malformed")
        return "fine"

    assert sqlite_files.looked_at(path, look) == "fine"
    assert modes == ["still", "read"]


def test_what_is_wrong_stays_wrong(tmp_path: Path) -> None:
    path = notes(tmp_path / "n.db")

    def look(_: Mode) -> None:
        raise ValueError("malformed")

    with pytest.raises(ValueError, match="malformed"):
        sqlite_files.looked_at(path, look)


@pytest.mark.parametrize("mode", ["write", "read", "still"])
def test_a_schema_that_is_no_text_is_an_error_of_the_file(tmp_path: Path, mode: Mode) -> None:
    path = notes(tmp_path / "n.db")
    content = path.read_bytes()
    assert b"tablenotesnotes" in content
    content = content.replace(b"tablenotes", b"tablen\xff\xffes", 1).replace(b"CREATE TABLE", b"CRXATE TABLE", 1)
    path.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError, match="its schema is not UTF-8"):
        sqlite_files.connect(path, mode)
