"""Nothing is learned from features that are all alike; columns that are constant are left out, with a note."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from qdfeedback.diversity.bins import Bins
from qdfeedback.diversity.columns import Columns, OnColumns
from qdfeedback.diversity.published import fit_published
from qdfeedback.diversity.similarity import Fit, choose_ridge, cross_fitted, fit_similarity
from qdfeedback.diversity.unsupervised import fit_autoencoder, fit_pca
from qdfeedback.diversity.variation import varying
from qdfeedback.feedback.queries import uniform_triplets

T = uniform_triplets(30, 40, np.random.default_rng(0))
FITS = {
    "pca": lambda f, rng: fit_pca(f),
    "autoencoder": lambda f, rng: fit_autoencoder(f, rng=rng),
    "published": lambda f, rng: fit_published(f, T, rng=rng),
    "ridge": lambda f, rng: choose_ridge(f, T, rng=rng),
    "folds": lambda f, rng: cross_fitted(f, T, np.arange(9), rng=rng),
    **{
        name: lambda f, rng, how=name: fit_similarity(f, T, how=Fit(prepare=how), rng=rng)
        for name in ("standardize", "whiten", "center")
    },
    "hinge": lambda f, rng: fit_similarity(f, T, how=Fit(loss="hinge"), rng=rng),
}


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("value", [3.25, 0.0, 1e8, 0.1])
def test_features_that_are_all_alike_are_refused(fit: str, value: float, rng) -> None:
    for kind in (np.float32, np.float64):
        with pytest.raises(ValueError, match="features must differ: 30 rows of 8 columns are all alike"):
            FITS[fit](np.full((30, 8), value, dtype=kind), rng)


def test_rounding_is_no_difference(rng) -> None:
    """The same picture, embedded in two batches, differs in the last place."""
    features = np.full((30, 8), 0.1, dtype=np.float32)
    features[::2] = np.nextafter(features[::2], np.float32(1))
    for fit in ("pca", "standardize", "whiten", "center"):
        with pytest.raises(ValueError, match="all alike"):
            FITS[fit](features, rng)
    small = 1e-12 * rng.standard_normal((30, 3))
    assert varying(small).all(), "small is not constant"
    assert varying(np.stack([small[:, 0], np.full(30, 1e5)], axis=1)).tolist() == [True, False]
    assert varying(np.array([[True, False], [True, True]])).tolist() == [False, True]


@pytest.mark.parametrize("prepare", ["standardize", "whiten", "center"])
def test_constant_columns_get_no_weight_and_a_note(prepare: str, rng, caplog) -> None:
    features = rng.standard_normal((30, 8)).astype(np.float32)
    features[:, [2, 5]] = 4.1, -7e6
    with caplog.at_level(logging.INFO):
        model = fit_similarity(features, T, how=Fit(prepare=prepare), rng=rng)
    assert model.note["constant_columns"] == 2
    assert "2 of 8 feature columns are constant and say nothing: 2, 5" in caplog.text
    assert np.abs(model.weights[[2, 5]]).max() < 1e-9 * np.abs(model.weights).max()
    assert np.abs(model.members[:, [2, 5]]).max() < 1e-9 * np.abs(model.weights).max()
    plain = fit_similarity(np.delete(features, [2, 5], axis=1), T, how=Fit(prepare=prepare), rng=rng)
    assert "constant_columns" not in plain.note
    assert fit_published(features, T, rng=rng).note["constant_columns"] == 2


@pytest.mark.parametrize("fit", ["pca", "standardize", "whiten", "center"])
def test_two_axes_need_two_directions(fit: str, rng) -> None:
    line = rng.standard_normal((30, 1)) * [[1.0, -2.0, 0.5]] + 3
    for features in (line, np.concatenate([line[:, :1], np.ones((30, 2))], axis=1)):
        with pytest.raises(ValueError, match="number of directions in which features differ, 1; got 2"):
            FITS[fit](features, rng)


def test_directions_that_only_the_last_rows_show_count(rng) -> None:
    features = np.zeros((200, 2))
    features[:, 0], features[150:, 1] = rng.standard_normal(200), rng.standard_normal(50)
    assert fit_pca(features).dim == 2


def test_an_axis_more_than_columns_is_refused(rng) -> None:
    with pytest.raises(ValueError, match="features differ, 2; got 3"):
        fit_similarity(rng.random((30, 2)), T, dim=3, rng=rng)
    with pytest.raises(ValueError, match="features differ, 2; got 3"):
        fit_similarity(rng.random((30, 9)), T, dim=3, how=Fit(prepare="center", components=2), rng=rng)
    for fit in (
        fit_pca,
        lambda features, dim: fit_autoencoder(features, dim=dim, rng=rng),
        lambda features, dim: fit_published(features, T, dim=dim, rng=rng),
    ):
        with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
            fit(rng.random((30, 3)), dim=0)


def test_triplets_that_tell_nothing_are_refused(rng) -> None:
    features = rng.random((6, 3))
    features[4:] = features[3]  # three of one kind
    with pytest.raises(ValueError, match="near and far have the same features in each"):
        fit_similarity(features, np.array([[0, 3, 4], [1, 4, 5], [2, 5, 3]]), rng=rng)


@pytest.mark.parametrize("settings", [
    {"ridge": -1.0}, {"ridge": 0.0}, {"ridge": np.inf}, {"starts": 0}, {"members": -1}, {"steps": 0},
    {"components": 0}, {"flip": 0.5}, {"flip": -0.1}, {"validation": 1.0}, {"validation": -0.1}, {"ridge": np.nan},
], ids=str)  # fmt: skip
def test_settings_that_cannot_be_are_named(settings: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must"):
        Fit(**settings)
    Fit(ridge=0.0, members=0)


@pytest.mark.parametrize("indices", [(), (-1,), (0, -2)])
def test_columns_that_cannot_be_are_named(indices: tuple[int, ...]) -> None:
    for make in (
        lambda: Columns(indices).project(np.zeros((3, 4))),
        lambda: OnColumns(indices, Columns((0,))).project(np.zeros((3, 4))),
        lambda: Bins(indices, ((0.0, 1.0, 2.0),) * len(indices)),
    ):
        with pytest.raises(ValueError, match="indices must be numbers of columns from 0"):
            make()
