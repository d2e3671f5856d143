from __future__ import annotations

import numpy as np
import pytest

from qdfeedback.diversity import published
from qdfeedback.diversity.fitting import check_triplets
from qdfeedback.diversity.published import fit_published
from qdfeedback.diversity.similarity import Fit, fit_similarity
from qdfeedback.feedback.queries import uniform_triplets
from qdfeedback.metrics import orders_right
from qdfeedback.types import Floats, Ints


def world(
    rng, *, n: int = 300, d: int = 8, t: int = 600, flip: float = 0.0, fresh: int = 0
) -> tuple[Floats, Ints, Ints]:
    """Features, judged triplets, and clean test triplets of a true space of two directions; `fresh`: as noisy ones."""
    features = rng.standard_normal((n, d))
    truth = features[:, :2] * [2.0, 1.0]

    def judged(count: int, flips: float) -> Ints:
        triplets = uniform_triplets(n, count, rng)
        a, b, c = (truth[triplets[:, i]] for i in range(3))
        near = np.square(a - b).sum(axis=1) < np.square(a - c).sum(axis=1)
        near ^= rng.random(count) < flips
        return np.where(near[:, None], triplets, triplets[:, [0, 2, 1]])

    return features, judged(t, flip), judged(fresh, flip) if fresh else judged(2000, 0.0)


def accuracy(model, features: Floats, triplets: Ints) -> float:
    return float(orders_right(model, features, triplets).mean())


@pytest.mark.parametrize(
    "how",
    [
        Fit(),
        Fit(loss="hinge", ridge=0.01),
        Fit(starts=1, members=0),
        Fit(members=3),
        Fit(prepare="whiten"),
        Fit(prepare="center"),
        Fit(flip=None),
        Fit(validation=0.2),
        Fit(validation=0.1, by_item=True),
        Fit(loss="hinge", validation=0.2, ridge=0.01),
    ],
    ids=str,
)
def test_every_way_of_fitting_finds_the_true_space(how: Fit, rng) -> None:
    """Two directions of eight, the one twice as wide as the other: what remains is a turn."""
    features, triplets, test = world(rng)
    model = fit_similarity(features, triplets, how=how, rng=rng)
    assert model.members.shape == (how.members or 1, 8, 2)
    assert accuracy(model, features, test) > 0.95
    metric = model.weights @ model.weights.T
    true = np.diag([4.0, 1.0] + [0.0] * 6)
    assert np.sum(metric * true) / np.linalg.norm(metric) / np.linalg.norm(true) > 0.985
    wide, narrow = np.sqrt(np.linalg.eigvalsh(metric)[-1:-3:-1])
    assert 1.6 < wide / narrow < 2.5


def test_the_same_seed_gives_the_same_model(monkeypatch) -> None:
    monkeypatch.setattr(published, "EPOCHS", 3)
    features, triplets, _ = world(np.random.default_rng(0), n=40, d=4, t=60)
    for fit in (fit_similarity, fit_published):
        one, two = (fit(features, triplets, rng=np.random.default_rng(5)) for _ in range(2))
        np.testing.assert_array_equal(one.weights, two.weights)
        np.testing.assert_array_equal(one.members, two.members)
        other = fit(features, triplets, rng=np.random.default_rng(6))
        assert not np.array_equal(one.weights, other.weights)


def test_flipped_answers_are_found_out(rng) -> None:
    features, triplets, test = world(rng, t=1500, flip=0.2)
    learned = fit_similarity(features, triplets, how=Fit(flip=None), rng=rng)
    naive = fit_similarity(features, triplets, how=Fit(flip=0.0), rng=rng)
    assert 0.12 < learned.flip < 0.25
    assert accuracy(learned, features, test) > accuracy(naive, features, test)
    clean, clean_triplets, _ = world(rng, t=1500)
    assert fit_similarity(clean, clean_triplets, how=Fit(flip=None), rng=rng).flip < 0.02


