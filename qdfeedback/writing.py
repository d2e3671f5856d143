"""Texts as a domain: how they begin, what is asked about them, and into which cells the answers fall (Bradley 2024).

    haiku = Writing("haiku", "A haiku:", seeds, quality, axes, Sampling(max_tokens=60))
    axes = Known(bins_of(haiku), bins_of(haiku).ranges)
    search = Search(haiku, Attributes(haiku.attributes, judges), generator, seed)
    loop = Loop(run, search, axes, column(search.encoder.names, "quality"), archive_of(haiku), evaluations=600)

Quality and axes are attributes: questions with given answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from qdfeedback import archives
from qdfeedback.diversity.bins import Bins
from qdfeedback.encoders.attributes import Attribute
from qdfeedback.generators.language import EXAMPLES, tidy
from qdfeedback.generators.wording import degree
from qdfeedback.history import History
from qdfeedback.models.frames import few_shot
from qdfeedback.models.language import EMPTY, LanguageModel, Sampling
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

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """What a judge is asked: the quality, then the axes."""
        return (self.quality, *self.axes)

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


def bins_of(writing: Writing) -> Bins:
    """Returns the map of the axes' columns, which follow that of the quality, into the paper's cells."""
    edges = EDGES_1D if len(writing.axes) == 1 else EDGES_2D
    of_axes = [
        tuple(float(number) for number in range(len(axis.answers) + 1)) if axis.kind == "category" else edges
        for axis in writing.axes
    ]
    return Bins(tuple(range(1, len(of_axes) + 1)), tuple(of_axes))


def archive_of(writing: Writing) -> archives.Build:
    """Returns the builder of the archive over these cells."""
    dims = bins_of(writing).dims
    categories = all(axis.kind == "category" for axis in writing.axes)
    return archives.categorical(dims) if categories else archives.grid((), dims)


def from_nothing(writing: Writing, writer: LanguageModel, seeds: Ints) -> tuple[list[str], tuple[str | None, ...]]:
    """Returns the whole ones of the texts that a model writes after the bare line, and every text's reason, if any."""
    said = writer.complete([few_shot(writing.line, ())] * len(seeds), seeds, writing.sampling)
    return [tidy(text) for text, reason in zip(said.texts, said.reasons, strict=True) if reason is None], said.reasons


def begun_from_nothing(writing: Writing, writer: LanguageModel, seeds: Ints, history: History) -> Writing:
    """Returns the domain with texts that the writer makes from the bare line in place of its seeds.

    Args:
        writing: the domain.
        writer: writes.
        seeds: (n,) of the texts.
        history: of the run; one that goes on has them already.

    Raises:
        RuntimeError: It made fewer than there are examples in a prompt.
    """
    if len(history):
        parts = history.chunks("solution", "origin")
        rows = [row for part in parts for row in zip(part["solution"], part["origin"], strict=True)]
        return replace(writing, seeds=tuple(str(text) for text, origin in rows if origin == "initial"))
    texts, reasons = from_nothing(writing, writer, seeds)
    if len(texts) < EXAMPLES:
        raise RuntimeError(f"zero-shot: {len(texts)} of {len(seeds)} texts were whole; {reasons}")
    return replace(writing, seeds=tuple(texts))
