"""A judgment store as the study page would have left it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import sqlalchemy as sa

from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import Question, Study
from qdfeedback.feedback.tables import empty, items, raters, trials
from qdfeedback.study.analysis.page import page
from qdfeedback.study.analysis.report import report

NOW = "2025-01-01T00:00:00.000+00:00"
SIMILAR = Question("similar", "triplet", "Which is more like the first?")
BETTER = Question("better", "pair", "Which is better?", tie=True)
QUALITY = Question("quality", "rating", "How good?", scale=(1, 5))
GENRE = Question("genre", "label", "Which genre?", options=("horror", "romance"))


class Written:
    """A store into which tests write what a page would have written."""

    def __init__(self, store: Store, study: Study) -> None:
        self.store, self.study, self.rows = store, study, []

    def item(self, name: str, source: str | None = None, **note: Any) -> None:
        row = {"study_id": self.study.study_id, "item_id": name, "content": "x", "source": source}
        self.store.add_trials([empty(items) | row | {"note": json.dumps(note)}], [])

    def trial(self, name: str, question: Question, a: str, b: str | None = None, **more: Any) -> None:
        row = {
            "study_id": self.study.study_id, "trial_id": name, "question": question.name, "task": question.task,
            "kind": "main", "purpose": "random", "a_id": a, "b_id": b, "published_utc": NOW,
        }  # fmt: skip
        self.store.add_trials([], [empty(trials) | row | more])

    def answer(
        self, who: str, trial: str, question: Question, left: str, right: str | None = None, **more: Any
    ) -> None:
        row = {
            "study_id": self.study.study_id, "trial_id": trial, "question": question.name, "task": question.task,
            "kind": "main", "purpose": "random", "left_id": left, "right_id": right, "annotator_kind": "person",
            "annotator_id": who, "response_ms": 1500.0, "answered_utc": NOW,
        }  # fmt: skip
        if more.get("choice") in ("left", "right"):
            row["winner_id"] = left if more["choice"] == "left" else right
        self.rows.append(row | more)

    def choose(self, who: str, trial: str, question: Question, *, first: bool, swapped: bool, **more: Any) -> None:
        """Answers a trial with items "<trial>a" and "<trial>b"."""
        left, right = (f"{trial}{side}" for side in ("ba" if swapped else "ab"))
        choice = "left" if first != swapped else "right"
        self.answer(who, trial, question, left, right, anchor_id="anchor", choice=choice, **more)

    def person(self, name: str, stage: str = "done") -> None:
        row = {"study_id": self.study.study_id, "rater_id": name, "token_hash": name, "platform": "link",
               "joined_utc": NOW, "stage": stage, "filtered": False, "active_until": 0.0}  # fmt: skip
        with self.store.database.writing() as connection:
            connection.execute(sa.insert(raters).values(empty(raters) | row))

    def report(self, **more: Any) -> dict[str, Any]:
        self.store.append(self.rows)
        self.rows = []
        found = report(self.store.database, self.study, **more)
        json.dumps(found, allow_nan=False)
        assert "<!doctype html>" in page(found)
        return found


def simulated(
    study: Written, question: Question, *, people: int, n: int, flip: float, repeats: int = 0, seed: int = 5
) -> np.ndarray:
    """Everybody answers all trials; each answer is the truth, flipped with a probability. Returns who said what."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(2, size=n)
    table = truth ^ (rng.random((people, n)) < flip)
    again = truth ^ (rng.random((people, n)) < flip)
    for trial in range(n):
        study.trial(f"t{trial:03}", question, f"t{trial:03}a", f"t{trial:03}b", anchor_id="anchor")
        for rater in range(people):
            swapped = bool((trial + rater) % 2)
            name = f"t{trial:03}"
            study.choose(f"p{rater}", name, question, first=table[rater, trial] == 0, swapped=swapped)
            if trial < repeats:
                first = again[rater, trial] == 0
                study.choose(f"p{rater}", name, question, first=first, swapped=not swapped, kind="repeat")
    return table
