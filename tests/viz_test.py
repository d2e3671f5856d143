from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from domains.arm.arm import draw
from qdfeedback import archives, viz

UNIT = np.array([[0, 1], [0, 1]])


def filled(build, k: int, rng):
    archive = build(np.array([[0, 1]] * k), 0)
    archive.add(rng.random((200, 1)), rng.random(200), rng.random((200, k)), id=np.arange(200))
    return archive


@pytest.mark.parametrize("build", [archives.grid(1, (6, 6)), archives.cvt(1, 2, 36)], ids=["grid", "cvt"])
def test_heatmaps(build, rng, tmp_path: Path) -> None:
    figure, axes = viz.figure(2)
    viz.heatmap(axes[0], filled(build, 2, rng), title="full", axes=("a", "b"))
    viz.heatmap(axes[1], build(UNIT, 0), title="empty")
    assert axes[0].get_title() == "full"
    assert axes[0].get_xlabel() == "a"
    viz.save(figure, tmp_path / "h.png")
    assert (tmp_path / "h.png").stat().st_size > 1000


def test_more_measures_are_scattered(rng) -> None:
    figure, axes = viz.figure(1)
    archive = filled(archives.cvt(1, 3, 50), 3, rng)
    viz.heatmap(axes[0], archive, title="three")
    assert len(axes[0].collections[0].get_offsets()) == len(archive)
    plt.close(figure)


def test_collage_shows_the_one_nearest_to_each_middle(rng) -> None:
    figure, axes = viz.figure(1)
    places = np.array([[0.0, 0.0], [10.0, 10.0], [2.4, 2.4], [2.0, 1.0]])
    asked = []

    def image(i: int) -> np.ndarray:
        asked.append(i)
        return draw(np.zeros(10), 16)

    viz.collage(axes[0], places, image, title="t", side=2)
    assert sorted(asked) == [1, 2]
    assert len(axes[0].images) == 2
    plt.close(figure)


def test_curves_and_maps(rng) -> None:
    figure, axes = viz.figure(2, 2)
    rows = [{"n": i, "a": i * 2, "b": 1} for i in range(5)]
    viz.curves(axes[0], rows, x="n", lines={"a": "A", "b": "B"}, title="t", marks=[2])
    assert [line.get_label() for line in axes[0].get_lines()[1:]] == ["A", "B"]
    viz.learned_map(axes[1], rng.random((10, 2)), title="t")
    assert len(axes[1].texts) == 10
    viz.learned_map(axes[2], rng.random((200, 1)), colour=rng.random(200), title="t")
    assert len(axes[2].texts) == 0
    value = np.array([0.6, 0.7])
    viz.learning_curve(axes[3], np.array([100, 1000]), figures={"x": (value, value - 0.1, value + 0.1)}, title="t")
    assert [label.get_text() for label in axes[3].get_xticklabels()] == ["100", "1,000"]
    plt.close(figure)
