"""Measures learned from triplets: "the anchor is more like this one than like that one".

A linear map whose squared Euclidean distances predict the answers (QDHF, Ding 2024, sec. 3), fitted on all
judgments at once with a prior on its weights, and as an ensemble where doubt is to be known. The published
training procedure is in `published.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from qdfeedback import files
from qdfeedback.types import Floats, Ints

HINGE_MARGIN = 0.05  # Ding 2024, released code


@dataclass(frozen=True)
class Similarity:
    """A linear map learned from triplets, with the ensemble behind it.

    Attributes:
        offset: (d,).
        weights: (d, k): the map itself. Its squared distances, over the temperature, are log-odds.
        members: (m, d, k): the ensemble, whose disagreement says what is not known yet.
        temperature: of the answers; 1 where the likelihood set the scale already.
        flip: the share of answers that say the opposite, whatever the distances.
        note: what the fit reports: number of triplets, validation figures.
    """

    offset: Floats
    weights: Floats
    members: Floats
    temperature: float = 1.0
    flip: float = 0.0
    note: dict[str, float] = field(default_factory=dict)

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
        return self._answered(_evidence(self.project(features), triplets))

    def member_probability(self, features: Floats, triplets: Ints) -> Floats:
        """Returns (m, t) what each member says, before any answer is flipped."""
        projected = np.einsum("nd,mdk->nmk", features - self.offset, self.members)
        return expit(_evidence(projected, triplets).T / self.temperature)

    def rotated(self, rotation: Floats) -> Similarity:
        """Returns the same model with its measures turned by a (k, k) orthogonal matrix."""
        return replace(self, weights=self.weights @ rotation, members=self.members @ rotation)

    def save(self, path: Path | str) -> None:
        """Writes the model as arrays plus JSON; `load` gives it back."""
        arrays = {"offset": self.offset, "weights": self.weights, "members": self.members}
        meta = {"model": "similarity", "temperature": self.temperature, "flip": self.flip, "note": self.note}
        files.write_atomic(Path(path), files.pack(arrays, meta))

    def _answered(self, evidence: Floats) -> Floats:
        return self.flip + (1 - 2 * self.flip) * expit(evidence / self.temperature)


def load(path: Path | str) -> Similarity:
    """Returns the model that `Similarity.save` wrote.

    Raises:
        ValueError: The file is damaged or holds another kind of model.
    """
    arrays, meta = files.unpack(Path(path).read_bytes(), str(path))
    if meta.get("model") != "similarity":
        raise ValueError(f"{path} holds a {meta.get('model')} model, expected similarity")
    return Similarity(**arrays, temperature=meta["temperature"], flip=meta["flip"], note=meta["note"])


@dataclass(frozen=True)
class Fit:
    """How `fit_similarity` works.

    Attributes:
        loss: "ste", the logistic likelihood of squared distances (stochastic triplet embedding), or
            "hinge", the published loss with margin 0.05.
        ridge: precision of the Gaussian prior on the weights of prepared features.
        flip: share of contrary answers that the likelihood allows for; None learns it ("ste" only).
        members: size of the ensemble.
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
    members: int = 5
    prepare: Literal["standardize", "whiten", "center"] = "standardize"
    components: int | None = None
    validation: float = 0.0
    by_item: bool = False
    steps: int = 200


def fit_similarity(
    features: Floats, triplets: Ints, *, dim: int = 2, how: Fit | None = None, rng: np.random.Generator
) -> Similarity:
    """Returns the similarity model that best explains the triplets.

    Args:
        features: (n, d) of the items judged.
        triplets: (t, 3) rows of features: anchor, near, far.
        dim: number of measures, k.
        how: the loss, prior and ensemble; the defaults where None.
        rng: draws the bootstrap samples, the validation split and the starting weights.

    Raises:
        ValueError: Triplets point outside the features, are degenerate or fewer than two, or features are
            not finite.
    """
    how = how or Fit()
    features, triplets = check_triplets(features, triplets)
    used, local = np.unique(triplets, return_inverse=True)
    local = local.reshape(triplets.shape)
    offset, scale = _prepare(features[used], how)
    near, far = _differences((features[used] - offset) @ scale, local)
    held_out = _validation_rows(local, len(used), how, rng)
    weights = _member_weights(len(triplets), how.members, rng)
    weights[:, held_out] = 0
    start = 0.1 * rng.standard_normal((how.members, scale.shape[1], dim))
    ridges = np.full(how.members, how.ridge)
    members, flip = _optimise(near, far, start, weights=weights, ridges=ridges, how=how, watch=held_out)
    whole = scale @ _average(members)
    model = Similarity(offset, whole, scale @ members, 1.0, flip, {"triplets": float(len(triplets))})
    return _calibrated(model, features, triplets[held_out if held_out.any() else slice(None)], how, held_out)


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
    features, triplets = check_triplets(features, triplets)
    used, local = np.unique(triplets, return_inverse=True)
    offset, scale = _prepare(features[used], how)
    near, far = _differences((features[used] - offset) @ scale, local.reshape(triplets.shape))
    fold = rng.permutation(len(tested)) % folds
    weights = np.ones((folds, len(triplets)))
    weights[fold, tested] = 0
    start = 0.1 * rng.standard_normal((folds, scale.shape[1], dim))
    members, flip = _optimise(near, far, start, weights=weights, ridges=np.full(folds, how.ridge), how=how, watch=None)
    chosen = members[fold]
    evidence = _quadratic(far[tested], chosen) - _quadratic(near[tested], chosen)
    return flip + (1 - 2 * flip) * expit(evidence)


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
    features, triplets = check_triplets(features, triplets)
    used, local = np.unique(triplets, return_inverse=True)
    local = local.reshape(triplets.shape)
    offset, scale = _prepare(features[used], how)
    near, far = _differences((features[used] - offset) @ scale, local)
    if how.by_item:
        fold = (rng.permutation(len(used)) % 4)[local]
        out = np.stack([(fold == k).any(axis=1) for k in range(4)])
    else:
        out = np.arange(4)[:, None] == (rng.permutation(len(triplets)) % 4)
    out = np.repeat(out, len(grid), axis=0)
    start = 0.1 * rng.standard_normal((len(out), scale.shape[1], dim))
    ridges = np.tile(np.asarray(grid, dtype=float), 4)
    members, flip = _optimise(near, far, start, weights=(~out).astype(float), ridges=ridges, how=how, watch=None)
    right = flip + (1 - 2 * flip) * expit(_margins(near, far, members))
    loss = np.where(out, -np.log(np.maximum(right, 1e-12)), 0).sum(axis=1) / np.maximum(out.sum(axis=1), 1)
    return replace(how, ridge=float(grid[int(loss.reshape(4, -1).mean(axis=0).argmin())]))


