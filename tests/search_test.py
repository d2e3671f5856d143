from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from domains.arm import RANGES, Arm, ArmEncoder
from qdfeedback import archives
from qdfeedback.diversity.columns import columns
from qdfeedback.generators.gaussian import Gaussian
from qdfeedback.history import History
from qdfeedback.quality.columns import column
from qdfeedback.search import (
    Search,
    candidate_seeds,
    elites,
    evaluate,
    insert,
    measure,
    reevaluate,
    refresh,
    start,
    step,
)  # fmt: skip
from qdfeedback.types import Placement, Scores
from tests.arms import a_history, arm_search, on_the_arm


class Broken(Arm):
    """Fails in one of the ways that domains fail."""

    def __init__(self, how: str) -> None:
        super().__init__()
        object.__setattr__(self, "how", how)

    def render(self, solutions, seeds):
        if self.how == "raises" and (solutions[:, 0] > 0).any():
            raise RuntimeError("the arm broke")
        if self.how == "raises always":
            raise RuntimeError("no arm at all")
        artifacts, errors = super().render(solutions, seeds)
        if self.how == "says so":
            errors = ["bent" if angle > 0 else None for angle in solutions[:, 0]]
        if self.how == "nan":
            artifacts = np.where(solutions[:, :1] > 0, np.nan, artifacts)
        if self.how == "short":
            return artifacts[:-1], errors
        return artifacts, errors


def test_steps_fill_the_archive(true_placement: Placement) -> None:
    search, rng = arm_search(), np.random.default_rng(0)
    for i in range(20):
        batch = step(search, true_placement, n=50, first_id=50 * i, iteration=i, rng=rng)
        assert batch.valid.all()
        assert np.array_equal(batch.ids, np.arange(50 * i, 50 * i + 50))
    found = elites(true_placement)
    assert len(found) == len(true_placement.archive) > 30
    np.testing.assert_allclose(found.objective, (1 - found.solutions.var(axis=1)) * 100, rtol=1e-5)


def test_the_same_seed_gives_the_same_run() -> None:
    found = []
    for _ in range(2):
        search, placement, rng = arm_search(5), on_the_arm(5), np.random.default_rng(5)
        for i in range(10):
            step(search, placement, n=20, first_id=20 * i, iteration=i, rng=rng)
        found.append(elites(placement))
    assert np.array_equal(found[0].solutions, found[1].solutions)
    assert np.array_equal(found[0].ids, found[1].ids)


@pytest.mark.parametrize(("how", "reason"), [
    ("raises", "RuntimeError: the arm broke"), ("says so", "bent"), ("nan", "could not be measured: cos_0")
])  # fmt: skip
def test_a_bad_candidate_costs_its_own_row_only(how: str, reason: str, true_placement: Placement) -> None:
    rng = np.random.default_rng(0)
    search = arm_search(domain=Broken(how))
    batch = step(search, true_placement, n=40, first_id=0, iteration=0, rng=rng)
    bad = batch.proposal.solutions[:, 0] > 0
    assert 0 < bad.sum() < 40
    assert np.array_equal(batch.valid, ~bad)
    assert all((error is None) != broken for error, broken in zip(batch.errors, bad, strict=True))
    assert batch.errors[int(np.flatnonzero(bad)[0])].startswith(reason)
    assert np.isnan(batch.features[bad]).any(axis=1).all()
    assert set(elites(true_placement).ids) <= set(batch.ids[~bad])
    whole = evaluate(arm_search(), batch.proposal, lambda f: measure(true_placement, f), first_id=0, iteration=0)
    np.testing.assert_allclose(batch.features[~bad], whole.features[~bad], rtol=1e-6)


