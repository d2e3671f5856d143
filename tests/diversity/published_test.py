"""The published training, step by step against the same in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from qdfeedback.diversity import published
from qdfeedback.diversity.published import fit_published
from qdfeedback.feedback.queries import uniform_triplets
from qdfeedback.types import Floats, Ints


def by_hand(features: Floats, triplets: Ints, rng: np.random.Generator) -> tuple[Floats, list[float]]:
    """Ding 2024, App. B and released code: the weight, and the validation accuracy of every epoch."""
    d, n = features.shape[1], int(0.75 * len(triplets))
    weight = rng.uniform(-1 / np.sqrt(d), 1 / np.sqrt(d), (d, 2)).astype(np.float32).astype(float)
    rng.uniform(-1 / np.sqrt(d), 1 / np.sqrt(d), 2)  # the bias, which no distance knows
    first, second, accuracy = np.zeros_like(weight), np.zeros_like(weight), []
    near, far = (features[triplets[:, 0]] - features[triplets[:, side]] for side in (1, 2))

    def squared(rows) -> tuple[Floats, Floats]:
        return np.square(near[rows] @ weight).sum(axis=1), np.square(far[rows] @ weight).sum(axis=1)

    step = 0
    for epoch in range(1000):
        for rows in rng.integers(n, size=(max(n // 32, 1), 32)):
            d_near, d_far = squared(rows)
            active = (0.05 + d_near - d_far > 0) / 32
            gradient = 2 * (near[rows].T @ (active[:, None] * (near[rows] @ weight)))
            gradient -= 2 * (far[rows].T @ (active[:, None] * (far[rows] @ weight)))
            step += 1
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            weight -= 0.001 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        d_near, d_far = squared(slice(n, None))
        accuracy.append(float((d_near < d_far).mean()))
        if epoch > 10 and np.mean(accuracy[-10:]) < np.mean(accuracy[-11:-1]):
            break
    return weight, accuracy


@pytest.mark.parametrize("seed", [1, 2])
def test_it_goes_step_by_step_as_published(seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((30, 4))
    triplets = uniform_triplets(30, 180, rng)
    near = np.square(features[triplets[:, 0], :2] - features[triplets[:, 1], :2]).sum(axis=1)
    far = np.square(features[triplets[:, 0], :2] - features[triplets[:, 2], :2]).sum(axis=1)
    triplets = np.where((near < far)[:, None], triplets, triplets[:, [0, 2, 1]])
    triplets[150:] = triplets[
        150:, [0, 2, 1]
    ]  # what validates says the opposite: it is not trained on, and soon stops it
    model = fit_published(features, triplets, rng=np.random.default_rng(seed))
    weight, accuracy = by_hand(features.astype(np.float32).astype(float), triplets, np.random.default_rng(seed))
    assert 12 <= len(accuracy) < 300
    assert model.note["epochs"] == len(accuracy)
    assert model.note["validation_accuracy"] == pytest.approx(accuracy[-1])
    np.testing.assert_allclose(model.weights, weight, atol=1e-4)
    assert not model.offset.any()
    np.testing.assert_array_equal(model.members[0], model.weights)


def test_it_goes_to_the_last_epoch_while_validation_does_not_fall(monkeypatch) -> None:
    monkeypatch.setattr(published, "EPOCHS", 30)
    features = np.random.default_rng(0).standard_normal((12, 3))
    triplets = np.tile([[0, 1, 2]], (8, 1))
    assert fit_published(features, triplets, rng=np.random.default_rng(0)).note["epochs"] == 30
    with pytest.raises(ValueError, match="at least 4 judgments"):
        fit_published(features, triplets[:3], rng=np.random.default_rng(0))


def test_it_takes_triplets_that_name_an_item_twice(monkeypatch) -> None:
    monkeypatch.setattr(published, "EPOCHS", 5)
    features = np.random.default_rng(0).standard_normal((12, 3))
    model = fit_published(
        features, np.array([[0, 0, 1], [2, 2, 2], [3, 4, 5], [1, 0, 2]]), rng=np.random.default_rng(0)
    )
    assert np.isfinite(model.weights).all()
