"""Figures of the report, against cases worked out by hand: no library that the report calls computes them here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from qdfeedback.feedback.agreement import Interval
from qdfeedback.feedback.answers import Answer
from qdfeedback.feedback.study import Question, Study
from qdfeedback.study.analysis import findings, human_model, human_qd, ranking, statistics
from qdfeedback.study.analysis.answers import Item, code, numbers, table

_ = math.nan
# Student's t of 97.5 %, as printed in tables: 1, 2 and 9 degrees of freedom
T1, T2, T9 = 12.7062, 4.30265, 2.26216
Z = 1.959964

ALIKE = Question("alike", "triplet", "?")
BETTER = Question("better", "pair", "?", tie=True)
GRADE = Question("grade", "rating", "?", scale=(0, 4))
MOOD = Question("mood", "label", "?", options=("happy", "sad", "calm"))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def answer(rater: str, trial: str, question: Question, given: str | None, **more: Any) -> Answer:
    first, second = more.pop("items", (f"{trial}a", f"{trial}b" if question.task in ("pair", "triplet") else None))
    plain: dict[str, Any] = {
        "kind": "main", "purpose": "random", "by": "person", "shown": given, "expected": None, "right": None,
        "response_ms": 1500.0,
    }  # fmt: skip
    return Answer(trial=trial, question=question.name, task=question.task, rater=rater, first=first, second=second,
                  given=given, **(plain | more))  # fmt: skip


# --- intervals


def test_two_uncertainties_add_in_squares() -> None:
    found = statistics.both(0.5, Interval(0.5, 0.2, 0.6), Interval(0.5, 0.1, 0.8))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5 - 0.5, 0.5 + math.sqrt(0.1)))
    one = statistics.both(0.5, Interval(0.5, 0.2, 0.6), statistics.NOTHING)
    assert (one.low, one.high) == pytest.approx((0.2, 0.6))


@pytest.mark.parametrize(("groups", "t"), [(2, T1), (3, T2), (10, T9)])
def test_few_groups_make_an_interval_wider_by_students_t(groups: int, t: float) -> None:
    found = statistics.widened(Interval(0.5, 0.4, 0.7), groups)
    wide = t / Z * math.sqrt(groups / (groups - 1))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5 - 0.1 * wide, 0.5 + 0.2 * wide), rel=1e-5)


def test_the_interval_of_a_mean_by_hand() -> None:
    # two people, who always say 0 and 1: drawn anew, the mean is 0 or 1 half of the time, so from 0 to 1;
    # each of the two trials has a mean of 0.5, whatever is drawn
    values, raters, trials = np.array([0.0, 0, 1, 1]), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    found = statistics.mean_over(values, raters, trials, rng=rng(), limits=(-100, 100))
    half = 0.5 * T1 / Z * math.sqrt(2)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5 - half, 0.5 + half), rel=1e-5)
    swapped = statistics.mean_over(values, trials, raters, rng=rng(), limits=(-100, 100))
    assert (swapped.low, swapped.high) == pytest.approx((found.low, found.high))
    cut = statistics.mean_over(values, raters, trials, rng=rng())
    assert (cut.low, cut.high) == (0, 1)


def test_shares_of_which_nobody_differs_have_wilsons_interval_of_the_fewer() -> None:
    raters, trials = np.arange(30) % 5, np.arange(30) % 6
    none = statistics.mean_over(np.zeros(30), raters, trials, rng=rng())
    assert (none.value, none.low, none.high) == pytest.approx((0, 0, Z**2 / (5 + Z**2)), abs=1e-6)
    every = statistics.mean_over(np.ones(30), trials, raters, rng=rng())
    assert (every.value, every.low, every.high) == pytest.approx((1, 5 / (5 + Z**2), 1), abs=1e-6)
    half = statistics.mean_over(np.full(30, 0.5), raters, trials, rng=rng())
    assert math.isnan(half.low), "of halves nothing is known"


class Columns:
    """Random numbers that draw trial 0 twice once, trial 1 twice once, and both of them otherwise."""

    def __init__(self) -> None:
        self.drawn = iter([[0, 0], [1, 1], *[[0, 1]] * 38])

    def integers(self, n: int, size: int) -> np.ndarray:
        assert (n, size) == (2, 2)
        return np.array(next(self.drawn))


def test_the_interval_of_agreement_by_hand() -> None:
    # the "figure" is a tenth of the mean. Columns have means 0 and 2; of 40 samples the 2.5 % quantile lies at place
    # 0.975, between 0 and 0.1, the 97.5 % one between 0.1 and 0.2.
    # Without one of the people it is 0.1, 0.125, 0.075: a jackknife spread of sqrt(2/3 * 2 * 0.025²).
    answers = np.array([[0.0, 2], [0, 1], [0, 3]])
    found = statistics.agreement_over(lambda part: float(np.nanmean(part)) / 10, answers, rng=Columns(), times=40)
    of_trials = 0.0025 * T1 / Z * math.sqrt(2)
    of_people = T2 * math.sqrt(2 / 3 * 2 * 0.025**2)
    half = math.hypot(of_trials, of_people)
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1 - half, 0.1 + half), rel=1e-4)
    cut = statistics.agreement_over(
        lambda part: float(np.nanmean(part)) / 10, answers, rng=Columns(), times=40, least=0
    )
    assert cut.low == 0


# --- chance


def test_p_of_answers_that_go_together_by_hand() -> None:
    # residuals 1/4, 1/4, 1/4, -3/4; sums of people 1/2 and -1/2, of trials too: variance 2 * (2/1 * 1/2 / 16) = 1/8;
    # t = 1/4 / sqrt(1/8) = 1/sqrt(2), with one degree of freedom: p = 1 - 2/pi * atan(t)
    values, raters, trials = np.array([1.0, 1, 1, 0]), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    expected = 1 - 2 / math.pi * math.atan(1 / math.sqrt(2))
    assert statistics.clustered_p(values, raters, trials) == pytest.approx(expected)
    assert statistics.clustered_p(1 - values, raters, trials) == pytest.approx(expected), "two-sided"
    # against 1/4: t = 1/2 / sqrt(1/8) = sqrt(2)
    other = statistics.clustered_p(values, raters, trials, null=0.25)
    assert other == pytest.approx(1 - 2 / math.pi * math.atan(math.sqrt(2)))


def test_p_has_the_degrees_of_freedom_of_the_fewer() -> None:
    # two people, three trials: residuals 1/3, 1/3, 1/3 | 1/3, -2/3, -2/3; sums of people 1 and -1,
    # of trials 2/3, -1/3, -1/3: variance (2/1 * 2 + 3/2 * 6/9) / 36 = 5/36, t = (2/3 - 1/2) / sqrt(5/36) = 1/sqrt(5)
    values, raters, trials = np.array([1.0, 1, 1, 1, 0, 0]), np.repeat([0, 1], 3), np.tile([0, 1, 2], 2)
    expected = 1 - 2 / math.pi * math.atan(1 / math.sqrt(5))
    assert statistics.clustered_p(values, raters, trials) == pytest.approx(expected)


def test_p_where_all_say_the_same_counts_people_or_trials() -> None:
    raters, trials = np.arange(12) % 3, np.arange(12) % 4
    assert statistics.clustered_p(np.ones(12), raters, trials) == pytest.approx(2 / 8)
    assert statistics.clustered_p(np.zeros(12), trials, raters) == pytest.approx(2 / 8)


# --- agreement


def test_fleiss_kappa_of_a_printed_example() -> None:
    # Fleiss 1971 as worked out on Wikipedia: 14 raters, 10 subjects, 5 categories: 0.210
    counts = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1), (7, 7, 0, 0, 0),
        (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    answers = np.stack([np.repeat(np.arange(5.0), row) for row in counts], axis=1)
    assert statistics.fleiss(answers) == pytest.approx(0.210, abs=5e-4)
    unasked = np.concatenate([answers, np.full((14, 1), _)], axis=1)
    assert statistics.fleiss(unasked) == pytest.approx(0.210, abs=5e-4), "a trial without answers changes nothing"


def test_mean_kappa_takes_pairs_with_five_trials_in_common() -> None:
    yes, no = [1.0] * 3 + [0.0] * 2, [0.0] * 3 + [1.0] * 2
    answers = np.array([[*yes, _], [*yes, _], [*no[:4], _, 1]])  # of the third, four trials in common with the others
    assert statistics.mean_kappa(answers, rng=rng()) == (1.0, 1)
    answers = np.array([[*yes, _], [*yes, _], [*no, _]])
    # kappa of yes with no: 0 observed, 2 * 0.6 * 0.4 by chance
    value, pairs = statistics.mean_kappa(answers, rng=rng())
    assert (value, pairs) == (pytest.approx((1 - 2 * 0.48 / 0.52) / 3), 3)
    two = statistics.mean_kappa(np.array([[1.0, 0, _], [1, 0, 1]]), rng=rng())
    assert two == (1.0, 1), "two people alone count however little they share"


def test_entropy_by_hand() -> None:
    # 1:1 gives 1 bit, 3:1 gives 0.811278, 2:0 gives 0; a single answer is left out
    answers = np.array([[0, 0, 0, 0], [1, 0, 0, _], [_, 0, _, _], [_, 1, _, _]])
    assert statistics.mean_entropy(answers) == pytest.approx((1 + 0.811278 + 0) / 3, abs=1e-6)


@pytest.mark.parametrize(("same", "flip"), [(1.0, 0.0), (0.82, 0.1), (0.68, 0.2), (0.5, 0.5), (0.3, 0.5)])
def test_the_flip_rate_that_gives_so_much_agreement(same: float, flip: float) -> None:
    found = statistics.flip_rate(Interval(same, same, same))
    assert (found.value, found.low, found.high) == pytest.approx((flip, flip, flip))
    wide = statistics.flip_rate(Interval(0.82, 0.68, 1.0))
    assert (wide.low, wide.high) == pytest.approx((0.0, 0.2))


def test_answers_needed_by_hand() -> None:
    # (1.959964 + 0.841621)² / (2 asin sqrt(0.8) - pi/2)² = 7.8489 / 0.41407 = 18.96; of 5 answers each, times 1 + 4/20
    assert statistics.answers_needed(0.8) == 19
    assert statistics.answers_needed(0.8, judgments_per_rater=5) == math.ceil(18.956 * 1.2)
    # with power 0.9: (1.959964 + 1.281552)² = 10.5074; with alpha 0.01: (2.575829 + 0.841621)² = 11.679
    assert statistics.answers_needed(0.8, power=0.9) == math.ceil(10.5074 / 0.41407)
    assert statistics.answers_needed(0.8, alpha=0.01) == math.ceil(11.679 / 0.41407)


# --- tables


def test_codes_do_not_depend_on_sides_and_a_later_answer_stands() -> None:
    pair = [
        answer("p", "t1", BETTER, "first"), answer("p", "t2", BETTER, "second"), answer("q", "t1", BETTER, "tie"),
        answer("q", "t2", BETTER, None), answer("p", "t1", BETTER, "second"),
    ]  # fmt: skip
    np.testing.assert_array_equal(table(pair, BETTER), [[1, 1], [2, _]])
    assert [code(answer("p", "t", GRADE, given), GRADE) for given in ("0", "4")] == [0, 4]
    assert [code(answer("p", "t", MOOD, given), MOOD) for given in ("happy", "calm")] == [0, 2]
    assert math.isnan(code(answer("p", "t", MOOD, "angry"), MOOD)), "no longer among the options"
    assert table([answer("p", "t", GRADE, None)], GRADE).shape == (0, 0)
    assert numbers(["b", "a", "b"]).tolist() == [1, 0, 1]


# --- what people say


def test_a_majority_is_more_than_any_other() -> None:
    assert findings.majority({"a": 2, "b": 1, "c": 1}) == "a"
    assert findings.majority({"a": 1, "b": 2, "c": 2}) is None
    assert findings.majority({}) is None


def test_triplets_are_counted_by_purpose_without_ties() -> None:
    given = [answer("p", f"t{i}", ALIKE, said, purpose=why) for i, (said, why) in enumerate(
        [("first", "random"), ("second", "bald"), ("tie", "random"), ("first", "bald")])]  # fmt: skip
    found = findings.triplets(given)
    assert (found["decided"], found["ties"], found["purposes"]) == (3, 1, {"bald": 2, "random": 1})


def test_answers_that_are_missing_go_by_how_many_each_person_gave() -> None:
    decided = [answer(f"p{i % 2}", f"t{i}", BETTER, "first") for i in range(10)]  # five of each
    rows = {row["share"]: row for row in findings.needed(decided)}
    # for 0.7: (1.959964 + 0.841621)² / (2 asin sqrt(0.7) - pi/2)² = 46.35, times 1 + 4 * 0.05
    assert rows[0.7] == {"share": 0.7, "independent": 47, "needed": 56, "more": 46}
    assert findings.needed([])[3]["needed"] == 47
    many = [answer(f"p{i}", f"t{i}", BETTER, "first") for i in range(60)]
    assert findings.needed(many)[3] == {"share": 0.7, "independent": 47, "needed": 47, "more": 0}


def test_pairs_of_sources_by_hand() -> None:
    known = {"a": Item("one", {}), "b": Item("two", {}), "c": Item("one", {})}
    said = ["first", "first", "tie", "second", "first"]
    given = [answer(f"p{i}", f"t{i}", BETTER, one, items=("a", "b")) for i, one in enumerate(said)]
    given += [
        answer("p0", "t9", BETTER, "second", items=("b", "c")),
        answer("p0", "t8", BETTER, "first", items=("a", "c")),
    ]
    (row,) = findings.pairs(given, BETTER, known, rng=rng())["sources"]
    assert row["sources"] == ["one", "two"]
    assert (row["answers"], row["counts"]) == (6, [4, 1, 1]), "what was chosen counts for its source, first or second"
    assert [share.value for share in row["shares"]] == pytest.approx([4 / 6, 1 / 6, 1 / 6])
    assert row["of_decided"].value == pytest.approx(4 / 5)


def test_the_answers_that_are_needed_are_those_of_the_comparison_that_has_fewest() -> None:
    known = {"a": Item("one", {}), "b": Item("two", {}), "c": Item("three", {})}
    given = [answer(f"p{i}", f"t{i}", BETTER, "first", items=("a", "b")) for i in range(4)]
    given += [answer("p9", "t9", BETTER, "first", items=("a", "c"))]
    found = findings.pairs(given, BETTER, known, rng=rng())
    # 783 answers tell 0.55 from one half: 782 are missing between one and three, 779 between one and two
    assert [row["needed"][0]["more"] for row in found["sources"]] == [782, 779]
    assert found["needed"][0]["more"] == 782


def test_ratings_are_means_by_source_and_item_the_best_first() -> None:
    known = {"a": Item("one", {}), "b": Item("one", {}), "c": Item("two", {})}
    given = [answer(f"p{i}", f"g{item}", GRADE, said, items=(item, None)) for i, (item, said) in enumerate(
        [("a", "0"), ("a", "0"), ("a", "3"), ("b", "4"), ("c", "2")])]  # fmt: skip
    found = findings.ratings(given, GRADE, known, rng=rng())
    assert found["all"]["mean"].value == pytest.approx(9 / 5)
    assert found["counts"] == {"0": 2, "1": 0, "2": 1, "3": 1, "4": 1}
    assert [(row["source"], row["mean"].value) for row in found["sources"]] == [
        ("one", pytest.approx(7 / 4)),
        ("two", 2),
    ]
    assert [(row["item"], row["mean"].value, row["answers"]) for row in found["items"]] == [
        ("b", 4, 1), ("c", 2, 1), ("a", 1, 3),
    ]  # fmt: skip


def test_labels_are_counted_over_all_options() -> None:
    given = [answer(f"p{i}", "m", MOOD, said) for i, said in enumerate(["sad", "sad", "calm"])]
    found = findings.labels(given, MOOD)
    assert found["counts"] == {"happy": 0, "sad": 2, "calm": 1}
    assert found["shares"]["sad"].value == pytest.approx(2 / 3)
    assert found["items"] == [{"item": "ma", "majority": "sad", "counts": {"sad": 2, "calm": 1}}]


# --- ranking


def test_strengths_are_log_odds_with_mean_0() -> None:
    found = ranking.bradley_terry(np.array([[0.0, 300], [100, 0]]))  # the first wins three of four
    assert found == pytest.approx([math.log(3) / 2, -math.log(3) / 2], abs=1e-3)


def test_parts_hang_together() -> None:
    assert ranking.parts(np.array([[0, 1], [3, 2], [4, 2]])).tolist() == [0, 0, 1, 1, 1]


def test_who_won_or_lost_everything_has_no_interval() -> None:
    games = np.array([[0, 1], [0, 1], [1, 2], [1, 2], [0, 2], [2, 1]])
    share = np.array([1.0, 1, 1, 0.5, 1, 1])
    groups = {"raters": np.array([0, 1, 0, 1, 0, 1]), "trials": np.array([0, 1, 2, 3, 4, 5])}
    found = ranking.ranking(games, share, **groups, rng=rng(), times=20)
    assert [math.isnan(one.low) for one in found] == [True, False, False]
    assert found[0].value > found[1].value
    groups["raters"] = np.zeros(6, dtype=int)
    alone = ranking.ranking(games, share, **groups, rng=rng(), times=20)
    assert all(math.isnan(one.low) for one in alone), "one person says nothing about others"


# --- models


def test_a_models_answer_is_right_half_of_the_time_where_it_gives_one_half() -> None:
    said = ["first", "second", "first", "second", "tie"]
    given = [answer(f"p{i % 2}", f"t{i}", BETTER, one, purpose="random" if i < 2 else "bald")
             for i, one in enumerate(said)]  # fmt: skip
    found = human_model.as_people(given, {"t0": 0.8, "t1": 0.8, "t2": 0.5, "t3": 0.25, "t4": 0.9}, rng=rng())
    assert (found["answers"], found["same"].value) == (4, pytest.approx((1 + 0 + 0.5 + 1) / 4))
    assert (found["random_answers"], found["same_random"].value) == (2, 0.5)
    # -ln of what it gave to what was said: 0.8, 0.2, 0.5, 0.75
    expected = -sum(map(math.log, (0.8, 0.2, 0.5, 0.75))) / 4
    assert found["log_loss"] == pytest.approx(expected)


class Line:
    """A model whose only axis is the first feature."""

    dim = 1

    def project(self, features: np.ndarray) -> np.ndarray:
        return features[:, :1]


def test_the_nearer_of_two_on_a_models_axes() -> None:
    features = {"o": np.array([0.0, 5]), "a": np.array([1.0, 9]), "b": np.array([-2.0, 5]), "c": np.array([2.0, 0])}
    trials = [("o", "a", "b"), ("o", "b", "a"), ("o", "b", "c"), ("o", "a", "gone")]
    rows = [{"trial_id": str(i), "anchor_id": o, "a_id": a, "b_id": b} for i, (o, a, b) in enumerate(trials)]
    assert human_model.nearer(Line(), features, rows) == {"0": 1.0, "1": 0.0, "2": 0.5}


def test_other_annotators_are_held_against_each_answer_of_people() -> None:
    given = [answer("p", "t0", BETTER, "first"), answer("q", "t0", BETTER, "tie"), answer("p", "t1", BETTER, "second"),
             answer("q", "t1", BETTER, None), answer("p", "t2", BETTER, "first")]  # fmt: skip
    others = [answer("judge", "t0", BETTER, "first", by="model"), answer("judge", "t1", BETTER, "second", by="model"),
              answer("judge", "t2", BETTER, None, by="model")]  # fmt: skip
    (found,) = human_model.as_annotators(given, others, BETTER, rng=rng())
    assert (found["annotator"], found["answers"], found["same"].value) == ("judge", 3, pytest.approx(2 / 3))


def test_labels_of_the_model_by_hand() -> None:
    known = {name: Item(source, {"label": label}) for name, source, label in
             (("x", "one", "sad"), ("y", "one", "happy"), ("z", "two", "calm"), ("w", "two", "sad"))}  # fmt: skip
    said = {"x": ("sad", "sad"), "y": ("sad", "sad"), "z": ("calm", "happy"), "w": ("sad",)}
    given = [answer(f"p{i}", f"m{name}", MOOD, one, items=(name, None))
             for name, labels in said.items() for i, one in enumerate(labels)]  # fmt: skip
    found = human_model.label_agreement(given, MOOD, known, rng=rng())
    assert (found["answers"], found["items"], found["single"].value) == (7, 4, pytest.approx(4 / 7))
    assert (found["agreed_items"], found["agreed"].value) == (2, 0.5), "x and y; w has one answer, z two different ones"
    # majorities of x, y and w: sad, sad, sad; the model says sad, happy, sad: as by chance
    assert found["kappa"] == pytest.approx(0.0)
    assert [(row["source"], row["answers"], row["single"].value) for row in found["sources"]] == [
        ("one", 4, 0.5), ("two", 3, pytest.approx(2 / 3)),
    ]  # fmt: skip


def test_ratings_go_with_the_objective_by_their_mean() -> None:
    # means 4/3, 1, 4 (medians would be 0, 1, 4); objectives 3, 1, 2: ranks 2 1 3 and 3 1 2, 1 - 6 * 2 / 24
    said = {"x": ("0", "0", "4"), "y": ("1", "1", "1"), "z": ("4", "4", "4")}
    known = {name: Item("", {"objective": value}) for name, value in (("x", 3.0), ("y", 1.0), ("z", 2.0))}
    given = [answer(f"p{i}", f"g{name}", GRADE, one, items=(name, None))
             for name, rated in said.items() for i, one in enumerate(rated)]  # fmt: skip
    found = human_model.rating_agreement(given, GRADE, known)
    assert (found["items"], found["spearman"]) == (3, pytest.approx(0.5))
    assert human_model.rating_agreement(given[:6], GRADE, known) is None, "two items say nothing"


# --- the human QD score


def test_the_human_qd_score_by_hand() -> None:
    study = Study("s", (GRADE, MOOD))
    known = {name: Item("one", {}) for name in "xyz"}
    given = [
        answer("p", "gx", GRADE, "4", items=("x", None)), answer("q", "gx", GRADE, "2", items=("x", None)),
        answer("p", "gy", GRADE, "1", items=("y", None)), answer("p", "mx", MOOD, "happy", items=("x", None)),
        answer("r", "mx", MOOD, "happy", items=("x", None)), answer("q", "my", MOOD, "sad", items=("y", None)),
        answer("p", "mz", MOOD, "calm", items=("z", None)),  # nobody rated it: it counts for nothing
    ]  # fmt: skip
    (row,) = human_qd.human_qd(given, study, known, rng=rng())
    # happy: p's own rating 4, and for r, who rated nothing, the item's mean 3; sad: y's mean 1; of 3 kinds, highest 4
    assert row["score"].value == pytest.approx((3.5 + 1) / 4 / 3)
    assert (row["found"], row["missing"], row["items"]) == (["happy", "sad"], ["calm"], 2)


def test_the_interval_of_the_human_qd_score_is_of_95_percent() -> None:
    made = human_qd._Set(np.array([[0.0, 0, 4], [1, 1, 0]]), np.array([[0.0, 0, 0, 4], [1, 1, 0, 0]]), 1, 4)
    assert made.score() == 0.5

    class Draws:
        """Draws the first of two alone, the second alone, and both otherwise: once each of 40."""

        def multinomial(self, n: int, shares: np.ndarray, size: int) -> np.ndarray:
            assert (n, shares.tolist()) == (2, [0.5, 0.5])
            return np.array([[2, 0], [0, 2], *[[1, 1]] * 38])

    found = human_qd._over_people_and_items(made, rng=Draws())
    # quantiles at place 0.975 and 38.025 of 40: 0.4875 and 0.5125, of people and of items alike
    half = math.sqrt(2) * 0.0125 * T1 / Z * math.sqrt(2)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5 - half, 0.5 + half), rel=1e-4)
