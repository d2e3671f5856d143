"""Prompts of pictures as solutions, varied by a grammar or a language model; alone, or together with noise.

Prompts(vary, initial)                     text solutions; a picture's noise comes from its own seed
PromptsAndNoise(vary, Noise(0.5, …))       both at once: a structured array with the fields `prompt` and `noise`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from qdfeedback.bounds import Share, check
from qdfeedback.generators.gaussian import parents_of
from qdfeedback.generators.latent import Noise
from qdfeedback.generators.wording import rewrite
from qdfeedback.models.failing import Failing
from qdfeedback.models.language import LanguageModel, Sampling
from qdfeedback.types import Outcome, Placement, Proposal, Solutions, first

ONE_LINE = Sampling(max_tokens=60, stop=("\n",))
Vary = Callable[[Sequence[str], np.random.Generator], tuple[list[str], list[str | None]]]
"""n prompts → n changed ones, and n reasons why there is none (None = there is one)."""


def by_grammar(change: Callable[[str, np.random.Generator], str]) -> Vary:
    """Returns what changes prompts one by one."""

    def vary(prompts: Sequence[str], rng: np.random.Generator) -> tuple[list[str], list[str | None]]:
        return [change(prompt, rng) for prompt in prompts], [None] * len(prompts)

    return vary


@dataclass(frozen=True)
class ByModel:
    """A language model that rewrites prompts.

    Attributes:
        model: writes.
        what: is rewritten, in the instruction.
        sampling: how text is drawn.
        failing: what came to nothing, and why.
    """

    model: LanguageModel
    what: str = "prompt for a picture"
    sampling: Sampling = ONE_LINE
    failing: Failing = field(default_factory=lambda: Failing("prompts"), repr=False, compare=False)

    def __call__(self, prompts: Sequence[str], rng: np.random.Generator) -> tuple[list[str], list[str | None]]:
        """Returns n rewritten prompts, on one line each, and n reasons why there is none.

        Raises:
            MostFailError: More than half of all prompts failed for one reason of the model's server.
        """
        asked = [rewrite(self.what, prompt) for prompt in prompts]
        found = self.model.complete(asked, rng.integers(2**31, size=len(asked)), self.sampling)
        self.failing.add(found.reasons, self.model.name)
        return [" ".join(text.split()) for text in found.texts], list(found.reasons)


@dataclass(frozen=True)
class Prompts:
    """Elites' prompts, varied.

    Attributes:
        vary: changes prompts.
        initial: (n, rng) → (n,) first prompts, asked for while the archive is empty.
    """

    vary: Vary
    initial: Callable[[int, np.random.Generator], Solutions]

    def ask(self, placement: Placement, n: int, rng: np.random.Generator) -> Proposal:
        """Returns n varied prompts.

        Raises:
            RuntimeError: The archive holds ids that nothing resolves.
        """
        if placement.archive.empty:
            return first(self.initial(n, rng))
        parents, ids = parents_of(placement, n, rng)
        prompts, reasons = self.vary([str(prompt) for prompt in parents], rng)
        return Proposal(np.array(prompts, dtype=str), ids[:, None], np.full(n, "prompt"), reasons)

    def tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """Learns nothing."""


@dataclass(frozen=True)
class PromptsAndNoise:
    """Elites' noise, changed by a step, and for some of them the prompt as well.

    Attributes:
        vary: changes prompts.
        noise: makes the step; its `initial` gives the first solutions, with both fields.
        share: of candidates whose prompt is varied too.
    """

    vary: Vary
    noise: Noise
    share: Share = 0.5

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")

    def ask(self, placement: Placement, n: int, rng: np.random.Generator) -> Proposal:
        """Returns n changed elites.

        Raises:
            RuntimeError: The archive holds ids that nothing resolves.
        """
        if placement.archive.empty:
            return first(self.noise.initial(n, rng))
        parents, ids = parents_of(placement, n, rng)
        mutated = parents.copy()
        mutated["noise"] = self.noise.step(parents["noise"], rng)
        rows = np.flatnonzero(rng.random(n) < self.share)
        prompts, failed = self.vary([str(prompt) for prompt in parents["prompt"][rows]], rng)
        reasons: list[str | None] = [None] * n
        for row, prompt, reason in zip(rows, prompts, failed, strict=True):
            reasons[row] = reason
            mutated["prompt"][row] = prompt if reason is None else parents["prompt"][row]
        origin = np.full(n, "noise", dtype="<U16")
        origin[rows] = "prompt and noise"
        return replace(first(mutated), parents=ids[:, None], origin=origin, errors=reasons)

    def tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """Learns nothing."""
