"""How a linear map is fitted to triplets: preparation of features, ensembles, what answers say for it.

Letters as everywhere, and c for the prepared columns that a map is fitted on. `similarity.py` is the door to this;
losses and their optimiser stand in `descent.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit

from qdfeedback.diversity.variation import FLAT, check_directions, varying
from qdfeedback.types import Bools, Floats, Ints, listed

CENTRE_SPREAD = 0.5  # of the members' priors, in standard deviations of the prior
MEMBER_STEPS = 20  # of L-BFGS: members start where fits to all answers ended, and a sample need not be exact


@dataclass(frozen=True)
class Fit:
    """How `fit_similarity` works.

    Attributes:
        loss: "ste", the logistic likelihood of squared distances (stochastic triplet embedding), or
            "hinge", the published loss with margin 0.05.
        ridge: precision of the Gaussian prior on the weights of prepared features.
        flip: share of contrary answers that the likelihood allows for; None learns it ("ste" only).
        starts: fits to all triplets from different starting points, whose mean metric is the map: the problem has
            several optima while triplets are few.
        members: size of the ensemble that knows what is in doubt; 0 = none.
        prepare: "standardize" each feature; "whiten" with PCA, for few data in many correlated columns; or
            "center", which keeps the features' own proportions.
        components: keep so many principal components ("whiten" and "center").
        validation: share of the triplets held out; the weights that did best on it are kept, and the
            temperature is fitted on it. 0 trains on everything until convergence.
        by_item: hold out items, and with them all triplets that touch one, in place of triplets.
        steps: at most so many L-BFGS iterations.
    """

    loss: Literal["ste", "hinge"] = "ste"
    ridge: float = 1.0
    flip: float | None = 0.0
    starts: int = 8
    members: int = 8
    prepare: Literal["standardize", "whiten", "center"] = "standardize"
    components: int | None = None
    validation: float = 0.0
    by_item: bool = False
    steps: int = 200

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        for name, least in (("starts", 1), ("members", 0), ("steps", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.components is not None and self.components < 1:
            raise ValueError(f"components must be at least 1, or None, got {self.components}")
        if not 0 <= self.ridge < np.inf or (self.members and not self.ridge):  # members' priors are 1 / ridge wide
            raise ValueError(f"ridge must be above 0 (0 is for fits without members), got {self.ridge}")
        if self.flip is not None and not 0 <= self.flip < 0.5:
            raise ValueError(f"flip must lie in [0, 0.5), got {self.flip}")
        if not 0 <= self.validation < 1:
            raise ValueError(f"validation must lie in [0, 1), got {self.validation}")


def check_triplets(features: Floats, triplets: Ints, *, degenerate: bool = False) -> tuple[Floats, Ints]:
    """Returns features as float64 and triplets as int64, checked.

    Raises:
        ValueError: The shapes are wrong, triplets point outside the features or name an item twice, fewer
            than two triplets came, or a feature is not finite: says of which rows.
    """
    features, triplets = np.asarray(features, dtype=np.float64), np.asarray(triplets)
    if features.ndim != 2:
        raise ValueError(f"features must have shape (n, d), got {features.shape}")
    if triplets.ndim != 2 or triplets.shape[1] != 3 or triplets.dtype.kind not in "iu":
        raise ValueError(f"triplets must be integers of shape (t, 3), got {triplets.dtype} {triplets.shape}")
    if len(triplets) < 2:
        raise ValueError(f"triplets must hold at least 2 judgments, got {len(triplets)}")
    low, high = int(triplets.min()), int(triplets.max())
    if low < 0 or high >= len(features):
        raise ValueError(f"triplets must be rows of the {len(features)} features, they reach from {low} to {high}")
    if not degenerate and (triplets == np.roll(triplets, 1, axis=1)).any():
        raise ValueError("triplets must name three different items each")
    judged = np.unique(triplets)
    missing = judged[~np.isfinite(features[judged]).all(axis=1)]
    if len(missing):
        raise ValueError(
            f"features of judged items must be finite, rows {listed(missing)} are not: leave out triplets about them"
        )
    return features, triplets.astype(np.int64)


@dataclass(frozen=True)
class Prepared:
    """Triplets as a fit wants them.

    Attributes:
        near: (t, c) anchor minus near, in prepared columns.
        far: (t, c) anchor minus far.
        offset: (d,) and
        scale: (d, c): prepared = (features - offset) @ scale.
        items: (t, 3) which of the items judged, counted from 0.
        constant: how many of the d columns are the same for all items.
    """

    near: Floats
    far: Floats
    offset: Floats
    scale: Floats
    items: Ints
    constant: int

    def __len__(self) -> int:
        return len(self.near)


def prepare(features: Floats, triplets: Ints, how: Fit, dim: int) -> Prepared:
    """Returns checked triplets with the features of the items judged made ready for a ridge prior.

    Raises:
        ValueError: As `check_triplets`; the items are all alike, or differ in fewer than `dim` directions; or no
            triplet has two sides that differ.
    """
    given = np.asarray(features)
    features, triplets = check_triplets(features, triplets)
    used, items = np.unique(triplets, return_inverse=True)
    items = items.reshape(triplets.shape)
    differ = varying(given[used])
    offset, scale = _scale(features[used], differ, how)
    ready = (features[used] - offset) @ scale
    check_directions(ready, dim)
    anchor, near, far = (ready[items[:, i]] for i in range(3))
    if (near == far).all():
        raise ValueError("triplets must tell something: near and far have the same features in each of them")
    return Prepared(anchor - near, anchor - far, offset, scale, items, int((~differ).sum()))


def _scale(items: Floats, differ: Bools, how: Fit) -> tuple[Floats, Floats]:
    """Returns the (d,) offset and (d, c) scale that the settings ask for; columns that do not differ get none."""
    offset = items.mean(axis=0)
    if how.prepare == "standardize":
        std = items.std(axis=0)
        return offset, np.diag(np.divide(1.0, std, out=np.zeros_like(std), where=differ))
    _, size, axes = np.linalg.svd(np.where(differ, items - offset, 0.0), full_matrices=False)
    keep = min(how.components or len(size), int((size > FLAT * size[0]).sum()))
    spread = size[:keep] / np.sqrt(len(items))
    return offset, axes[:keep].T / (spread if how.prepare == "whiten" else spread[0])


@dataclass(frozen=True)
class Fits:
    """What is fitted side by side, in one problem.

    Attributes:
        weights: (m, t) how much each fit makes of each triplet.
        ridges: (m,) precision of each one's prior.
        centres: (m, k, c) where each one's prior is centred.
    """

    weights: Floats
    ridges: Floats
    centres: Floats


def plain_fits(weights: Floats, ridges: Floats, data: Prepared, dim: int) -> Fits:
    """Returns fits under priors around zero."""
    return Fits(weights, ridges, np.zeros((len(weights), dim, data.near.shape[1])))


def ensemble(data: Prepared, dim: int, how: Fit, rng: np.random.Generator) -> Fits:
    """Returns `members` fits that are samples of what the answers leave open.

    Each weights the triplets by a Bayesian bootstrap (Rubin 1981), which leaves none out, for with few judgments
    that costs more than it tells; and each has a prior around a point of its own, so that members differ in the
    directions that no answer has touched (Osband 2018).
    """
    fits = plain_fits(rng.exponential(size=(how.members, len(data))), np.full(how.members, how.ridge), data, dim)
    fits.centres[:] = CENTRE_SPREAD / np.sqrt(how.ridge) * rng.standard_normal(fits.centres.shape)
    return fits


def validation_rows(items: Ints, how: Fit, rng: np.random.Generator) -> Bools:
    """Returns (t,) bool, True for the triplets that do not train."""
    out = np.zeros(len(items), dtype=bool)
    if how.validation:
        if how.by_item:
            out |= (rng.random(items.max() + 1) < how.validation)[items].any(axis=1)
        else:
            out |= rng.permutation(len(items)) < how.validation * len(items)
        if out.all() or not out.any():
            raise ValueError(
                f"validation={how.validation} leaves {int((~out).sum())} of {len(out)} triplets to train on"
            )
    return out


def average(members: Floats) -> Floats:
    """Returns the (c, k) map whose metric is nearest to the (m, c, k) members' mean metric, largest axis first."""
    m, c, k = members.shape
    if m == 1:
        only: Floats = members[0]
        return only
    stacked = members.transpose(1, 0, 2).reshape(c, m * k) / np.sqrt(m)
    left, size, _ = np.linalg.svd(stacked, full_matrices=False)
    whole: Floats = left[:, :k] * size[:k]
    return whole


def evidence(data: Prepared, members: Floats) -> Floats:
    """Returns (m, t) squared distance to far minus squared distance to near, under each member."""
    return np.stack([np.square(data.far @ w).sum(axis=1) - np.square(data.near @ w).sum(axis=1) for w in members])


def likelihood(evidence: Floats, flip: float | Floats, temperature: float = 1.0) -> Floats:
    """Returns the probability of the answers, of which a share `flip` says the opposite."""
    right: Floats = flip + (1 - 2 * flip) * expit(evidence / temperature)
    return right


def best_temperature(evidence: Floats, flip: float | Floats) -> tuple[float, float]:
    """Returns the temperature under which answers are likeliest, and their mean negative log-likelihood under it.

    Args:
        evidence: (t,) for each answer: above 0 where it is what the distances say.
        flip: the share of answers that say the opposite, of all or (t,) of each.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return float(-np.log(np.maximum(likelihood(evidence, flip, np.exp(log_temperature)), 1e-12)).mean())

    scale = float(np.log(np.abs(evidence).mean() + 1e-12))
    best = minimize_scalar(loss, bounds=(scale - 6, scale + 6), method="bounded")
    return float(np.exp(best.x)), float(best.fun)
