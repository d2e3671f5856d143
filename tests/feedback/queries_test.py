"""Nobody is asked about what could not be measured or shown, whoever writes the loop."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from domains.arm import Arm, ArmEncoder
from qdfeedback import runs
from qdfeedback.diversity.published import fit_published
from qdfeedback.diversity.similarity import fit_similarity
from qdfeedback.feedback.annotators import Simulated
from qdfeedback.feedback.judges import Judge
from qdfeedback.feedback.people import People
from qdfeedback.feedback.queries import (
    ask,
    askable,
    bald_triplets,
    choose,
    choose_triplets,
    uniform_items,
    uniform_pairs,
    uniform_triplets,
)
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.tables import items, trials
from qdfeedback.models.language import Choices, Usage
from qdfeedback.search import start
from qdfeedback.types import Queries
from tests.arms import arm_search, on_the_arm

RANDOM = np.full(1, "random")


class Lengths:
    """An ensemble of two members, each of which looks at one column; it refuses what is not finite."""

    def member_probability(self, features, triplets):
        assert np.isfinite(features).all()
        a, b, c = (features[triplets[:, i]] for i in range(3))
        return 1 / (1 + np.exp(-(np.abs(a - c) - np.abs(a - b)).T))


class Better:
    """An ensemble with a member for each column, who finds better what is higher there."""

    def member_probability(self, features, pairs):
        assert np.isfinite(features).all()
        return 1 / (1 + np.exp(-3 * (features[pairs[:, 0]] - features[pairs[:, 1]]).T))


@pytest.fixture
def features(rng) -> np.ndarray:
    found = rng.standard_normal((30, 2))
    found[::3] = np.nan
    found[1, 1] = np.inf
    return found


def test_rows_that_cannot_be_asked_about(features) -> None:
    good = [i for i in range(30) if i % 3 and i != 1]
    assert askable(features).tolist() == good
    hidden = np.arange(30) != 29
    assert askable(features, hidden).tolist() == good[:-1]
    with pytest.raises(ValueError, match=r"may_show must be bool of shape \(30,\), got \(3,\)"):
        askable(features, hidden[:3])
    with pytest.raises(ValueError, match="may_show must be bool"):
        askable(features, np.arange(30))
    with pytest.raises(ValueError, match=r"features must have shape \(i, d\)"):
        askable(features[:, 0])


@pytest.mark.parametrize("model", [None, Lengths()], ids=["random", "bald"])
def test_only_what_was_measured_and_can_be_shown_is_chosen(model, features, rng) -> None:
    may_show = np.ones(30, dtype=bool)
    may_show[[2, 5]] = False
    rows, purpose = choose_triplets(model, features, 40, rng=rng, pool=400, may_show=may_show)
    assert rows.shape == (40, 3)
    assert set(purpose) == ({"random"} if model is None else {"random", "bald"})
    assert set(rows.ravel()) <= set(askable(features, may_show))
    assert len(set(rows.ravel())) > 10
    assert all(len(set(row)) == 3 for row in rows.tolist())
    for few in (np.isin(np.arange(30), [2, 5]), np.zeros(30, dtype=bool)):
        with pytest.raises(
            ValueError, match=f"at least 3 rows that are finite and may be shown, got {few.sum()} of 30"
        ):
            choose_triplets(model, features, 4, rng=rng, may_show=few)


def test_rows_left_out_change_nothing_else(features) -> None:
    """What is chosen among good rows is what would be chosen if the others had never been there."""
    good = askable(features)
    for triplets in (partial(choose_triplets, Lengths(), pool=300), partial(choose_triplets, None)):
        whole, _ = triplets(features, 12, rng=np.random.default_rng(3))
        alone, _ = triplets(features[good], 12, rng=np.random.default_rng(3))
        np.testing.assert_array_equal(whole, good[alone])
    whole = bald_triplets(Lengths(), features, 5, rng=np.random.default_rng(3), pool=300)
    alone = bald_triplets(Lengths(), features[good], 5, rng=np.random.default_rng(3), pool=300)
    np.testing.assert_array_equal(whole, good[alone])


def test_uniform_triplets_of_given_rows(rng) -> None:
    rows = np.array([4, 9, 11])
    drawn = uniform_triplets(rows, 50, rng)
    assert {tuple(sorted(row)) for row in drawn.tolist()} == {(4, 9, 11)}
    assert set(uniform_triplets(rows[:1], 5, rng, degenerate=True).ravel()) == {4}
    for few, degenerate, least in ((rows[:2], False, 3), (0, True, 1), (rows[:0], True, 1)):
        with pytest.raises(ValueError, match=f"items must be at least {least} to make a triplet"):
            uniform_triplets(few, 1, rng, degenerate=degenerate)


def test_pairs_are_of_two_and_drawn_alike_often(rng) -> None:
    drawn = uniform_pairs(5, 4000, rng)
    assert drawn.shape == (4000, 2)
    assert (drawn[:, 0] != drawn[:, 1]).all()
    counts = np.bincount(drawn[:, 0] * 5 + drawn[:, 1], minlength=25).reshape(5, 5)
    assert counts[~np.eye(5, dtype=bool)].std() < 3 * np.sqrt(200)
    assert set(uniform_pairs(np.array([4, 9]), 20, rng).ravel()) == {4, 9}
    assert uniform_pairs(2, 0, rng).shape == (0, 2)
    with pytest.raises(ValueError, match="items must be at least 2 to make a pair, got 1"):
        uniform_pairs(1, 3, rng)
    with pytest.raises(ValueError, match="n must be at least 0"):
        uniform_pairs(2, -1, rng)


def test_items_do_not_come_again_while_there_are_others(rng) -> None:
    rows = np.array([4, 9, 11])
    assert sorted(uniform_items(rows, 3, rng).ravel()) == [4, 9, 11]
    assert len({tuple(uniform_items(30, 5, rng).ravel()) for _ in range(9)}) == 9
    drawn = uniform_items(rows, 7, rng)
    assert drawn.shape == (7, 1)
    assert sorted(np.unique(drawn, return_counts=True)[1]) == [2, 2, 3]
    assert uniform_items(3, 0, rng).shape == (0, 1)
    with pytest.raises(ValueError, match="items must be at least 1 to make a question, got 0"):
        uniform_items(rows[:0], 1, rng)


@pytest.mark.parametrize("model", [None, Better()], ids=["random", "bald"])
def test_pairs_are_chosen_of_what_was_measured_and_can_be_shown(model, features, rng) -> None:
    may_show = np.arange(30) != 5
    rows, purpose = choose("pair", model, features, 40, rng=rng, random_share=0.2, pool=300, may_show=may_show)
    assert rows.shape == (40, 2)
    assert (purpose == "random").sum() == (40 if model is None else 8)
    assert set(rows.ravel()) <= set(askable(features, may_show))
    assert (rows[:, 0] != rows[:, 1]).all()
    with pytest.raises(ValueError, match="at least 2 rows that are finite and may be shown, got 1 of 30"):
        choose("pair", model, features, 4, rng=rng, may_show=np.arange(30) == 2)
    with pytest.raises(ValueError, match="random_share must be between 0 and 1"):
        choose("pair", model, features, 4, rng=rng, random_share=2)
    with pytest.raises(ValueError, match=r"task must be one of \('triplet', 'pair'\), got 'rating'"):
        choose("rating", model, features, 4, rng=rng)


def test_pairs_are_those_about_which_members_disagree_and_not_their_mirror_images(rng) -> None:
    points = np.array([[0, 0, 0, 0], [2, 2, -2, -2], [2, -2, 2, -2], [9, 9, 9, 9]])
    rows, _ = choose("pair", Better(), points, 2, rng=rng, random_share=0.0, pool=500)
    assert {frozenset(row) for row in rows.tolist()} == {frozenset({0, 1}), frozenset({0, 2})}


def test_questions_have_the_width_of_their_task(features) -> None:
    ids, shown = np.arange(30) + 100, features[[[2], [4]]]
    ratings = ask(np.array([[2], [4]]), ids, np.full(2, "random"), batch="7", shown=shown, task="rating")
    assert (ratings.task, ratings.items.tolist()) == ("rating", [[102], [104]])
    assert ratings.where(np.array([1])).task == "rating"
    pairs = ask(np.array([[2, 4]]), ids, RANDOM, batch="7", shown=features[[[2, 4]]], task="pair")
    assert (pairs.task, pairs.items.tolist()) == ("pair", [[102, 104]])
    assert pairs.uids[0].startswith("7/0-")
    assert pairs.uids[0] != ratings.uids[0]
    with pytest.raises(ValueError, match="1 of 1 questions are about candidates that could not be measured, 103"):
        ask(np.array([[3]]), ids, RANDOM, batch="7", shown=features[[[3]]], task="rating")
    with pytest.raises(ValueError, match=r"rows must have shape \(t, 2\)"):
        ask(np.array([[2, 4, 5]]), ids, RANDOM, batch="7", shown=features[[[2, 4, 5]]], task="pair")
    with pytest.raises(ValueError, match=r"task must be one of .*, got 'label'"):
        ask(np.array([[2]]), ids, RANDOM, batch="7", shown=features[[[2]]], task="label")
    for shape, task in (
        ((1, 3), "pair"),
        ((1, 2), "triplet"),
        ((1,), "rating"),
    ):
        with pytest.raises(ValueError, match=f"1 questions of task '{task}' need items of shape"):
            Queries(np.array(["a"]), np.zeros(shape, int), RANDOM, task)
    with pytest.raises(ValueError, match="task must be one of"):
        Queries(np.array(["a"]), np.zeros((1, 1), int), RANDOM, "label")


def test_a_question_about_what_was_not_measured_is_refused_by_its_id(features) -> None:
    rows, ids = np.array([[2, 3, 4], [4, 5, 7], [1, 0, 3]]), np.arange(30) + 100
    with pytest.raises(
        ValueError, match="2 of 3 questions are about candidates that could not be measured, 100, 101, 103"
    ):
        ask(rows, ids, np.full(3, "random"), batch="b", shown=features[rows])
    assert len(ask(rows[1:2], ids, RANDOM, batch="b", shown=features[rows[1:2]])) == 1
    texts = np.array([["one", "two", "three"]])
    assert len(ask(rows[:1], ids, RANDOM, batch="b", shown=texts)) == 1
    with pytest.raises(ValueError, match="shown must be numbers or text, got objects"):
        ask(rows[:1], ids, RANDOM, batch="b", shown=texts.astype(object))
    for wrong in ({"rows": rows[:, :2]}, {"purpose": RANDOM}, {"shown": features[rows][:2]}):
        given = {"rows": rows, "ids": ids, "purpose": np.full(3, "random"), "shown": np.zeros((3, 3, 2))} | wrong
        with pytest.raises(ValueError, match=r"rows must have shape \(t, 3\)"):
            ask(**given, batch="b")


def asked(rows: np.ndarray) -> Queries:
    """Questions as a loop of somebody's own makes them, without `ask`."""
    return Queries(np.array([f"q{i}" for i in range(len(rows))]), rows, np.full(len(rows), "random"))


