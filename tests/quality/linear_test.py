from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from qdfeedback.quality.columns import Column
from qdfeedback.quality.linear import LinearUtility, fit_utility, load_utility
from qdfeedback.quality.transforms import Equal, OnColumns, Shifted
from tests.contracts import check_quality


def learned(rng: np.random.Generator, n: int = 300, ridge: float = 1.0) -> tuple[LinearUtility, np.ndarray, np.ndarray]:
    features, true = rng.normal(size=(40, 4)) * [1, 10, 1, 1], np.array([2.0, -0.1, 0.0, 0.5])
    pairs = np.array([rng.choice(40, 2, replace=False) for _ in range(n)])
    worth = features @ true
    pairs = np.where((worth[pairs[:, 0]] > worth[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1])
    return fit_utility(features, pairs, ridge=ridge), features, worth


def test_a_utility_orders_things_as_answers_do(rng: np.random.Generator) -> None:
    model, features, worth = learned(rng)
    assert np.corrcoef(model.score(features).mean, worth)[0, 1] > 0.97
    pairs = np.array([[0, 1], [1, 0]])
    assert model.probability(features, pairs).sum() == pytest.approx(1)


def test_an_ensemble_disagrees_where_little_was_said(rng: np.random.Generator) -> None:
    few, features, _ = learned(np.random.default_rng(0), n=10)
    many, _, _ = learned(np.random.default_rng(0), n=2000)
    pairs = np.array([rng.choice(40, 2, replace=False) for _ in range(200)])
    spread = [model.member_probability(features, pairs).std(axis=0).mean() for model in (few, many)]
    assert few.member_probability(features, pairs).shape == (8, 200)
    assert spread[0] > 1.5 * spread[1]
    alone = LinearUtility(few.offset, few.weights)
    np.testing.assert_allclose(alone.member_probability(features, pairs)[0], few.probability(features, pairs))
    with pytest.raises(ValueError, match="members must have shape"):
        LinearUtility(few.offset, few.weights, np.zeros((3, 2)))


def test_the_prior_is_as_precise_as_it_says(rng: np.random.Generator) -> None:
    features = rng.normal(size=(30, 3))
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    pairs = np.array([rng.choice(30, 2, replace=False) for _ in range(60)])
    pairs = np.concatenate([pairs, np.stack([np.arange(30), np.roll(np.arange(30), 1)], axis=1)])  # all are judged
    differ = features[pairs[:, 0]] - features[pairs[:, 1]]
    for ridge in (0.3, 3.0):
        loss = lambda w, ridge=ridge: np.logaddexp(0, -differ @ w).sum() + ridge * (w @ w) / 2  # noqa: E731
        expected = minimize(loss, np.zeros(3)).x
        np.testing.assert_allclose(fit_utility(features, pairs, ridge=ridge).weights, expected, atol=1e-3)


def test_a_strong_prior_says_less(rng: np.random.Generator) -> None:
    weak, features, _ = learned(np.random.default_rng(0))
    strong, _, _ = learned(np.random.default_rng(0), ridge=1000.0)
    assert strong.score(features).mean.std() < 0.2 * weak.score(features).mean.std()


@pytest.mark.parametrize("kind", ["learned", "on columns", "shifted", "equal"])
def test_a_quality_keeps_its_contract(kind: str, rng: np.random.Generator) -> None:
    model, features, _ = learned(rng)
    wide = np.column_stack([rng.normal(size=len(features)), features])
    check_quality(
        *{
            "learned": (model, features),
            "on columns": (OnColumns((1, 2, 3, 4), model), wide),
            "shifted": (Shifted(Column(0), 2.0), features),
            "equal": (Equal(), features),
        }[kind]
    )


def test_a_zero_moves_scores_and_not_their_doubt(rng: np.random.Generator) -> None:
    features = rng.normal(size=(5, 2))
    np.testing.assert_allclose(Shifted(Column(1), 0.5).score(features).mean, features[:, 1] - 0.5)
    assert np.isnan(Equal((1,)).score(np.array([[1.0, np.nan], [np.nan, 1.0]])).mean).tolist() == [True, False]


def test_a_saved_utility_comes_back(tmp_path: Path, rng: np.random.Generator) -> None:
    model, features, _ = learned(rng)
    model.save(tmp_path / "m.npz")
    np.testing.assert_array_equal(load_utility(tmp_path / "m.npz").score(features).mean, model.score(features).mean)
    with pytest.raises(ValueError, match="must be"):
        LinearUtility(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="must be numbers"):
        LinearUtility(np.zeros(1), np.array(["a"]))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (np.empty((0, 2), dtype=int), "t of 1 at least"),
        (np.array([[0, 7]]), "rows of the 3 features"),
        (np.array([[0, 2]]), "must be finite"),
    ],
)
def test_what_cannot_be_fitted_is_said(pairs: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_utility(np.array([[0.0], [1.0], [np.nan]]), pairs)