def test_bad_candidates_are_kept_in_the_history_and_never_placed(tmp_path: Path, true_placement: Placement) -> None:
    rng = np.random.default_rng(0)
    search = arm_search(domain=Broken("nan"))
    history = History(tmp_path / "h.arrows", ArmEncoder.names)
    for i in range(4):
        history.append(step(search, true_placement, n=25, first_id=25 * i, iteration=i, rng=rng))
    failed = sum((part["error"] != None).sum() for part in history.chunks("error"))  # noqa: E711
    fresh = on_the_arm()
    done = refresh(history, fresh)
    assert done.rows == 100
    assert done.valid == 100 - failed < 100
    assert np.array_equal(np.sort(elites(fresh).ids), np.sort(elites(true_placement).ids))


class HalfBlind:
    """Knows the first measure of each candidate, and the second where column 1 is 0.5 at most."""

    def project(self, features):
        known = np.stack([np.ones(len(features), dtype=bool), features[:, 1] <= 0.5], axis=1)
        return np.where(known, features[:, 20:22], np.nan)


def test_what_has_an_objective_and_lacks_a_measure_is_not_valid(tmp_path: Path, true_placement: Placement) -> None:
    blind = replace(true_placement, diversity=HalfBlind())
    batch = step(arm_search(), blind, n=40, first_id=0, iteration=0, rng=np.random.default_rng(0))
    bad = batch.features[:, 1] > 0.5
    assert 0 < bad.sum() < 40
    assert np.isfinite(batch.objective).all()
    assert np.isfinite(batch.measures[:, 0]).all()
    assert batch.valid.tolist() == (~bad).tolist()
    reason = "could not be measured: score or measures not finite"
    assert list(batch.errors) == [reason if lacks else None for lacks in bad]
    assert set(elites(blind).ids) <= set(batch.ids[~bad])
    history = History(tmp_path / "h.arrows", ArmEncoder.names)
    history.append(batch)
    again = replace(on_the_arm(), diversity=HalfBlind())
    done = refresh(history, again)
    assert (done.rows, done.valid) == (40, 40 - bad.sum())
    assert sorted(elites(again).ids) == sorted(elites(blind).ids)


def test_a_generator_is_told_what_became_of_what_it_was_asked_for(true_placement: Placement) -> None:
    class Listening(Gaussian):
        def tell(self, proposal, outcome) -> None:
            told.append((proposal, outcome))

    told: list = []
    search = arm_search(generator=Listening(0.1, Arm().initial), domain=Broken("nan"))
    batch = step(search, true_placement, n=40, first_id=0, iteration=0, rng=np.random.default_rng(0))
    ((proposal, outcome),) = told
    assert proposal is batch.proposal
    assert 0 < batch.valid.sum() < 40
    for name in ("valid", "objective", "measures"):
        np.testing.assert_array_equal(getattr(outcome, name), getattr(batch, name))
    assert (outcome.status[batch.valid] == 2).any(), "the archive was empty"
    assert not outcome.status[~batch.valid].any()


def test_a_batch_without_a_valid_row_is_one_clear_line(true_placement: Placement) -> None:
    search = arm_search(domain=Broken("raises always"))
    with pytest.raises(RuntimeError, match=r"none of the 10 candidates of iteration 3 .* no arm at all"):
        step(search, true_placement, n=10, first_id=0, iteration=3, rng=np.random.default_rng(0))


def test_wrong_shapes_are_named(true_placement: Placement) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="render must return 10 artifacts and 10 errors, got 9 and 10"):
        step(arm_search(domain=Broken("short")), true_placement, n=10, first_id=0, iteration=0, rng=rng)

    class Narrow(ArmEncoder):
        def encode(self, artifacts):
            return super().encode(artifacts)[:, :-1]

    search = Search(Arm(), Narrow(), Gaussian(0.1, Arm().initial), 0)
    with pytest.raises(ValueError, match=r"encode must return shape \(10, 23\), got \(10, 22\)"):
        step(search, true_placement, n=10, first_id=0, iteration=0, rng=rng)


