from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from ribs.emitters import EvolutionStrategyEmitter, GaussianEmitter, IsoLineEmitter

from domains.arm import RANGES, Arm, ArmEncoder
from qdfeedback import archives, runs
from qdfeedback.diversity.columns import columns
from qdfeedback.generators.gaussian import Gaussian
from qdfeedback.generators.mixture import Mixture
from qdfeedback.generators.pyribs import Pyribs
from qdfeedback.quality.columns import column
from qdfeedback.runs import Checkpoint
from qdfeedback.search import refresh, step
from qdfeedback.types import Outcome, Placement
from tests.arms import a_history, arm_search
from tests.contracts import check_generator

pytestmark = pytest.mark.xdist_group("strategies")  # compiled at their first use, once in a process
N = 20
ES = ("cma_es", "sep_cma_es", "lm_ma_es", "openai_es")
RULES = {
    "cma-me": {"ranker": "2imp"},
    "cma-mae": {"ranker": "imp", "selection_rule": "mu", "restart_rule": "basic"},
    "directions": {"ranker": "2rd"},
    "objective": {"ranker": "obj", "restart_rule": 5},
}


def strategies(es: str, rules: dict, emitters: int = 2, n: int = N) -> Pyribs:
    return Pyribs(
        lambda archive, seed: [
            EvolutionStrategyEmitter(
                archive, x0=np.zeros(10), sigma0=0.5, es=es, batch_size=n // emitters, seed=seed + i, **rules
            )
            for i in range(emitters)
        ]
    )


GENERATORS = {
    "gaussian": lambda: Pyribs(lambda a, s: [GaussianEmitter(a, sigma=0.1, x0=np.zeros(10), batch_size=N, seed=s)]),
    "iso-line": lambda: Pyribs(lambda a, s: [IsoLineEmitter(a, x0=np.zeros(10), batch_size=N, seed=s)]),
    "own gaussian": lambda: Gaussian(0.1, Arm().initial),
    "mixture": lambda: Mixture((Gaussian(0.1, Arm().initial), 3), (strategies("cma_es", RULES["cma-me"], 1, 5), 1)),
    **{
        f"{name}-{es}": (lambda es=es, rules=rules: strategies(es, rules)) for es in ES for name, rules in RULES.items()
    },
}


def placement(*, soft: bool = False, seed: int = 0) -> Placement:
    names = ArmEncoder.names
    build = archives.grid(10, (20, 20), **({"learning_rate": 0.1, "threshold_min": -1000.0} if soft else {}))
    return Placement(column(names, "straightness"), columns(names, "x", "y"), build(RANGES, seed))


COMPILED = ("sep_cma_es", "lm_ma_es")  # a while, at their first use
every = pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow) if one.endswith(COMPILED) else one for one in GENERATORS]
)


@every
def test_contract(name: str) -> None:
    check_generator(GENERATORS[name], placement, N)


@every
@pytest.mark.parametrize("soft", [False, True], ids=["elitist", "soft"])
def test_a_restored_state_goes_on_bit_for_bit(name: str, soft: bool) -> None:
    def go_on(search, place, rng, first: int, last: int) -> None:
        for i in range(first, last):
            step(search, place, n=N, first_id=N * i, iteration=i, rng=rng)

    search, place, rng = arm_search(generator=GENERATORS[name]()), placement(soft=soft), np.random.default_rng(1)
    go_on(search, place, rng, 0, 15)
    arrays, state = runs.capture(place, search.generator, rng)
    arrays = {name: array.copy() for name, array in arrays.items()}
    go_on(search, place, rng, 15, 30)

    again, fresh, other = (
        arm_search(generator=GENERATORS[name]()),
        placement(soft=soft, seed=99),
        np.random.default_rng(7),
    )
    runs.restore(Checkpoint(14, arrays, state), fresh, again.generator, other)
    go_on(again, fresh, other, 15, 30)
    one, _ = runs.capture(place, search.generator, rng)
    two, _ = runs.capture(fresh, again.generator, other)
    assert one.keys() == two.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], two[key], err_msg=key)
    assert place.archive.stats == fresh.archive.stats


def test_pycma_is_refused_with_a_clear_line() -> None:
    generator = strategies("pycma_es", {"es_kwargs": {"opts": {"verbose": -9}}}, 1)
    search, place, rng = arm_search(generator=generator), placement(), np.random.default_rng(1)
    for i in range(3):
        step(search, place, n=N, first_id=N * i, iteration=i, rng=rng)
    arrays, state = runs.capture(place, generator, rng)
    with pytest.raises(ValueError, match=r"cannot be resumed exactly: .* keeps its state in a cma"):
        runs.restore(Checkpoint(2, arrays, state), placement(), strategies("pycma_es", {}, 1), rng)


def test_other_emitters_than_stored_are_refused() -> None:
    search, place, rng = arm_search(generator=GENERATORS["iso-line"]()), placement(), np.random.default_rng(1)
    step(search, place, n=N, first_id=0, iteration=0, rng=rng)
    arrays, state = runs.capture(place, search.generator, rng)
    with pytest.raises(ValueError, match=r"written with the emitters \['IsoLineEmitter'\], this run has"):
        runs.restore(Checkpoint(0, arrays, state), placement(), GENERATORS["gaussian"](), rng)


def test_another_archive_than_stored_is_refused() -> None:
    search, place, rng = arm_search(), placement(), np.random.default_rng(1)
    for i in range(5):
        step(search, place, n=N, first_id=N * i, iteration=i, rng=rng)
    arrays, state = runs.capture(place, search.generator, rng)
    small = archives.grid(10, (2, 2))(RANGES, 0)
    with pytest.raises(ValueError, match=r"this one has 4 cells"):
        runs.restore(
            Checkpoint(4, arrays, state), Placement(place.quality, place.diversity, small), search.generator, rng
        )


