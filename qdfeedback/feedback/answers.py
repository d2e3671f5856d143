"""Answers as records in which it does not matter what stood on which side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from qdfeedback.feedback.database import Database
from qdfeedback.feedback.tables import judgments, trials

SIDED = ("triplet", "pair")
"""Tasks in which two things stand side by side."""


class Named(Protocol):
    """A question of a study, as far as answers refer to it."""

    @property
    def name(self) -> str:
        """By which they do."""
        ...


class Asked(Protocol):
    """What must be known of a study to read its answers."""

    @property
    def study_id(self) -> str:
        """Its name in the store."""
        ...

    @property
    def questions(self) -> Sequence[Named]:
        """What is asked; answers that name no question are to the first."""
        ...


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        trial: its id.
        question: the question's name.
        task: triplet, pair, rating or label.
        kind: main, repeat, catch, practice or surplus.
        purpose: why it was asked; only "random" ones may measure a model's accuracy.
        by: person, model or simulation.
        rater: the pseudonym of a person, the name of anything else.
        first: the trial's first item, the only one where a single thing is judged.
        second: the trial's second item, None where there is none.
        given: what was answered, the same whatever stood on which side: "first", "second", "tie", a rating as text, a
            label; None = skipped.
        shown: what was answered as the person saw it: "left", "right", "tie", a rating as text, a label.
        expected: what a catch or practice trial wants: an item, a rating or a label.
        right: whether that was given; None where nothing is wanted.
        response_ms: how long it took, None = not known.
    """

    trial: str
    question: str
    task: str
    kind: str
    purpose: str
    by: str
    rater: str
    first: str
    second: str | None
    given: str | None
    shown: str | None
    expected: str | None
    right: bool | None
    response_ms: float | None


def read_answers(database: Database, study: Asked, *, until: int | None = None) -> list[Answer]:
    """Returns all answers of a study, oldest first; with `until`, those up to the judgment of that id."""
    asked = {row["trial_id"]: row for row in published(database, study)}
    query = sa.select(judgments).where(judgments.c.study_id == study.study_id)
    if until is not None:
        query = query.where(judgments.c.id <= until)
    found = database.rows(query.order_by(judgments.c.id))
    return [_answer(row, asked.get(row["trial_id"], {}), study) for row in found]


def published(database: Database, study: Asked) -> Sequence[sa.RowMapping]:
    """Returns the study's trials in the order in which they were published."""
    return database.rows(sa.select(trials).where(trials.c.study_id == study.study_id).order_by(trials.c.number))


def _answer(row: Any, trial: Any, study: Asked) -> Answer:
    """Reads one judgment; where its trial is not known, the item with the smaller id counts as the first."""
    left, right = row["left_id"], row["right_id"]
    first, second = (left, right) if right is None else sorted((left, right))
    if {trial.get("a_id"), trial.get("b_id")} == {left, right}:
        first, second = trial["a_id"], trial["b_id"]
    given = shown = {"skip": None, "value": _number(row["value"]), "label": row["label"]}.get(
        row["choice"], row["choice"]
    )
    if row["choice"] in ("left", "right"):
        given = "first" if row["winner_id"] == first else "second"
    expected = trial.get("expected")
    answered = row["winner_id"] if row["task"] in SIDED else given
    return Answer(
        trial=row["trial_id"],
        question=row["question"] or trial.get("question") or study.questions[0].name,
        task=row["task"],
        kind=row["kind"],
        purpose=row["purpose"],
        by=row["annotator_kind"],
        rater=row["annotator_id"],
        first=first,
        second=second,
        given=given,
        shown=shown,
        expected=expected,
        right=None if expected is None else answered == expected,
        response_ms=row["response_ms"],
    )


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:g}"
