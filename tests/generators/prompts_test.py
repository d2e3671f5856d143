from __future__ import annotations

import numpy as np
import pytest

from qdfeedback.archives import grid
from qdfeedback.generators.latent import Noise
from qdfeedback.generators.prompts import ByModel, Prompts, PromptsAndNoise, by_grammar
from qdfeedback.models.language import EMPTY
from qdfeedback.models.scripted import Scripted
from qdfeedback.types import Placement, Solutions
from tests.contracts import check_generator

RANGES = np.array([[0, 1], [0, 1]])
LONGER = by_grammar(lambda prompt, rng: f"{prompt} {rng.integers(10)}")


def placement(known: Solutions) -> Placement:
    archive = grid((), (5, 5))(RANGES, 0)
    places = np.linspace(0, 1, len(known))
    archive.add(
        np.arange(len(known)), np.ones(len(known)), np.stack([places, places], axis=1), id=np.arange(len(known))
    )
    return Placement(None, None, archive, resolve=lambda ids: known[ids])


def both(n: int, rng: np.random.Generator) -> Solutions:
    found = np.empty(n, dtype=[("prompt", object), ("noise", np.float32, (4, 3))])
    found["prompt"], found["noise"] = "a boat", rng.standard_normal((n, 4, 3))
    return found


def test_contract() -> None:
    known = np.array([f"a boat {i}" for i in range(200)])
    check_generator(
        lambda: Prompts(LONGER, lambda n, rng: np.full(n, "a boat")),
        lambda: placement(known), n=6,
    )  # fmt: skip


def test_the_first_prompts_are_those_given() -> None:
    empty = Placement(None, None, grid((), (2, 2))(RANGES, 0))
    generator = Prompts(LONGER, lambda n, rng: np.full(n, "a boat"))
    assert generator.ask(empty, 3, np.random.default_rng(0)).solutions.tolist() == ["a boat"] * 3


def test_prompts_by_a_model_keep_its_reasons() -> None:
    model = Scripted(lambda prompt, seed: "" if seed % 2 else f"  a {len(prompt)} \n and more", lambda *_: None)
    generator = Prompts(ByModel(model), lambda n, rng: np.full(n, "a boat"))
    proposal = generator.ask(placement(np.array(["a boat", "a ship"])), 40, np.random.default_rng(0))
    good = np.array([error is None for error in proposal.errors])
    assert 5 < good.sum() < 35
    assert {error for error in proposal.errors if error is not None} == {EMPTY}
    assert all(text.startswith("a ") and "\n" not in text for text in proposal.solutions[good])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_prompts_and_noise(share: float) -> None:
    rng = np.random.default_rng(0)
    known = both(5, rng)
    failing = Scripted(lambda prompt, seed: "" if seed % 2 else "a long ship", lambda *_: None)
    for vary in (LONGER, ByModel(failing)):
        proposal = PromptsAndNoise(vary, Noise(0.3, both), share=share).ask(placement(known), 60, rng)
        parents = known[proposal.parents[:, 0]]
        assert (proposal.solutions["noise"] != parents["noise"]).all()
        varied = proposal.origin == "prompt and noise"
        assert share - 0.2 <= varied.mean() <= share + 0.2
        assert (proposal.solutions["prompt"][~varied] == parents["prompt"][~varied]).all()
        good = np.array([error is None for error in proposal.errors])
        assert good[~varied].all()
        assert (proposal.solutions["prompt"][varied & good] != parents["prompt"][varied & good]).all()
        assert (known["prompt"] == "a boat").all(), "elites are not changed in place"
    assert (
        len(PromptsAndNoise(LONGER, Noise(0.3, both)).ask(Placement(None, None, grid((), (2, 2))(RANGES, 0)), 3, rng))
        == 3
    )
