from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from domains.arm import RANGES
from qdfeedback import archives, metrics
from qdfeedback.diversity.columns import Columns, columns
from qdfeedback.history import History
from qdfeedback.quality.columns import column
from qdfeedback.types import Batch, Placement, Proposal, Scores

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


def test_the_best_of_each_cell_come_first_then_the_second(tmp_path: Path, rng: np.random.Generator) -> None:
    """Depth is a query on the history: an archive keeps one elite in a cell, the rest is still there."""
    features = np.column_stack([rng.random(300), rng.integers(4, size=300) + 0.5]).astype(np.float32)
    features[7] = np.nan
    history = History(tmp_path / "h.arrows", ("quality", "place"))
    nothing = np.zeros(300)
    proposal = Proposal(np.array([f"{i}" for i in range(300)]), np.full((300, 1), -1), np.full(300, "x"))
    history.append(
        Batch(np.arange(300), 0, proposal, [""] * 300, [None] * 300, features, Scores(nothing, nothing),
              features[:, 1:], nothing, np.ones(300, dtype=bool))
    )  # fmt: skip
    archive = archives.grid((), (4,))(np.array([(0.0, 4.0)]), 0)
    placement = Placement(column(history.names, "quality"), columns(history.names, "place"), archive)
    found = metrics.best_in_cells(history, placement, depth=3)
    assert len(found) == 12
    cell, quality = features[found, 1].astype(int), features[found, 0]
    assert sorted(cell[:4]) == sorted(cell[4:8]) == sorted(cell[8:]) == [0, 1, 2, 3]
    for number in range(4):
        mine = features[:, 1].astype(float) == number + 0.5
        np.testing.assert_allclose(np.sort(quality[cell == number])[::-1], np.sort(features[mine, 0])[::-1][:3])
    for part in (quality[:4], quality[4:8], quality[8:]):
        assert (np.diff(part) <= 0).all()
    assert len(metrics.best_in_cells(History(tmp_path / "n.arrows", history.names), placement, depth=3)) == 0
