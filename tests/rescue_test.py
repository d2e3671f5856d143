"""What can be read of a damaged database goes on in a new file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from qdfeedback.feedback.store import Store
from qdfeedback.models.ledger import Ledger
from qdfeedback.rescue import main, rescue
from tests.feedback.database_test import answer
from tests.models.ledger_file_test import used
from tests.sqlite_damage_test import pages, spoil


def table_pages(path: Path, table: str) -> list[int]:
    """Finds the pages on which the rows of a table lie: a text of theirs stands there, and no key of an index."""
    content = path.read_bytes()
    return [page for page in range(1, pages(path)) if f"{table} ".encode() * 9 in content[page * 4096 :][:4096]]


def damaged_store(path: Path) -> tuple[int, int]:
    """Returns how many answers there were, and the id of the last."""
    store = Store(path)
    store.append([answer(i, label="judgments " * 20) for i in range(300)])
    last = store.last("s")
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM judgments WHERE id = 300")
    found = table_pages(path, "judgments")
    spoil(path, found[len(found) // 2])
    return 299, last


def test_a_store_goes_on_with_what_could_be_read(tmp_path: Path) -> None:
    n, last = damaged_store(tmp_path / "j.db")
    with pytest.raises(ValueError, match=r"is damaged \(.*\); \d+ of its judgments can be read") as error:
        Store(tmp_path / "j.db")
    before = (tmp_path / "j.db").read_bytes()
    found = rescue(tmp_path / "j.db", tmp_path / "new.db")
    assert f"; {found['judgments']} of its judgments can be read" in str(error.value)
    assert n - 20 < found["judgments"] < n
    assert (tmp_path / "j.db").read_bytes() == before
    store = Store(tmp_path / "new.db", create=False)
    assert len(store.records("s")) == found["judgments"]
    store.append([answer(1000)])
    assert store.last("s") == last + 1, "no id is given twice"
    store.close()


def test_an_answer_that_cannot_be_is_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path / "j.db")
    store.append([answer(i) for i in range(3)])
    store.close()
    with closing(sqlite3.connect(tmp_path / "j.db")) as connection:
        connection.executescript("UPDATE judgments SET choice = 'lefd' WHERE id = 2")
    with pytest.raises(ValueError, match="holds a choice that cannot be"):
        Store(tmp_path / "j.db")
    assert rescue(tmp_path / "j.db", tmp_path / "new.db")["judgments"] == 2
    assert len(Store(tmp_path / "new.db").records("s")) == 2


def test_a_ledger_goes_on_too(tmp_path: Path) -> None:
    totals = used(tmp_path / "replies.db").totals()
    main([str(tmp_path / "replies.db"), str(tmp_path / "new.db")])
    assert Ledger(tmp_path / "new.db").totals() == totals


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "usage: python -m qdfeedback.rescue DAMAGED NEW"),
        ("{0}/nothing {0}/new", "error: nothing of .*/nothing can be saved: there is no file"),
        ("{0}/text {0}/new", "error: nothing of .*/text can be saved: file is not a database"),
        ("{0}/text {0}/text", "error: nothing of .*/text can be saved: .*/text is there already"),
    ],
)
def test_what_cannot_be_saved_is_said(tmp_path: Path, arguments: str, says: str) -> None:
    (tmp_path / "text").write_text("a text " * 1000)
    with pytest.raises(SystemExit, match=says):
        main([one.format(tmp_path) for one in arguments.split()])
    assert not (tmp_path / "new").exists()
