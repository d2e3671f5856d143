"""The database goes away while the study is served: nobody is told that an answer is kept which is in no file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from qdfeedback.feedback.store import Store
from tests.study.plain import plain_study
from tests.study.visitor import Visitor, site
from tests.study.web.security_test import TOLD


def deleted(folder: Path) -> None:
    for path in folder.glob("judgments.db*"):
        path.unlink()


def moved(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def exchanged(folder: Path) -> None:
    deleted(folder)
    plain_study(folder, 4, practice=0)


@pytest.mark.parametrize("lose", [deleted, moved, exchanged], ids=lambda lose: lose.__name__)
def test_an_answer_that_is_in_no_file_gets_503(
    tmp_path: Path, lose: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    plain_study(tmp_path / "s", 4, practice=0)
    place, app = site(tmp_path / "s")
    visitor = Visitor(app).join()
    visitor.get("/task")
    lose(tmp_path / "s")
    left = sorted(path.name for path in tmp_path.rglob("judgments.db*"))
    with caplog.at_level(logging.ERROR):
        for page in (visitor.answer("left"), visitor.get("/task"), Visitor(app).get("/")):
            assert page.status_code == 503
            assert "may not have been stored" in page.text
            assert not TOLD.search(page.text)
    assert sorted(path.name for path in tmp_path.rglob("judgments.db*")) == left, "no file is made for it"
    assert all(f"{tmp_path / 's' / 'judgments.db'} is " in record.message for record in caplog.records)
    assert all(record.exc_info is None and record.message.count("\n") == 0 for record in caplog.records)
    place.database.close()


def test_a_study_goes_on_when_its_folder_is_back(tmp_path: Path) -> None:
    plain_study(tmp_path / "s", 4, practice=0)
    place, app = site(tmp_path / "s")
    visitor = Visitor(app).join()
    visitor.get("/task")
    page = visitor.page
    moved(tmp_path / "s")
    assert visitor.answer("left").status_code == 503
    (tmp_path / "elsewhere").rename(tmp_path / "s")
    visitor.page = page
    assert visitor.answer("left").status_code == 200
    assert len(Store(place.database).records("s")) == 1
    place.database.close()
