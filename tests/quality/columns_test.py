from __future__ import annotations

import numpy as np

from qdfeedback.quality.columns import Column, column
from tests.contracts import check_quality


def test_contract(rng) -> None:
    check_quality(Column(2), rng.random((9, 4)).astype(np.float32))


def test_sign_turns_a_cost_into_a_score() -> None:
    features = np.array([[1.0, 5.0], [2.0, 3.0]], dtype=np.float32)
    scores = column(("a", "cost"), "cost", sign=-1).score(features)
    assert scores.mean.tolist() == [-5, -3]
    assert scores.std.tolist() == [0, 0]