def check_triplets(features: Floats, triplets: Ints, *, degenerate: bool = False) -> tuple[Floats, Ints]:
    """Returns features as float64 and triplets as int64, checked.

    Raises:
        ValueError: The shapes are wrong, triplets point outside the features or name an item twice, fewer
            than two triplets came, or a feature is not finite.
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
    if not np.isfinite(features[np.unique(triplets)]).all():
        raise ValueError("features of judged items must be finite")
    return features, triplets.astype(np.int64)


# --- one line of torch each: (m, t) squared distances to near and far → (m, t) losses


def ste_loss(near: torch.Tensor, far: torch.Tensor, flip: torch.Tensor | float) -> torch.Tensor:
    """Returns the negative log-likelihood of the answers; with probability `flip` an answer is the opposite."""
    return -torch.log(flip + (1 - 2 * flip) * torch.sigmoid(far - near) + 1e-12)


def hinge_loss(near: torch.Tensor, far: torch.Tensor) -> torch.Tensor:
    """Returns the published triplet loss (Ding 2024, eq. 2)."""
    return torch.relu(HINGE_MARGIN + near - far)


# --- how a fit is made


def _prepare(items: Floats, how: Fit) -> tuple[Floats, Floats]:
    """Returns the (d,) offset and (d, c) scale after which features are ready for a ridge prior."""
    offset = items.mean(axis=0)
    if how.prepare == "standardize":
        std = items.std(axis=0)
        return offset, np.diag(np.divide(1.0, std, out=np.zeros_like(std), where=std > 1e-9))
    _, size, axes = np.linalg.svd(items - offset, full_matrices=False)
    keep = min(how.components or len(size), int((size > 1e-6 * size[0]).sum()))
    spread = size[:keep] / np.sqrt(len(items))
    scale = spread if how.prepare == "whiten" else np.full(keep, spread[0])
    return offset, axes[:keep].T / scale


def _differences(prepared: Floats, local: Ints) -> tuple[Floats, Floats]:
    anchor = prepared[local[:, 0]]
    return anchor - prepared[local[:, 1]], anchor - prepared[local[:, 2]]


def _member_weights(t: int, members: int, rng: np.random.Generator) -> Floats:
    """Returns (m, t) how much each member makes of each triplet.

    The first half of the members see every triplet and differ in where they start, for the problem has several
    optima; the others are a Bayesian bootstrap (Rubin 1981), which leaves no triplet out as the ordinary one does:
    with few judgments that costs more than it tells.
    """
    weights = np.ones((members, t))
    weights[(members + 1) // 2 :] = rng.exponential(size=(members // 2, t))
    return weights


def _validation_rows(local: Ints, n: int, how: Fit, rng: np.random.Generator) -> Ints:
    """Returns (t,) bool, True for the triplets that do not train."""
    if not how.validation:
        return np.zeros(len(local), dtype=bool)
    if how.by_item:
        out = (rng.random(n) < how.validation)[local].any(axis=1)
    else:
        out = rng.permutation(len(local)) < how.validation * len(local)
    if out.all() or not out.any():
        raise ValueError(f"validation={how.validation} leaves {int((~out).sum())} of {len(out)} triplets to train on")
    return out


def _optimise(
    near: Floats, far: Floats, start: Floats, *, weights: Floats, ridges: Floats, how: Fit, watch: Ints | None
) -> tuple[Floats, float]:
    """Returns (m, c, k) weights and the flip rate that minimise the summed losses, all members in one problem.

    Only the loss itself is left to autograd; the map around it is two matrix products, written out.
    """
    m, c, k = start.shape
    size, t = m * c * k, len(near)
    rows = torch.from_numpy(np.ascontiguousarray(np.concatenate([near, far]).T))
    share, ridge = torch.from_numpy(weights), torch.from_numpy(ridges)[:, None, None]
    learn = how.flip is None and how.loss == "ste"
    best = [np.full(m, np.inf), start.copy()]

    def lengths(x: Floats) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        maps = torch.from_numpy(x[:size]).view(m * k, c)
        projected = (maps @ rows).view(m, k, 2 * t)
        return maps, projected, projected.square().sum(dim=1)

    def losses(squared: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
        near_, far_ = squared[:, :t], squared[:, t:]
        if how.loss == "hinge":
            return hinge_loss(near_, far_)
        return ste_loss(near_, far_, 0.5 * torch.sigmoid(logit) if learn else float(how.flip or 0.0))

    def objective(x: Floats) -> tuple[float, Floats]:
        maps, projected, squared = lengths(x)
        squared.requires_grad_()
        logit = torch.tensor(x[-1], requires_grad=learn)
        total = (losses(squared, logit) * share).sum()
        if learn:
            total = total + FLIP_PRIOR * m * 0.5 * torch.sigmoid(logit)
        total.backward()
        assert squared.grad is not None
        maps = maps.view(m, k, c)
        gradient = 2 * ((squared.grad[:, None] * projected).view(m * k, 2 * t) @ rows.T).view(m, k, c) + ridge * maps
        value = float(total.detach()) + float((ridge * maps.square()).sum()) / 2
        return value, np.append(
            gradient.numpy(), float(logit.grad)
        ) if learn and logit.grad is not None else gradient.numpy().ravel()

    def keep_best(x: Floats) -> None:
        loss = losses(lengths(x)[2], torch.tensor(x[-1])).numpy()[:, watch].mean(axis=1)
        better = loss < best[0]
        best[0][better] = loss[better]
        best[1][better] = x[:size].reshape(m, k, c).transpose(0, 2, 1)[better]

    x0 = np.concatenate([start.transpose(0, 2, 1).ravel(), [FLIP_START] if learn else []])
    watching = watch is not None and watch.any()
    found = minimize(
        objective,
        x0,
        jac=True,
        method="L-BFGS-B",
        callback=keep_best if watching else None,
        options={"maxiter": how.steps, "maxcor": 20, "ftol": 1e-7, "gtol": 1e-4},
    )
    flip = 0.5 * expit(found.x[-1]) if learn else float(how.flip or 0.0)
    if watching:
        return best[1], float(flip)
    return found.x[:size].reshape(m, k, c).transpose(0, 2, 1).copy(), float(flip)


FLIP_PRIOR = 20.0  # exponential prior on the flip rate: worth 20 clean judgments
FLIP_START = -3.0


def _average(members: Floats) -> Floats:
    """Returns the (c, k) map whose metric is nearest to the members' mean metric, largest axis first."""
    if len(members) == 1:
        return members[0]
    c, k = members.shape[1:]
    left, size, _ = np.linalg.svd(
        members.transpose(1, 0, 2).reshape(c, -1) / np.sqrt(len(members)), full_matrices=False
    )
    return left[:, :k] * size[:k]


