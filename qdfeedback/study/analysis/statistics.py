"""Figures on tables of answers: agreement, noise, shares, and how many answers an effect needs.

A table of answers is (raters, trials) float64: codes that do not depend on the sides shown, NaN = not answered.
Intervals are of 95 %. People and trials are both a sample, so that an interval holds two parts: one from drawing trials
anew, one from drawing or leaving out people. Their distances from the figure are added in squares, which errs on the
wide side; where there are few of either, Student's t makes them wider.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from scipy.stats import entropy, t

from qdfeedback.feedback.agreement import Interval, bootstrap, chance, cohen_kappa, proportion
from qdfeedback.types import Floats, Ints

NOTHING = Interval(math.nan, math.nan, math.nan)
Z = 1.959964  # of 95 %
KAPPA_TRIALS = 5  # in common, for a pair of raters to be compared
KAPPA_PAIRS = 1000


def library(name: str) -> Any:
    """Returns a module that only reports need.

    Raises:
        ImportError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        needed = name.split(".")[0]
        raise ImportError(f'the report needs {needed}: pip install "qdfeedback[study]"') from error


# --- intervals


def both(value: float, first: Interval, second: Interval) -> Interval:
    """Returns a figure with the uncertainty of two samples; an interval of NaN counts as none, two give NaN."""
    parts = [part for part in (first, second) if not math.isnan(part.low)]
    if not parts:
        return Interval(value, math.nan, math.nan)
    low = math.hypot(*(value - part.low for part in parts))
    high = math.hypot(*(part.high - value for part in parts))
    return Interval(value, value - low, value + high)


def mean_over(
    values: Floats, raters: Ints, trials: Ints, *, rng: np.random.Generator, limits: tuple[float, float] = (0.0, 1.0)
) -> Interval:
    """Returns the mean of (n,) values; NaN where n is 0.

    An interval needs two people or more and two trials or more, and values that differ: from one person nothing can be
    told about others. Of shares that are all 0 or all 1 it is Wilson's, of as many answers as there are people or
    trials, whichever are fewer.

    Args:
        values: (n,).
        raters: (n,) who gave each.
        trials: (n,) what each is about.
        rng: draws people, and trials.
        limits: the least and the greatest value that there can be.
    """
    if not len(values):
        return NOTHING
    value, sizes = float(np.mean(values)), [len(np.unique(groups)) for groups in (raters, trials)]
    if min(sizes) < 2:
        return Interval(value, math.nan, math.nan)
    if (values == values[0]).all():
        is_share = limits == (0.0, 1.0) and value in limits
        found = proportion(round(value * min(sizes)), min(sizes)) if is_share else NOTHING
        return Interval(value, found.low, found.high)
    parts = [
        widened(bootstrap(values, groups=groups, rng=rng), size)
        for groups, size in zip((raters, trials), sizes, strict=True)
    ]
    found = both(value, *parts)
    return Interval(value, max(found.low, limits[0]), min(found.high, limits[1]))


def widened(found: Interval, groups: int) -> Interval:
    """Returns a bootstrap's interval as wide as it has to be where few groups were drawn (Student's t)."""
    wide = float(t.ppf(0.975, groups - 1)) / Z * math.sqrt(groups / (groups - 1))
    return Interval(
        found.value, found.value - wide * (found.value - found.low), found.value + wide * (found.high - found.value)
    )


def clustered_p(values: Floats, raters: Ints, trials: Ints, *, null: float = 0.5) -> float:
    """Returns how likely a mean so far from `null` is by chance; NaN with fewer than two people or trials.

    Answers of one person go together, and so do answers to one trial: the variance is the sum of that over people and
    that over trials (Cameron, Gelbach and Miller 2011, without the part that it takes off again, so p errs upward).

    Args:
        values: (n,).
        raters: (n,) who gave each.
        trials: (n,) what each is about.
        null: the mean if there is no effect.
    """
    sizes = [len(np.unique(groups)) for groups in (raters, trials)]
    if min(sizes, default=0) < 2:
        return math.nan
    rest, variance = values - values.mean(), 0.0
    for groups, size in zip((raters, trials), sizes, strict=True):
        sums = np.bincount(np.unique(groups, return_inverse=True)[1], rest)
        variance += size / (size - 1) * float(np.square(sums).sum()) / len(values) ** 2
    if variance == 0:  # all said the same: as if each person, or each trial, were one answer
        n = min(sizes)
        return chance(round(float(values.mean()) * n), n)
    return 2 * float(t.sf(abs(float(values.mean()) - null) / math.sqrt(variance), min(sizes) - 1))


def agreement_over(
    figure: Callable[[Floats], float],
    table: Floats,
    *,
    rng: np.random.Generator,
    times: int = 300,
    least: float = -1.0,
) -> Interval:
    """Returns a figure of agreement.

    Trials are drawn with replacement. People are left out one at a time (a jackknife) and not drawn: somebody drawn
    twice would agree with themselves, and every sample would agree more than the people do. An interval needs three
    people or more, two trials or more, and answers that are not all the same.

    Args:
        figure: of a table; a ValueError or NaN says that it is not defined.
        table: (raters, trials) codes.
        rng: draws trials.
        times: samples.
        least: what the figure can be at least; at most it is 1.

    Raises:
        ValueError: The figure is not defined on the whole table.
    """
    table = table[:, (~np.isnan(table)).sum(axis=0) >= 2]
    value = figure(table)
    packed = np.sort(table, axis=0)  # NaN last: agreement does not ask who gave which answer
    packed = packed[~np.isnan(packed).all(axis=1)]
    drawn = (packed[:, rng.integers(table.shape[1], size=table.shape[1])] for _ in range(times))
    samples = _defined(figure, drawn)
    fewer = _defined(figure, (_without(packed, answers) for answers in table))
    if len(fewer) < 3 or table.shape[1] < 2 or not len(samples) or np.ptp(samples) == 0:
        return Interval(value, math.nan, math.nan)
    trials = Interval(value, *(float(edge) for edge in np.quantile(samples, [0.025, 0.975])))
    spread = math.sqrt((len(fewer) - 1) / len(fewer) * float(np.square(fewer - fewer.mean()).sum()))
    half = float(t.ppf(0.975, len(fewer) - 1)) * spread
    found = both(value, widened(trials, table.shape[1]), Interval(value, value - half, value + half))
    return Interval(value, max(found.low, least), min(found.high, 1.0))


