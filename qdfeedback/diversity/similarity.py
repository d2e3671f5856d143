"""Measures learned from triplets: "the anchor is more like this one than like that one".

A linear map whose squared Euclidean distances predict the answers (QDHF, Ding 2024, sec. 3), fitted on all
judgments at once with a prior on its weights, and as an ensemble where doubt is to be known. The published
training procedure is in `published.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qdfeedback.diversity.fitting import (
    MEMBER_STEPS,
    Fit,
    average,
    best_temperature,
    check_triplets,
    ensemble,
    evidence,
    likelihood,
    plain_fits,
    prepare,
    validation_rows,
)
from qdfeedback.diversity.folds import item_folds, judgment_folds
from qdfeedback.diversity.triplet_model import Similarity, constant_note, evidence_of, load
from qdfeedback.types import Bools, Floats, Ints

__all__ = [
    "Fit", "HeldOut", "Similarity", "calibrated", "choose_ridge", "cross_fitted", "fit_and_test", "fit_similarity",
    "held_out", "load",
]  # fmt: skip

RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


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
    from qdfeedback.diversity.descent import optimise  # torch takes a second to load

    how = how or Fit()
    data = prepare(features, triplets, how, dim)
    watched = validation_rows(data.items, how, rng)
    fits = plain_fits(np.ones((how.starts, len(data))), np.full(how.starts, how.ridge), data, dim)
    fits.weights[:, watched] = 0
    maps, flip = optimise(data, fits, how, rng=rng, watch=watched)
    whole = average(maps)
    members = whole[None]
    if how.members:  # not far from where the fits to all answers ended
        fits = ensemble(data, dim, how, rng)
        fits.weights[:, watched] = 0
        near, briefly = maps[np.arange(how.members) % how.starts], replace(how, flip=flip, steps=MEMBER_STEPS)
        members, _ = optimise(data, fits, briefly, rng=rng, watch=watched, begin=near)
    note = {"triplets": float(len(data))} | constant_note(data.constant)
    model = Similarity(data.offset, data.scale @ whole, data.scale @ members, flip=flip, note=note)
    if how.loss == "ste" and not watched.any():
        return model  # the likelihood has set the scale
    return _calibrated(model, evidence(data, whole[None])[0], watched)


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
    from qdfeedback.diversity.descent import optimise

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


@dataclass(frozen=True)
class HeldOut:
    """What fits say of answers that they did not see.

    Attributes:
        rows: (r,) of the triplets; one that touches items of several folds is there several times.
        fold: (r,) which of the fits.
        evidence: (r,) its squared distance to far minus that to near: above 0 = it would have answered so.
        flip: (r,) the share of contrary answers that it allows for.
        fitted: how many triplets a fit saw, on average.
    """

    rows: Ints
    fold: Ints
    evidence: Floats
    flip: Floats
    fitted: float

    @property
    def right(self) -> Bools:
        """(r,) bool, True where the fit would have answered so."""
        return np.asarray(self.evidence > 0)


def held_out(
    features: Floats,
    triplets: Ints,
    out: Bools,
    *,
    dim: int = 2,
    how: Fit | None = None,
    count: int | None = None,
    rng: np.random.Generator,
) -> HeldOut:
    """Returns what fits to the triplets outside each fold say of those inside: all of `fit_similarity`, each time.

    Args:
        features: (n, d).
        triplets: (t, 3) rows of features: anchor, near, far.
        out: (f, t) bool, True for the triplets that a fit does not see, as `folds` makes them.
        dim: number of measures, k.
        how: as in `fit_similarity`; ensemble and validation are not used.
        count: fit to so many of the others at most, drawn at random.
        rng: draws them, and where fits start.

    Raises:
        ValueError: Too few triplets are left outside a fold, or they tell too little.
    """
    how, triplets = replace(how or Fit(), members=0, validation=0.0), np.asarray(triplets)
    rows, margins, flips, fitted = [], [], [], []
    for number, tested in enumerate(out):
        others = np.flatnonzero(~tested)
        if count is not None and len(others) > count:
            others = np.sort(rng.choice(others, count, replace=False))
        try:
            model = fit_similarity(features, triplets[others], dim=dim, how=how, rng=rng)
        except ValueError as error:
            raise ValueError(f"nothing can be fitted to what fold {number} of {len(out)} leaves: {error}") from error
        rows.append(np.flatnonzero(tested))
        margins.append(evidence_of(model.project(features), triplets[rows[-1]]))
        flips.append(np.full(len(rows[-1]), model.flip))
        fitted.append(len(others))
    fold = np.repeat(np.arange(len(out)), [len(part) for part in rows])
    return HeldOut(np.concatenate(rows), fold, np.concatenate(margins), np.concatenate(flips), float(np.mean(fitted)))


def choose_ridge(
    features: Floats,
    triplets: Ints,
    *,
    dim: int = 2,
    how: Fit | None = None,
    grid: Sequence[float] = RIDGES,
    folds: int = 10,
    rng: np.random.Generator,
) -> Fit:
    """Returns the settings with the ridge under which held-out answers are likeliest, each at its best temperature.

    A weak prior makes a fit too sure of itself, which a temperature mends, and a strong one does not: without it, what
    predicts best would not win.

    Args:
        features: (n, d).
        triplets: (t, 3) rows of features: anchor, near, far.
        dim: number of measures, k.
        how: the other settings; `by_item` asks for answers about new items, else for new answers about known ones.
        grid: the ridges to choose from.
        folds: how many parts are held out, one after another.
        rng: draws the folds and where fits start.

    Raises:
        ValueError: As `fit_similarity` and `held_out`.
    """
    how = how or Fit()
    _, triplets = check_triplets(features, triplets)
    prepare(features, triplets, how, dim)  # what nothing can be fitted to is refused as every fit refuses it
    out = item_folds(triplets, folds, rng) if how.by_item else judgment_folds(triplets, folds, rng)
    seed = int(rng.integers(2**63))  # the same starts for each
    settings = [replace(how, ridge=float(ridge)) for ridge in grid]
    found = [held_out(features, triplets, out, dim=dim, how=one, rng=np.random.default_rng(seed)) for one in settings]
    return settings[int(np.argmin([best_temperature(one.evidence, one.flip)[1] for one in found]))]


def calibrated(model: Similarity, found: HeldOut) -> Similarity:
    """Returns the model with the temperature under which answers that fits like it did not see are likeliest."""
    temperature, _ = best_temperature(found.evidence, found.flip)
    return replace(model, temperature=temperature)


def _calibrated(model: Similarity, margins: Floats, held_out: Bools) -> Similarity:
    """Returns the model with the temperature under which its answers are likeliest: those held out, if any were.

    Args:
        model: what was fitted.
        margins: (t,) evidence for every answer.
        held_out: (t,) bool.
    """
    watched = margins[held_out] if held_out.any() else margins
    note = dict(model.note)
    if held_out.any():
        note |= {"validation": float(held_out.sum()), "validation_accuracy": float((watched > 0).mean())}
    return replace(model, temperature=best_temperature(watched, model.flip)[0], note=note)
