"""How far judges agree: with each other, with themselves, with a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from qdfeedback.types import Floats, Ints

DRAWN = 1_000_000  # numbers of a bootstrap held at once


@dataclass(frozen=True)
class Interval:
    """A figure and the interval in which it lies with the stated confidence."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def proportion(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Returns a share with its Wilson interval; NaN where n is 0."""
    from scipy.stats import binomtest  # takes half a second to load

    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    found = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Interval(successes / n, float(found.low), float(found.high))


def chance(k: int, n: int) -> float:
    """Returns how likely k of n, or something further from half, is by chance; NaN where n is 0."""
    from scipy.stats import binomtest

    return float(binomtest(k, n, 0.5).pvalue) if n else float("nan")


def bootstrap(
    values: Floats,
    *,
    rng: np.random.Generator,
    groups: Floats | Ints | None = None,
    times: int = 1000,
    confidence: float = 0.95,
) -> Interval:
    """Returns the mean of (n,) values with a percentile bootstrap interval.

    Args:
        values: (n,).
        rng: draws the samples.
        groups: (n,) what values belong together (a rater, an item): groups are drawn, not single values.
        times: samples.
        confidence: of the interval.
    """
    _, inverse = np.unique(np.arange(len(values)) if groups is None else groups, return_inverse=True)
    sums, sizes = np.bincount(inverse, values), np.bincount(inverse)
    means = []
    for left in range(times, 0, -(step := max(DRAWN // len(sums), 1))):  # all at once can be gigabytes
        drawn = rng.integers(len(sums), size=(min(step, left), len(sums)))
        means.extend(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(np.mean(values)), float(low), float(high))


def mean_over_items(values: Floats, items: Ints, *, confidence: float = 0.95) -> Interval:
    """Returns the mean of (n,) values that each are about several items, with the interval of other items and values.

    Values that share an item go together. Items are left out one at a time (a jackknife); what this counts too often of
    the values' own noise, once for each item beyond the first, is taken off again (as in Cameron, Gelbach and Miller
    2011). NaN where fewer than two items are left by each.

    Args:
        values: (n,).
        items: (n, r) which items each is about, r different ones.
        confidence: of the interval.
    """
    from scipy.stats import t

    found, centred = float(np.mean(values)), values - np.mean(values)
    inverse = np.unique(items, return_inverse=True)[1].reshape(items.shape)
    n = int(inverse.max()) + 1
    weights, touching = np.bincount(inverse.ravel(), np.repeat(centred, items.shape[1])), np.bincount(inverse.ravel())
    if (touching == len(values)).any() or n < 2:
        return Interval(found, float("nan"), float("nan"))
    noise = float(np.square(centred).sum()) / len(values) ** 2
    jackknife = (n - 1) / n * float(np.square(weights / (len(values) - touching)).sum())
    wide = float(t.ppf((1 + confidence) / 2, n - 1)) * max(jackknife - (items.shape[1] - 1) * noise, noise) ** 0.5
    return Interval(found, found - wide, found + wide)


def krippendorff_alpha(ratings: Floats, *, level: Literal["nominal", "ordinal", "interval"] = "nominal") -> float:
    """Returns Krippendorff's alpha: 1 = full agreement, 0 = as by chance.

    Args:
        ratings: (raters, items) codes, NaN = not rated.
        level: how codes compare.

    Raises:
        ValueError: No item has two ratings, or all ratings are one value: alpha is not defined.
    """
    import krippendorff

    ratings = np.asarray(ratings, dtype=float)
    paired = (~np.isnan(ratings)).sum(axis=0) >= 2
    if not paired.any():
        raise ValueError("ratings must have an item that two raters rated")
    if len(np.unique(ratings[:, paired][~np.isnan(ratings[:, paired])])) < 2:
        raise ValueError("ratings are all one value: alpha is not defined")
    return float(krippendorff.alpha(reliability_data=ratings, level_of_measurement=level))


def cohen_kappa(
    first: Floats,
    second: Floats,
    *,
    weights: Literal["linear", "quadratic"] | None = None,
    codes: Sequence[float] | None = None,
) -> float:
    """Returns Cohen's kappa of two raters over the items that both rated (NaN = not rated).

    Args:
        first: (items,) codes of the one.
        second: (items,) codes of the other.
        weights: how much codes that lie apart count; None = all alike.
        codes: all that there could be, in their order; those that were given if None.

    Raises:
        ValueError: No item was rated by both.
    """
    from sklearn.metrics import cohen_kappa_score

    both = ~(np.isnan(first) | np.isnan(second))
    if not both.any():
        raise ValueError("first and second have no item in common")
    return float(cohen_kappa_score(first[both], second[both], weights=weights, labels=codes))


def raw_agreement(ratings: Floats) -> float:
    """Returns the share of rater pairs that gave an item one code, over all items; NaN = not rated."""
    ratings = np.asarray(ratings, dtype=float)
    counts = np.array([(ratings == code).sum(axis=0) for code in np.unique(ratings[~np.isnan(ratings)])])
    given = counts.sum(axis=0)
    pairs = int((given * (given - 1)).sum())
    return int((counts * (counts - 1)).sum()) / pairs if pairs else float("nan")
