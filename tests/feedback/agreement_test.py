"""Figures of agreement, against cases worked out by hand or printed in the literature."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qdfeedback.feedback.agreement import (
    Interval,
    bootstrap,
    chance,
    cohen_kappa,
    krippendorff_alpha,
    proportion,
    raw_agreement,
)

_ = math.nan
# four observers, twelve units: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), example D
FOUR = np.array([
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
])  # fmt: skip


def test_a_share_has_the_interval_of_wilson() -> None:
    # 8 of 10, z = 1.959964: middle (0.8 + z²/20) / (1 + z²/10) = 0.716741,
    # half z / (1 + z²/10) * sqrt(0.8 * 0.2 / 10 + z²/400) = 0.226579
    found = proportion(8, 10)
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.490162, 0.943318), abs=2e-5)
    # 90 %: z = 1.644854, middle 0.736121, half 0.201519 (narrower)
    narrow = proportion(8, 10, confidence=0.9)
    assert found.low < narrow.low < narrow.high < found.high
    # none of 5: low 0, high z² / (5 + z²) = 3.841459 / 8.841459
    none = proportion(0, 5)
    assert (none.low, none.high) == pytest.approx((0, 0.434482), abs=1e-6)
    assert math.isnan(proportion(0, 0).value)


@pytest.mark.parametrize(
    ("k", "n", "p"), [(9, 10, 22 / 1024), (1, 10, 22 / 1024), (5, 10, 1), (4, 4, 2 / 16), (0, 1, 1), (7, 8, 18 / 256)]
)
def test_chance_counts_what_is_as_far_from_half_on_either_side(k: int, n: int, p: float) -> None:
    assert chance(k, n) == pytest.approx(p)
    assert math.isnan(chance(0, 0))


def test_a_bootstrap_interval_is_of_95_percent() -> None:
    # of three values drawn thrice, the mean is 0 (or 1) with probability 1/27 = 3.7 %: more than 2.5, less than 5 %
    found = bootstrap(np.array([0, 0.5, 1]), rng=np.random.default_rng(0), times=5000)
    assert (found.value, found.low, found.high) == (0.5, 0, 1)
    # with 90 %, the edges are the next values, 1/6 and 5/6
    found = bootstrap(np.array([0, 0.5, 1]), rng=np.random.default_rng(0), times=5000, confidence=0.9)
    assert (found.low, found.high) == pytest.approx((1 / 6, 5 / 6))


def test_groups_are_drawn_whole_and_count_by_their_size() -> None:
    values, groups = np.array([0.0, 1, 1, 1]), np.array([7, 3, 3, 3])
    found = bootstrap(values, rng=np.random.default_rng(0), groups=groups, times=400)
    assert (found.value, found.low, found.high) == (0.75, 0, 1), "one of the two groups twice, in half of the samples"
    inner = bootstrap(values, rng=np.random.default_rng(0), groups=groups, times=400, confidence=0.2)
    assert (inner.low, inner.high) == (0.75, 0.75), "each of them once, in the other half: three values of four are 1"
    # groups of one size whose means are alike leave nothing to chance
    found = bootstrap(np.array([0.0, 1, 0, 1]), rng=np.random.default_rng(0), groups=np.array([0, 0, 1, 1]), times=50)
    assert found == Interval(0.5, 0.5, 0.5)


def test_a_bootstrap_in_parts_draws_as_many_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdfeedback.feedback.agreement.DRAWN", 300)
    found = bootstrap(np.array([0, 0.5, 1]), rng=np.random.default_rng(0), times=5000)
    assert (found.low, found.high) == (0, 1)


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_own_example(level, alpha: float) -> None:
    assert krippendorff_alpha(FOUR, level=level) == pytest.approx(alpha, abs=6e-4)


def test_krippendorffs_alpha_of_two_observers() -> None:
    # example B of the same paper, 0.095: 10 units, 4 disagreements, 14 zeros and 6 ones: 1 - 19 * 8 / (2 * 14 * 6)
    table = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]], dtype=float)
    assert krippendorff_alpha(table) == pytest.approx(1 - 19 * 8 / 168)


def test_alpha_needs_answers_that_can_be_compared_and_differ() -> None:
    with pytest.raises(ValueError, match="two raters rated"):
        krippendorff_alpha(np.array([[1.0, _], [_, 2.0]]))
    with pytest.raises(ValueError, match="all one value"):
        krippendorff_alpha(np.array([[1.0, 2.0], [1.0, _]])), "what one rater alone said is no pair"


def test_cohens_kappa_by_hand() -> None:
    # 20 times both yes, 15 times both no, 5 and 10 times one of them: 0.7 observed, 0.5 by chance
    first = np.repeat([1.0, 1, 0, 0], [20, 5, 10, 15])
    second = np.repeat([1.0, 0, 1, 0], [20, 5, 10, 15])
    assert cohen_kappa(first, second) == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    gaps = cohen_kappa(np.append(first, [_, 1]), np.append(second, [0, _]))
    assert gaps == pytest.approx(0.4), "what one of them did not rate does not count"
    with pytest.raises(ValueError, match="no item in common"):
        cohen_kappa(np.array([1.0, _]), np.array([_, 1.0]))


def test_weighted_kappa_by_hand() -> None:
    first, second = np.array([1.0, 2, 3]), np.array([1.0, 3, 3])
    # quadratic, in units of 2²: observed 0.25 / 3; by chance (2 + 0.25 + 0.5 + 1) / 9
    assert cohen_kappa(first, second, weights="quadratic") == pytest.approx(1 - (0.25 / 3) / (3.75 / 9))
    # linear, in units of 2: observed 0.5 / 3; by chance (2 + 0.5 + 1 + 1) / 9
    assert cohen_kappa(first, second, weights="linear") == pytest.approx(1 - (0.5 / 3) / (4.5 / 9))


def test_raw_agreement_by_hand() -> None:
    # pairs that agree, of pairs: 1 of 3, 1 of 3, 1 of 1; what one alone answered has none
    table = np.array([[0, 0, _, 1], [0, 1, 1, _], [1, 1, 1, _]])
    assert raw_agreement(table) == pytest.approx(3 / 7)
    assert math.isnan(raw_agreement(np.array([[0, _], [_, 1]])))