def test_a_simulation_leaves_open_what_it_cannot_know(features) -> None:
    rows = np.array([[2, 4, 5], [2, 3, 4], [7, 8, 10], [11, 13, 1]])
    simulated = Simulated(truth=lambda ids: features[ids])
    assert simulated.can_judge(np.arange(4)).tolist() == [False, False, True, False]
    found = simulated.answer(asked(rows))
    assert found.query.tolist() == [0, 2]
    whole = Simulated(truth=lambda ids: np.nan_to_num(features[ids], posinf=9)).answer(asked(rows))
    assert found.choice.tolist() == whole.choice[[0, 2]].tolist()
    assert len(found.probability) == 2
    with pytest.raises(ValueError, match=r"truth must give places of shape \(10, k\), got \(10,\)"):
        Simulated(truth=lambda ids: features[ids, 0]).answer(asked(rows))


class Some(Arm):
    """Fails for every second candidate."""

    def render(self, solutions, seeds):
        artifacts, _ = super().render(solutions, seeds)
        return artifacts, ["bent" if i % 2 else None for i in range(len(solutions))]


@pytest.fixture
def run(tmp_path: Path):
    """A run of ten arms, of which every second one failed, and one has only no score."""
    search = arm_search(domain=Some())
    run = runs.create(tmp_path / "run", {}, ArmEncoder.names)
    batch = start(search, on_the_arm().quality, 10, rng=np.random.default_rng(0))
    batch.features[8, -1], batch.errors[8] = np.nan, "could not be measured: straightness"
    run.history.append(batch)
    object.__setattr__(search.domain, "render", Arm().render)
    yield run, search
    run.history.flush()


