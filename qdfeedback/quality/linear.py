"""A linear utility learned from pairs: "this one is better than that one" (Bradley and Terry 1952)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.special import expit

from qdfeedback import files
from qdfeedback.array_files import is_numbers
from qdfeedback.types import Floats, Ints, Scores


@dataclass(frozen=True)
class LinearUtility:
    """Scores that are a weighted sum of features; their difference is the log-odds that one is found better.

    Attributes:
        offset: (d,) is taken from the features first.
        weights: (d,).
        members: (m, d) an ensemble, whose disagreement says what is not known yet; none by default.

    Raises:
        ValueError: They have other shapes, or are no numbers.
    """

    offset: Floats
    weights: Floats
    members: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def __post_init__(self) -> None:
        """Refuses other shapes."""
        shape = np.shape(self.members)
        if np.size(self.members) and (len(shape) != 2 or shape[1:] != np.shape(self.weights)):
            raise ValueError(f"members must have shape (m, d), got {shape}")
        if np.ndim(self.offset) != 1 or np.shape(self.offset) != np.shape(self.weights):
            shapes = f"{np.shape(self.offset)} and {np.shape(self.weights)}"
            raise ValueError(f"offset and weights must be (d,), got {shapes}")
        if not all(is_numbers(np.asarray(one)) for one in (self.offset, self.weights)):
            raise ValueError("offset and weights must be numbers")

    def score(self, features: Floats) -> Scores:
        """Returns the scores of (n, d) features."""
        mean = (features - self.offset) @ self.weights
        return Scores(mean, np.zeros(len(mean)))

    def probability(self, features: Floats, pairs: Ints) -> Floats:
        """Returns (t,) the probability that the first of each of (t, 2) rows is found better."""
        score = self.score(features).mean
        found: Floats = expit(score[pairs[:, 0]] - score[pairs[:, 1]])
        return found

    def member_probability(self, features: Floats, pairs: Ints) -> Floats:
        """Returns (m, t) what each member says of the first of each pair."""
        score = (features - self.offset) @ (self.members if len(self.members) else self.weights[None]).T
        found: Floats = expit(score[pairs[:, 0]] - score[pairs[:, 1]]).T
        return found

    def save(self, path: Path) -> None:
        """Writes the model as arrays plus JSON."""
        arrays = {"offset": self.offset, "weights": self.weights, "members": self.members}
        files.write_atomic(Path(path), files.pack(arrays, {"model": "linear utility"}))


def load_utility(path: Path) -> LinearUtility:
    """Returns the model that `LinearUtility.save` wrote.

    Raises:
        ValueError: The file is damaged or holds another kind of model.
    """
    return files.read_packed(
        path,
        lambda arrays, _: LinearUtility(arrays["offset"], arrays["weights"], arrays["members"]),
        kind="linear utility",
    )


def fit_utility(features: Floats, pairs: Ints, *, ridge: float = 1.0, members: int = 8) -> LinearUtility:
    """Returns the linear utility under which the answers are likeliest, with a Gaussian prior on standardised weights.

    Args:
        features: (n, d) of the items judged; a column that is the same for all says nothing.
        pairs: (t, 2) rows of features: better, worse.
        ridge: precision of the prior.
        members: of the ensemble, drawn from the Laplace approximation of the posterior, always the same.

    Raises:
        ValueError: No pair, rows outside the features, or features that are not finite.
    """
    from sklearn.linear_model import LogisticRegression

    features, pairs = np.asarray(features, dtype=np.float64), np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise ValueError(f"pairs must have shape (t, 2) with t of 1 at least, got {pairs.shape}")
    if pairs.min() < 0 or pairs.max() >= len(features):
        raise ValueError(f"pairs must be rows of the {len(features)} features, they reach to {pairs.max()}")
    if not np.isfinite(features[np.unique(pairs)]).all():
        raise ValueError("features must be finite in all rows that were judged")
    judged = features[np.unique(pairs)]
    offset, spread = judged.mean(axis=0), judged.std(axis=0)
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1.0), 0.0)
    differ = (features[pairs[:, 0]] - features[pairs[:, 1]]) * scale
    both, won = np.concatenate([differ, -differ]), np.repeat([1, 0], len(differ))  # a fit without intercept needs both
    found = LogisticRegression(C=1 / (2 * max(ridge, 1e-9)), fit_intercept=False, max_iter=1000).fit(both, won)
    weights = found.coef_[0]
    likely = expit(differ @ weights)
    precision = (differ * (likely * (1 - likely))[:, None]).T @ differ + max(ridge, 1e-9) * np.eye(len(weights))
    root = np.linalg.cholesky(np.linalg.inv(precision))
    drawn = weights + np.random.default_rng(0).standard_normal((members, len(weights))) @ root.T
    return LinearUtility(offset, weights * scale, drawn * scale)
