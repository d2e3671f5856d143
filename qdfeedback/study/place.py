"""Where a study lies: its folder, its settings, its database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from qdfeedback.claims import is_at_work
from qdfeedback.feedback.database import Database
from qdfeedback.feedback.tables import trials
from qdfeedback.run_settings import read_settings
from qdfeedback.shown import Shown
from qdfeedback.study.settings import Study, read_study


@dataclass(frozen=True)
class Place:
    """An opened study.

    Attributes:
        folder: a run folder or a study folder.
        study: its settings.
        database: where its questions and answers are.
        shown: what people look at.
    """

    folder: Path
    study: Study
    database: Database
    shown: Shown


def open_study(folder: Path, database: str | None = None) -> Place:
    """Returns the study in a folder.

    Args:
        folder: of a search that asks people, or made by `study new`.
        database: URL; without it the one that the run was started with, else `judgments.db` in the folder.

    Raises:
        ValueError: There is no such study, it is of another version, or its database cannot be opened.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; a search that has just been started makes it in a few seconds")
    if not (folder / "study.json").exists() and (folder / "settings.json").exists():
        raise ValueError(
            f"{folder} is a run that asks no people: start it with --annotator study, "
            f"or make a study of it with `qdfeedback study new`"
        )
    study = read_study(folder)
    where = database or _database(folder)
    if where is None and not (folder / "judgments.db").exists():
        raise ValueError(f"{folder} has no judgments.db: name the study's database with --database")
    if where is not None and "://" not in where and not Path(where).exists():
        raise ValueError(f"there is no database {where}")
    place = Place(folder, study, Database(where or folder / "judgments.db"), Shown(folder / "shown"))
    asked = sa.select(trials.c.question).where(trials.c.study_id == study.study_id).distinct()
    unknown = {row["question"] for row in place.database.rows(asked)} - {question.name for question in study.questions}
    if unknown:
        place.database.close()
        raise ValueError(
            f"{folder / 'study.json'} has no question {sorted(unknown)[0]!r}, about which there are trials: "
            f"a question's wording can be changed, its name cannot"
        )
    return place


def pace(place: Place) -> Literal["none", "at work", "paused", "over"]:
    """Returns how the search behind a study does: there is none, or it is at work, paused, or over."""
    if not place.study.live:
        return "none"
    if not read_study(place.folder).live:
        return "over"
    return "at work" if is_at_work(place.folder) else "paused"


def _database(folder: Path) -> str | None:
    if not (folder / "settings.json").exists():
        return None
    known = read_settings(folder).get("database")
    if known and ":***@" in known:
        raise ValueError(f"name the database of {folder} with --database: the run folder does not keep its password")
    return str(known) if known else None
