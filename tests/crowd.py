"""A crowd that answers what a search asks, in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from domains.arm import ArmEncoder
from qdfeedback.feedback.store import Store, utc_now
from qdfeedback.feedback.study import read_study
from qdfeedback.feedback.tables import trials
from qdfeedback.history import History


class Crowd(threading.Thread):
    """Answers from true positions whatever is asked, until it is told to stop."""

    def __init__(
        self,
        run: Path,
        names: Sequence[str] = ArmEncoder.names,
        truth: Sequence[str] = ("x", "y"),
        most: int = 10**6,
    ) -> None:
        super().__init__(daemon=True)
        self.run_folder, self.names, self.left, self.stopped = run, names, most, threading.Event()
        self.truth = [list(names).index(name) for name in truth]

    def run(self) -> None:
        while not (self.run_folder / "study.json").exists() and not self.stopped.is_set():
            time.sleep(0.02)
        study, store = read_study(self.run_folder).study_id, Store(self.run_folder / "judgments.db")
        while not self.stopped.is_set() and self.left > 0:
            done = store.answered(study)
            for row in store.database.rows(sa.select(trials).where(trials.c.kind == "main")):
                if row["trial_id"] not in done and self.left > 0:
                    store.append([self.answer(study, row)])
                    self.left -= 1
            time.sleep(0.1)
        store.close()

    def choice(self, row) -> str:
        ids = np.array([int(row[side]) for side in ("anchor_id", "a_id", "b_id")])
        history = History(self.run_folder / "history.arrows", self.names)
        anchor, left, right = history.take(ids, "features")[:, self.truth]
        return "left" if np.linalg.norm(left - anchor) < np.linalg.norm(right - anchor) else "right"

    def answer(self, study: str, row) -> dict:
        choice = self.choice(row)
        return {
            "study_id": study, "trial_id": row["trial_id"], "task": "triplet", "question": row["question"],
            "kind": "main", "purpose": row["purpose"], "anchor_id": row["anchor_id"], "left_id": row["a_id"],
            "right_id": row["b_id"], "choice": choice, "winner_id": row["a_id" if choice == "left" else "b_id"],
            "annotator_kind": "person", "annotator_id": "crowd", "answered_utc": utc_now(),
        }  # fmt: skip
