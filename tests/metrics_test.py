from __future__ import annotations

import numpy as np
import pytest

from domains.arm import RANGES
from qdfeedback import archives, metrics
from qdfeedback.diversity.columns import Columns

UNIT = np.array([[0, 1], [0, 1]])


def test_scores_count_cells_not_elites() -> None:
    archive = archives.grid(1, (2, 2))(UNIT, 0)
    assert metrics.score(archive) == metrics.GridScore(0.0, 0.0)
    archive.add([[0.0], [0.0], [0.0]], [8.0, 4.0, -2.0], [[0.1, 0.1], [0.2, 0.2], [0.9, 0.9]], id=[0, 1, 2])
    assert metrics.score(archive) == metrics.GridScore((8 - 2) / 4, 50.0)


def test_the_figures_do_not_depend_on_the_order(rng) -> None:
    objective, measures = rng.random(500) * 100, rng.uniform(-10, 10, (500, 2))
    order = rng.permutation(500)
    one = metrics.score_in(RANGES, (50, 50), objective, measures)
    two = metrics.score_in(RANGES, (50, 50), objective[order], measures[order])
    assert one == two
    assert metrics.score_in(RANGES, (5, 5), np.full(3, np.nan), np.zeros((3, 2))).coverage == 0


def test_corrected_scores_take_means_and_leave_failures_out() -> None:
    objectives = np.array([[10.0, 4.0, np.nan], [2.0, 4.0, np.nan]])
    measures = np.array([[[0.1, 0.1], [0.9, 0.9], [0.5, 0.5]], [[0.1, 0.1], [0.1, 0.9], [0.5, 0.5]]])
    found = metrics.corrected_score(archives.grid(3, (2, 2))(UNIT, 0), objectives, measures)
    assert found.qd_score == pytest.approx((6 + 4) / 4)
    assert found.coverage == 50


def test_orders_right() -> None:
    features = np.array([[0.0], [1.0], [5.0]])
    triplets = np.array([[0, 1, 2], [0, 2, 1]])
    assert metrics.orders_right(Columns((0,)), features, triplets).tolist() == [True, False]
