"""People as annotators: questions are published for them, answers come in on the page when they come."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from qdfeedback.feedback.store import Store, utc_now
from qdfeedback.feedback.tables import empty, trials
from qdfeedback.types import Answers, Bools, Ints, Queries, listed

QUESTION = "similarity"
CHECKS = {"practice": 5, "catch": 16}


def obvious_triplets(study: str, candidates: Sequence[int], *, question: str) -> list[dict[str, Any]]:
    """Returns trials in which one side is the reference itself: for practice, and to catch who does not look.

    Args:
        study: which.
        candidates: at least two, all of them shown by a file.
        question: which of the study's questions.
    """
    rng = np.random.default_rng(list(study.encode()))
    now, rows = utc_now(), []
    for kind, n in CHECKS.items():
        for i in range(n):
            anchor, other = (str(candidates[j]) for j in rng.permutation(len(candidates))[:2])
            rows.append(
                empty(trials)
                | {
                    "study_id": study, "trial_id": f"{kind}/{i}", "question": question, "task": "triplet",
                    "kind": kind, "purpose": kind, "anchor_id": anchor, "a_id": anchor, "b_id": other,
                    "expected": anchor, "published_utc": now,
                }
            )  # fmt: skip
    return rows


def wait_for_answers(store: Store, study: str, n: int) -> None:
    """Returns when n answers are there, or all that were asked for; a progress bar tells how many there are."""
    n = min(n, store.asked(study))
    if store.count(study) >= n:
        return
    with tqdm(total=n, unit="answer", desc="waiting for people", mininterval=0.5, leave=False) as bar:

        def tell(found: int) -> None:
            bar.update(min(found, n) - bar.n)

        store.wait(study, n, tell=tell)


@dataclass(frozen=True)
class People:
    """Whoever opens the study page.

    Attributes:
        store: where questions and answers meet.
        study: which study.
        show: candidate ids → the file that shows each; it writes what is not there yet, and leaves out what cannot be
            shown.
        question: which of the study's questions.
        wait_for: for how many answers of the study `wait` waits; 0 = none, None = all that were asked for.
    """

    store: Store
    study: str
    show: Callable[[Ints], Mapping[int, str]]
    question: str = QUESTION
    wait_for: int | None = 0

    @property
    def kind(self) -> str:
        """`person`."""
        return "person"

    @property
    def name(self) -> str:
        """Stands for all of them; the store has each rater's pseudonym."""
        return "people"

    @property
    def publishes(self) -> bool:
        """True: answers come when people come."""
        return True

    def can_judge(self, ids: Ints) -> Bools:
        """Returns (n,) True: what can be shown, people can judge."""
        return np.ones(len(ids), dtype=bool)

    def answer(self, queries: Queries) -> Answers:
        """Publishes the queries and returns no answer: people put theirs into the store themselves.

        A question about something that cannot be shown is not published; a warning names it. With triplets come trials
        that have an obvious answer.
        """
        contents = self.show(np.unique(queries.items))
        asked = queries.where(can_be_shown(queries, contents))
        if len(asked):
            self.store.publish(self.study, asked, contents, question=self.question)
            seen = {contents[int(item)]: int(item) for item in np.unique(asked.items)[::-1]}
            if asked.task == "triplet" and len(seen) > 1:  # what looks alike makes no obvious question
                checks = obvious_triplets(self.study, sorted(seen.values()), question=self.question)
                self.store.add_trials([], checks)
        nothing = np.empty(0)
        value = nothing if queries.task == "rating" else None
        return Answers(nothing.astype(np.int64), nothing.astype(np.int8), nothing, value)

    def wait(self) -> None:
        """Returns when as many answers are there as are waited for, or all that were asked for."""
        wait_for_answers(
            self.store, self.study, self.store.asked(self.study) if self.wait_for is None else self.wait_for
        )


def can_be_shown(queries: Queries, contents: Collection[int]) -> Bools:
    """Returns (t,) bool, True for questions whose items are all there to be looked at; a warning names others.

    Args:
        queries: t questions.
        contents: the candidates that can be shown.
    """
    missing: Bools = ~np.isin(queries.items, list(contents))
    if missing.any():
        warnings.warn(
            f"{int(missing.any(axis=1).sum())} of {len(queries)} questions are not asked: candidates "
            f"{listed(np.unique(queries.items[missing]))} cannot be shown",
            stacklevel=3,
        )
    return np.asarray(~missing.any(axis=1))
