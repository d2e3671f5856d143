from __future__ import annotations

import math

import choix
import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

from qdfeedback.feedback.agreement import Interval, krippendorff_alpha, raw_agreement
from qdfeedback.study.analysis import ranking, statistics


def answers(rng: np.random.Generator, raters: int, trials: int, per_trial: int, flip: float) -> np.ndarray:
    table = np.full((raters, trials), np.nan)
    truth = rng.integers(2, size=trials)
    for trial in range(trials):
        who = rng.choice(raters, per_trial, replace=False)
        table[who, trial] = truth[trial] ^ (rng.random(per_trial) < flip)
    return table


@pytest.mark.parametrize(("p", "n"), [(0.55, 783), (0.6, 194), (0.65, 85), (0.7, 47), (0.45, 783)])
def test_answers_needed(p: float, n: int) -> None:
    assert statistics.answers_needed(p) == n
    assert statistics.answers_needed(p, judgments_per_rater=20) == pytest.approx(1.95 * n, rel=0.02)
    assert statistics.answers_needed(p, judgments_per_rater=20, icc=0) == n


def test_answers_needed_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"not be 0\.5"):
        statistics.answers_needed(0.5)
    with pytest.raises(ValueError, match="judgments_per_rater"):
        statistics.answers_needed(0.6, judgments_per_rater=0)


def test_a_missing_library_names_the_extra() -> None:
    with pytest.raises(ImportError, match=r'no_such_thing: pip install "qdfeedback\[study\]"'):
        statistics.library("no_such_thing.stats")


def test_figures_are_those_of_the_libraries() -> None:
    rng = np.random.default_rng(0)
    table = answers(rng, 9, 60, 4, 0.2)
    found = statistics.agreement_over(krippendorff_alpha, table, rng=rng, times=50)
    assert found.value == pytest.approx(krippendorff.alpha(table, level_of_measurement="nominal"))
    assert found.low < found.value < found.high
    whole = rng.integers(3, size=(4, 30)).astype(float)
    counts = aggregate_raters(whole.T.astype(int))[0]
    assert statistics.fleiss(whole) == pytest.approx(fleiss_kappa(counts))
    pairs = [cohen_kappa_score(whole[i], whole[j]) for i in range(4) for j in range(i)]
    assert statistics.mean_kappa(whole, rng=rng) == (pytest.approx(np.mean(pairs)), 6)
    share = statistics.shares({"left": 30, "right": 12})["left"]
    assert (share.low, share.high) == pytest.approx(proportion_confint(30, 42, method="wilson"))


def test_people_left_out_one_at_a_time_are_those_left_out_of_the_table() -> None:
    rng = np.random.default_rng(1)
    table = answers(rng, 7, 40, 3, 0.2)
    packed = np.sort(table, axis=0)
    for rater in range(7):
        fewer = np.delete(table, rater, axis=0)
        without = statistics._without(packed, table[rater])
        assert raw_agreement(without) == raw_agreement(fewer)
        assert krippendorff_alpha(without) == pytest.approx(krippendorff_alpha(fewer))


def test_kappa_is_of_all_pairs_that_can_be_compared() -> None:
    rng = np.random.default_rng(0)
    table = np.full((200, 600), np.nan)
    for pair in range(100):  # of 19,900 pairs, 100 have trials in common
        table[2 * pair : 2 * pair + 2, 6 * pair : 6 * pair + 6] = rng.integers(2, size=(2, 6))
    assert statistics.mean_kappa(table, rng=rng)[1] > 80


def test_weights_go_by_the_whole_scale() -> None:
    first, second = np.array([1.0, 1, 5, 5, 5, 4]), np.array([1.0, 1, 5, 5, 4, 5])
    whole = statistics.mean_kappa(np.array([first, second]), rng=np.random.default_rng(0), weights="quadratic",
                                  codes=[1.0, 2, 3, 4, 5])[0]  # fmt: skip
    assert whole == pytest.approx(cohen_kappa_score(first, second, weights="quadratic", labels=[1, 2, 3, 4, 5]))
    assert whole > cohen_kappa_score(first, second, weights="quadratic") + 0.05


def test_fleiss_needs_one_number_of_answers() -> None:
    assert math.isnan(statistics.fleiss(np.array([[0, 1, np.nan], [1, 1, 0], [0, np.nan, np.nan]])))
    assert math.isnan(statistics.fleiss(np.ones((3, 4))))
    sparse = np.array([[0, 1, np.nan], [1, np.nan, 1], [np.nan, 1, 0]])
    assert statistics.fleiss(sparse) == pytest.approx(fleiss_kappa(np.array([[1, 1], [0, 2], [1, 1]])))


def test_kappa_of_two_raters_without_variety_is_not_defined() -> None:
    assert statistics.mean_kappa(np.ones((2, 6)), rng=np.random.default_rng(0))[1] == 0
    assert math.isnan(statistics.mean_kappa(np.ones((2, 6)), rng=np.random.default_rng(0))[0])


def test_entropy() -> None:
    table = np.array([[0, 1, 2], [1, 1, np.nan]])
    assert statistics.mean_entropy(table) == pytest.approx(0.5)
    assert math.isnan(statistics.mean_entropy(table[:1]))


