"""A study's answers as records and tables in which it does not matter what stood on which side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from qdfeedback.feedback.database import Database
from qdfeedback.feedback.tables import items, judgments, trials
from qdfeedback.study.settings import SIDED, Question, Study
from qdfeedback.types import Floats, Ints


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


@dataclass(frozen=True)
class Item:
    """What is known of an item.

    Attributes:
        source: the run or method that it comes from, None = not known.
        note: what the one who published it noted: "label" (a text, or one for each question's name), "objective" …
    """

    source: str | None
    note: dict[str, Any]

    def label(self, question: str) -> str | None:
        """Returns the label that the model gave, None where it gave none."""
        found = self.note.get("label")
        found = found.get(question) if isinstance(found, dict) else found
        return found if isinstance(found, str) else None

    def objective(self) -> float:
        """Returns how good the model found it, NaN = not known."""
        found = self.note.get("objective")
        return float(found) if isinstance(found, int | float) else float("nan")


def read_answers(database: Database, study: Study) -> list[Answer]:
    """Returns all answers of a study, oldest first."""
    asked = {row["trial_id"]: row for row in published(database, study)}
    found = database.rows(sa.select(judgments).where(judgments.c.study_id == study.study_id).order_by(judgments.c.id))
    return [_answer(row, asked.get(row["trial_id"], {}), study) for row in found]


def published(database: Database, study: Study) -> Sequence[sa.RowMapping]:
    """Returns the study's trials in the order in which they were published."""
    return database.rows(sa.select(trials).where(trials.c.study_id == study.study_id).order_by(trials.c.number))


def read_items(database: Database, study: Study) -> dict[str, Item]:
    """Returns item id → what is known of it; a note that is no JSON object counts as none."""
    found = database.rows(sa.select(items).where(items.c.study_id == study.study_id))
    return {row["item_id"]: Item(row["source"], _note(row["note"])) for row in found}


def table(answers: Iterable[Answer], question: Question) -> Floats:
    """Returns (raters, trials) codes of the answers to one question, NaN = none; a later answer stands.

    Codes are 0 = first item, 1 = second, 2 = tie; the rating itself; the number of the label among the options.
    """
    given = [answer for answer in answers if answer.given is not None]
    if not given:
        return np.empty((0, 0))
    raters, trials = numbers([answer.rater for answer in given]), numbers([answer.trial for answer in given])
    found = np.full((raters.max() + 1, trials.max() + 1), np.nan)
    found[raters, trials] = [code(answer, question) for answer in given]
    return found


def code(answer: Answer, question: Question) -> float:
    """Returns an answer as a number; NaN = skipped, or no longer among the options."""
    if answer.given is None:
        return float("nan")
    if answer.task == "rating":
        return float(answer.given)
    options = ("first", "second", "tie") if answer.task in SIDED else question.options
    return float(options.index(answer.given)) if answer.given in options else float("nan")


def numbers(names: Sequence[str]) -> Ints:
    """Returns the number of each name in their sorted order."""
    return np.asarray(np.unique(np.array(names, dtype=object), return_inverse=True)[1], dtype=np.int64)


def _answer(row: Any, trial: Any, study: Study) -> Answer:
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


def _note(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
