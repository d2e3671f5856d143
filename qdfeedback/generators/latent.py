"""Noise changed a little: mutation of a diffusion model's latents (latent space illumination, Ding 2024, sec. 4.3).

A diffusion model expects noise of a standard normal distribution. A plain Gaussian step adds to its variance with every
generation: after 50 steps of 0.1 the norm is 1.22 times what the model has seen. `keep_variance` shrinks the parent by
as much as the step adds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qdfeedback.generators.gaussian import parents_of
from qdfeedback.types import Floats, Outcome, Placement, Proposal, first


@dataclass(frozen=True)
class Noise:
    """Elites' noise plus noise; parents are drawn uniformly.

    Attributes:
        sigma: standard deviation of the step, between 0 and 1; 1 with `keep_variance` draws new noise.
        initial: (n, rng) → the first n solutions, asked for while the archive is empty.
        keep_variance: parents are multiplied by √(1 - sigma²) first.
    """

    sigma: float
    initial: Callable[[int, np.random.Generator], Floats]
    keep_variance: bool = True

    def __post_init__(self) -> None:
        """Refuses steps that have no such factor."""
        if not 0 < self.sigma <= 1:
            raise ValueError(f"sigma must be above 0 and at most 1, got {self.sigma}")

    def ask(self, placement: Placement, n: int, rng: np.random.Generator) -> Proposal:
        """Returns n mutated elites.

        Raises:
            RuntimeError: The archive holds ids that nothing resolves.
        """
        if placement.archive.empty:
            return first(self.initial(n, rng))
        parents, ids = parents_of(placement, n, rng)
        return Proposal(self.step(parents, rng), ids[:, None], np.full(n, "noise"))

    def step(self, noise: Floats, rng: np.random.Generator) -> Floats:
        """Returns (n, …) float32 noise, changed."""
        kept = np.sqrt(1 - self.sigma**2) if self.keep_variance else 1.0
        added = rng.standard_normal(noise.shape, dtype=np.float32)
        return np.asarray(np.float32(kept) * noise + np.float32(self.sigma) * added, dtype=np.float32)

    def tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """Learns nothing."""


class Fresh:
    """New noise every time, with no regard to what was found: best of n, and best of n plus (Ding 2024, sec. 4.3).

    Args:
        initial: (n, rng) → n solutions.
        among: of so many, the one that is farthest (L2) from the one before is taken.
    """

    def __init__(self, initial: Callable[[int, np.random.Generator], Floats], *, among: int = 1) -> None:
        self.initial, self.among = initial, among
        self.last: Floats | None = None

    def ask(self, placement: Placement, n: int, rng: np.random.Generator) -> Proposal:  # noqa: ARG002
        """Returns n solutions that have no parents."""
        return first(self.draw(n, rng))

    def draw(self, n: int, rng: np.random.Generator) -> Floats:
        """Returns n solutions."""
        if self.among == 1:
            return self.initial(n, rng)
        found: list[Floats] = []
        for _ in range(n):
            drawn = self.initial(self.among, rng)
            if self.last is not None:
                away = np.square(drawn - self.last).reshape(self.among, -1).sum(axis=1)
                drawn = drawn[[int(away.argmax())]]
            self.last = drawn[0]
            found.append(self.last)
        return np.stack(found)

    def tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """Learns nothing."""

    def state(self) -> tuple[dict[str, Floats], dict[str, bool]]:
        """Returns the last noise."""
        return ({} if self.last is None else {"last": self.last}), {}

    def restore(self, placement: Placement, arrays: dict[str, Floats], state: dict[str, bool]) -> None:  # noqa: ARG002
        """Goes on from there."""
        self.last = arrays.get("last")