def test_an_empty_archive_is_one_clear_line(true_placement: Placement) -> None:
    with pytest.raises(RuntimeError, match="the archive is empty: run a step first"):
        elites(true_placement)


def test_the_first_population_needs_no_axes(true_placement: Placement, tmp_path: Path) -> None:
    batch = start(arm_search(), true_placement.quality, 30, rng=np.random.default_rng(0))
    assert batch.measures.shape == (30, 0)
    assert batch.valid.all()
    history = History(tmp_path / "h.arrows", ArmEncoder.names)
    history.append(batch)
    assert refresh(history, true_placement).valid == 30
    assert len(true_placement.archive) > 0


def test_refresh_gives_the_archive_that_the_run_filled(tmp_path: Path) -> None:
    history, placement = a_history(tmp_path, batches=20)
    fresh = replace(placement, archive=on_the_arm().archive)
    refresh(history, fresh)
    mine, theirs = (sorted(zip(e.ids, e.objective, strict=True)) for e in (elites(fresh), elites(placement)))
    assert mine == theirs


def test_refresh_in_parts_is_refresh_in_one(tmp_path: Path) -> None:
    history, _ = a_history(tmp_path, batches=20)
    whole, parts = on_the_arm(), on_the_arm()
    refresh(history, whole)
    first = refresh(_Only(history, 210), parts)
    rest = refresh(history, parts, start=210)
    assert (first.rows, rest.rows) == (210, 290)
    assert sorted(elites(parts).ids) == sorted(elites(whole).ids)


class _Only:
    def __init__(self, history: History, rows: int) -> None:
        self.history, self.rows = history, rows

    def chunks(self, *names: str, start: int = 0, rows: int = 65536):
        left = self.rows
        for part in self.history.chunks(*names, start=start, rows=50):
            yield {name: values[:left] for name, values in part.items()}
            left -= len(next(iter(part.values())))
            if left <= 0:
                return


def test_what_is_not_good_enough_is_no_elite(tmp_path: Path, true_placement: Placement) -> None:
    least = -200.0
    picky = replace(true_placement, least=least)
    search, rng, history = arm_search(), np.random.default_rng(0), History(tmp_path / "h.arrows", ArmEncoder.names)
    for i in range(8):
        proposal = search.generator.ask(picky, 25, rng)
        batch = evaluate(search, proposal, lambda f: measure(picky, f), first_id=25 * i, iteration=i)
        history.append(batch)
        outcome = insert(picky, batch)
        poor = batch.objective < least
        assert batch.valid.all()
        assert not outcome.status[poor].any()
        if poor.any():
            assert outcome.value[poor].max() < min(0, outcome.value[~poor].min(initial=0))
            assert np.array_equal(np.argsort(outcome.value[poor]), np.argsort(batch.objective[poor]))
        assert np.isfinite(outcome.objective).all()
    found = elites(picky)
    assert found.objective.min() >= least
    again = replace(on_the_arm(), least=least)
    done = refresh(history, again)
    assert (done.rows, done.valid) == (200, 200)
    assert sorted(elites(again).ids) == sorted(found.ids)
    other = on_the_arm()
    refresh(history, other)
    assert len(other.archive) > len(found)


def test_what_is_just_good_enough_is_an_elite(tmp_path: Path) -> None:
    history, _ = a_history(tmp_path, batches=1)
    objective = measure(on_the_arm(), history.sample("features"))[1]
    best = int(objective.argmax())
    strict = replace(on_the_arm(), least=float(objective[best]))
    refresh(history, strict)
    assert elites(strict).ids.tolist() == [best]
    again = replace(on_the_arm(), least=float(objective[best]))
    proposal = Gaussian(0.1, Arm().initial).ask(again, 25, np.random.default_rng(0))
    batch = evaluate(arm_search(), proposal, lambda f: measure(again, f), first_id=0, iteration=0)
    assert batch.objective[best] == objective[best], "as in the history"
    assert np.flatnonzero(insert(again, batch).status).tolist() == [best]


