"""Several generators side by side, each with its share of every batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qdfeedback.files import Arrays
from qdfeedback.generators.composed import recall_parts, restore_parts, states_of
from qdfeedback.types import Generator, Ints, Outcome, Placement, Proposal


class Mixture:
    """Asks each part for its share and tells each what became of it.

    Args:
        parts: generators and their weights; a batch of n is split in these proportions, the largest
            remainders rounded up, the same way every time.

    Raises:
        ValueError: No part, or a weight that is not positive.
    """

    def __init__(self, *parts: tuple[Generator, float]) -> None:
        if not parts or any(weight <= 0 for _, weight in parts):
            raise ValueError(f"parts must be generators with positive weights, got weights {[w for _, w in parts]}")
        self.generators = tuple(generator for generator, _ in parts)
        self._shares = np.array([weight for _, weight in parts], dtype=float)
        self._shares /= self._shares.sum()
        self._asked: list[tuple[Generator, Proposal]] = []

    def ask(self, placement: Placement, n: int, rng: np.random.Generator) -> Proposal:
        """Returns n candidates, the parts' proposals one after the other."""
        self._asked = [
            (generator, generator.ask(placement, int(count), rng))
            for generator, count in zip(self.generators, self._counts(n), strict=True)
            if count
        ]
        proposals = [proposal for _, proposal in self._asked]
        width = max(proposal.parents.shape[1] for proposal in proposals)
        return Proposal(
            np.concatenate([proposal.solutions for proposal in proposals]),
            np.concatenate([_padded(proposal.parents, width) for proposal in proposals]),
            np.concatenate([proposal.origin for proposal in proposals]),
            _errors(proposals),
        )

    def tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """Hands each part the fate of its own rows.

        Raises:
            RuntimeError: The proposal is not the one asked for last.
        """
        if len(proposal) != sum(len(part) for _, part in self._asked):
            raise RuntimeError("tell must follow the ask that gave the proposal")
        low = 0
        for generator, part in self._asked:
            generator.tell(part, _rows(outcome, slice(low, low + len(part))))
            low += len(part)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Returns arrays and JSON of the parts that keep a state."""
        return states_of(self.generators)

    def restore(self, placement: Placement, arrays: Arrays, state: dict[str, Any]) -> None:
        """Sets the parts to where `state` found them.

        Raises:
            ValueError: A part cannot be continued exactly.
        """
        restore_parts(self.generators, placement, arrays, state)

    def recall(self, history: Any) -> None:
        """Tells the parts that want to know of a run that begins or goes on."""
        recall_parts(self.generators, history)

    def _counts(self, n: int) -> Sequence[int]:
        exact = self._shares * n
        counts = np.floor(exact).astype(int)
        short = n - int(counts.sum())
        counts[np.argsort(counts - exact, kind="stable")[:short]] += 1
        return [int(count) for count in counts]


def _padded(parents: Ints, width: int) -> Ints:
    return np.pad(parents, ((0, 0), (0, width - parents.shape[1])), constant_values=-1)


def _errors(proposals: Sequence[Proposal]) -> Sequence[str | None] | None:
    if all(proposal.errors is None for proposal in proposals):
        return None
    return [reason for one in proposals for reason in one.errors or [None] * len(one)]


def _rows(outcome: Outcome, rows: slice) -> Outcome:
    return Outcome(
        outcome.status[rows], outcome.value[rows], outcome.objective[rows], outcome.measures[rows], outcome.valid[rows]
    )