@pytest.mark.parametrize("how", [Fit(flip=None), Fit(loss="hinge", validation=0.2, ridge=0.01)], ids=["ste", "hinge"])
def test_probabilities_are_calibrated(how: Fit, rng) -> None:
    features = rng.standard_normal((300, 4))
    truth = features[:, :2]
    triplets = uniform_triplets(300, 4000, rng)
    a, b, c = (truth[triplets[:, i]] for i in range(3))
    p = 1 / (1 + np.exp(-(np.square(a - c).sum(axis=1) - np.square(a - b).sum(axis=1)) / 2))
    answered = np.where((rng.random(4000) < p)[:, None], triplets, triplets[:, [0, 2, 1]])
    model = fit_similarity(features, answered[:2000], how=how, rng=rng)
    said = model.probability(features, triplets[2000:])
    right = (answered[2000:] == triplets[2000:]).all(axis=1)
    cell = np.clip((said * 5).astype(int), 0, 4)
    counts = np.bincount(cell, minlength=5)
    apart = np.abs(np.bincount(cell, said - right, minlength=5)) / counts
    assert counts.min() > 100, "something is said in each fifth of what can be"
    assert apart @ counts / counts.sum() < 0.03
    assert apart.max() < 0.08


def test_more_dimensions_than_items(rng) -> None:
    features, triplets, _ = world(rng, n=20, d=200, t=200)
    model = fit_similarity(features, triplets, how=Fit(prepare="center", components=10), dim=3, rng=rng)
    assert model.project(features).shape == (20, 3)


def test_a_constant_feature_gets_no_weight(rng) -> None:
    features, triplets, _ = world(rng)
    features[:, 5] = 4.0
    assert (fit_similarity(features, triplets, rng=rng).weights[5] == 0).all()


def test_members_agree_as_answers_come(rng) -> None:
    features, triplets, test = world(rng, t=2000)
    spread = [
        fit_similarity(features, triplets[:t], rng=rng).member_probability(features, test).std(axis=0).mean()
        for t in (3, 100, 2000)
    ]
    assert spread[0] > 1.5 * spread[1] > 2 * spread[2]
    one = fit_similarity(features, triplets, how=Fit(members=0), rng=rng)
    np.testing.assert_array_equal(one.members[0], one.weights)


def test_rotation_changes_no_distance(rng) -> None:
    features, triplets, _ = world(rng)
    model = fit_similarity(features, triplets, rng=rng)
    turned = model.rotated(np.array([[0.0, -1.0], [1.0, 0.0]]))
    np.testing.assert_allclose(turned.probability(features, triplets), model.probability(features, triplets))
    np.testing.assert_allclose(
        turned.member_probability(features, triplets), model.member_probability(features, triplets)
    )


BAD = {
    "outside": (np.array([[0, 1, 99], [0, 1, 2]]), "must be rows of the 10 features, they reach from 0 to 99"),
    "negative": (np.array([[0, 1, -1], [0, 1, 2]]), "they reach from -1 to 2"),
    "twice": (np.array([[0, 1, 1], [0, 1, 2]]), "three different items"),
    "shape": (np.array([[0, 1], [0, 1]]), r"shape \(t, 3\)"),
    "floats": (np.array([[0.0, 1, 2], [0, 1, 3]]), "must be integers"),
    "one": (np.array([[0, 1, 2]]), "at least 2 judgments, got 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_triplets_are_named(name: str, rng) -> None:
    triplets, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        fit_similarity(rng.random((10, 3)), triplets, rng=rng)


def test_bad_features_are_named(rng) -> None:
    features = rng.random((10, 3))
    good = np.array([[0, 1, 2], [3, 4, 5]])
    features[9] = np.nan
    check_triplets(features, good)  # nobody was asked about item 9
    features[5] = np.nan
    with pytest.raises(ValueError, match="features of judged items must be finite"):
        check_triplets(features, good)
    with pytest.raises(ValueError, match=r"features must have shape \(n, d\)"):
        check_triplets(np.zeros(3), good)
    model = fit_similarity(rng.random((10, 3)), good, rng=rng)
    with pytest.raises(ValueError, match=r"features must have shape \(n, 3\), got \(2, 4\)"):
        model.project(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"validation=0\.9 leaves"):
        fit_similarity(rng.random((10, 3)), good, how=Fit(validation=0.9, by_item=True), rng=np.random.default_rng(1))
