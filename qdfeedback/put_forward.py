"""What a run puts forward as its result: what its archive holds, or the best of all; a new rule goes here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from qdfeedback.bounds import Count, Seed, check
from qdfeedback.history import History
from qdfeedback.search import elites
from qdfeedback.types import Floats, Ints, Placement


def objective_of(history: History, placement: Placement) -> Floats:
    """Returns (n,) what an archive would maximise, of every candidate."""
    return placement.objective(placement.quality.score(history.sample("features", most=None)))


class PutForward(Protocol):
    """A rule of what is put forward."""

    @property
    def has_map(self) -> bool:
        """Whether the archive is the result; else what is put forward is kept beside it, as `best.npz`."""
        ...

    def __call__(self, history: History, placement: Placement) -> Ints:
        """Returns ids of candidates."""
        ...


@dataclass(frozen=True)
class FromArchive:
    """Elites: all of them in the archive's order, or some drawn at random, by their ids.

    Attributes:
        most: how many; None = all.
        seed: draws them.
    """

    most: Count | None = None
    seed: Seed = 0
    has_map: bool = True

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")

    def __call__(self, history: History, placement: Placement) -> Ints:  # noqa: ARG002
        """Returns their ids."""
        ids = elites(placement).ids
        if self.most is None:
            return ids
        return np.sort(np.random.default_rng(self.seed).choice(ids, min(self.most, len(ids)), replace=False))


@dataclass(frozen=True)
class BestOfAll:
    """The best candidates of the whole history, wherever they lie: best-of-n (Ding 2024, sec. 4.3).

    Attributes:
        most: how many.
    """

    most: Count = 50
    has_map: bool = False

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")

    def __call__(self, history: History, placement: Placement) -> Ints:
        """Returns their ids, the best first; what has no objective is none of them."""
        score = objective_of(history, placement)
        best: Ints = np.argsort(-np.where(np.isfinite(score), score, -np.inf), kind="stable")
        return best[np.isfinite(score[best])][: self.most]
