"""Removing a person from a study: their rows go, a tombstone and a hash of their pseudonym stay."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from qdfeedback.feedback.database import Database
from qdfeedback.feedback.left_out import LEFT_OUT, forget
from qdfeedback.feedback.store import utc_now
from qdfeedback.feedback.study import Study
from qdfeedback.feedback.tables import assignments, empty, erased, identities, judgments, raters, removed, tombstones
from qdfeedback.refits import read_refits


@dataclass(frozen=True)
class Erased:
    """What was removed.

    Attributes:
        judgments: how many answers.
        models: models in the run folder that were trained with some of them, as paths within it.
        reports: reports in the folder that told of the person, and were removed too.
    """

    judgments: int
    models: list[str]
    reports: list[str]


def delete_rater(folder: Path, database: Database, study: Study, rater_id: str) -> Erased:
    """Removes all that is stored of a person.

    Args:
        folder: the run or study folder, whose models are looked at.
        database: where the study is kept.
        study: which.
        rater_id: their pseudonym, or their id on the platform that they came from.

    Raises:
        ValueError: The study has no such person.
    """
    with database.writing(lock=study.study_id) as connection:
        names, first, n = _find(connection, study, rater_id)
        ids = sa.select(judgments.c.study_id, judgments.c.id).where(*_answers_of(study, names))
        connection.execute(sa.insert(erased).from_select(["study_id", "judgment"], ids))
        connection.execute(sa.delete(judgments).where(*_answers_of(study, names)))
        for table in (assignments, identities, raters):
            connection.execute(sa.delete(table).where(table.c.study_id == study.study_id, table.c.rater_id.in_(names)))
        row = {"study_id": study.study_id, "deleted_utc": utc_now(), "judgments": n, "first_judgment": first}
        connection.execute(sa.insert(tombstones).values(empty(tombstones) | row))
        gone = [{"study_id": study.study_id, "name_hash": removed_name(study, name)} for name in names]
        connection.execute(database.insert_new(removed), gone)
    database.forget()
    forget(Path(folder) / LEFT_OUT, names)
    reports = [path for path in (Path(folder) / "report.json", Path(folder) / "report.html") if path.exists()]
    for path in reports:
        path.unlink()
    return Erased(n, trained_since(folder, first) if first is not None else [], [path.name for path in reports])


def _find(connection: sa.Connection, study: Study, name: str) -> tuple[list[str], int | None, int]:
    """Returns a person's pseudonyms, the id of their first judgment, and how many there are.

    A pseudonym goes first: on a platform, anybody can bear another's pseudonym as a name. Somebody known by a platform
    has several where they came by several pages, or under several keys.
    """
    known = sa.select(raters.c.rater_id).where(raters.c.study_id == study.study_id, raters.c.rater_id == name)
    platform = sa.select(identities.c.rater_id).where(
        identities.c.study_id == study.study_id, identities.c.platform_id.in_((name, name_on_static_page(study, name)))
    )
    for names in ([name], list(connection.scalars(platform))):
        if not names:
            continue
        count = sa.select(sa.func.min(judgments.c.id), sa.func.count()).where(*_answers_of(study, names))
        first, n = connection.execute(count).one()
        if n or names != [name] or connection.scalar(known) is not None:
            return names, first, n
    raise ValueError(f"study {study.study_id} has no rater {name!r}")


def removed_name(study: Study, rater_id: str) -> str:
    """Returns what is kept of a pseudonym that was removed, so that no import brings its rows back."""
    return hashlib.sha256(f"removed|{study.study_id}|{rater_id}".encode()).hexdigest()


def name_on_static_page(study: Study, platform_id: str) -> str:
    """Returns what the jsPsych page calls a person who came to it from a platform."""
    return hashlib.sha256(f"{study.study_id}|{study.seed}|{platform_id}".encode()).hexdigest()[:16]


def _answers_of(study: Study, names: list[str]) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        judgments.c.study_id == study.study_id,
        judgments.c.annotator_id.in_(names),
        judgments.c.annotator_kind == "person",
    )


def trained_since(folder: Path, first: int) -> list[str]:
    """Returns the models of a run that were fitted when the judgment with this id was there."""
    models = [f"models/{refit}.npz" for refit, one in read_refits(folder).items() if one.until >= first]
    return [model for model in models if (Path(folder) / model).exists()]
