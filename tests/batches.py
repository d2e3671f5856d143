"""Candidates that are made by hand; it loads little, for processes that are started to use them."""

from __future__ import annotations

import numpy as np

from qdfeedback.types import Batch, Proposal, Scores

NAMES = ("a", "b")


def batch(first: int, solutions: np.ndarray, error: str | None = None, iteration: int = 0) -> Batch:
    n = len(solutions)
    features = np.arange(first, first + n, dtype=np.float32)[:, None] * [1, 10]
    proposal = Proposal(solutions, np.full((n, 1), -1), np.full(n, "test"))
    nothing = np.zeros(n)
    return Batch(
        np.arange(first, first + n), iteration, proposal, [None] * n, [error] * n, features.astype(np.float32),
        Scores(nothing, nothing), np.zeros((n, 2)), nothing, np.ones(n, dtype=bool),
    )  # fmt: skip
