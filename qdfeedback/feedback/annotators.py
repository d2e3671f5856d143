"""Annotators that are not people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from qdfeedback.types import Answers, Floats, Queries


@dataclass(frozen=True)
class Simulated:
    """Answers from the distances in a true space, as the QDHF paper simulates people.

    Attributes:
        truth: (t, 3, d) features of what is shown → (t, 3, k) places in the true space.
        flip: share of answers turned round at random.
        temperature: of the choice, in squared units of the true space; 0 = always the nearer one.
        seed: with a question's uid it decides chance, so that a question asked again gets the same answer.
    """

    truth: Callable[[Floats], Floats]
    flip: float = 0.0
    temperature: float = 0.0
    seed: int = 0

    @property
    def kind(self) -> str:
        """`simulation`."""
        return "simulation"

    @property
    def name(self) -> str:
        """The settings, for the record."""
        return f"simulated-flip{self.flip:g}-temperature{self.temperature:g}-seed{self.seed}"

    def answer(self, queries: Queries, shown: Floats) -> Answers:
        """Returns an answer to every query; a draw goes to right, as in the released QDHF code.

        Args:
            queries: t questions.
            shown: (t, 3, d) features of anchor, left, right.

        Raises:
            ValueError: The shapes do not fit.
        """
        if shown.ndim != 3 or shown.shape[:2] != (len(queries), 3):
            raise ValueError(f"shown must have shape ({len(queries)}, 3, d), got {shown.shape}")
        places = self.truth(shown)
        left, right = (np.square(places[:, 0] - places[:, side]).sum(axis=1) for side in (1, 2))
        chance = np.array([_uniform(self.seed, uid) for uid in queries.uids]).reshape(len(queries), 2)
        blurred = expit((left - right) / self.temperature) if self.temperature else left >= right
        says_right = chance[:, 0] < blurred
        says_right = says_right ^ (chance[:, 1] < self.flip)
        return Answers(np.arange(len(queries)), says_right.astype(np.int8), np.full(len(queries), np.nan))


def _uniform(seed: int, uid: str) -> tuple[float, float]:
    first, second = np.random.default_rng([seed, *uid.encode()]).random(2)
    return float(first), float(second)
