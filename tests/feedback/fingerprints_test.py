from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import asdict
from pathlib import Path

import pytest
import sqlalchemy as sa

from qdfeedback.feedback.fingerprints import Fingerprint
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import Question, Study
from qdfeedback.feedback.tables import judgments
from qdfeedback.study.erase import delete_rater

SAYS = ("left", "right", "tie")


def answered(store: Store, study: str, n: int, *, by: str = "p", first: int = 0) -> None:
    for i in range(first, first + n):
        row = {"study_id": study, "trial_id": str(i), "task": "triplet", "kind": "main", "purpose": "random"}
        sides = {"anchor_id": "0", "left_id": "1", "right_id": "2", "choice": SAYS[i % 3], "winner_id": "1"}
        by_whom = {"annotator_kind": "person", "annotator_id": by, "answered_utc": f"2026-01-01T00:00:{i:02d}"}
        store.append([row | sides | by_whom])


def noted_twice(store: Store, study: str) -> list[Fingerprint]:
    """What a run notes that is fitted after three answers and after five."""
    answered(store, study, 3)
    first = store.fingerprint(study)
    answered(store, study, 2, by="q", first=3)
    return [first, store.fingerprint(study, after=first.until)]


def test_judgments_that_are_all_there_are_not_lost(where: str) -> None:
    store, study = Store(where), os.urandom(4).hex()
    answered(store, "another", 2)
    noted = noted_twice(store, study)
    assert [one.count for one in noted] == [3, 2]
    answered(store, "another", 1, first=2)
    answered(store, study, 4, by="later")
    store.close()
    again = Store(where, create=False)
    assert not again.is_new
    kept = [Fingerprint(**row) for row in json.loads(json.dumps([asdict(one) for one in noted]))]
    assert again.lost(study, kept) is None
    assert again.lost(study, []) is None
    assert again.fingerprint(study, noted[0].until) == noted[0]
    assert again.fingerprint(study, noted[1].until).count == 5, "from the first one on"
    assert again.fingerprint(study, 1, after=noted[1].until).count == 0, "nothing lies in between"
    again.close()


OURS = judgments.c.study_id == sa.bindparam("study")
CHANGES: dict[str, sa.Executable] = {
    "lacks 5 of the 5": sa.delete(judgments).where(OURS),
    "lacks 1 of the 5": sa.delete(judgments).where(OURS, judgments.c.trial_id == "4"),
    "holds others in place of the 5": sa.update(judgments).where(OURS, judgments.c.trial_id == "1").values(label="x"),
}


@pytest.mark.parametrize("says", list(CHANGES))
def test_what_is_lost_is_said(where: str, says: str) -> None:
    store, study = Store(where), os.urandom(4).hex()
    noted = noted_twice(store, study)
    with store.database.writing() as connection:
        connection.execute(CHANGES[says], {"study": study})
    told = store.lost(study, noted)
    assert told is not None
    assert says in told
    assert f"of study {study!r} that were used before, with ids up to {noted[1].until}" in told
    overlapping = [*noted, Fingerprint(0, noted[1].until, 5, 0, "of all")]
    assert says in str(store.lost(study, overlapping)), "nothing counts twice"
    store.close()


@pytest.mark.parametrize("column", ["choice", "left_id", "value", "label", "annotator_id", "kind", "probability"])
def test_a_change_of_whatever_a_fit_uses_is_seen(tmp_path: Path, column: str) -> None:
    store = Store(tmp_path / "j.db")
    noted = noted_twice(store, "s")
    with store.database.writing() as connection:
        connection.execute(sa.update(judgments).where(judgments.c.id == 2).values({column: "0.5"}))
    assert "holds others" in str(store.lost("s", noted))


def test_another_database_in_the_place_is_noticed(tmp_path: Path) -> None:
    ours, other = Store(tmp_path / "ours.db"), Store(tmp_path / "other.db")
    noted = noted_twice(ours, "s")
    answered(other, "s", 9, by="somebody else")
    assert "ours.db" not in str(other.lost("s", noted))
    assert f"{tmp_path / 'other.db'} holds others in place of the 5 judgments" in str(other.lost("s", noted))


def test_what_a_person_had_erased_is_no_loss(where: str, tmp_path: Path) -> None:
    store, study = Store(where), os.urandom(4).hex()
    settings = Study(study, (Question("alike", "triplet", "Which is more alike?"),))
    noted = noted_twice(store, study)
    assert delete_rater(tmp_path, store.database, settings, "q").judgments == 2
    assert store.lost(study, noted) is None
    after_it = [store.fingerprint(study, noted[1].until)]
    assert (after_it[0].count, after_it[0].erased) == (3, 2)
    with store.database.writing() as connection:
        connection.execute(sa.delete(judgments).where(judgments.c.study_id == study, judgments.c.trial_id == "1"))
    assert "lacks 1 of the 5" in str(store.lost(study, noted))
    assert "lacks 1 of the 3" in str(store.lost(study, after_it))
    store.close()


def test_a_change_beside_what_was_erased_is_seen_where_it_was_noted_since(tmp_path: Path) -> None:
    store = Store(tmp_path / "j.db")
    noted = noted_twice(store, "s")
    delete_rater(tmp_path, store.database, Study("s", (Question("alike", "triplet", "?"),)), "q")
    noted.append(store.fingerprint("s", noted[1].until))
    with store.database.writing() as connection:
        connection.execute(sa.update(judgments).where(judgments.c.trial_id == "1").values(winner_id="9"))
    assert "holds others" in str(store.lost("s", noted))


@pytest.mark.parametrize(("content", "says"), [(None, "there is no judgment store"), (b"", "is empty")])
def test_a_store_that_must_be_there_is_not_made(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "judgments.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{says}|judgments\.db {says}") as error:
        Store(path, create=False)
    assert str(path) in str(error.value)
    assert path.exists() == (content is not None)
    assert content is None or path.read_bytes() == content
    assert len(list(tmp_path.iterdir())) == (content is not None)
    assert Store(path).is_new


def test_a_store_of_the_version_before_gets_what_it_lacks(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "j.db") as connection:
        connection.executescript((Path(__file__).parent / "judgments_schema_1.sql").read_text())
    store = Store(tmp_path / "j.db", create=False)
    assert not store.is_new
    assert len(store.records("s")) == 9
    noted = [store.fingerprint("s")]
    delete_rater(tmp_path, store.database, Study("s", (Question("alike", "triplet", "?"),)), "f0a4e90412a3352d")
    assert store.lost("s", noted) is None
    store.close()
    assert Store(tmp_path / "j.db").records("s") == []
