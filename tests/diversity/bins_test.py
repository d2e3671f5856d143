from __future__ import annotations

import numpy as np
import pytest

from qdfeedback import archives
from qdfeedback.diversity.bins import Bins
from qdfeedback.writing import EDGES_1D, EDGES_2D
from tests.contracts import check_diversity


@pytest.mark.parametrize("edges", [EDGES_1D, EDGES_2D])
def test_a_grid_has_its_borders_at_the_edges(edges: tuple[float, ...], rng: np.random.Generator) -> None:
    """As numpy.digitize, also for values on an edge; pyribs lifts what is within 1e-6 of a cell below one."""
    bins = Bins((1,), (edges,))
    inner = np.array(edges[1:-1])
    values = np.concatenate([rng.random(500), inner, inner - 1e-4 * np.diff(edges)[:-1], (0.0, 1.0)])
    features = np.stack([np.zeros(len(values)), values], axis=1).astype(np.float32)
    archive = archives.grid((), bins.dims)(bins.ranges, 0)
    wanted = np.digitize(features[:, 1], inner.astype(np.float32))
    np.testing.assert_array_equal(archive.index_of(bins.project(features)), wanted)
    assert bins.dims == (len(edges) - 1,)


def test_several_columns_and_what_is_missing() -> None:
    bins = Bins((2, 0), ((0, 1, 4), (0, 0.5, 1)))
    found = bins.project(np.array([[0.25, 9, 2.5], [np.nan, 9, -1], [2, 9, 9]], dtype=np.float32))
    np.testing.assert_allclose(found, [[1.5, 0.5], [0.0, np.nan], [2.0, 2.0]])
    check_diversity(bins, np.random.default_rng(0).random((7, 3)).astype(np.float32))


@pytest.mark.parametrize(
    "edges", [((0, 1),), ((0, 0, 1),), ((0, 2, 1),), ((0, 1, 2), (0, 1, 2)), ((0, float("nan"), 1),)]
)
def test_edges_must_rise(edges) -> None:
    with pytest.raises(ValueError, match="edges must"):
        Bins((0,), edges)
