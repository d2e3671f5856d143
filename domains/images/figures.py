"""Figures of pictures of our small world by what is in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from domains.images.attributes import VALUES, open_attributes
from qdfeedback import metrics
from qdfeedback.archives import categorical
from qdfeedback.types import ID_FIELD, Floats, Ints

FIXED = ("colour", "ground", "texture", "size")  # the space that does not move


def by_truth(prompt: str, true: Floats, chosen: Ints, score: Floats, measures: Floats) -> dict[str, Any]:
    """Returns entropy of a set, coverage and QD score of all pictures in the true space, and what axes are tied to.

    Args:
        prompt: what it names is the same everywhere, and counts for nothing.
        true: (m, 11) what is in all pictures, as `SceneReader` gives it.
        chosen: rows of the set.
        score: (m,) how good pictures are.
        measures: (m, k) where they lie on the axes.
    """
    open_ = open_attributes(prompt)
    of_set, number = true[chosen], {name: list(VALUES).index(name) for name in open_}
    entropies = {name: metrics.attribute_entropy(of_set[:, number[name]], len(VALUES[name])) for name in open_}
    summary: dict[str, Any] = {
        "entropy": float(np.mean(list(entropies.values()))), "entropy_of": entropies,
        "unreadable": float(np.isnan(of_set[:, : len(VALUES)]).any(axis=1).mean()),
        "axes": [_axis(axis, {name: true[:, number[name]] for name in open_}) for axis in measures.T],
    }  # fmt: skip
    fixed = [name for name in FIXED if name in open_]
    if fixed:
        places = true[:, [number[name] for name in fixed]]
        archive = categorical([len(VALUES[name]) for name in fixed])(np.empty((len(fixed), 2)), 0)
        good = np.flatnonzero(np.isfinite(score) & np.isfinite(places).all(axis=1))
        archive.add(good, score[good], places[good], **dict.fromkeys(ID_FIELD, good))
        told = metrics.score(archive)
        summary |= {"coverage_true": told.coverage, "qd_score_true": told.qd_score, "true_axes": fixed}
    return summary


def _axis(axis: Floats, of: dict[str, Floats]) -> dict[str, float]:
    """Returns for each attribute |Spearman's rho| of an axis with that of its values that fits best."""
    from scipy.stats import spearmanr

    told = {}
    for name, column in of.items():
        known = np.isfinite(column) & np.isfinite(axis)
        values = np.unique(column[known])
        each = [abs(spearmanr(axis[known], column[known] == i).statistic) for i in values if len(values) > 1]
        told[name] = float(max(each, default=0.0))
    return told
