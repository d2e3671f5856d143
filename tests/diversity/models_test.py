"""Every diversity model: the contract, saving and loading, and what each is for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qdfeedback import files
from qdfeedback.diversity import linear, models, similarity, unsupervised
from qdfeedback.diversity.columns import Columns, Joined, OnColumns
from qdfeedback.diversity.linear import Linear, rotation_onto
from qdfeedback.diversity.published import fit_published
from qdfeedback.diversity.similarity import fit_similarity
from qdfeedback.diversity.unsupervised import fit_autoencoder, fit_pca
from qdfeedback.feedback.queries import uniform_triplets
from tests.contracts import check_diversity

RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((60, 6)).astype(np.float32)
TRIPLETS = uniform_triplets(60, 50, RNG)
LINEAR = Linear(np.arange(6.0), RNG.random((6, 2)))
FITS: dict[str, Callable[[], Any]] = {
    "linear": lambda: LINEAR,
    "pca": lambda: fit_pca(FEATURES),
    "autoencoder": lambda: fit_autoencoder(FEATURES, rng=np.random.default_rng(0)),
    "similarity": lambda: fit_similarity(FEATURES, TRIPLETS, rng=np.random.default_rng(0)),
    "published": lambda: fit_published(FEATURES, TRIPLETS, rng=np.random.default_rng(0)),
}
OTHERS = {
    "columns": Columns((3, 1)),
    "on columns": OnColumns((0, 2), fit_pca(FEATURES[:, [0, 2]], dim=1)),
    "joined": Joined((Columns((5,)), LINEAR)),
}


@functools.cache
def fitted(name: str) -> Any:
    """A model; it is fitted by the first test that asks for it."""
    return OTHERS[name] if name in OTHERS else FITS[name]()


@pytest.mark.parametrize("name", [*FITS, *OTHERS])
def test_contract(name: str) -> None:
    check_diversity(fitted(name), FEATURES[:9])


@pytest.mark.parametrize("name", FITS)
def test_a_saved_model_comes_back(name: str, tmp_path: Path) -> None:
    model = fitted(name)
    model.save(tmp_path / "m.npz")
    again = models.load(tmp_path / "m.npz")
    assert type(again) is type(model)
    np.testing.assert_array_equal(again.project(FEATURES), model.project(FEATURES))


def test_the_wrong_kind_of_file_is_named(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "m.npz", files.pack({}, {"model": "poem"}))
    for load in (models.load, linear.load, similarity.load, unsupervised.load_autoencoder):
        with pytest.raises(ValueError, match=r"m\.npz holds a poem model"):
            load(tmp_path / "m.npz")
    (tmp_path / "m.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"m\.npz is damaged"):
        similarity.load(tmp_path / "m.npz")


def test_pca_finds_the_long_directions(rng) -> None:
    data = rng.standard_normal((500, 4)) * [5, 3, 0.1, 0.1]
    weights = fit_pca(data).weights
    assert np.abs(weights[0, 0]) > 0.99
    assert np.abs(weights[1, 1]) > 0.99
    with pytest.raises(ValueError, match="at least 2 finite rows, got 1"):
        fit_pca(np.array([[1.0, 2.0], [np.nan, 1.0]]))


def test_autoencoder_keeps_what_varies(rng) -> None:
    hidden = rng.standard_normal((400, 2))
    data = np.concatenate([hidden, hidden @ rng.standard_normal((2, 4))], axis=1)
    code = fit_autoencoder(data, rng=rng).project(data)
    from sklearn.linear_model import LinearRegression

    assert LinearRegression().fit(np.concatenate([code, np.abs(code)], axis=1), hidden).score(
        np.concatenate([code, np.abs(code)], axis=1), hidden
    ) > 0.9  # fmt: skip


def test_rotation_onto_lays_a_turned_map_back(rng) -> None:
    places = rng.standard_normal((50, 3))
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    np.testing.assert_allclose((places @ turn) @ rotation_onto(places @ turn, places), places, atol=1e-10)
    flip = np.diag([1.0, -1.0, 1.0])
    np.testing.assert_allclose(rotation_onto(places @ flip, places), flip, atol=1e-10)
    with pytest.raises(ValueError, match="must have one shape"):
        rotation_onto(places, places[:, :2])


@pytest.mark.parametrize("name", sorted(FITS))
@pytest.mark.parametrize("lose", ["array", "shape", "words", "meta"])
def test_a_file_of_a_model_that_lacks_something_is_one_line(tmp_path: Path, name: str, lose: str) -> None:
    path = tmp_path / "axes.npz"
    fitted(name).save(path)
    arrays, meta = files.unpack(path.read_bytes(), path.name)
    first = next(key for key in arrays if "weight" in key)
    if lose == "array":
        del arrays[first]
    elif lose == "meta":
        meta = {"model": meta["model"], "layers": "many"}
        arrays = {key: array for key, array in arrays.items() if key != "weights"}
    else:
        arrays[first] = arrays[first][0] if lose == "shape" else arrays[first].astype(str)
    files.write_atomic(path, files.pack(arrays, meta))
    with pytest.raises(ValueError, match=r"axes\.npz is damaged or not one of ours"):
        models.load(path)
    files.write_atomic(path, files.pack(arrays, {"model": [name, "z" * 5000]}))
    with pytest.raises(ValueError, match=r"axes\.npz holds a .{,40} model, which is no diversity model$"):
        models.load(path)


@pytest.mark.parametrize("kind", ["c16", "M8[s]", "m8[s]", "U3"])
@pytest.mark.parametrize("name", sorted(FITS))
def test_arrays_of_a_model_that_are_no_numbers_are_named(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / "axes.npz"
    fitted(name).save(path)
    arrays, meta = files.unpack(path.read_bytes(), path.name)
    for one in arrays:
        files.write_atomic(path, files.pack(arrays | {one: np.zeros(arrays[one].shape, kind)}, meta))
        with pytest.raises(ValueError, match=r"axes\.npz is damaged or not one of ours: .* must be numbers"):
            models.load(path)
