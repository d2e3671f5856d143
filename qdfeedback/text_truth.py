"""Figures of texts where they really lie and as good as they really are, where that is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import expit

from qdfeedback import metrics
from qdfeedback.history import History
from qdfeedback.types import Floats, Ints
from qdfeedback.writing import Writing, bins_of

READABLE = 0.9  # share of texts whose truth is known; of fewer it says nothing


def by_truth(writing: Writing, history: History, ids: Ints, *, columns: Sequence[int]) -> dict[str, Any]:
    """Returns the figures of all texts, and of the elites alone, where they really lie and as good as they really are.

    `judge_agreement` is how often the judge is on the right side, over answers and texts that have a clear truth;
    `true_ceiling` the QD score of the best text in each cell that a text can truly lie in.

    Args:
        writing: the domain.
        history: every text.
        ids: (e,) of the elites.
        columns: of the domain's truth, for which the features stand.
    """
    truth, bins = writing.truth, bins_of(writing)
    if truth is None:
        return {}
    cells, wanted = int(np.prod(bins.dims)), list(columns)

    def score(true: Floats) -> metrics.GridScore:
        return metrics.score_in(bins.ranges, bins.dims, true[:, 0], bins.project(true.astype(np.float32)))

    parts, said = [], []
    for part in history.chunks("solution", "features"):
        parts.append(truth([str(text) for text in part["solution"]])[:, wanted])
        said.append(part["features"])
    true, features = np.concatenate(parts), np.concatenate(said)
    judged = np.isfinite(features).all(axis=1)
    readable = float(np.isfinite(true[judged]).all(axis=1).mean())
    if readable < READABLE:
        return {"readable": readable}
    everything = score(true[judged])
    archive = score(truth([str(text) for text in history.take(ids, "solution")])[:, wanted])
    clear = judged[:, None] & (np.abs(true - 0.5) > 0.3)
    agrees = (true > 0.5) == (features > 0.5)
    return {
        "readable": readable,
        "true_qd_score_all": everything.qd_score * cells,
        "true_coverage_all": everything.coverage,
        "true_qd_score": archive.qd_score * cells,
        "true_coverage": archive.coverage,
        "true_ceiling": _ceiling(writing),
        "judge_agreement": float(agrees[clear].mean()) if clear.any() else None,
    }


def _ceiling(writing: Writing) -> float:
    bins = bins_of(writing)
    levels = expit(writing.grade * np.arange(-writing.levels, writing.levels + 1)).astype(np.float32)
    columns = np.zeros((len(levels), max(bins.indices) + 1), dtype=np.float32)
    columns[:, 1:] = levels[:, None]
    reached = np.minimum(bins.project(columns).astype(int), np.array(bins.dims) - 1)
    return float(np.prod([len(set(axis)) for axis in reached.T]) * expit(writing.best))
