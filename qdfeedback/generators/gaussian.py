"""Elites plus Gaussian noise: MAP-Elites as Mouret and Clune (2015) run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qdfeedback.bounds import Amount, check
from qdfeedback.types import Ints, Outcome, Placement, Proposal, Solutions, first


@dataclass(frozen=True)
class Gaussian:
    """Parents drawn uniformly from the elites, plus independent Gaussian noise.

    Unlike the pyribs emitter it knows its parents, and holds no state at all.

    Attributes:
        sigma: standard deviation of the noise, in units of the solution, or of `scale`.
        initial: (n, rng) → the first n solutions, asked for while the archive is empty.
        scale: unit of each number of a solution, where they are of different sizes.
    """

    sigma: Amount
    initial: Callable[[int, np.random.Generator], Solutions]
    scale: tuple[Amount, ...] | None = None

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")

    def ask(self, placement: Placement, n: int, rng: np.random.Generator) -> Proposal:
        """Returns n mutated elites.

        Raises:
            RuntimeError: The archive holds ids that nothing resolves.
        """
        if placement.archive.empty:
            return first(self.initial(n, rng))
        parents, ids = parents_of(placement, n, rng)
        noise = rng.normal(0.0, self.sigma, parents.shape)
        mutated = parents + (noise if self.scale is None else noise * np.array(self.scale))
        return Proposal(mutated, ids[:, None], np.full(n, "gaussian"))

    def tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """Learns nothing."""


def parents_of(placement: Placement, n: int, rng: np.random.Generator) -> tuple[Solutions, Ints]:
    """Returns the solutions of n elites drawn uniformly, and their (n,) ids.

    Raises:
        RuntimeError: The archive holds ids that nothing resolves.
    """
    solutions, ids = placement.archive.data(["solution", "id"], return_type="tuple")
    chosen = rng.integers(len(ids), size=n)
    parents = placement.resolved(ids[chosen]) if placement.holds_ids else solutions[chosen]
    return parents, ids[chosen]