def test_a_new_archive_means_new_emitters_and_says_so(caplog) -> None:
    search, rng = arm_search(generator=strategies("cma_es", RULES["cma-me"])), np.random.default_rng(1)
    with caplog.at_level(logging.INFO):
        step(search, placement(), n=N, first_id=0, iteration=0, rng=rng)
        assert not caplog.records
        step(search, placement(), n=N, first_id=N, iteration=1, rng=rng)
    assert "emitters are built anew" in caplog.text


def test_batch_sizes_must_add_up() -> None:
    search, place, rng = arm_search(generator=GENERATORS["iso-line"]()), placement(), np.random.default_rng(1)
    step(search, place, n=N, first_id=0, iteration=0, rng=rng)
    with pytest.raises(ValueError, match="batch sizes together, 20; got 30"):
        step(search, place, n=30, first_id=N, iteration=1, rng=rng)


def test_tell_belongs_to_the_last_ask() -> None:
    outcome = Outcome(*(np.zeros(3) for _ in range(3)), np.zeros((3, 2)), np.ones(3, dtype=bool))
    for generator in (GENERATORS["iso-line"](), GENERATORS["mixture"]()):
        proposal = Gaussian(0.1, Arm().initial).ask(placement(), 3, np.random.default_rng(0))
        with pytest.raises(RuntimeError, match="tell must follow the ask"):
            generator.tell(proposal, outcome)


def test_a_part_of_a_mixture_may_fail_altogether() -> None:
    mixture = GENERATORS["mixture"]()
    place, rng = placement(), np.random.default_rng(0)
    proposal = mixture.ask(place, N, rng)
    valid = np.arange(N) < 15  # the strategy's five rows are not
    nan = np.where(valid, 1.0, np.nan)
    before, _ = mixture.generators[1].state()
    mixture.tell(proposal, Outcome(valid.astype(int), nan, nan, np.stack([nan, nan], axis=1), valid))
    after, _ = mixture.generators[1].state()
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=f"{name}: there is nothing to learn from")
    again = mixture.ask(place, N, rng)
    assert np.isfinite(again.solutions).all()
    assert again.origin.tolist() == proposal.origin.tolist(), "its share of the batch is what it was"
    assert not np.array_equal(again.solutions, proposal.solutions)


def test_gaussian_mutates_solutions_not_ids(tmp_path) -> None:
    history, place = a_history(tmp_path)
    ids = replace(
        place, archive=archives.grid((), (20, 20))(RANGES, 0), resolve=lambda ids: history.take(ids, "solution")
    )
    refresh(history, ids)
    proposal = Gaussian(0.01, Arm().initial).ask(ids, 30, np.random.default_rng(0))
    parents = history.take(proposal.parents[:, 0], "solution")
    assert np.abs(proposal.solutions - parents).max() < 0.1
    with pytest.raises(RuntimeError, match="give the placement `resolve`"):
        Gaussian(0.01, Arm().initial).ask(replace(ids, resolve=None), 30, np.random.default_rng(0))


def test_an_emitter_with_state_of_another_kind_is_refused() -> None:
    class Remembering(IsoLineEmitter):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings)
            self.memory: list[int] = []

    generator = Pyribs(lambda a, s: [Remembering(a, x0=np.zeros(10), batch_size=N, seed=s)])
    generator.ask(placement(), N, np.random.default_rng(0))
    assert "Remembering keeps its state in a builtins.list" in generator.state()[1]["refused"]


def test_gaussian_knows_its_parents() -> None:
    search, place, rng = arm_search(), placement(), np.random.default_rng(1)
    first = step(search, place, n=N, first_id=0, iteration=0, rng=rng)
    second = step(search, place, n=N, first_id=N, iteration=1, rng=rng)
    assert (first.proposal.parents == -1).all()
    parents = first.proposal.solutions[second.proposal.parents[:, 0]]
    assert np.abs(second.proposal.solutions - parents).max() < 0.6


def test_a_mixture_keeps_its_proportions() -> None:
    mixture = Mixture((Gaussian(0.1, Arm().initial), 2), (Gaussian(0.5, Arm().initial), 1))
    assert mixture._counts(10) == [7, 3]
    assert mixture._counts(1) == [1, 0]
    assert len(mixture.ask(placement(), 1, np.random.default_rng(0))) == 1
    with pytest.raises(ValueError, match="positive weights"):
        Mixture((Gaussian(0.1, Arm().initial), 0))


def test_rows_that_are_not_valid_never_lead_a_strategy() -> None:
    """A candidate that failed must not pull the mean of the evolution strategy its way."""
    generator = strategies("cma_es", RULES["objective"], 1)
    place, rng = placement(), np.random.default_rng(1)
    proposal = generator.ask(place, N, rng)
    objective = np.arange(N, dtype=float)
    objective[N - 1] = np.nan  # would have been the best
    valid = np.isfinite(objective)
    measures = np.zeros((N, 2))
    measures[N - 1] = np.nan
    added = place.archive.add(proposal.solutions[valid], objective[valid], measures[valid], id=np.arange(N - 1))
    status, value = np.zeros(N, dtype=int), np.full(N, np.nan)
    status[valid], value[valid] = added["status"], added["value"]
    generator.tell(proposal, Outcome(status, value, objective, measures, valid))
    arrays, _ = generator.state()
    mean = arrays["0._opt.mean"]
    best, bad = proposal.solutions[N - 2], proposal.solutions[N - 1]
    assert np.linalg.norm(mean - best) < np.linalg.norm(mean - bad)
