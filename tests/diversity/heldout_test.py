"""What is held out is not seen: by folds, by fits, by the temperature, by the choice of a ridge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qdfeedback.diversity import similarity
from qdfeedback.diversity.fitting import best_temperature, likelihood, prepare, validation_rows
from qdfeedback.diversity.folds import item_folds, judgment_folds
from qdfeedback.diversity.similarity import (
    Fit,
    HeldOut,
    calibrated,
    choose_ridge,
    cross_fitted,
    fit_and_test,
    fit_similarity,
    held_out,
)
from qdfeedback.metrics import orders_right
from tests.diversity.similarity_test import world

QUICK = Fit(starts=2, members=0)


def turned_round(triplets, rows):
    """The triplets with the answers of some of them the other way round."""
    found = triplets.copy()
    found[rows] = found[rows][:, [0, 2, 1]]
    return found


def test_judgments_about_the_same_items_are_held_out_together(rng) -> None:
    triplets = rng.permutation([[0, 1, 2], [2, 0, 1], [1, 2, 0], [3, 4, 5], [4, 3, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7]])
    out = judgment_folds(triplets, 4, rng)
    assert out.shape == (4, 8)
    assert (out.sum(axis=0) == 1).all(), "each once"
    sets = [{tuple(sorted(row)) for row in triplets[fold].tolist()} for fold in out]
    assert sum(map(len, sets)) == 5, "no set of items is in two folds"
    assert len(judgment_folds(triplets, 99, rng)) == 5
    assert not np.array_equal(judgment_folds(triplets, 4, np.random.default_rng(1)), out)


def test_items_are_held_out_with_all_that_was_said_of_them(rng) -> None:
    triplets = np.array([rng.choice(20, 3, replace=False) + 100 for _ in range(60)])
    out = item_folds(triplets, 5, rng)
    assert out.shape == (5, 60)
    whole: list[int] = []
    for fold in out:
        known = set(triplets[~fold].ravel())
        new = set(range(100, 120)) - known
        assert len(new) == 4
        assert (np.isin(triplets, list(new)).any(axis=1) == fold).all()
        whole += new
    assert sorted(whole) == list(range(100, 120)), "each item once"
    assert len(item_folds(triplets, 99, rng)) == 20


@pytest.mark.parametrize("folds", [judgment_folds, item_folds])
def test_folds_that_cannot_be(folds, rng) -> None:
    with pytest.raises(ValueError, match="folds must be at least 2"):
        folds(np.array([[0, 1, 2], [3, 4, 5]]), 1, rng)
    with pytest.raises(ValueError, match=r"0 (items|sets of three items)"):
        folds(np.empty((0, 3), dtype=int), 3, rng)


@pytest.mark.parametrize(
    "how", [QUICK, replace(QUICK, flip=None, prepare="whiten"), replace(QUICK, loss="hinge", steps=30)], ids=str
)
def test_a_fit_knows_nothing_of_what_is_held_out(how: Fit, rng) -> None:
    """Answers turned round in one fold turn round what the fit without it says of them, and nothing else of it."""
    features, triplets, _ = world(rng, n=25, d=4, t=60)
    out = judgment_folds(triplets, 3, rng)
    plain = held_out(features, triplets, out, how=how, rng=np.random.default_rng(0))
    assert sorted(plain.rows) == list(range(60))
    assert plain.fitted == 40
    for fold in range(3):
        turned = held_out(features, turned_round(triplets, out[fold]), out, how=how, rng=np.random.default_rng(0))
        mine = plain.fold == fold
        assert (plain.rows[mine] == np.flatnonzero(out[fold])).all()
        np.testing.assert_allclose(turned.evidence[mine], -plain.evidence[mine], rtol=1e-9)
        assert not np.allclose(turned.evidence[~mine], plain.evidence[~mine])
        np.testing.assert_array_equal(turned.right[mine], ~plain.right[mine])


def test_a_fit_knows_nothing_of_items_that_are_held_out(rng) -> None:
    features, triplets, _ = world(rng, n=25, d=4, t=60)
    out = item_folds(triplets, 5, rng)
    plain = held_out(features, triplets, out, how=QUICK, rng=np.random.default_rng(0))
    moved = features.copy()
    new = np.setdiff1d(np.arange(25), triplets[~out[0]])
    moved[new] *= -3.0
    other = held_out(moved, triplets, out, how=QUICK, rng=np.random.default_rng(0))
    inside = ~np.isin(triplets[plain.rows], new).any(axis=1)
    assert not (plain.fold[inside] == 0).any()
    first = similarity.fit_similarity(features, triplets[~out[0]], how=QUICK, rng=np.random.default_rng(0))
    for world_, found in ((features, plain), (moved, other)):
        a, b, c = (first.project(world_)[triplets[out[0], i]] for i in range(3))
        expected = np.square(a - c).sum(axis=1) - np.square(a - b).sum(axis=1)
        np.testing.assert_allclose(found.evidence[found.fold == 0], expected)


def test_held_out_fits_are_those_of_the_model_that_is_saved(rng) -> None:
    """All of it, with every start: with a single start it would be another model, and a worse one."""
    features, triplets, _ = world(rng, n=60, d=30, t=150)
    out = judgment_folds(triplets, 2, rng)
    how = Fit(flip=None)
    found = held_out(features, triplets, out, how=how, rng=np.random.default_rng(3))
    model = fit_similarity(features, triplets[~out[0]], how=replace(how, members=0), rng=np.random.default_rng(3))
    mine = found.fold == 0
    np.testing.assert_array_equal(found.right[mine], orders_right(model, features, triplets[out[0]]))
    np.testing.assert_array_equal(found.flip[mine], model.flip)


def test_fewer_judgments_can_be_fitted_to(rng) -> None:
    features, triplets, _ = world(rng, n=25, d=4, t=60)
    out = judgment_folds(triplets, 3, rng)
    few = held_out(features, triplets, out, how=QUICK, count=15, rng=np.random.default_rng(0))
    assert few.fitted == 15
    assert len(few.rows) == 60
    assert held_out(features, triplets, out, how=QUICK, count=999, rng=np.random.default_rng(0)).fitted == 40
    with pytest.raises(
        ValueError, match="nothing can be fitted to what fold 0 of 3 leaves: triplets must hold at least 2"
    ):
        held_out(features, triplets, out, how=QUICK, count=1, rng=np.random.default_rng(0))


@pytest.mark.parametrize("by_item", [False, True])
def test_accuracy_on_what_was_held_out_is_that_on_fresh_answers(by_item: bool) -> None:
    """On average over worlds, of answers of which a tenth are turned round."""
    apart = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        features, triplets, _ = world(rng, n=40, d=6, t=200, flip=0.1)
        known = triplets[(triplets < 25).all(axis=1)] if by_item else triplets
        fresh = world(np.random.default_rng(seed), n=40, d=6, t=200, flip=0.1, fresh=3000)[2]
        kept = fresh[(fresh >= 25).sum(axis=1) == 1] if by_item else fresh
        how = replace(QUICK, flip=None, starts=1)
        folds = item_folds(known, 12, rng) if by_item else judgment_folds(known, 10, rng)
        said = held_out(features, known, folds, how=how, rng=rng).right.mean()
        apart.append(said - orders_right(fit_similarity(features, known, how=how, rng=rng), features, kept).mean())
    assert abs(np.mean(apart)) < 0.05


def test_guesswork_is_not_learned_by_heart(rng) -> None:
    features, triplets, _ = world(rng, n=200, d=30, t=90, flip=0.5)
    for folds in (judgment_folds(triplets, 5, rng), item_folds(triplets, 8, rng)):
        assert held_out(features, triplets, folds, how=QUICK, rng=rng).right.mean() < 0.66
    assert (cross_fitted(features, triplets, np.arange(90), how=QUICK, rng=rng) > 0.5).mean() < 0.66
    assert orders_right(fit_similarity(features, triplets, how=QUICK, rng=rng), features, triplets).mean() > 0.85


def test_cross_fitting_does_not_see_what_it_predicts(rng) -> None:
    features, triplets, _ = world(rng, n=25, d=4, t=60)
    tested = np.arange(0, 60, 2)
    plain = cross_fitted(features, triplets, tested, how=QUICK, folds=30, rng=np.random.default_rng(0))
    for i in (0, 7, 29):
        turned = turned_round(triplets, tested[[i]])
        found = cross_fitted(features, turned, tested, how=QUICK, folds=30, rng=np.random.default_rng(0))
        assert found[i] == pytest.approx(1 - plain[i], abs=0.03)


def test_cross_fitting_trains_on_what_is_not_tested(rng) -> None:
    """Two answers are tested, all others train both fits."""
    features, triplets, _ = world(rng, n=25, d=4, t=60)
    tested = np.array([3, 50])
    said = cross_fitted(features, triplets, tested, how=QUICK, folds=2, rng=np.random.default_rng(0))
    for one, p in zip(tested, said, strict=True):
        model = fit_similarity(features, np.delete(triplets, one, axis=0), how=replace(QUICK, starts=1), rng=rng)
        assert p == pytest.approx(model.probability(features, triplets[[one]])[0], abs=0.1)


def test_fit_and_test_measures_only_what_it_is_told_to(rng) -> None:
    features, triplets, _ = world(rng, n=25, d=4, t=60)
    _, accuracy = fit_and_test(features, triplets, np.arange(0), how=QUICK, rng=rng)
    assert accuracy is None
    random = np.arange(20)
    one, accuracy = fit_and_test(features, triplets, random, how=QUICK, rng=np.random.default_rng(1))
    again = np.random.default_rng(1)
    two = fit_similarity(features, triplets, how=QUICK, rng=again)
    np.testing.assert_array_equal(one.weights, two.weights)
    assert accuracy == (cross_fitted(features, triplets, random, how=QUICK, rng=again) > 0.5).mean()


# --- validation inside a fit


@pytest.mark.parametrize("by_item", [False, True])
def test_triplets_that_validate_do_not_train(by_item: bool) -> None:
    """Of answers that mean nothing, those that train are learned by heart, and those that validate are not."""
    learned, validated, members = [], [], []
    for seed in range(4):
        features, triplets, _ = world(np.random.default_rng(seed), n=150, d=40, t=90, flip=0.5)
        how = Fit(validation=0.15 if by_item else 0.3, by_item=by_item, ridge=0.1, starts=2, members=4)
        model = fit_similarity(features, triplets, how=how, rng=np.random.default_rng(9))
        out = validation_rows(prepare(features, triplets, how, 2).items, how, np.random.default_rng(9))
        right = orders_right(model, features, triplets)
        assert model.note["validation"] == out.sum()
        assert model.note["validation_accuracy"] == pytest.approx(right[out].mean())
        learned.append(right[~out].mean())
        validated.append(right[out].mean())
        members.append((model.member_probability(features, triplets[out]) > 0.5).mean())
    assert np.mean(learned) > 0.68
    assert np.mean(validated) < 0.66
    assert np.mean(members) < 0.66


def test_the_temperature_is_fitted_to_what_validates(rng) -> None:
    features, triplets, _ = world(rng, n=60, d=12, t=150, flip=0.2)
    how = Fit(validation=0.3, starts=2, members=0)
    model = fit_similarity(features, triplets, how=how, rng=np.random.default_rng(9))
    out = validation_rows(prepare(features, triplets, how, 2).items, how, np.random.default_rng(9))
    a, b, c = (model.project(features)[triplets[:, i]] for i in range(3))
    margins = np.square(a - c).sum(axis=1) - np.square(a - b).sum(axis=1)
    assert model.temperature == pytest.approx(best_temperature(margins[out], 0.0)[0], rel=1e-3)
    assert model.temperature > 1.3 * best_temperature(margins[~out], 0.0)[0]


def test_a_model_is_calibrated_by_what_was_held_out() -> None:
    """Over worlds: about the temperature that fresh answers would have chosen, and as sure as it is right.

    Where the fit knows how often answers are turned round. Where it takes them all for right, the likeliest temperature
    is one at which it is less sure than right, whatever data it is fitted to.
    """
    temperatures, sure, accuracy, gained, missed = [], [], [], [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        features, triplets, test = world(rng, n=60, d=12, t=200, flip=0.1, fresh=2000)
        how = replace(QUICK, ridge=0.3, flip=0.1)
        model = fit_similarity(features, triplets, how=how, rng=rng)
        found = held_out(features, triplets, judgment_folds(triplets, 10, rng), how=how, rng=rng)
        better = calibrated(model, found)
        assert better.temperature == best_temperature(found.evidence, found.flip)[0]
        np.testing.assert_array_equal(better.weights, model.weights)

        a, b, c = (model.project(features)[test[:, i]] for i in range(3))
        margins = np.square(a - c).sum(axis=1) - np.square(a - b).sum(axis=1)
        best = replace(better, temperature=best_temperature(margins, better.flip)[0])
        before, after, least = (-np.log(one.probability(features, test)).mean() for one in (model, better, best))
        gained.append(before - after)
        missed.append(after - least)
        temperatures.append(better.temperature / best.temperature)
        sure.append([np.maximum(p := one.probability(features, test), 1 - p).mean() for one in (model, better)])
        accuracy.append(orders_right(model, features, test).mean())
    assert 0.85 < np.mean(temperatures) < 1.2
    assert np.mean(missed) < 0.15 * np.mean(gained)
    before, after = np.mean(sure, axis=0)
    assert abs(after - np.mean(accuracy)) < 0.03
    assert before > np.mean(accuracy) + 0.06, "it was much too sure of itself"


# --- the choice of a ridge


def stub(monkeypatch, evidence_of_ridge) -> list[HeldOut]:
    """In place of fits, what they would say of 1,000 answers, of which 800 are as the distances say."""
    calls: list[HeldOut] = []

    def said(features, triplets, out, *, dim, how, rng):
        right = np.where(np.arange(1000) < 800, 1.0, -1.0)
        calls.append(
            HeldOut(np.arange(1000), np.zeros(1000), evidence_of_ridge(how.ridge) * right, np.zeros(1000), 900.0)
        )
        return calls[-1]

    monkeypatch.setattr(similarity, "held_out", said)
    return calls


def test_a_fit_that_is_too_sure_is_not_outdone_by_one_that_says_little(monkeypatch, rng) -> None:
    """A weak prior finds bold distances, of which the bolder are right more often; a strong one finds next to none."""
    features, triplets, _ = world(rng, n=25, d=4, t=60)
    bold = np.where(np.arange(1000) % 5 < 4, 60.0, 20.0)
    bold[800:] = 20.0
    calls = stub(monkeypatch, lambda ridge: {1.0: bold, 10.0: np.full(1000, 0.7), 100.0: np.full(1000, 1e-9)}[ridge])
    chosen = choose_ridge(features, triplets, how=QUICK, grid=(1.0, 10.0, 100.0), rng=rng)
    assert len(calls) == 3
    assert chosen == replace(QUICK, ridge=1.0)
    plain = [-np.log(likelihood(one.evidence, 0.0)).mean() for one in calls]
    assert np.argmin(plain) == 1, "without a temperature the stronger prior would have won"


@pytest.mark.parametrize("by_item", [False, True])
def test_the_ridge_is_chosen_for_the_question_that_is_asked(by_item: bool, monkeypatch, rng) -> None:
    features, triplets, _ = world(rng, n=25, d=4, t=60)
    asked = []

    def said(features, triplets, out, *, dim, how, rng):
        asked.append((out, dim, how, rng.random()))
        return HeldOut(np.arange(60), np.zeros(60), np.ones(60), np.zeros(60), 50.0)

    monkeypatch.setattr(similarity, "held_out", said)
    how = replace(QUICK, by_item=by_item)
    choose_ridge(features, triplets, dim=3, how=how, grid=(1, 2), folds=7, rng=np.random.default_rng(0))
    folds = (item_folds if by_item else judgment_folds)(triplets, 7, np.random.default_rng(0))
    for out, dim, settings, _ in asked:
        np.testing.assert_array_equal(out, folds)
        assert (dim, settings.by_item) == (3, by_item)
    assert [settings.ridge for _, _, settings, _ in asked] == [1, 2]
    assert asked[0][3] == asked[1][3], "each starts from the same points"


def test_the_ridge_is_chosen_by_what_it_predicts(rng) -> None:
    features, triplets, _ = world(rng, n=60, d=30, t=120, flip=0.1)
    how = Fit(starts=1, members=0, flip=None)
    chosen = choose_ridge(features, triplets, how=how, grid=(0.3, 1000.0), folds=4, rng=rng)
    assert chosen.ridge == 0.3, "under the other nothing is left of the map"
