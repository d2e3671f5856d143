"""Questions and answers as rows of the store's tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from qdfeedback.feedback.tables import empty, items, trials
from qdfeedback.types import Annotator, Answers, Ints, Queries

_CHOICES = {0: "left", 1: "right", -1: "tie"}


def shown_rows(study: str, queries: Queries, contents: Mapping[int, str]) -> list[dict[str, Any]]:
    """Returns a row of items for each candidate that is asked about, in the order of their ids."""
    return [
        empty(items) | {"study_id": study, "item_id": str(item), "content": contents[item]}
        for item in sorted({int(item) for item in queries.items.ravel()})
    ]


def asked_rows(study: str, queries: Queries, *, question: str, now: str) -> list[dict[str, Any]]:
    """Returns a row of trials for each question."""
    return [
        empty(trials)
        | {
            "study_id": study, "trial_id": str(uid), "question": question, "task": queries.task, "kind": "main",
            "purpose": str(purpose), "anchor_id": anchor, "a_id": left, "b_id": right, "published_utc": now,
        }
        for uid, (anchor, left, right), purpose in zip(
            queries.uids, map(_sides, queries.items), queries.purpose, strict=True
        )
    ]  # fmt: skip


def answered_rows(
    study: str, queries: Queries, answers: Answers, annotator: Annotator, *, now: str
) -> list[dict[str, Any]]:
    """Returns a row of judgments for each answer.

    Raises:
        ValueError: An answer points outside the queries, its choice is not 0, 1 or -1, or a rating is no number.
    """
    if len(answers) and (answers.query.min() < 0 or answers.query.max() >= len(queries)):
        raise ValueError(f"answers.query must lie in [0, {len(queries)}), it reaches {answers.query.max()}")
    if not np.isin(answers.choice, list(_CHOICES)).all():
        raise ValueError(f"answers.choice must be 0 (left), 1 (right) or -1 (tie), got {set(answers.choice)}")
    rated = queries.task == "rating"
    values = np.full(len(answers), np.nan) if answers.value is None else answers.value
    if rated and not (len(values) == len(answers) and np.isfinite(values).all()):
        raise ValueError(f"answers.value must be {len(answers)} finite ratings, got {answers.value}")
    rows = []
    for query, choice, probability, value in zip(
        answers.query, answers.choice, answers.probability, values, strict=True
    ):
        anchor, left, right = _sides(queries.items[query])
        won = {0: left, 1: right}.get(int(choice))
        said: dict[str, Any] = {"value": float(value)} if rated else {"winner_id": won}
        rows.append(
            {
                "study_id": study,
                "trial_id": str(queries.uids[query]),
                "task": queries.task,
                "kind": "main",
                "purpose": str(queries.purpose[query]),
                "anchor_id": anchor,
                "left_id": left,
                "right_id": right,
                "choice": "value" if rated else _CHOICES[int(choice)],
                "probability": None if np.isnan(probability) else float(probability),
                "annotator_kind": annotator.kind,
                "annotator_id": annotator.name,
                "answered_utc": now,
            }
            | said
        )
    return rows


def _sides(of: Ints) -> tuple[str | None, str, str | None]:
    """Returns anchor, left and right of a question's candidates; None where its task has none."""
    names = [str(int(item)) for item in of]
    if len(names) == 3:
        return names[0], names[1], names[2]
    return None, names[0], names[1] if len(names) == 2 else None
