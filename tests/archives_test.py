from __future__ import annotations

import numpy as np
import pytest

from qdfeedback import archives
from qdfeedback.types import ID_FIELD


def test_ranges_leave_room_and_ignore_the_few() -> None:
    measures = np.concatenate([np.linspace(0, 1, 1001), [1000.0, np.nan]])[:, None] * [1, 2]
    found = archives.ranges(measures, quantile=0.01, margin=0.1)
    assert found.shape == (2, 2)
    assert -0.12 < found[0, 0] < -0.08
    assert 1.08 < found[0, 1] < 1.12
    exact = archives.ranges(np.array([[0.0], [4.0]]), quantile=0.0, margin=0.0)
    assert exact.tolist() == [[0, 4]]
    with pytest.raises(ValueError, match="no finite row"):
        archives.ranges(np.full((3, 2), np.nan))
    with pytest.raises(ValueError, match="measure 1 is constant"):
        archives.ranges(np.array([[0.0, 5.0], [1.0, 5.0]]))


def test_cvt_cells_keep_their_place_when_ranges_move(rng) -> None:
    build = archives.cvt(3, dim=3, cells=40)
    small, large = build(np.array([[0, 1]] * 3), 0), build(np.array([[-10, 10]] * 3), 0)
    points = rng.random((50, 3))
    assert np.array_equal(small.index_of(points), large.index_of(points * 20 - 10))
    assert small.cells == 40
    assert "id" in small.field_list
    assert archives.bounds(large).tolist() == [[-10, 10]] * 3


def test_clipped_share() -> None:
    archive = archives.grid(1, (5, 5))(np.array([[0, 1], [0, 1]]), 0)
    measures = np.array([[0.5, 0.5], [2, 0.5], [0.5, -1], [np.nan, 0]])
    assert archives.clipped_share(measures, archive) == pytest.approx(2 / 3)
    assert archives.clipped_share(measures[3:], archive) == 0
    assert set(ID_FIELD) == {"id"}
