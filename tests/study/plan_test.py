from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from qdfeedback.feedback.study import Question, Study
from qdfeedback.study.plan import Slot, plan, rng_of


def study(**rules) -> Study:
    return Study("s", (Question("better", "pair", "Which is better?"),), **rules)


def of_kind(slots: list[Slot], kind: str) -> list[tuple[int, Slot]]:
    return [(place, slot) for place, slot in enumerate(slots) if slot.kind == kind]


def too_short(slots: list[Slot], gap: int) -> bool:
    """True where no choice of originals keeps every repeat far enough away."""
    mains = np.array([place for place, _ in of_kind(slots, "main")])
    early = [(mains < place - gap).sum() for place, _ in of_kind(slots, "repeat")]
    return any(n < i for i, n in enumerate(early, 1))


def settings(n: int, seed: int) -> Iterator[tuple[Study, str, int, int]]:
    rng = np.random.default_rng(seed)
    for i in range(n):
        repeats = float(rng.choice([0, 0.1, 0.25, 0.5, 1, rng.random()]))
        rules = study(seed=int(rng.integers(1000)), repeats=repeats, repeat_gap=int(rng.integers(16)))
        yield rules, f"r{i}", int(rng.integers(50)), int(rng.integers(14))


def check(rules: Study, slots: list[Slot], main: int, catch: int) -> None:
    """Checks all that must hold of any plan."""
    repeats = of_kind(slots, "repeat")
    assert len(slots) == main + catch + len(repeats)
    assert len(repeats) == round(rules.repeats * main)
    for kind, n in (("main", main), ("catch", catch)):
        found = of_kind(slots, kind)
        assert len(found) == n
        assert all(slot.repeats is None for _, slot in found)
        swapped = sum(slot.swapped for _, slot in found)
        assert abs(2 * swapped - n) == n % 2, "half of them, exactly"
    assert len({slot.repeats for _, slot in repeats}) == len(repeats), "nothing comes a third time"
    for place, slot in repeats:
        assert slot.repeats is not None
        assert 0 <= slot.repeats < place
        assert slots[slot.repeats].kind == "main"
        assert slot.swapped != slots[slot.repeats].swapped
        if main > rules.repeat_gap or not too_short(slots, rules.repeat_gap):
            assert place - slot.repeats > rules.repeat_gap
    places = [place for place, _ in of_kind(slots, "catch")]
    edges = np.linspace(0, len(slots), catch + 1)
    for low, high, place in zip(edges, edges[1:], places, strict=False):
        assert np.floor(low) <= place < high, "one in each part"


@pytest.mark.parametrize("n", [300, pytest.param(1500, marks=pytest.mark.slow)])
def test_what_must_hold_of_any_plan(n: int) -> None:
    for rules, rater, main, catch in settings(n, seed=0):
        check(rules, plan(rules, rater, main=main, catch=catch), main, catch)


@pytest.mark.parametrize(("main", "catch", "repeats"), list(product([0, 1, 2, 3], [0, 1, 2], [0.0, 0.5, 1.0])))
def test_short_plans(main: int, catch: int, repeats: float) -> None:
    for gap in (0, 1, 10):
        rules = study(repeats=repeats, repeat_gap=gap)
        for rater in "abcdef":
            check(rules, plan(rules, rater, main=main, catch=catch), main, catch)


def test_without_numbers_the_studys_own_count() -> None:
    rules = study(trials_per_rater=17, catch_per_rater=5, repeats=0.2)
    assert plan(rules, "r") == plan(rules, "r", main=17, catch=5)
    check(rules, plan(rules, "r"), 17, 5)


def test_the_usual_study() -> None:
    slots = plan(study(), "r")
    assert [len(of_kind(slots, kind)) for kind in ("main", "catch", "repeat")] == [40, 8, 4]
    assert sum(slot.swapped for _, slot in of_kind(slots, "main")) == 20
    assert sum(slot.swapped for _, slot in of_kind(slots, "catch")) == 4


def test_everything_can_come_twice() -> None:
    for rater in "abcdefgh":
        slots = plan(study(repeats=1.0, repeat_gap=10), rater, main=30, catch=0)
        assert sorted(slot.repeats for _, slot in of_kind(slots, "repeat")) == list(range(30))
        assert min(place - slot.repeats for place, slot in of_kind(slots, "repeat")) > 10


@pytest.mark.parametrize("main", [2, 5, 10])
def test_repeats_lie_as_far_away_as_can_be_where_the_plan_is_short(main: int) -> None:
    slots = plan(study(repeats=1.0, repeat_gap=10), "r", main=main, catch=0)
    assert {place - slot.repeats for place, slot in of_kind(slots, "repeat")} == {main}


def test_the_same_seed_and_person_have_the_same_plan() -> None:
    for rules, rater, main, catch in settings(50, seed=1):
        assert plan(rules, rater, main=main, catch=catch) == plan(rules, rater, main=main, catch=catch)


def test_other_people_seeds_and_studies_have_other_plans() -> None:
    plans = [plan(study(seed=seed, repeats=0.5), rater) for seed in range(5) for rater in ("a", "b", "c", "d")]
    plans.append(plan(Study("t", study().questions, repeats=0.5), "a"))
    assert len({tuple(slots) for slots in plans}) == len(plans)


def test_over_many_people_every_place_has_both_sides() -> None:
    plans = [plan(study(repeats=0.25), f"r{i}", main=8, catch=2) for i in range(400)]
    for place in range(12):
        swapped = sum(slots[place].swapped for slots in plans)
        assert 140 < swapped < 260, "half of 400, within six standard deviations"
    odd = sum(sum(slot.swapped for slot in plan(study(repeats=0), f"r{i}", main=3, catch=0)) == 2 for i in range(400))
    assert 140 < odd < 260, "the odd one falls to either side"


def test_random_numbers_of_one_person_for_one_purpose() -> None:
    def draw(rules: Study, *names: str) -> float:
        return float(rng_of(rules, *names).random())

    drawn = [
        draw(study(), "a"), draw(study(), "b"), draw(study(seed=1), "a"), draw(study(), "a", "order"),
        draw(study(), "a", "catch"), draw(Study("t", study().questions), "a"),
    ]  # fmt: skip
    assert len(set(drawn)) == len(drawn)
    assert draw(study(), "a", "order") == drawn[3]
    digest = hashlib.sha256(b"0|s|a").digest()
    assert drawn[0] == np.random.default_rng(list(digest)).random(), "or studies that are under way change their order"
