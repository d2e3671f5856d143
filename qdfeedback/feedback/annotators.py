"""Annotators that are not people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from qdfeedback.bounds import Amount, Natural, Share, check
from qdfeedback.types import Answers, Bools, Floats, Ints, Queries


@dataclass(frozen=True)
class Simulated:
    """Answers from places in a true space.

    Of a triplet, the nearer one is more alike, as the QDHF paper simulates people; of a pair, the one whose first
    coordinate is higher is better; a rating is the first coordinate.

    Attributes:
        truth: candidate ids (n,) → (n, k) places in the true space; NaN = nobody knows.
        flip: share of triplets and pairs whose answers are turned round at random.
        temperature: of the choice, in squared units of the true space for triplets, in units of its first axis for
            pairs; 0 = always the nearer or the higher one.
        seed: with a question's uid it decides chance, so that a question asked again gets the same answer.
    """

    truth: Callable[[Ints], Floats]
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

    @property
    def publishes(self) -> bool:
        """False: it answers at once."""
        return False

    def can_judge(self, ids: Ints) -> Bools:
        """Returns (n,) bool, True for candidates whose place is known."""
        return np.asarray(np.isfinite(self._places(ids)).all(axis=1))

    def answer(self, queries: Queries) -> Answers:
        """Returns an answer to every query about candidates whose places are all known.

        A draw goes to right, as in the released QDHF code.

        Raises:
            ValueError: The truth has not the shape that is wanted.
        """
        ids, rows = np.unique(queries.items, return_inverse=True)
        places = self._places(ids)[rows.reshape(queries.items.shape)]
        known = np.flatnonzero(np.isfinite(places).all(axis=(1, 2)))
        places, unsaid = places[known], np.full(len(known), np.nan)
        if queries.task == "rating":
            return Answers(known, np.zeros(len(known), dtype=np.int8), unsaid, places[:, 0, 0].astype(float))
        left, right = _worse(places)
        blurred = expit((left - right) / self.temperature) if self.temperature else left >= right
        chance = np.array([_uniform(self.seed, uid) for uid in queries.uids[known]]).reshape(len(known), 2)
        says_right = chance[:, 0] < blurred
        says_right = says_right ^ (chance[:, 1] < self.flip)
        return Answers(known, says_right.astype(np.int8), unsaid)

    def _places(self, ids: Ints) -> Floats:
        """Returns the (n, k) true places of candidates."""
        if not len(ids):
            return np.empty((0, 1))
        places = np.asarray(self.truth(ids))
        if places.ndim != 2 or len(places) != len(ids):
            raise ValueError(f"truth must give places of shape ({len(ids)}, k), got {places.shape}")
        return places


def _worse(places: Floats) -> tuple[Floats, Floats]:
    """Returns (t,) how much speaks against the left, and against the right, of (t, w, k) places."""
    if places.shape[1] == 2:
        return -places[:, 0, 0], -places[:, 1, 0]
    left, right = (np.square(places[:, 0] - places[:, side]).sum(axis=1) for side in (1, 2))
    return left, right


def _uniform(seed: int, uid: str) -> tuple[float, float]:
    first, second = np.random.default_rng([seed, *uid.encode()]).random(2)
    return float(first), float(second)
