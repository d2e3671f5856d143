"""Measures learned from triplets: "the anchor is more like this one than like that one".

A linear map whose squared Euclidean distances predict the answers (QDHF, Ding 2024, sec. 3), fitted on all
judgments at once with a prior on its weights, and as an ensemble where doubt is to be known. The published
training procedure is in `published.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from qdfeedback import files
from qdfeedback.diversity.fitting import (
    MEMBER_STEPS,
    Fit,
    average,
    ensemble,
    evidence,
    likelihood,
    optimise,
    plain_fits,
    prepare,
    validation_rows,
)
from qdfeedback.diversity.linear import check_map
from qdfeedback.types import Bools, Floats, Ints

__all__ = ["Fit", "Similarity", "choose_ridge", "cross_fitted", "fit_similarity", "load"]


@dataclass(frozen=True)
class Similarity:
    """A linear map learned from triplets, with the ensemble behind it.

    Attributes:
        offset: (d,).
        weights: (d, k): the map itself. Its squared distances, over the temperature, are log-odds.
        members: (m, d, k): the ensemble, whose disagreement says what is not known yet.
        temperature: of the answers; 1 where the likelihood set the scale already.
        flip: the share of answers that say the opposite, whatever the distances.
        note: what the fit reports: number of triplets, validation figures, and of how many feature columns it knows
            nothing, because they were the same for all items.
    """

    offset: Floats
    weights: Floats
    members: Floats
    temperature: float = 1.0
    flip: float = 0.0
    note: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_map(self.offset, self.weights)
        if self.members.ndim != 3 or self.members.shape[1:] != self.weights.shape:
            raise ValueError(f"members must be (m, *{self.weights.shape}), got {self.members.shape}")
        if not (isinstance(self.temperature, float | int) and isinstance(self.flip, float | int)):
            raise ValueError(f"temperature and flip must be numbers, got {self.temperature} and {self.flip}")

    @property
    def dim(self) -> int:
        """The number of measures."""
        return int(self.weights.shape[1])

    def project(self, features: Floats) -> Floats:
        """Returns (n, k) float64 measures of (n, d) features.

        Raises:
            ValueError: The features have another number of columns than the model was fitted on.
        """
        if features.ndim != 2 or features.shape[1] != len(self.offset):
            raise ValueError(f"features must have shape (n, {len(self.offset)}), got {features.shape}")
        return (features - self.offset) @ self.weights

    def probability(self, features: Floats, triplets: Ints) -> Floats:
        """Returns (t,) the probability that a person finds the second item nearer to the first than the third."""
        return likelihood(_evidence(self.project(features), triplets), self.flip, self.temperature)

    def member_probability(self, features: Floats, triplets: Ints) -> Floats:
        """Returns (m, t) what each member says, before any answer is flipped."""
        projected = np.einsum("nd,mdk->nmk", features - self.offset, self.members)
        probability: Floats = expit(_evidence(projected, triplets).T / self.temperature)
        return probability

    def rotated(self, rotation: Floats) -> Similarity:
        """Returns the same model with its measures turned by a (k, k) orthogonal matrix."""
        return replace(self, weights=self.weights @ rotation, members=self.members @ rotation)

    def save(self, path: Path | str) -> None:
        """Writes the model as arrays plus JSON; `load` gives it back."""
        arrays = {"offset": self.offset, "weights": self.weights, "members": self.members}
        meta = {"model": "similarity", "temperature": self.temperature, "flip": self.flip, "note": self.note}
        files.write_atomic(Path(path), files.pack(arrays, meta))


def load(path: Path | str) -> Similarity:
    """Returns the model that `Similarity.save` wrote.

    Raises:
        ValueError: The file is damaged or holds another kind of model.
    """
    return files.read_packed(
        path,
        lambda arrays, meta: Similarity(
            arrays["offset"], arrays["weights"], arrays["members"], meta["temperature"], meta["flip"], meta["note"]
        ),
        kind="similarity",
    )


def fit_similarity(
    features: Floats, triplets: Ints, *, dim: int = 2, how: Fit | None = None, rng: np.random.Generator
) -> Similarity:
    """Returns the similarity model that best explains the triplets.

    Args:
        features: (n, d) of the items judged.
        triplets: (t, 3) rows of features: anchor, near, far.
        dim: number of measures, k.
        how: the loss, prior and ensemble; the defaults where None.
        rng: draws the ensemble, the validation split and the starting weights.

    Raises:
        ValueError: Triplets point outside the features, are degenerate, fewer than two or tell nothing; features are
            not finite, all alike, or differ in fewer than `dim` directions.
    """
    how = how or Fit()
    data = prepare(features, triplets, how, dim)
    held_out = validation_rows(data.items, how, rng)
    fits = plain_fits(np.ones((how.starts, len(data))), np.full(how.starts, how.ridge), data, dim)
    fits.weights[:, held_out] = 0
    maps, flip = optimise(data, fits, how, rng=rng, watch=held_out)
    whole = average(maps)
    members = whole[None]
    if how.members:  # not far from where the fits to all answers ended
        fits = ensemble(data, dim, how, rng)
        fits.weights[:, held_out] = 0
        near, briefly = maps[np.arange(how.members) % how.starts], replace(how, flip=flip, steps=MEMBER_STEPS)
        members, _ = optimise(data, fits, briefly, rng=rng, watch=held_out, begin=near)
    note = {"triplets": float(len(data))} | constant_note(data.constant)
    model = Similarity(data.offset, data.scale @ whole, data.scale @ members, flip=flip, note=note)
    if how.loss == "ste" and not held_out.any():
        return model  # the likelihood has set the scale
    return _calibrated(model, evidence(data, whole[None])[0], held_out)


def cross_fitted(
    features: Floats,
    triplets: Ints,
    tested: Ints,
    *,
    dim: int = 2,
    how: Fit | None = None,
    folds: int = 5,
    rng: np.random.Generator,
) -> Floats:
    """Returns (len(tested),) probabilities of the tested triplets' answers, each from a fit that did not see it.

    All folds are fitted together, as one batch.

    Args:
        features: (n, d).
        triplets: (t, 3) rows of features: anchor, near, far.
        tested: rows of triplets to predict.
        dim: number of measures, k.
        how: as in `fit_similarity`; its ensemble and validation are not used.
        folds: how many parts the tested triplets fall into.
        rng: draws the parts.
    """
    how = how or Fit()
    data = prepare(features, triplets, how, dim)
    fold = rng.permutation(len(tested)) % folds
    weights = np.ones((folds, len(data)))
    weights[fold, tested] = 0
    maps, flip = optimise(data, plain_fits(weights, np.full(folds, how.ridge), data, dim), how, rng=rng)
    return likelihood(evidence(data, maps)[fold, tested], flip)


def fit_and_test(
    features: Floats, triplets: Ints, tested: Ints, *, dim: int = 2, how: Fit | None = None, rng: np.random.Generator
) -> tuple[Similarity, float | None]:
    """Returns the model of all triplets, and the accuracy of such models on tested triplets that they did not see.

    Args:
        features: (n, d).
        triplets: (t, 3) rows of features: anchor, near, far.
        tested: rows of triplets; those drawn at random, for others say little. None of them: no accuracy.
        dim: number of measures, k.
        how: as in `fit_similarity`.
        rng: as in `fit_similarity` and `cross_fitted`.
    """
    model = fit_similarity(features, triplets, dim=dim, how=how, rng=rng)
    if not len(tested):
        return model, None
    right = cross_fitted(features, triplets, tested, dim=dim, how=how, rng=rng) > 0.5
    return model, float(right.mean())


def choose_ridge(
    features: Floats,
    triplets: Ints,
    *,
    dim: int = 2,
    how: Fit | None = None,
    grid: Sequence[float] = (0.3, 1, 3, 10, 30, 100),
    rng: np.random.Generator,
) -> Fit:
    """Returns the settings with the ridge under which held-out triplets are most likely (4 folds, one batch).

    Args:
        features: (n, d).
        triplets: (t, 3) rows of features: anchor, near, far.
        dim: number of measures, k.
        how: the other settings; `by_item` makes the folds fall between items.
        grid: the ridges to choose from.
        rng: draws the folds.
    """
    how = how or Fit()
    data = prepare(features, triplets, how, dim)
    if how.by_item:
        touched = (rng.permutation(data.items.max() + 1) % 4)[data.items]
        out = np.stack([(touched == fold).any(axis=1) for fold in range(4)])
    else:
        out = np.arange(4)[:, None] == rng.permutation(len(data)) % 4
    out = np.repeat(out, len(grid), axis=0)
    ridges = np.tile(np.asarray(grid, dtype=float), 4)
    maps, flip = optimise(data, plain_fits((~out).astype(float), ridges, data, dim), how, rng=rng)
    loss = -np.log(np.maximum(likelihood(evidence(data, maps), flip), 1e-12))
    missed = (loss * out).sum(axis=1) / np.maximum(out.sum(axis=1), 1)
    return replace(how, ridge=float(grid[int(missed.reshape(4, -1).mean(axis=0).argmin())]))


def constant_note(columns: int) -> dict[str, float]:
    """Returns what a model notes of feature columns that were the same for all items judged: nothing of none."""
    return {"constant_columns": float(columns)} if columns else {}


def _calibrated(model: Similarity, margins: Floats, held_out: Bools) -> Similarity:
    """Returns the model with the temperature under which its answers are likeliest: those held out, if any were.

    Args:
        model: what was fitted.
        margins: (t,) evidence for every answer.
        held_out: (t,) bool.
    """
    watched = margins[held_out] if held_out.any() else margins

    def loss(log_temperature: float) -> float:
        return float(-np.log(np.maximum(likelihood(watched, model.flip, np.exp(log_temperature)), 1e-12)).mean())

    scale = float(np.log(np.abs(watched).mean() + 1e-12))
    best = minimize_scalar(loss, bounds=(scale - 6, scale + 6), method="bounded")
    note = dict(model.note)
    if held_out.any():
        note |= {"validation": float(held_out.sum()), "validation_accuracy": float((watched > 0).mean())}
    return replace(model, temperature=float(np.exp(best.x)), note=note)


def _evidence(projected: Floats, triplets: Ints) -> Floats:
    """Returns (t, …) squared distance anchor to far minus squared distance anchor to near."""
    anchor, near, far = (projected[triplets[:, i]] for i in range(3))
    margin: Floats = np.square(anchor - far).sum(axis=-1) - np.square(anchor - near).sum(axis=-1)
    return margin