def test_a_run_shows_what_there_is_to_show(run) -> None:
    run, search = run
    assert list(run.show(search, np.arange(10))) == [0, 2, 4, 6, 8]
    assert run.show(search, np.array([1, 3])) == {}
    object.__setattr__(search.domain, "render", lambda solutions, seeds: (solutions, ["broke"] * len(solutions)))
    assert run.show(search, np.array([0, 1])).keys() == {0}, "what was shown before is there"


def test_people_are_asked_about_what_can_be_shown(run, tmp_path: Path) -> None:
    run, search = run
    store = Store(tmp_path / "j.db")
    people = People(store, "s", partial(run.show, search))
    with pytest.warns(UserWarning, match="2 of 4 questions are not asked: candidates 1, 3 cannot be shown"):
        answers = people.answer(asked(np.array([[0, 2, 4], [0, 1, 2], [3, 1, 4], [2, 4, 8]])))
    assert len(answers) == 0
    rows = store.database.rows(sa.select(trials))
    assert {row["trial_id"] for row in rows if row["kind"] == "main"} == {"q0", "q3"}
    published = {row["item_id"] for row in store.database.rows(sa.select(items))}
    assert published == {"0", "2", "4", "8"}
    assert {row[side] for row in rows for side in ("anchor_id", "a_id", "b_id")} == published
    with pytest.warns(UserWarning, match="1 of 1 questions are not asked"):
        people.answer(asked(np.array([[0, 1, 2]])))
    assert store.asked("s") == 2
    store.close()


