"""The pieces of a fit, each against numbers worked out another way."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from scipy.special import expit

from qdfeedback.diversity.descent import FLIP_PRIOR, Problem, hinge_loss, optimise, ste_loss
from qdfeedback.diversity.fitting import (
    Fit,
    Fits,
    average,
    best_temperature,
    ensemble,
    evidence,
    likelihood,
    plain_fits,
    prepare,
    validation_rows,
)
from tests.diversity.similarity_test import world

M, K = 3, 2


@pytest.fixture
def data(rng):
    features, triplets, _ = world(rng, n=20, d=4, t=30)
    return prepare(features, triplets, Fit(), K)


def some_fits(data, rng) -> Fits:
    """Fits that differ in all that they can differ in."""
    c = data.near.shape[1]
    return Fits(rng.random((M, len(data))), np.array([0.5, 2.0, 7.0]), rng.standard_normal((M, K, c)))


def plain_objective(x, data, fits: Fits, loss: str, flip: float | None) -> float:
    """The sum that is minimised, written as one would on paper."""
    maps, rate = x[:-1].reshape(fits.centres.shape), 0.5 * expit(x[-1]) if flip is None else flip
    total = FLIP_PRIOR * len(maps) * 0.5 * expit(x[-1])
    for weights, ridge, centre, one in zip(fits.weights, fits.ridges, fits.centres, maps, strict=True):
        near, far = (np.square(side @ one.T).sum(axis=1) for side in (data.near, data.far))
        said = -np.log(rate + (1 - 2 * rate) * expit(far - near)) if loss == "ste" else np.maximum(0.05 + near - far, 0)
        total += weights @ said + ridge / 2 * np.square(one - centre).sum()
    return float(total)


@pytest.mark.parametrize(("loss", "flip"), [("ste", None), ("ste", 0.1), ("ste", 0.0), ("hinge", 0.0)])
def test_value_and_gradient_are_those_of_the_loss_on_paper(loss: Literal["ste", "hinge"], flip, data, rng) -> None:
    fits = some_fits(data, rng)
    problem = Problem(data, fits, Fit(loss=loss, flip=flip))
    x = 0.4 * rng.standard_normal(fits.centres.size + 1)
    value, gradient = problem(x)
    assert value == pytest.approx(plain_objective(x, data, fits, loss, flip), rel=1e-6)
    step = 1e-6
    for i in range(len(x) - (flip is not None)):
        ahead, behind = x.copy(), x.copy()
        ahead[i] += step
        behind[i] -= step
        slope = (plain_objective(ahead, data, fits, loss, flip) - plain_objective(behind, data, fits, loss, flip)) / 2
        assert gradient[i] == pytest.approx(slope / step, rel=1e-4, abs=1e-4), i
    assert flip is None or gradient[-1] == 0, "a rate that is given does not move"


def test_losses_by_hand() -> None:
    near, far = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.99])
    np.testing.assert_allclose(hinge_loss(near, far), [0, 0.06], atol=1e-6)
    np.testing.assert_allclose(ste_loss(near, far, 0.0), np.log1p(np.exp([-1, 0.01])), rtol=1e-5)
    np.testing.assert_allclose(ste_loss(near, far, 0.5), np.log(2) * np.ones(2), rtol=1e-5)
    np.testing.assert_allclose(ste_loss(near, far, 0.1), -np.log(0.1 + 0.8 * expit([1, -0.01])), rtol=1e-5)
    np.testing.assert_allclose(likelihood(np.array([2.0]), 0.1, 4.0), 0.1 + 0.8 * expit(0.5))


def test_where_nobody_answered_the_prior_is_all_there_is(data, rng) -> None:
    fits = replace(some_fits(data, rng), weights=np.zeros((M, len(data))))
    maps, _ = optimise(data, fits, Fit(), rng=rng)
    np.testing.assert_allclose(maps.transpose(0, 2, 1), fits.centres, atol=1e-4)


def test_a_triplet_of_no_weight_is_not_there(data, rng) -> None:
    """Fits with half of the weights at 0 are fits to the other half."""
    fits = some_fits(data, rng)
    fits.weights[:, 15:] = 0
    half = replace(data, near=data.near[:15], far=data.far[:15], items=data.items[:15])
    one, _ = optimise(data, fits, Fit(), rng=np.random.default_rng(0))
    two, _ = optimise(half, replace(fits, weights=fits.weights[:, :15]), Fit(), rng=np.random.default_rng(0))
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_each_fit_comes_back_as_it_was_when_the_watched_triplets_were_likeliest(rng) -> None:
    """Answers that mean nothing: the longer the fit, the worse it predicts others."""
    features, triplets, _ = world(rng, n=60, d=10, t=60, flip=0.5)
    data = prepare(features, triplets, Fit(), K)
    how, watch = Fit(ridge=0.01, members=0, steps=24), np.arange(60) % 3 == 0
    fits = plain_fits(np.tile((~watch).astype(float), (M, 1)), np.full(M, how.ridge), data, K)

    def watched(maps) -> np.ndarray:
        margins = evidence(data, maps)[:, watch]
        return -np.log(likelihood(margins, 0.0)).mean(axis=1)

    kept = watched(optimise(data, fits, how, rng=np.random.default_rng(0), watch=watch)[0])
    along = [
        watched(optimise(data, fits, replace(how, steps=steps), rng=np.random.default_rng(0))[0])
        for steps in range(1, 25)
    ]
    np.testing.assert_allclose(kept, np.min(along, axis=0), rtol=1e-6)
    assert (kept < along[-1] - 0.05).all(), "the last ones are others"


def test_members_are_bootstrap_samples_with_priors_of_their_own(data) -> None:
    how = Fit(members=400, ridge=4.0)
    fits = ensemble(data, K, how, np.random.default_rng(0))
    assert fits.weights.shape == (400, len(data))
    assert fits.weights.mean() == pytest.approx(1, abs=0.03)
    assert fits.weights.std() == pytest.approx(1, abs=0.05), "exponential: the Bayesian bootstrap"
    assert fits.weights.min() > 0, "none is left out"
    assert fits.centres.std() == pytest.approx(0.5 / 2, rel=0.05), "half a standard deviation of the prior, 1 / sqrt(4)"
    assert np.abs(fits.centres.mean(axis=0)).max() < 0.05
    assert (fits.ridges == 4).all()
    plain = plain_fits(np.ones((2, len(data))), np.ones(2), data, K)
    assert not plain.centres.any()


@pytest.mark.parametrize("prepare_by", ["standardize", "whiten", "center"])
def test_what_preparing_does_to_the_items_judged(prepare_by: Literal["standardize", "whiten", "center"], rng) -> None:
    mixed = rng.standard_normal((50, 3)) * [9.0, 3.0, 0.5] @ np.linalg.qr(rng.standard_normal((3, 3)))[0] + 5
    triplets = np.arange(48).reshape(16, 3)
    data = prepare(np.concatenate([mixed, [[1e3] * 3]]), triplets, Fit(prepare=prepare_by), K)
    items = (mixed[:48] - data.offset) @ data.scale
    np.testing.assert_allclose(items.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(data.near, items[triplets[:, 0]] - items[triplets[:, 1]], atol=1e-9)
    np.testing.assert_allclose(data.far, items[triplets[:, 0]] - items[triplets[:, 2]], atol=1e-9)
    spread, together = items.std(axis=0), np.corrcoef(items.T) - np.eye(3)
    if prepare_by == "center":  # the features' own proportions: the longest direction has spread 1
        true = np.sqrt(np.linalg.eigvalsh(np.cov(mixed[:48].T, bias=True))[::-1])
        np.testing.assert_allclose(spread, true / true[0], rtol=1e-6)
        assert spread[2] < 0.2
    else:
        np.testing.assert_allclose(spread, 1, rtol=1e-6)
    assert (np.abs(together).max() < 1e-6) == (prepare_by != "standardize"), "principal components, or columns"
    few = prepare(mixed, triplets, Fit(prepare=prepare_by, components=2), K)
    assert few.scale.shape == ((3, 3) if prepare_by == "standardize" else (3, 2))


def test_validation_rows_are_a_share_of_triplets_or_of_items(rng) -> None:
    items = np.array([rng.choice(50, 3, replace=False) for _ in range(400)])
    rows = validation_rows(items, Fit(validation=0.25), np.random.default_rng(0))
    assert rows.sum() == 100
    assert not validation_rows(items, Fit(), np.random.default_rng(0)).any()
    by_item = validation_rows(items, Fit(validation=0.1, by_item=True), np.random.default_rng(0))
    assert not set(items[~by_item].ravel()) >= set(items[by_item].ravel())
    held = set(range(50)) - set(items[~by_item].ravel())
    assert 1 <= len(held) <= 12
    assert all(set(row) & held for row in items[by_item].tolist()), "each of them touches an item held out"


def test_the_mean_metric_of_members(rng) -> None:
    """Maps that are turned copies of each other have that map as their mean; k axes are kept, the longest first."""
    one = rng.standard_normal((5, 2))
    turns = [np.linalg.qr(rng.standard_normal((2, 2)))[0] for _ in range(4)]
    whole = average(np.stack([one @ turn for turn in turns]))
    np.testing.assert_allclose(whole @ whole.T, one @ one.T, atol=1e-9)
    lengths = np.linalg.norm(whole, axis=0)
    assert lengths[0] >= lengths[1]
    assert abs(whole[:, 0] @ whole[:, 1]) < 1e-9
    np.testing.assert_array_equal(average(one[None]), one)
    two = average(np.stack([one, np.zeros_like(one)]))
    np.testing.assert_allclose(two @ two.T, one @ one.T / 2, atol=1e-9)


@pytest.mark.parametrize("true", [0.2, 1.0, 30.0])
def test_the_temperature_that_made_the_answers_is_found(true: float, rng) -> None:
    margins = rng.standard_normal(40_000) * 3
    said = rng.random(40_000) < likelihood(margins, 0.1, true)
    found, loss = best_temperature(np.where(said, margins, -margins), 0.1)
    assert found == pytest.approx(true, rel=0.2)
    assert loss == pytest.approx(-np.log(likelihood(np.where(said, margins, -margins), 0.1, found)).mean())
    of_each, _ = best_temperature(np.where(said, margins, -margins), np.full(40_000, 0.1))
    assert of_each == found
