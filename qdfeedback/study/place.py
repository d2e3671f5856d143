"""Where a study lies: its folder, its settings, its database."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from qdfeedback.claims import is_at_work
from qdfeedback.feedback.database import Database
from qdfeedback.feedback.opening import safe, url_of
from qdfeedback.feedback.study import Study, read_study
from qdfeedback.feedback.tables import trials
from qdfeedback.run_settings import read_settings
from qdfeedback.shown import Shown
from qdfeedback.text_files import beginning, why


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
    where = database or _database(folder)
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


def _database(folder: Path) -> str:
    """Returns the database that a folder names, or holds."""
    known = read_settings(folder).get("database") if (folder / "settings.json").exists() else None
    if not isinstance(known, str | None):
        raise ValueError(f"{folder / 'settings.json'} must name its database as text, it is {known!r:.80}")
    if known and ":***@" in known:
        raise ValueError(f"name the database of {folder} with --database: the run folder does not keep its password")
    path = folder / "judgments.db"
    if not known and not path.exists() and not path.is_symlink():
        raise ValueError(f"{folder} has no judgments.db: name the study's database with --database")
    try:
        url = url_of(known or path)
        real = Path(str(url.database)).resolve() if url.get_backend_name() == "sqlite" else None
    except ValueError as error:  # no path can hold what it says
        raise ValueError(f"{folder / 'settings.json'} must name its database: {why(error)}") from error
    if real is None or not real.is_relative_to(folder.resolve()):
        found = real is not None and os.path.exists(real)  # its owner needs its path whole
        where = str(real) if found else beginning(str(real or safe(url)))
        raise ValueError(
            f"{folder} has its database elsewhere, at {where}: if you trust whom the folder is from, name it yourself, "
            f"with --database"
        )
    return known or str(path)
