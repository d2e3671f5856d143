"""Short texts as a domain: how they begin, what is asked about them, and into which cells the answers fall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import expit

from qdfeedback.encoders.attributes import Attribute
from qdfeedback.generators.wording import degree
from qdfeedback.models.language import EMPTY, Sampling
from qdfeedback.types import Floats, Ints
from qdfeedback.values import no_string

EDGES_1D = (
    0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.10, 0.20, 0.50, 0.80, 0.90, 0.95, 0.96, 0.97, 0.98, 0.985,
    0.99, 0.995, 1.0,
)  # fmt: skip
"""Borders of the 20 cells of an archive of one probability (Bradley 2024)."""
EDGES_2D = (0.0, 0.005, 0.02, 0.05, 0.20, 0.50, 0.80, 0.95, 0.98, 0.995, 1.0)
"""Borders of the 10 cells along each of two probabilities."""


class Truth(Protocol):
    """What a text really is, where that is known; the columns are those of the judge's attributes."""

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Returns (n, columns) of n texts: the quality's column, then the axes'; NaN = nobody knows."""
        ...


@dataclass(frozen=True)
class Writing:
    """A domain of texts.

    Attributes:
        what: one of them is called.
        line: what stands before each in a list.
        seeds: the first texts.
        quality: what makes a good one.
        axes: along what they differ.
        sampling: how they are drawn.
        highest: quality at its best, the unit of the QD score.
        truth: what they really are, where it is known.
        levels: true log-odds are whole multiples of `grade` up to this many, either way.
        grade: log-odds.
        best: true log-odds of the best quality.
    """

    what: str
    line: str
    seeds: tuple[str, ...]
    quality: Attribute
    axes: tuple[Attribute, ...]
    sampling: Sampling
    highest: float = 1.0
    truth: Truth | None = None
    levels: int = 0
    grade: float = 1.0
    best: float = 0.0

    def __post_init__(self) -> None:
        """Refuses a text in place of several."""
        no_string(self.seeds, "seeds")

    def initial(self, n: int, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        """Returns the seeds, n at most."""
        return np.array(self.seeds[:n], dtype=str)

    def render(self, solutions: Sequence[str], seeds: Ints) -> tuple[list[str], list[str | None]]:  # noqa: ARG002
        """Returns the texts."""
        return [str(text) for text in solutions], [None if str(text).strip() else EMPTY for text in solutions]

    def present(self, artifact: str) -> str:
        """Returns the text."""
        return artifact


def words_of(axis: Attribute, cells: int) -> Callable[[int], str]:
    """Returns what a text is called that lies in a cell of an axis; the first cell is where its first answer is not."""
    if axis.kind == "category":
        return lambda cell: axis.answers[cell]
    first, second = axis.answers
    return lambda cell: degree((cell + 0.5) / cells, first, second)


def asked(name: str, question: tuple[str, tuple[str, ...]]) -> Attribute:
    """Returns a question with its answers as an attribute."""
    return Attribute(name, question[0], question[1])


class Read(Protocol):
    """What a grammar found in a text, beside its log-odds."""

    @property
    def known(self) -> float:
        """The share of its sentences that it knows."""
        ...


def probabilities(found: Sequence[Read], log_odds: Sequence[str]) -> Floats:
    """Returns (n, names) probabilities from attributes that are log-odds; NaN where half of a text is unknown."""
    odds = np.array([[getattr(one, name) for name in log_odds] for one in found], dtype=float)
    known = np.array([one.known >= 0.5 for one in found], dtype=bool)
    return np.where(known[:, None], expit(odds.reshape(len(found), len(log_odds))), np.nan)
