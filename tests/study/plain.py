"""A plain study of triplets of small pictures, for tests of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from qdfeedback.feedback.people import obvious_triplets
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.tables import empty, items, trials
from qdfeedback.shown import Shown
from qdfeedback.study.settings import Question, Study, write_study

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
