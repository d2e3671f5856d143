"""A study with a bit of everything, for the tests of what goes out and comes in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import Question, Study, write_study
from qdfeedback.feedback.tables import empty, items, trials
from qdfeedback.shown import Shown

HOSTILE = "<script>alert(\"x\")</script> & '=1+1' \u2028 ${x} </textarea>\n- é 🙂"
QUESTIONS = (
    Question("alike", "triplet", "Which is more like <the reference>?"),
    Question("better", "pair", "=Which is better?", tie=True),
    Question("grade", "rating", "How good?", scale=(0, 4), ends=("bad", "good")),
    Question("mood", "label", "Which mood?", options=("=happy", "sad & blue")),
)
STUDY = Study(
    "s-1", QUESTIONS, title="A <study>", completion_code="SECRETCODE", sources={"a": "/home/me/run"},
    trials_per_rater=20, catch_per_rater=2, practice=1, repeats=0.5, repeat_gap=1,
)  # fmt: skip


@dataclass(frozen=True)
class Small:
    folder: Path
    store: Store
    study: Study

    @property
    def database(self):
        return self.store.database


def small_study(folder: Path, *, questions: tuple[str, ...] = ("alike", "better", "grade", "mood")) -> Small:
    study = Study(**(vars(STUDY) | {"questions": tuple(q for q in QUESTIONS if q.name in questions)}))
    write_study(folder, study)
    shown, store = Shown(folder / "shown"), Store(folder / "judgments.db")
    texts = [shown.add(text) for text in (HOSTILE, "=cmd|calc", "+two", "three", "four")]
    images = [shown.add(np.full((4, 4, 3), 40 * i, np.uint8)) for i in range(5)]
    contents = {f"t{i}": name for i, name in enumerate(texts)} | {f"i{i}": name for i, name in enumerate(images)}
    shared = {"study_id": study.study_id}
    things = [
        empty(items) | shared | {"item_id": item, "content": content, "source": "/home/me/run", "note": '{"cell": 3}'}
        for item, content in contents.items()
    ]
    rows = [
        empty(trials) | shared | {"published_utc": "2026-11-20T10:11:12.131+00:00"} | row
        for row in _asked()
        if row["question"] in questions
    ]
    store.add_trials(things, rows)
    store.append([shared | row for row in _answered() if row["question"] in questions])
    return Small(folder, store, study)


def _asked() -> list[dict[str, Any]]:
    def trial(trial_id: str, question: str, task: str, *things: str | None, **more: Any) -> dict[str, Any]:
        anchor, a, b = things
        plain = {"kind": "main", "purpose": "random", "anchor_id": anchor, "a_id": a, "b_id": b}
        return {"trial_id": trial_id, "question": question, "task": task} | plain | more

    catch = {"kind": "catch", "purpose": "catch"}
    return [
        *(trial(f"b/{i}-x", "alike", "triplet", f"i{i}", f"i{(i + 1) % 5}", f"i{(i + 2) % 5}") for i in range(5)),
        trial("catch/0", "alike", "triplet", "i0", "i0", "i1", expected="i0", **catch),
        trial("practice/0", "alike", "triplet", "i1", "i1", "i2", expected="i1", kind="practice", purpose="practice"),
        *(trial(f"p/{i}", "better", "pair", None, f"t{i}", f"t{i + 1}") for i in range(4)),
        trial("g/0", "grade", "rating", None, "t0", None),
        trial("m/0", "mood", "label", None, "t1", None),
        trial("catch/m", "mood", "label", None, "t2", None, expected="sad & blue", **catch),
    ]


def _answered() -> list[dict[str, Any]]:
    def row(rater: str, trial: str, question: str, task: str, choice: str, **more: Any) -> dict[str, Any]:
        plain = {
            "annotator_id": rater, "trial_id": trial, "question": question, "task": task, "choice": choice,
            "kind": "main", "purpose": "random", "annotator_kind": "person", "response_ms": 812.5, "position": 3,
            "shown_utc": "2026-11-20T10:20:00.000+00:00", "answered_utc": "2026-11-20T10:20:30.123+00:00",
        }  # fmt: skip
        return plain | more

    def triplet(rater: str, i: int, choice: str, **more: Any) -> dict[str, Any]:
        sides = {"left_id": f"i{(i + 1) % 5}", "right_id": f"i{(i + 2) % 5}"}
        won = {"winner_id": sides.get(f"{choice}_id")}
        return row(rater, f"b/{i}-x", "alike", "triplet", choice, anchor_id=f"i{i}", **sides, **won, **more)

    def pair(rater: str, i: int, choice: str) -> dict[str, Any]:
        sides = {"left_id": f"t{i + 1}", "right_id": f"t{i}"}
        return row(rater, f"p/{i}", "better", "pair", choice, **sides, winner_id=sides.get(f"{choice}_id"))

    return [
        triplet("8f3a", 0, "left"),
        triplet("8f3a", 0, "right", kind="repeat"),
        triplet("8f3a", 1, "skip"),
        triplet("77bc", 0, "right"),
        triplet("oracle-1", 2, "left", annotator_kind="simulation", probability=0.25),
        pair("77bc", 0, "left"),
        pair("8f3a", 0, "tie"),
        row("8f3a", "g/0", "grade", "rating", "value", left_id="t0", value=4.0),
        row("77bc", "m/0", "mood", "label", "label", left_id="t1", label="=happy"),
    ]
