"""A study's answers as tables, and what is known of the items that they are about."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from qdfeedback.feedback.answers import SIDED, Answer
from qdfeedback.feedback.database import Database
from qdfeedback.feedback.study import Question, Study
from qdfeedback.feedback.tables import items
from qdfeedback.types import Floats, Ints


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


def _note(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