def test_refresh_counts_what_is_clipped(tmp_path: Path, true_placement: Placement) -> None:
    history, _ = a_history(tmp_path)
    tight = replace(true_placement, archive=archives.grid(10, (5, 5))(RANGES / 10, 0))
    done = refresh(history, tight)
    hand = history.sample("features")[:, 20:22]
    assert done.clipped == int((np.abs(hand) > 1).any(axis=1).sum()) > 0


def test_an_archive_of_ids_gives_back_solutions(tmp_path: Path, true_placement: Placement) -> None:
    history, _ = a_history(tmp_path)
    build = archives.grid((), (20, 20))
    placement = replace(true_placement, archive=build(RANGES, 0), resolve=lambda ids: history.take(ids, "solution"))
    assert placement.holds_ids
    assert not true_placement.holds_ids
    refresh(history, placement)
    found = elites(placement)
    assert found.solutions.shape == (len(found), 10)
    np.testing.assert_allclose(found.objective, (1 - found.solutions.var(axis=1)) * 100, rtol=1e-4)
    with pytest.raises(RuntimeError, match="give the placement `resolve`"):
        elites(replace(placement, resolve=None))
    batch = start(arm_search(), true_placement.quality, 5, rng=np.random.default_rng(0))
    batch = evaluate(arm_search(), batch.proposal, lambda f: measure(placement, f), first_id=len(history), iteration=9)
    insert(placement, batch)


def test_an_objective_that_shuns_doubt(tmp_path: Path) -> None:
    class Doubtful:
        def score(self, features):
            mean = features[:, -1].astype(float)
            return Scores(mean, np.abs(features[:, 20].astype(float)))

    history, placement = a_history(tmp_path)
    wary = replace(placement, quality=Doubtful(), objective=lambda s: s.mean - 2 * s.std, archive=on_the_arm().archive)
    refresh(history, wary)
    found = elites(wary)
    features = history.take(found.ids, "features")
    np.testing.assert_allclose(found.objective, features[:, -1] - 2 * np.abs(features[:, 20]), rtol=1e-4, atol=1e-3)


def test_noise_comes_from_the_candidate_not_the_batch() -> None:
    noisy = Arm(noise=5.0)
    solutions = noisy.initial(6, np.random.default_rng(0))
    seeds = candidate_seeds(3, np.arange(10, 16))
    whole, _ = noisy.render(solutions, seeds)
    alone, _ = noisy.render(solutions[4:5], candidate_seeds(3, np.arange(14, 15)))
    np.testing.assert_array_equal(whole[4], alone[0])


def test_candidate_seeds_differ() -> None:
    seeds = candidate_seeds(0, np.arange(100_000))
    assert len(np.unique(seeds)) == 100_000
    assert not set(seeds[:1000]) & set(candidate_seeds(1, np.arange(1000)))


def test_reevaluate_takes_the_luck_out() -> None:
    search = arm_search(domain=Arm(noise=20.0))
    placement, rng = on_the_arm(), np.random.default_rng(0)
    for i in range(60):
        step(search, placement, n=50, first_id=50 * i, iteration=i, rng=rng)
    found, objectives, measures = reevaluate(search, placement, times=8, rng=rng)
    assert objectives.shape == (8, len(found))
    assert measures.shape == (8, len(found), 2)
    truth = (1 - found.solutions.var(axis=1)) * 100
    assert found.objective.mean() > truth.mean() + 5, "elites of a noisy objective look better than they are"
    assert abs(objectives.mean() - truth.mean()) < 1.5
    with pytest.raises(ValueError, match="times must be at least 1"):
        reevaluate(search, placement, times=0, rng=rng)


def test_a_column_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="got 'beauty'"):
        column(ArmEncoder.names, "beauty")
    with pytest.raises(ValueError, match="must name columns"):
        columns(ArmEncoder.names, "x", "z")