def _calibrated(model: Similarity, features: Floats, triplets: Ints, how: Fit, held_out: Ints) -> Similarity:
    """Returns the model with the temperature under which the triplets are most likely."""
    if how.loss == "ste" and not held_out.any():
        return model
    evidence = _evidence(model.project(features), triplets)

    def loss(log_temperature: float) -> float:
        right = model.flip + (1 - 2 * model.flip) * expit(evidence / np.exp(log_temperature))
        return float(-np.log(np.maximum(right, 1e-12)).mean())

    scale = np.log(np.abs(evidence).mean() + 1e-12)
    best = minimize_scalar(loss, bounds=(scale - 6, scale + 6), method="bounded")
    note = dict(model.note)
    if held_out.any():
        note |= {"validation": float(len(triplets)), "validation_accuracy": float((evidence > 0).mean())}
    return replace(model, temperature=float(np.exp(best.x)), note=note)


def _evidence(projected: Floats, triplets: Ints) -> Floats:
    """Returns (t, …) squared distance anchor to far minus squared distance anchor to near."""
    anchor, near, far = (projected[triplets[:, i]] for i in range(3))
    return np.square(anchor - far).sum(axis=-1) - np.square(anchor - near).sum(axis=-1)


def _quadratic(rows: Floats, maps: Floats) -> Floats:
    """Returns (t,) squared lengths of (t, c) rows under each row's own (t, c, k) map."""
    return np.square(np.einsum("tc,tck->tk", rows, maps)).sum(axis=1)


def _margins(near: Floats, far: Floats, members: Floats) -> Floats:
    """Returns (m, t) squared distance to far minus squared distance to near."""
    return np.stack([np.square(far @ w).sum(axis=1) - np.square(near @ w).sum(axis=1) for w in members])
