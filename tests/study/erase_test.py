from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from qdfeedback.feedback.left_out import LEFT_OUT, read_left_out, write_left_out
from qdfeedback.feedback.tables import identities, judgments
from qdfeedback.study.erase import delete_rater
from qdfeedback.study.exchange.exports import export
from qdfeedback.study.exchange.imports import format_of, import_answers
from qdfeedback.study.place import open_study
from qdfeedback.study.register import Platform, Register
from qdfeedback.study.secrets import keep_key
from tests.study.plain import plain_study
from tests.study.visitor import Visitor, site

PERSON = "5f8e7d6c5b4a39281706f5e4"


def test_nothing_of_a_person_is_left_on_the_disk(tmp_path: Path) -> None:
    plain_study(tmp_path / "s", 4)
    place, app = site(tmp_path / "s")
    visitor = Visitor(app).join(PROLIFIC_PID=PERSON)
    visitor.answer_all(lambda _: "left")
    for name in ("report.json", "report.html"):
        (place.folder / name).write_text("about people")
    (rater,) = {row["annotator_id"] for row in place.database.rows(sa.select(judgments))}
    write_left_out(place.folder / LEFT_OUT, {"axes-000003": {rater: ("too fast",), "another": ("all left",)}})
    kept = sorted(place.folder.glob("judgments.db*"))
    assert any(PERSON.encode() in path.read_bytes() for path in kept)
    gone = delete_rater(place.folder, place.database, place.study, PERSON)
    assert (gone.judgments, gone.reports) == (9, ["report.json", "report.html"])
    assert not list(place.folder.glob("report.*"))
    assert read_left_out(place.folder / LEFT_OUT) == {"axes-000003": {"another": ("all left",)}}
    for path in place.folder.glob("judgments.db*"):  # while others have it open
        assert PERSON.encode() not in path.read_bytes()


def test_a_person_who_left_is_not_brought_back(tmp_path: Path) -> None:
    plain_study(tmp_path / "s", 4)
    place, app = site(tmp_path / "s")
    for person in (PERSON, "other"):
        Visitor(app).join(PROLIFIC_PID=person).answer_all(lambda _: "left")
    export(place.folder, place.database, place.study, tmp_path / "out", fmt="jsonl")
    assert format_of(tmp_path / "out") == "jsonl"
    delete_rater(place.folder, place.database, place.study, PERSON)
    found = import_answers(place.folder, place.database, place.study, tmp_path / "out", fmt="jsonl")
    assert (found.new, found.known, len(found.refused)) == (0, 9, 9)
    assert "had their answers removed" in found.refused[0]


def test_another_key_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    plain_study(tmp_path / "s", 2)
    place = open_study(tmp_path / "s")
    keep_key(place.database, "s", b"a" * 32)
    keep_key(place.database, "s", b"a" * 32)
    with pytest.raises(ValueError, match="known under another key"):
        keep_key(place.database, "s", b"b" * 32)
    for key in (b"a" * 32, b"b" * 32):
        register = Register(place.database, place.study, key)
        register.join(Platform("prolific", PERSON), f"token-{key[0]}")
    keep_key(place.database, "s", b"b" * 32, replace=True)
    assert place.database.value(sa.select(sa.func.count()).select_from(identities)) == 2
    delete_rater(place.folder, place.database, place.study, PERSON)
    assert place.database.value(sa.select(sa.func.count()).select_from(identities)) == 0, "under either key"


def test_a_question_that_is_asked_about_keeps_its_name(tmp_path: Path) -> None:
    plain_study(tmp_path / "s", 4)
    path = tmp_path / "s" / "study.json"
    path.write_text(path.read_text().replace("Which is more like", "What resembles"))
    open_study(tmp_path / "s").database.close()
    path.write_text(path.read_text().replace('"alike"', '"similar"'))
    with pytest.raises(ValueError, match="has no question 'alike', about which there are trials"):
        open_study(tmp_path / "s")
