"""Where a study lies: its folder, its settings, its database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from qdfeedback.claims import is_at_work
from qdfeedback.feedback.database import Database
from qdfeedback.feedback.opening import database_of
from qdfeedback.feedback.study import Study, read_study
from qdfeedback.feedback.tables import trials
from qdfeedback.shown import Shown


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


def open_study(folder: Path, database: str | None = None, *, write: bool = True) -> Place:
    """Returns the study in a folder.

    Args:
        folder: of a search that asks people, or made by `study new`.
        database: path or URL, in the owner's own words; without it, what the folder names counts if it lies in the
            folder: somebody else may have written that.
        write: False only reads, and changes or makes nothing.

    Raises:
        ValueError: There is no such study, it is of another version, its database cannot be opened, or lies elsewhere.
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
    where = database or database_of(folder)
    place = Place(folder, study, Database(where, create=False, write=write), Shown(folder / "shown"))
    try:
        _check_asked(place, write=write)
    except (ValueError, OSError):
        place.database.close()
        raise
    return place


def _check_asked(place: Place, *, write: bool) -> None:
    """Refuses a database that is not this study's."""
    study, path = place.study, place.folder / "study.json"
    asked = sa.select(trials.c.question).where(trials.c.study_id == study.study_id).distinct()
    unknown = {row["question"] for row in place.database.rows(asked)} - {question.name for question in study.questions}
    if unknown:
        raise ValueError(
            f"{path} has no question {sorted(unknown)[0]!r}, about which there are trials: "
            f"a question's wording can be changed, its name cannot"
        )
    others = sa.select(trials.c.study_id).where(trials.c.study_id != study.study_id).limit(1)
    if not write and not place.database.rows(asked) and place.database.rows(others):
        raise ValueError(f"{place.database.name} asks nothing for study {study.study_id!r}: it is another study's")


def pace(place: Place) -> Literal["none", "at work", "paused", "over"]:
    """Returns how the search behind a study does: there is none, or it is at work, paused, or over."""
    if not place.study.live:
        return "none"
    if not read_study(place.folder).live:
        return "over"
    return "at work" if is_at_work(place.folder) else "paused"
