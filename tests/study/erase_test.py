from __future__ import annotations

from pathlib import Path

import pytest

from qdfeedback.study.erase import delete_rater
from qdfeedback.study.place import open_study
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
    kept = sorted(place.folder.glob("judgments.db*"))
    assert any(PERSON.encode() in path.read_bytes() for path in kept)
    gone = delete_rater(place.folder, place.database, place.study, PERSON)
    assert (gone.judgments, gone.reports) == (9, ["report.json", "report.html"])
    assert not list(place.folder.glob("report.*"))
    for path in place.folder.glob("judgments.db*"):  # while others have it open
        assert PERSON.encode() not in path.read_bytes()


def test_a_question_that_is_asked_about_keeps_its_name(tmp_path: Path) -> None:
    plain_study(tmp_path / "s", 4)
    path = tmp_path / "s" / "study.json"
    path.write_text(path.read_text().replace("Which is more like", "What resembles"))
    open_study(tmp_path / "s").database.close()
    path.write_text(path.read_text().replace('"alike"', '"similar"'))
    with pytest.raises(ValueError, match="has no question 'alike', about which there are trials"):
        open_study(tmp_path / "s")
