from __future__ import annotations

import pytest

from qdfeedback.learning.schedule import (
    PUBLISHED,
    Schedule,
    as_published,
    in_rounds,
    iterations_of,
    schedule_of,
    with_looks,
)


@pytest.mark.parametrize(
    ("evaluations", "batch", "first", "wanted"),
    [(100, 10, None, 10), (101, 10, None, 11), (100, 10, 3, 11), (103, 10, 3, 11), (3, 10, 3, 1)],
)
def test_the_first_population_is_an_iteration(evaluations: int, batch: int, first: int | None, wanted: int) -> None:
    assert iterations_of(evaluations, batch, first) == wanted


def test_rounds_lie_evenly_over_the_first_half_and_hold_all_answers() -> None:
    asks = in_rounds(100, 50, 6)
    assert list(asks) == [1, 11, 21, 31, 41, 51]
    assert sum(asks.values()) == 50
    assert max(asks.values()) - min(asks.values()) <= 1


def test_a_round_has_two_questions_at_least() -> None:
    assert in_rounds(100, 5, 20) == {1: 2, 51: 3}
    assert in_rounds(100, 1, 20) == {1: 1}
    assert in_rounds(1, 40, 20) == {1: 40}


@pytest.mark.parametrize("iterations", range(2, 12))
def test_no_round_comes_after_the_last_iteration(iterations: int) -> None:
    for asks in (in_rounds(iterations, 40, 20), as_published(iterations, 40), in_rounds(iterations, 40, 5, first=2)):
        assert max(asks) <= iterations - 1
        assert sum(asks.values()) == 40


def test_rounds_may_begin_later_and_go_further() -> None:
    assert list(in_rounds(20, 40, 5, first=2, until=10)) == [2, 4, 6, 8, 10]
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        in_rounds(10, 10, 0)


def test_the_paper_asks_at_four_points_of_a_run() -> None:
    assert as_published(1000, 1000) == {1: 250, 101: 250, 251: 250, 501: 250}
    assert as_published(1000, 1000, PUBLISHED[:1]) == {1: 1000}
    assert as_published(4, 10) == {1: 3, 2: 4, 3: 3}, "points that fall together are one"


def test_looks_come_after_the_last_question_and_ask_nothing() -> None:
    asks = with_looks(in_rounds(100, 40, 5), 100, looks=5)
    assert {when: n for when, n in asks.items() if not n} == {60: 0, 70: 0, 80: 0, 90: 0}
    assert sum(asks.values()) == 40


def test_a_schedule_comes_back_from_its_state() -> None:
    schedule = Schedule({3: 5, 1: 2}, at_end=True, after=(0, 1))
    assert schedule_of(schedule.state()) == schedule
    assert (schedule.total, schedule.last, schedule.until(2), schedule.until(3)) == (7, 3, 2, 7)
    assert Schedule().last == 0
