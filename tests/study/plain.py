"""A plain study of triplets of small pictures, for tests of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from domains.arm import Arm
from qdfeedback.feedback.people import obvious_triplets
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import Question, Study, write_study
from qdfeedback.feedback.tables import empty, items, trials
from qdfeedback.shown import Shown

ALIKE = Question("alike", "triplet", "Which is more like the reference?")


def plain_study(folder: Path, n: int = 12, *, database: str | None = None, name: str = "s", **rules: Any) -> Study:
    """Writes a study of n triplets over 10 pictures."""
    settings: dict[str, Any] = {"trials_per_rater": n, "catch_per_rater": 2, "catch_pass": 2, "practice": 2}
    study = Study(name, (ALIKE,), **(settings | {"repeats": 0.25, "repeat_gap": 2} | rules))
    write_study(folder, study)
    shown, store = Shown(folder / "shown"), Store(database or folder / "judgments.db")
    names = [shown.add(np.full((8, 8, 3), 20 * i, np.uint8)) for i in range(10)]
    things = [empty(items) | {"study_id": name, "item_id": str(i), "content": names[i]} for i in range(10)]
    rows = [
        empty(trials)
        | {
            "study_id": name, "trial_id": f"t{i}", "question": "alike", "task": "triplet", "kind": "main",
            "purpose": "random", "anchor_id": str(i % 10), "a_id": str((i + 1 + i // 10) % 10),
            "b_id": str((i + 3 + i // 10) % 10), "published_utc": "2026-01-01T00:00:00.000+00:00",
        }
        for i in range(n)
    ]  # fmt: skip
    store.add_trials(things, rows + obvious_triplets(name, list(range(10)), question="alike"))
    store.close()
    return study


def drawn_study(folder: Path, *, everything: bool = False, **rules: Any) -> Study:
    """Writes a study of drawn arms: triplets, or one of every kind of question, texts and animations among them."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    still, moving, name = Arm(), Arm(frames=8), "drawn"
    shown, store = Shown(folder / "shown"), Store(folder / "judgments.db")
    poses = np.cumsum(rng.normal(0, 0.5, (12, 10)), axis=1)
    names = [shown.add(still.present(pose)) for pose in poses]
    contents = {str(i): file for i, file in enumerate(names)}
    questions: tuple[Question, ...] = (ALIKE,)
    kinds: list[tuple[str, str | None, str, str | None]]
    kinds = [("alike", str(i), str((i + 1) % 12), str((i + 5) % 12)) for i in range(12)]
    settings: dict[str, Any] = {"catch_per_rater": 2, "catch_pass": 2, "practice": 2, "repeats": 0.25, "repeat_gap": 2}
    if everything:
        questions = (
            ALIKE, Question("sets", "pair", "Which set is more diverse?", tie=True),
            Question("story", "pair", "Which story is better?", tie=True),
            Question("moves", "rating", "How gracefully does it move?", scale=(1, 7), ends=("clumsy", "graceful")),
            Question("mood", "label", "Which mood has the story?", options=("happy", "sad", "frightening", "neither")),
        )  # fmt: skip
        contents |= {f"set-{i}": " ".join(names[j] for j in rng.permutation(12)[:9]) for i in range(2)}
        contents |= {f"moving-{i}": shown.add(moving.present(pose)) for i, pose in enumerate(poses[:2])}
        stories = ["The bear found the lantern and carried it home.\n\nNobody asked where it had been.", "Rain. " * 40]
        contents |= {f"story-{i}": shown.add(text) for i, text in enumerate(stories)}
        kinds = [
            *kinds[:3], ("sets", None, "set-0", "set-1"), ("story", None, "story-0", "story-1"),
            ("moves", None, "moving-0", None), ("mood", None, "story-0", None),
        ]  # fmt: skip
        settings |= {"repeats": 0.0}
    task = {question.name: question.task for question in questions}
    study = Study(name, questions, title="Robot arms", **(settings | {"trials_per_rater": len(kinds)} | rules))
    write_study(folder, study)
    things = [empty(items) | {"study_id": name, "item_id": item, "content": file} for item, file in contents.items()]
    rows = [
        empty(trials)
        | {
            "study_id": name, "trial_id": f"t{i}", "question": question, "task": task[question], "kind": "main",
            "purpose": "random", "anchor_id": anchor, "a_id": a, "b_id": b,
            "published_utc": "2026-01-01T00:00:00.000+00:00",
        }
        for i, (question, anchor, a, b) in enumerate(kinds)
    ]  # fmt: skip
    store.add_trials(things, rows + obvious_triplets(name, list(range(12)), question="alike"))
    store.close()
    return study
