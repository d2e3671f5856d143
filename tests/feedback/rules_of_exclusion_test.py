"""Whom the rules leave out, at the edge of each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from qdfeedback.feedback.answers import Answer, read_answers
from qdfeedback.feedback.conduct import conduct, excluded
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import Question, Study
from qdfeedback.feedback.tables import empty, trials

PAIR = Question("pair", "pair", "?", tie=True)
GRADE = Question("grade", "rating", "?")
MOOD = Question("mood", "label", "?", options=("happy", "sad"))
STUDY = Study("s", (PAIR, GRADE, MOOD), catch_per_rater=4, catch_pass=3, fast_ms=500.0)


def said(shown: str | None, *, question: Question = PAIR, kind: str = "main", **more: Any) -> Answer:
    plain: dict[str, Any] = {
        "trial": "t", "question": question.name, "task": question.task, "kind": kind, "purpose": "random",
        "by": "person", "rater": "p", "first": "a", "second": "b" if question is PAIR else None, "given": shown,
        "shown": shown, "expected": None, "right": None, "response_ms": 900.0,
    }  # fmt: skip
    return Answer(**(plain | more))


def sides(left: int, right: int, **more: Any) -> list[Answer]:
    return [said(side, **more) for side in ["left"] * left + ["right"] * right]


def reasons(answers: list[Answer], study: Study = STUDY) -> list[str]:
    (found,) = conduct(answers, study)
    assert bool(found.reasons) == bool(excluded(answers, study))
    return list(found.reasons)


def caught(right: int, wrong: int) -> list[Answer]:
    return [said("left", kind="catch", right=i < right) for i in range(right + wrong)]


def test_three_of_four_obvious_trials_are_enough() -> None:
    assert reasons(caught(3, 1)) == []
    assert reasons(caught(2, 2)) == ["2 of 4 obvious trials right, 3 are wanted"]
    assert reasons(caught(1, 0)) == []
    assert reasons(caught(0, 1)) == ["0 of 1 obvious trials right, 1 are wanted"]


def test_a_median_of_just_500_ms_is_slow_enough() -> None:
    def times(*all_of_them: float | None) -> list[Answer]:
        return [said("left", response_ms=one) for one in all_of_them]

    assert reasons(times(500, 500, 500)) == []
    assert reasons(times(100, 499, 9000)) == ["median response time 499 ms, below 500 ms"], "the median, not the mean"
    assert reasons(times(100, 500, 600)) == []
    assert reasons(times(None, None)) == []
    (found,) = conduct(times(100, 400, 500, 900, None), STUDY)
    assert (found.median_ms, found.fast, found.answers) == (450, 0.5, 5)
    (unknown,) = conduct(times(None), STUDY)
    assert math.isnan(unknown.median_ms)


def test_a_share_of_left_that_chance_gives_once_in_a_thousand() -> None:
    # 2 of 2^10 and 2^11: 0.00195 and 0.00098
    assert reasons(sides(10, 0)) == reasons(sides(0, 10)) == []
    assert reasons(sides(11, 0)) == ["11 of 11 answers left, outside the 99.9% band of chance"]
    assert reasons(sides(0, 11)) == ["0 of 11 answers left, outside the 99.9% band of chance"]
    (found,) = conduct([*sides(3, 1), *sides(9, 0, kind="catch"), *sides(9, 0, kind="practice"), said("tie"),
                        said(None), *sides(2, 2, kind="repeat")], STUDY)  # fmt: skip
    assert (found.left, found.sided, found.skipped) == (5, 8, 1), "catch and practice trials apart, repeats too"
    assert found.answers == 19, "practice apart"


def test_one_answer_in_more_than_95_of_100_of_20() -> None:
    def grades(same: int, other: int) -> list[Answer]:
        return [said(grade, question=GRADE) for grade in ["3"] * same + ["4"] * other]

    assert reasons(grades(19, 1)) == [], "just 95 %"
    assert reasons(grades(20, 0)) == ["the same answer in 20 of 20"]
    assert reasons(grades(19, 0)) == [], "too few"
    assert reasons(grades(39, 2)) == ["the same answer in 39 of 41"], "95.1 %"
    assert reasons([*grades(20, 0), *sides(3, 2)]) == ["the same answer in 20 of 20"], (
        "for the question where it is most"
    )
    assert reasons([*sides(1, 0), *grades(18, 2)]) == [], "one answer to another question is not 100 % of anything"
    assert reasons([*sides(1, 0), *grades(39, 2)]) == ["the same answer in 39 of 41"], "nor does it hide another"
    labels = [said("happy", question=MOOD) for _ in range(40)]
    assert reasons(labels) == [], "most items may be of one kind"
    assert reasons([said("tie") for _ in range(40)]) == []


def test_people_are_judged_each_by_themselves_and_models_never() -> None:
    answers = [*sides(11, 0, rater="q"), *sides(5, 6, rater="p"), *sides(30, 0, by="model", rater="m")]
    assert [person.rater for person in conduct(answers, STUDY)] == ["p", "q"]
    assert list(excluded(answers, STUDY)) == ["q"]


@pytest.mark.parametrize(
    ("row", "given", "right"),
    [
        ({"left_id": "b", "right_id": "a", "choice": "left", "winner_id": "b"}, "second", False),
        ({"left_id": "b", "right_id": "a", "choice": "right", "winner_id": "a"}, "first", True),
        ({"left_id": "a", "right_id": "b", "choice": "left", "winner_id": "a"}, "first", True),
        ({"left_id": "a", "right_id": "b", "choice": "tie"}, "tie", False),
        ({"left_id": "a", "right_id": "b", "choice": "skip"}, None, False),
        # the trial's own order counts, and not that of the names; of an unknown trial, that of the names
        ({"trial_id": "late", "left_id": "a", "right_id": "b", "choice": "left", "winner_id": "a"}, "second", None),
        ({"trial_id": "gone", "left_id": "b", "right_id": "a", "choice": "left", "winner_id": "b"}, "second", None),
    ],
    ids=str,
)
def test_an_answer_is_the_same_whatever_stood_on_which_side(tmp_path: Path, row: dict, given, right) -> None:
    store = Store(tmp_path / "j.db")
    asked = {"study_id": "s", "question": "pair", "task": "pair", "purpose": "random", "published_utc": "2026-01-01"}
    store.add_trials([], [
        empty(trials) | asked | {"trial_id": "t", "kind": "catch", "a_id": "a", "b_id": "b", "expected": "a"},
        empty(trials) | asked | {"trial_id": "late", "kind": "main", "a_id": "b", "b_id": "a"},
    ])  # fmt: skip
    plain = {"study_id": "s", "trial_id": "t", "task": "pair", "kind": "main", "purpose": "random"}
    plain |= {"annotator_kind": "person", "annotator_id": "p", "answered_utc": "2026-01-01"}
    store.append([plain | row])
    (found,) = read_answers(store.database, STUDY)
    assert (found.given, found.right, found.question) == (given, right, "pair")
    assert found.shown == {"skip": None}.get(row["choice"], row["choice"])
    store.close()