@pytest.mark.parametrize(("task", "rows"), [("pair", [[0, 2], [1, 2]]), ("rating", [[0], [1]])])
def test_people_are_asked_for_pairs_and_ratings_without_obvious_ones(
    run, tmp_path: Path, task: str, rows: list
) -> None:
    run, search = run
    store = Store(tmp_path / "j.db")
    people = People(store, "s", partial(run.show, search), question="better")
    queries = Queries(np.array(["a", "b"]), np.array(rows), np.full(2, "random"), task)
    assert people.publishes
    assert people.can_judge(np.arange(3)).tolist() == [True, True, True]
    with pytest.warns(UserWarning, match="1 of 2 questions are not asked: candidates 1 cannot be shown"):
        assert len(people.answer(queries)) == 0
    (trial,) = store.database.rows(sa.select(trials))
    assert (trial["trial_id"], trial["task"], trial["question"], trial["kind"]) == ("a", task, "better", "main")
    assert (trial["anchor_id"], trial["a_id"], trial["b_id"]) == (None, "0", "2" if task == "pair" else None)
    assert store.asked("s") == 1
    store.close()


@pytest.mark.parametrize(("wait_for", "waited"), [(0, []), (2, [2]), (9, [3]), (None, [3])])
def test_a_wait_is_for_so_many_answers_or_for_all_that_were_asked(tmp_path: Path, wait_for, waited: list[int]) -> None:
    class Waiting(Store):
        def wait(self, study: str, n: int, **_: object) -> None:
            found.append(n)

    found: list[int] = []
    store = Waiting(tmp_path / "j.db")
    people = People(store, "s", lambda ids: {int(i): f"{i}.png" for i in ids}, wait_for=wait_for)
    people.wait()
    people.answer(asked(np.array([[0, 1, 2], [3, 1, 0], [4, 2, 1]])))
    assert found == [], "nothing was asked"
    people.wait()
    assert found == waited
    store.close()


def test_what_looks_alike_makes_no_obvious_question(tmp_path: Path) -> None:
    """Somebody who takes one copy for the other is not careless."""
    store = Store(tmp_path / "j.db")
    looks = {0: "a.png", 1: "a.png", 2: "b.png", 3: "a.png"}
    People(store, "s", lambda ids: {int(i): looks[int(i)] for i in ids}).answer(asked(np.array([[0, 1, 2], [3, 1, 0]])))
    obvious = store.database.rows(sa.select(trials).where(trials.c.kind != "main"))
    assert len(obvious) == 21
    assert all(looks[int(row["a_id"])] != looks[int(row["b_id"])] for row in obvious)
    alike = People(store, "t", lambda ids: {int(i): "a.png" for i in ids})
    alike.answer(asked(np.array([[0, 1, 2]])))
    assert len(store.database.rows(sa.select(trials).where(trials.c.study_id == "t"))) == 1
    store.close()


class Looks:
    """A model that finds the first picture more alike, and keeps what it saw."""

    name = "looks"

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def look(self, prompts, options, pictures) -> Choices:
        self.seen += [one for row in pictures for one in row]
        odds = np.array([1.0, -1.0] * (len(prompts) // 2))
        return Choices(-np.logaddexp(0, np.stack([-odds, odds], axis=1)), (None,) * len(prompts), Usage(len(prompts)))


def test_a_judge_is_shown_what_can_be_shown() -> None:
    judge = Judge(Looks(), lambda ids: {int(i): bytes([i]) for i in ids if i != 3})
    with pytest.warns(UserWarning, match="1 of 3 questions are not asked: candidates 3 cannot be shown"):
        found = judge.answer(asked(np.array([[0, 3, 1], [0, 1, 2], [4, 2, 1]])))
    assert found.query.tolist() == [1, 2]
    assert len(found.choice) == len(found.probability) == 2
    assert judge.counts["questions"] == 2
    seen = len(judge.model.seen)
    with pytest.warns(UserWarning, match="1 of 1 questions"):
        assert len(judge.answer(asked(np.array([[0, 3, 1]])))) == 0
    assert len(judge.model.seen) == seen, "a model is not called about nothing"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(judge.answer(asked(np.array([[0, 2, 1]])))) == 1


def test_fits_name_the_rows_that_are_not_finite(features, rng) -> None:
    triplets = np.array([[2, 3, 4], [4, 5, 7], [1, 0, 3], [2, 4, 5]])
    for fit in (fit_similarity, fit_published):
        with pytest.raises(ValueError, match="rows 0, 1, 3 are not: leave out triplets about them"):
            fit(features, triplets, rng=rng)
    with pytest.raises(ValueError, match="rows 0, 1, 3, 6, 9 and 6 more are not"):
        fit_similarity(features, np.arange(30).reshape(10, 3), rng=rng)