@pytest.mark.parametrize(("raters", "trials", "per_trial"), [(6, 60, 6), (16, 80, 3)])
def test_intervals_of_agreement_hold_the_truth(raters: int, trials: int, per_trial: int) -> None:
    flip, inside, widths = 0.15, 0, []
    truth = (1 - flip) ** 2 + flip**2
    for seed in range(12):
        rng = np.random.default_rng(seed)
        table = answers(rng, raters, trials, per_trial, flip)
        found = statistics.agreement_over(raw_agreement, table, rng=rng, times=40)
        inside += found.low <= truth <= found.high
        widths.append(found.high - found.low)
    assert inside >= 11
    assert np.mean(widths) < 0.35


def test_nothing_is_said_about_others_where_there_are_none() -> None:
    rng, n = np.random.default_rng(0), np.arange(4)
    one = np.zeros(4, dtype=int)
    for raters, trials in ((one, n), (n, one)):
        found = statistics.mean_over(np.array([1.0, 0, 1, 1]), raters, trials, rng=rng)
        assert (found.value, math.isnan(found.low)) == (0.75, True)
    same = statistics.mean_over(np.ones(40), np.arange(40) % 4, np.arange(40) // 4, rng=rng)
    assert (same.low, same.high) == pytest.approx(proportion_confint(4, 4, method="wilson")), "four people, not forty"
    assert math.isnan(statistics.mean_over(np.full(4, 5.0), n, n, rng=rng, limits=(1, 5)).low)
    for table in (np.array([[1.0, 0], [1, 0]]), np.array([[1.0], [0], [1]]), np.tile([[0.0, 1, 0, 1]], (5, 1))):
        found = statistics.agreement_over(raw_agreement, table, rng=rng, times=50)
        assert math.isnan(found.low)


@pytest.mark.parametrize("people", [2, 3, 5, 10])
def test_intervals_of_few_people_are_wide_enough(people: int) -> None:
    rng = np.random.default_rng(0)
    raters, trials = np.repeat(np.arange(people), 40), np.tile(np.arange(40), people)
    inside = 0
    for _ in range(100):
        values = (rng.normal(scale=0.4, size=people)[raters] + rng.normal(size=40 * people) > 0).astype(float)
        found = statistics.mean_over(values, raters, trials, rng=rng)
        inside += found.low <= 0.5 <= found.high
    assert inside >= 91


def test_p_keeps_its_promise_when_people_differ() -> None:
    rng = np.random.default_rng(1)
    raters, trials = np.repeat(np.arange(20), 20), np.tile(np.arange(20), 20)
    small = []
    for _ in range(400):
        latent = rng.normal(scale=0.35, size=20)[raters] + rng.normal(scale=0.35, size=20)[trials]
        small.append(statistics.clustered_p((latent + rng.normal(size=400) > 0).astype(float), raters, trials) < 0.05)
    assert np.mean(small) < 0.07, "answers taken as independent would find an effect in a fifth of such studies"
    assert math.isnan(statistics.clustered_p(np.ones(3), np.zeros(3), np.arange(3)))
    assert statistics.clustered_p(np.ones(30), np.arange(30) % 5, np.arange(30) // 5) == pytest.approx(2 * 0.5**5)
    shown = rng.random(400) < 0.7
    assert statistics.clustered_p(shown.astype(float), raters, trials) < 0.001


def test_flip_rate() -> None:
    same = 0.9**2 + 0.1**2
    found = statistics.flip_rate(Interval(same, 0.4, 1.0))
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.0, 0.5))
    assert math.isnan(statistics.flip_rate(statistics.NOTHING).value)


def test_ranking_is_that_of_choix() -> None:
    rng = np.random.default_rng(1)
    games = rng.integers(6, size=(150, 2))
    games = games[games[:, 0] != games[:, 1]]
    strength = np.linspace(-1, 1, 6)
    won = rng.random(len(games)) < 1 / (1 + np.exp(strength[games[:, 1]] - strength[games[:, 0]]))
    data = [(a, b) if first else (b, a) for (a, b), first in zip(games.tolist(), won, strict=True)]
    expected = choix.ilsr_pairwise(6, data, alpha=0.01)
    groups = {"raters": rng.integers(8, size=len(games)), "trials": np.arange(len(games))}
    found = ranking.ranking(games, won.astype(float), **groups, rng=rng, times=40)
    assert [item.value for item in found] == pytest.approx(expected - np.mean(expected), abs=1e-6)
    assert all(item.low < item.value < item.high for item in found)
    assert sum(item.low <= truth <= item.high for item, truth in zip(found, strength, strict=True)) >= 5
    tied = ranking.ranking(games, np.full(len(games), 0.5), **groups, rng=rng, times=5)
    assert [item.value for item in tied] == pytest.approx(np.zeros(6), abs=1e-6)


def test_a_mean_has_the_uncertainty_of_people_and_trials() -> None:
    rng = np.random.default_rng(0)
    values, raters, trials = np.repeat([0.0, 1.0], 50), np.repeat(np.arange(4), 25), np.tile(np.arange(50), 2)
    found = statistics.mean_over(values, raters, trials, rng=rng)
    assert found.value == 0.5
    assert (found.low, found.high) == (0, 1)  # two of four people say so: no more is known
    assert math.isnan(statistics.mean_over(values[:0], raters[:0], trials[:0], rng=rng).value)
    alone = statistics.both(0.5, statistics.NOTHING, statistics.NOTHING)
    assert math.isnan(alone.low)
