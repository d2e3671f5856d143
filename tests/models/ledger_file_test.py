from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from qdfeedback import sqlite_files
from qdfeedback.models.calls import Prices
from qdfeedback.models.language import Usage
from qdfeedback.models.ledger import Ledger
from qdfeedback.sqlite_files import StoreError
from tests.feedback.database_test import careless


def used(path: Path) -> Ledger:
    """A ledger with what four requests may have cost."""
    ledger = Ledger(path, prices={"m": Prices(1e6, 0)})
    for number in range(4):
        intent = ledger.begin("m", f"key {number}", Usage(1, 3))
        assert isinstance(intent, int)
        ledger.fail("m", f"key {number}", "away", intent=intent, paid=None)
    return ledger


def whole(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def test_what_was_written_is_on_the_disk(tmp_path: Path, monkeypatch) -> None:
    careless(monkeypatch)
    ledger = used(tmp_path / "replies.db")
    for opened in (ledger._file.reading, ledger._file.writing):
        with opened() as connection:
            assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_counts_that_are_no_numbers_are_not_added_up(tmp_path: Path) -> None:
    ledger = used(tmp_path / "replies.db")
    with closing(sqlite3.connect(tmp_path / "replies.db")) as connection, connection:
        connection.execute("UPDATE failures SET prompt_tokens = 9e999")
    with pytest.raises(StoreError, match=r"replies\.db counts tokens or costs that are no numbers: it is damaged"):
        ledger.totals()


LOSSES: dict[str, Callable[[Path], object]] = {
    "was deleted or moved while it was in use": lambda path: path.unlink(),
    "was replaced while it was in use": lambda path: (
        shutil.copyfile(path, path.with_name("copy")) and path.with_name("copy").replace(path)
    ),
    "was cut from": lambda path: os.truncate(path, 4096),
}


@pytest.mark.parametrize("says", list(LOSSES))
def test_a_ledger_that_is_gone_is_not_made_anew(tmp_path: Path, says: str) -> None:
    """What was spent would be forgotten, and the cap with it."""
    ledger = used(tmp_path / "replies.db")
    LOSSES[says](tmp_path / "replies.db")
    left = sorted(path.name for path in tmp_path.iterdir())
    for use in (lambda: ledger.begin("m", "new", Usage(1, 3)), ledger.totals, lambda: ledger.known(["a"])):
        with pytest.raises(StoreError, match=says) as error:
            use()
        assert str(tmp_path / "replies.db") in str(error.value)
        assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == left


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("CREATE TABLE notes (x)", r"is no ledger of replies, it holds other tables \(notes\): it is left as it is"),
        ("CREATE TABLE replies (key)", "lacks the column call of table replies"),
    ],
)
def test_a_file_of_another_program_is_left_alone(tmp_path: Path, script: str, says: str) -> None:
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as connection:
        connection.executescript(script)
    before = whole(tmp_path)
    with pytest.raises(ValueError, match=says):
        Ledger(tmp_path / "theirs.db")
    assert whole(tmp_path) == before


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("PRAGMA user_version = 9", r"was written by a later version \(9\), this one reads 1"),
        ("DROP TABLE failures", "lacks the table failures"),
        ("CREATE TRIGGER t AFTER INSERT ON intents BEGIN DELETE FROM intents; END", "holds a trigger 't'"),
    ],
)
def test_a_ledger_that_cannot_be_used_is_said_in_a_line(tmp_path: Path, script: str, says: str) -> None:
    used(tmp_path / "replies.db")
    with closing(sqlite3.connect(tmp_path / "replies.db")) as connection:
        connection.executescript(script)
    with pytest.raises(ValueError, match=says):
        Ledger(tmp_path / "replies.db")


def test_a_ledger_from_before_versions_were_noted_is_read(tmp_path: Path) -> None:
    before = used(tmp_path / "replies.db").totals()
    with closing(sqlite3.connect(tmp_path / "replies.db")) as connection:
        connection.execute("PRAGMA user_version = 0")
    assert Ledger(tmp_path / "replies.db").totals() == before


@pytest.mark.parametrize("seed", range(12))
def test_damage_is_said_in_a_line(tmp_path: Path, seed: int) -> None:
    used(tmp_path / "replies.db")
    content, rng = bytearray((tmp_path / "replies.db").read_bytes()), np.random.default_rng(seed)
    page = int(rng.integers(len(content) // 4096)) * 4096
    content[page : page + 4096] = rng.bytes(4096)
    (tmp_path / "replies.db").write_bytes(content)
    with pytest.raises((ValueError, StoreError), match=r"replies\.db.*(damaged|lacks the)") as error:
        Ledger(tmp_path / "replies.db").totals()
    assert "\n" not in str(error.value)


def test_a_ledger_that_another_program_holds(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sqlite_files, "WAIT", 0.05)
    ledger = used(tmp_path / "replies.db")
    with closing(sqlite3.connect(tmp_path / "replies.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"replies\.db is locked: another program"):
            ledger.begin("m", "new", Usage(1, 3))


def test_a_folder_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "replies.db").mkdir()
    with pytest.raises(ValueError, match=r"replies\.db is a folder, not a ledger of replies"):
        Ledger(tmp_path / "replies.db")
