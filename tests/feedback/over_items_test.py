"""The interval of a mean of answers that share items."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from qdfeedback.feedback.agreement import mean_over_items


def test_by_hand(rng) -> None:
    """Each item left out in turn, with all that touches it."""
    items = np.array([rng.choice(9, 3, replace=False) + 5 for _ in range(40)])
    values = rng.random(40)
    without = np.array([values[~(items == item).any(axis=1)].mean() for item in range(5, 14)])
    jackknife = 8 / 9 * np.square(without - values.mean()).sum()
    noise = values.var() / 40
    found = mean_over_items(values, items)
    wide = t.ppf(0.975, 8) * np.sqrt(max(jackknife - 2 * noise, noise))
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == (pytest.approx(found.value - wide), pytest.approx(found.value + wide))
    narrow = mean_over_items(values, items, confidence=0.8)
    assert (narrow.high - narrow.low) / (found.high - found.low) == pytest.approx(t.ppf(0.9, 8) / t.ppf(0.975, 8))


@pytest.mark.parametrize("effect", [0.0, 0.3])
def test_the_truth_lies_in_it_as_often_as_it_says(effect: float) -> None:
    """Over many draws of items and values, with and without something in common between what shares an item."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(300):
        of_item = effect * rng.standard_normal(30)
        items = np.argsort(rng.random((200, 30)), axis=1)[:, :3]
        values = of_item[items].sum(axis=1) + rng.standard_normal(200)
        found = mean_over_items(values, items)
        inside.append(found.low < 0 < found.high)
    assert 0.9 < np.mean(inside) < 0.99


def test_where_one_item_is_in_all_of_them_nothing_can_be_said() -> None:
    found = mean_over_items(np.array([0.0, 1.0]), np.array([[0, 1, 2], [0, 3, 4]]))
    assert found.value == 0.5
    assert np.isnan([found.low, found.high]).all()
