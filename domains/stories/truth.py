"""Figures of stories by their truth, where the grammar knows it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit

from domains.stories.stories import truth
from qdfeedback import metrics
from qdfeedback.diversity.bins import Bins
from qdfeedback.diversity.columns import Columns
from qdfeedback.diversity.unsupervised import fit_pca
from qdfeedback.types import Diversity, Floats

TRUE = Bins((1, 2), (tuple(np.linspace(0, 1, 11)),) * 2)


def log_odds(texts: Sequence[str]) -> Floats:
    """Returns (n, 2) log-odds of horror and of a happy ending; NaN where nobody knows."""
    odds: Floats = logit(np.clip(truth(texts)[:, 1:], 1e-6, 1 - 1e-6))
    return odds


def mostly_known(texts: Sequence[str]) -> bool:
    """Whether the truth is, of most stories: of the story model's own, not of others."""
    return bool(np.isfinite(log_odds(texts)).all(axis=1).mean() > 0.5)


def by_truth(texts: Sequence[str], objective: Floats, points: Floats, axes: Diversity | None) -> dict[str, float]:
    """Returns how well axes, and principal components, order stories as the truth does, and scores in the true space.

    Args:
        texts: n stories.
        objective: (n,) how good they are.
        points: (n, c) what the axes read of them.
        axes: (n, c) → measures.
    """
    odds = log_odds(texts)
    true = np.column_stack([objective, expit(odds)]).astype(np.float32)
    score = metrics.score_in(TRUE.ranges, TRUE.dims, objective, TRUE.project(true))
    known, pca = np.isfinite(odds).all(axis=1), fit_pca(points, dim=2)
    agree = {
        f"axes_accuracy{name}": metrics.axes_accuracy(one, points[known], Columns((0, 1)), odds[known])
        for name, one in (("", axes), ("_pca", pca)) if one is not None
    }  # fmt: skip
    return agree | {
        "qd_score_on_true_axes": score.qd_score * np.prod(TRUE.dims), "coverage_on_true_axes": score.coverage,
    }  # fmt: skip
