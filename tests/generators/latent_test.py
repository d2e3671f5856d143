from __future__ import annotations

import numpy as np
import pytest

from qdfeedback.archives import grid
from qdfeedback.generators.latent import Fresh, Noise
from qdfeedback.types import Placement
from tests.contracts import check_generator

SHAPE = (4, 8, 8)


def initial(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((n, *SHAPE), dtype=np.float32)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("kind", ["noise", "fresh", "far"])
def test_contract(kind: str, keep: bool) -> None:
    def vectors(n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((n, 10), dtype=np.float32)

    makes = {
        "noise": lambda: Noise(0.3, vectors, keep_variance=keep), "fresh": lambda: Fresh(vectors),
        "far": lambda: Fresh(vectors, among=5),
    }  # fmt: skip
    check_generator(makes[kind], lambda: Placement(None, None, grid(10, (5, 5))(np.array([[-2, 2], [-2, 2]]), 0)), n=12)


@pytest.mark.parametrize("keep", [True, False])
def test_variance_over_generations(keep: bool) -> None:
    rng = np.random.default_rng(0)
    generator = Noise(0.3, initial, keep_variance=keep)
    known = {0: initial(1, rng)[0]}
    for generation in range(1, 60):
        archive = grid((), (2, 2))(np.array([[0, 1], [0, 1]]), 0)
        archive.add(np.array([generation - 1]), [1.0], [[0.5, 0.5]], id=[generation - 1])
        placement = Placement(None, None, archive, resolve=lambda ids: np.stack([known[int(one)] for one in ids]))
        proposal = generator.ask(placement, 1, rng)
        assert proposal.parents.tolist() == [[generation - 1]]
        assert proposal.solutions.dtype == np.float32
        known[generation] = proposal.solutions[0]
    expected = 1.0 if keep else np.sqrt(1 + 59 * 0.3**2)
    assert np.isclose(known[59].std(), expected, rtol=0.15)


def test_a_step_of_one_is_new_noise_and_others_are_refused() -> None:
    parents = np.full((2, *SHAPE), 1000, dtype=np.float32)
    drawn = np.random.default_rng(3).standard_normal(parents.shape, dtype=np.float32)
    np.testing.assert_array_equal(Noise(1.0, initial).step(parents, np.random.default_rng(3)), drawn)
    added = Noise(1.0, initial, keep_variance=False).step(parents, np.random.default_rng(3))
    np.testing.assert_array_equal(added, parents + drawn)
    for sigma in (0.0, 1.2):
        with pytest.raises(ValueError, match="sigma must be above 0 and at most 1"):
            Noise(sigma, initial)


def test_far_noise_is_farther_from_the_one_before_and_goes_on_after_a_kill() -> None:
    def steps(noise: np.ndarray) -> float:
        return float(np.linalg.norm(np.diff(noise.reshape(len(noise), -1), axis=0), axis=1).mean())

    rng = np.random.default_rng(1)
    far, plain = Fresh(initial, among=100), Fresh(initial)
    whole = far.ask(None, 20, rng).solutions
    assert steps(whole) > 1.05 * steps(plain.ask(None, 20, rng).solutions)
    one, state = Fresh(initial, among=10), np.random.default_rng(2)
    one.ask(None, 3, state)
    kept = state.bit_generator.state
    expected = one.ask(None, 3, state).solutions
    other = Fresh(initial, among=10)
    before = Fresh(initial, among=10)
    before.ask(None, 3, np.random.default_rng(2))
    other.restore(None, *before.state())
    state.bit_generator.state = kept
    assert np.array_equal(other.ask(None, 3, state).solutions, expected)
