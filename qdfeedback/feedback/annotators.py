"""Annotators that are not people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from qdfeedback.bounds import Amount, Natural, Share, check
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
    flip: Share = 0.0
    temperature: Amount = 0.0
    seed: Natural = 0

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")

    @property
    def kind(self) -> str:
        """`simulation`."""
        return "simulation"

    @property
    def name(self) -> str:
        """The settings, for the record."""
        return f"simulated-flip{self.flip:g}-temperature{self.temperature:g}-seed{self.seed}"

    def answer(self, queries: Queries, shown: Floats) -> Answers:
        """Returns an answer to every query whose places are known; a draw goes to right, as in the released QDHF code.

        Args:
            queries: t questions.
            shown: (t, 3, d) features of anchor, left, right. Where the truth about one of them is not finite, there is
                no answer.

        Raises:
            ValueError: The shapes do not fit.
        """
        if shown.ndim != 3 or shown.shape[:2] != (len(queries), 3):
            raise ValueError(f"shown must have shape ({len(queries)}, 3, d), got {shown.shape}")
        places = np.asarray(self.truth(shown))
        if places.shape[:2] != shown.shape[:2] or places.ndim != 3:
            raise ValueError(f"truth must give places of shape ({len(queries)}, 3, k), got {places.shape}")
        known = np.flatnonzero(np.isfinite(places).all(axis=(1, 2)))
        places, uids = places[known], queries.uids[known]
        left, right = (np.square(places[:, 0] - places[:, side]).sum(axis=1) for side in (1, 2))
        chance = np.array([_uniform(self.seed, uid) for uid in uids]).reshape(len(uids), 2)
        blurred = expit((left - right) / self.temperature) if self.temperature else left >= right
        says_right = chance[:, 0] < blurred
        says_right = says_right ^ (chance[:, 1] < self.flip)
        return Answers(known, says_right.astype(np.int8), np.full(len(known), np.nan))


def _uniform(seed: int, uid: str) -> tuple[float, float]:
    first, second = np.random.default_rng([seed, *uid.encode()]).random(2)
    return float(first), float(second)