def _without(packed: Floats, answers: Floats) -> Floats:
    """Returns a packed table without one person's (trials,) answers."""
    trials = np.flatnonzero(~np.isnan(answers))
    left = packed.copy()
    left[(packed[:, trials] == answers[trials]).argmax(axis=0), trials] = np.nan
    return left


def _defined(figure: Callable[[Floats], float], tables: Any) -> Floats:
    found = []
    for table in tables:
        try:
            found.append(figure(table))
        except ValueError:
            continue
    values = np.array(found, dtype=float)
    defined: Floats = values[~np.isnan(values)]
    return defined


# --- agreement


def mean_kappa(
    table: Floats,
    *,
    rng: np.random.Generator,
    weights: Literal["linear", "quadratic"] | None = None,
    codes: Sequence[float] | None = None,
) -> tuple[float, int]:
    """Returns Cohen's kappa, the mean over pairs of raters, and how many pairs that is; NaN where there is none.

    A pair counts if it has five trials in common (two raters alone always count); of very many pairs 1000 are drawn.

    Args:
        table: (raters, trials) codes.
        rng: draws pairs.
        weights: of disagreements.
        codes: all that there could be, which weights need: how far 1 is from 3 must not depend on who said 2.
    """
    given = (~np.isnan(table)).astype(np.float32)
    least = 1 if len(table) == 2 else KAPPA_TRIALS
    pairs = np.argwhere(np.triu(given @ given.T, 1) >= least)
    if len(pairs) > KAPPA_PAIRS:
        pairs = pairs[rng.choice(len(pairs), KAPPA_PAIRS, replace=False)]
    found = []
    for first, second in pairs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one answer throughout: kappa is NaN, and left out
            found.append(cohen_kappa(table[first], table[second], weights=weights, codes=codes))
    kappas = [kappa for kappa in found if not math.isnan(kappa)]
    return (float(np.mean(kappas)), len(kappas)) if kappas else (math.nan, 0)


def fleiss(table: Floats) -> float:
    """Returns Fleiss' kappa; NaN unless all answered trials have one number of answers, and answers differ."""
    counts = (~np.isnan(table)).sum(axis=0)
    answered = table[:, counts > 0]
    sizes = set(counts[counts > 0].tolist())
    if len(sizes) != 1 or min(sizes) < 2 or len(np.unique(answered[~np.isnan(answered)])) < 2:
        return math.nan
    by_trial = np.sort(answered, axis=0)[: sizes.pop()].T
    rater = library("statsmodels.stats.inter_rater")
    return float(rater.fleiss_kappa(rater.aggregate_raters(by_trial)[0], method="fleiss"))


def mean_entropy(table: Floats) -> float:
    """Returns how far answers to one trial differ, in bits, mean over trials with two answers; NaN without one."""
    columns = [column[~np.isnan(column)] for column in table.T]
    counts = [np.unique(column, return_counts=True)[1] for column in columns if len(column) >= 2]
    return float(np.mean([entropy(count, base=2) for count in counts])) if counts else math.nan


def flip_rate(same: Interval) -> Interval:
    """Returns how often an answer to two options is flipped, from how often two answers are the same.

    If each answer is the truth flipped with probability e, two agree with probability (1-e)² + e². At 0.5 and below,
    e is 0.5: answers by chance.
    """
    value, high, low = (
        (1 - math.sqrt(max(2 * share - 1, 0.0))) / 2 if not math.isnan(share) else math.nan
        for share in (same.value, same.low, same.high)
    )
    return Interval(value, low, high)


# --- shares


def shares(counts: dict[str, int]) -> dict[str, Interval]:
    """Returns the share of each outcome with its Wilson interval."""
    return {name: proportion(count, sum(counts.values())) for name, count in counts.items()}


def answers_needed(
    p: float, power: float = 0.8, alpha: float = 0.05, judgments_per_rater: float = 1.0, icc: float = 0.05
) -> int:
    """Returns how many answers show that a share differs from one half (two-sided test of one proportion).

    Args:
        p: the true share.
        power: probability to find it.
        alpha: probability to find what is not there.
        judgments_per_rater: m answers of one person are worth less than those of m people: the number is multiplied
            by 1 + (m - 1) * icc.
        icc: intraclass correlation of a person's answers.

    Raises:
        ValueError: p is no share, or is one half, which no number of answers tells from one half.
    """
    if not 0 <= p <= 1 or p == 0.5:
        raise ValueError(f"p must lie in [0, 1] and not be 0.5, got {p}")
    if judgments_per_rater < 1 or not 0 <= icc <= 1:
        raise ValueError(f"judgments_per_rater must be 1 or more, icc in [0, 1], got {judgments_per_rater} and {icc}")
    effect = library("statsmodels.stats.proportion").proportion_effectsize(max(p, 1 - p), 0.5)
    test = library("statsmodels.stats.power").NormalIndPower()
    alone = float(test.solve_power(effect_size=effect, alpha=alpha, power=power, ratio=0))
    return math.ceil(alone * (1 + (judgments_per_rater - 1) * icc))
