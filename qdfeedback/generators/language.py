"""Texts by a language model: few-shot crossover, rewriting, guided and directed change (QDAIF, Bradley 2024).

An operator says what the model is asked, a `Written` asks it:

    Written(model, Near(line), sampling)                    examples from neighbouring cells: "LMX-near"
    Beginning(Written(model, Shuffled(line, seeds), …), Written(model, Near(line), …), n=50)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from qdfeedback.generators.composed import recall_parts, restore_parts, states_of
from qdfeedback.generators.similar import Words
from qdfeedback.generators.wording import rewrite, rewrite_in_direction, rewrite_towards, write
from qdfeedback.models.failing import Failing
from qdfeedback.models.frames import STOPS, few_shot
from qdfeedback.models.language import LanguageModel, Sampling, no_text
from qdfeedback.types import Floats, Generator, Ints, Outcome, Placement, Proposal
from qdfeedback.values import no_string

EXAMPLES = 3
NEAR_DUPLICATE = "near-duplicate of an earlier text"
ENDS = ".!?…\"'”’“)»。！？」』．）؟۔।॥။។"
NOT_ENOUGH = "the archive holds {n} elites and {line!r} needs {wanted} examples: begin with another operator"


@dataclass(frozen=True)
class Requests:
    """What the model is asked.

    Attributes:
        prompts: n.
        parents: (n, p) int64 ids of the candidates that a prompt was made from, -1 = none.
    """

    prompts: Sequence[str]
    parents: Ints


class Operator(Protocol):
    """A way of making new texts from those that are there."""

    @property
    def name(self) -> str:
        """The origin of its candidates."""
        ...

    def __call__(self, placement: Placement, n: int, rng: np.random.Generator) -> Requests:
        """Returns n prompts."""
        ...


class Written:
    """What a language model writes when an operator asks it.

    A text that is empty or cut off, or that says nearly what an earlier one says, is a candidate that could not be
    made: it is counted, and no judge is asked about it.

    Args:
        model: writes.
        operator: makes prompts; one that has a `tell` learns what became of its texts.
        sampling: how text is drawn.
        seen: the texts so far, shared with other generators; None = duplicates are welcome.
        alike: ROUGE-L from which a text is a near-duplicate.
    """

    def __init__(
        self,
        model: LanguageModel,
        operator: Operator,
        sampling: Sampling = Sampling(stop=STOPS),  # noqa: B008 - frozen
        *,
        seen: Words | None = None,
        alike: float = 0.95,
    ) -> None:
        self.model, self.operator, self.sampling = model, operator, sampling
        self.seen, self.alike = seen, alike
        self.failing = Failing("texts")

    def ask(self, placement: Placement, n: int, rng: np.random.Generator) -> Proposal:
        """Returns n texts, one for each prompt of the operator.

        Raises:
            MostFailError: More than half of all texts failed for one reason of the model's server.
        """
        requests = self.operator(placement, n, rng)
        found = self.model.complete(requests.prompts, rng.integers(2**31, size=n), self.sampling)
        self.failing.add(found.reasons, self.model.name)
        texts = [tidy(text) for text in found.texts]
        errors = [reason or self._duplicate(text) for text, reason in zip(texts, found.reasons, strict=True)]
        origin = np.full(n, self.operator.name)
        return Proposal(np.array(texts, dtype=str), requests.parents, origin, errors)

    @property
    def needs_elites(self) -> bool:
        """Whether the operator needs elites from the beginning."""
        return bool(getattr(self.operator, "needs_elites", False))

    def tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """Lets the operator learn from what became of its texts."""
        if hasattr(self.operator, "tell"):
            self.operator.tell(proposal, outcome)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Returns what the operator has learned."""
        own = self.operator.state() if hasattr(self.operator, "state") else None
        return {}, {"operator": own}

    def restore(self, placement: Placement, arrays: dict[str, NDArray[Any]], state: dict[str, Any]) -> None:  # noqa: ARG002
        """Sets the operator to where `state` found it; `recall` brings back the texts seen."""
        if state["operator"] is not None:
            self.operator.restore(state["operator"])  # type: ignore[attr-defined]

    def recall(self, history: Texts) -> None:
        """Remembers the texts of a run that begins or goes on, those that a generator like it made."""
        if self.seen is not None:
            remember(self.seen, history)

    def _duplicate(self, text: str) -> str | None:
        if self.seen is None:
            return None
        if self.seen.likest(text) >= self.alike:
            return NEAR_DUPLICATE
        self.seen.add(text)
        return None


def was_made(error: str | None) -> bool:
    """True for the error of a candidate that a `Written` made, and remembered, whatever became of it later."""
    return error != NEAR_DUPLICATE and not no_text(error)


class Texts(Protocol):
    """What is remembered: a history of texts."""

    def __len__(self) -> int:
        """The number of candidates."""
        ...

    def chunks(self, *columns: str, start: int = 0) -> Iterator[dict[str, NDArray[Any]]]:
        """Yields the named columns in order, as dicts of arrays."""
        ...


def remember(seen: Words, history: Texts) -> None:
    """Makes `seen` hold every text of a history that its generators made, however many of them ask for it."""
    for part in history.chunks("solution", "error", start=seen.recalled):
        for text, error in zip(part["solution"], part["error"], strict=True):
            if was_made(error):
                seen.add(str(text))
    seen.recalled = len(history)


def tidy(text: str) -> str:
    """Returns a text without stray blanks; one of a single line ends as a sentence does (Bradley 2024)."""
    lines = [" ".join(line.split()) for line in text.strip().splitlines()]
    whole = "\n".join(lines)
    return whole if len(lines) != 1 or whole[-1] in ENDS else f"{whole}."


class Beginning:
    """One generator for the first candidates, another for the rest.

    Args:
        first: needs no elites.
        then: what follows.
        n: candidates of the first; it goes on in whole batches, and until there are `elites`.
        elites: how many the second needs.
    """

    def __init__(self, first: Generator, then: Generator, *, n: int, elites: int = EXAMPLES) -> None:
        self.parts, self.n, self.elites = (first, then), n, elites
        self.asked, self.turn = 0, 0

    def ask(self, placement: Placement, n: int, rng: np.random.Generator) -> Proposal:
        """Returns n candidates of whoever's turn it is."""
        self.turn = int(self.asked >= self.n and len(placement.archive) >= self.elites)
        self.asked += n
        return self.parts[self.turn].ask(placement, n, rng)

    def tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """Hands the outcome to whoever made the candidates."""
        self.parts[self.turn].tell(proposal, outcome)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Returns the number of candidates so far, and the parts' own state."""
        arrays, own = states_of(self.parts)
        return arrays, {"asked": self.asked, "parts": own}

    def restore(self, placement: Placement, arrays: dict[str, NDArray[Any]], state: dict[str, Any]) -> None:
        """Goes on from there."""
        self.asked = int(state["asked"])
        restore_parts(self.parts, placement, arrays, state["parts"])

    def recall(self, history: Texts) -> None:
        """Tells both of a run that begins or goes on."""
        recall_parts(self.parts, history)


# --- operators: lists of similar texts


@dataclass(frozen=True)
class ZeroShot:
    """The bare line, with no example.

    Attributes:
        line: what stands before each text.
        name: of the operator.
    """

    line: str
    name: str = "zero-shot"

    def __call__(self, placement: Placement, n: int, rng: np.random.Generator) -> Requests:  # noqa: ARG002
        """Returns n times the same prompt."""
        return Requests([few_shot(self.line, ())] * n, np.full((n, 1), -1))


@dataclass(frozen=True)
class Seeds:
    """Always the same examples, in the same order or in a new one for each text.

    Attributes:
        line: what stands before each text.
        texts: the examples.
        shuffle: draw an order.
        name: of the operator.
    """

    line: str
    texts: tuple[str, ...]
    shuffle: bool = True
    name: str = "few-shot"

    def __post_init__(self) -> None:
        """Refuses a text in place of several."""
        no_string(self.texts, "texts")

    def __call__(self, placement: Placement, n: int, rng: np.random.Generator) -> Requests:  # noqa: ARG002
        """Returns n prompts; parents are the first candidates, which the examples are."""
        m = len(self.texts)
        rows = np.array([rng.permutation(m)[:EXAMPLES] if self.shuffle else np.arange(m)[:EXAMPLES] for _ in range(n)])
        prompts = [few_shot(self.line, [self.texts[i] for i in row]) for row in rows]
        return Requests(prompts, rows.reshape(n, -1))


@dataclass(frozen=True)
class Near:
    """Examples from a cell and those around it: LMX-near (Bradley 2024).

    A cell is drawn uniformly, then `EXAMPLES` different elites, each with a weight of 1 / (1 + d³), d the distance
    between its cell and the one drawn, in cells.

    Attributes:
        line: what stands before each text.
        name: of the operator.
    """

    line: str
    name: str = "lmx-near"

    def __call__(self, placement: Placement, n: int, rng: np.random.Generator) -> Requests:
        """Returns n prompts.

        Raises:
            RuntimeError: The archive holds too few elites.
        """
        ids, cells = _placed(placement, self.line, EXAMPLES)
        weights = 1 / (1 + np.linalg.norm(cells[:, None] - cells[None], axis=2) ** 3)
        weights /= weights.sum(axis=1, keepdims=True)
        around = rng.integers(len(ids), size=n)
        rows = np.array([rng.choice(len(ids), EXAMPLES, replace=False, p=weights[cell]) for cell in around])
        return _continued(placement, self.line, ids[rows])


@dataclass(frozen=True)
class Replace:
    """An elite's own examples with one of them replaced: LMX-replace (Bradley 2024).

    Attributes:
        line: what stands before each text.
        parents: ids (n,) → (n, p) the examples that each was made from, -1 = none.
        pool: placement → ids of the texts that may come in: the best few of each cell, say.
        name: of the operator.
    """

    line: str
    parents: Callable[[Ints], Ints]
    pool: Callable[[Placement], Ints]
    name: str = "lmx-replace"

    def __call__(self, placement: Placement, n: int, rng: np.random.Generator) -> Requests:
        """Returns n prompts.

        Raises:
            RuntimeError: The archive holds too few elites.
        """
        ids, _ = _placed(placement, self.line, EXAMPLES)
        chosen, pool = ids[rng.integers(len(ids), size=n)], self.pool(placement)
        rows = np.full((n, EXAMPLES), -1, dtype=np.int64)
        for row, known in zip(rows, self.parents(chosen), strict=True):
            kept = [one for one in known if one >= 0][:EXAMPLES]
            row[: len(kept)] = kept
            slot = int(rng.integers(EXAMPLES))
            for place in [slot, *np.flatnonzero(row < 0)]:
                row[place] = rng.choice(np.setdiff1d(pool, row) if len(np.setdiff1d(pool, row)) else pool)
        return _continued(placement, self.line, rows)


# --- operators: texts changed on request


@dataclass(frozen=True)
class Rewrite:
    """Another text, inspired by an elite: LMX-rewrite (Bradley 2024).

    Attributes:
        what: kind of text.
        seed: always inspired by this text instead, the first candidate: the paper's ablation without evolution.
        name: of the operator.
    """

    what: str
    seed: str | None = None
    name: str = "rewrite"

    @property
    def needs_elites(self) -> bool:
        """Whether there must be elites from the beginning."""
        return self.seed is None

    def __call__(self, placement: Placement, n: int, rng: np.random.Generator) -> Requests:
        """Returns n prompts."""
        if self.seed is not None:
            return Requests([rewrite(self.what, self.seed)] * n, np.zeros((n, 1), dtype=np.int64))
        ids, _ = _placed(placement, self.what, 1)
        chosen = ids[rng.integers(len(ids), size=n)]
        return Requests([rewrite(self.what, text) for text in _texts(placement, chosen)], chosen[:, None])


@dataclass(frozen=True)
class Asked:
    """A text asked for outright, from nothing: a baseline (random and targeted poems, Bradley 2024).

    Attributes:
        what: kind of text.
        words: as in `Guided`: what it is to be, drawn uniformly; none = nothing is said.
        name: of the operator.
    """

    what: str
    words: tuple[Callable[[int], str], ...] = ()
    name: str = "asked"

    def __call__(self, placement: Placement, n: int, rng: np.random.Generator) -> Requests:
        """Returns n prompts."""
        aims = _aims(placement, n, rng)
        wishes = [[word(int(cell)) for word, cell in zip(self.words, aim, strict=False)] for aim in aims]
        return Requests([write(self.what, one) for one in wishes], np.full((n, 1), -1))


@dataclass(frozen=True)
class Guided:
    """An elite rewritten towards a cell: LMX-guided (Bradley 2024).

    Attributes:
        what: kind of text.
        words: for each measure, the cell's number along it → what a text is called that lies there.
        name: of the operator.
    """

    what: str
    words: tuple[Callable[[int], str], ...]
    name: str = "guided"
    needs_elites: ClassVar[bool] = True

    def __call__(self, placement: Placement, n: int, rng: np.random.Generator) -> Requests:
        """Returns n prompts, each towards a cell drawn uniformly from all."""
        ids, _ = _placed(placement, self.what, 1)
        chosen = ids[rng.integers(len(ids), size=n)]
        aims = _aims(placement, n, rng)
        prompts = [
            rewrite_towards(self.what, [word(int(cell)) for word, cell in zip(self.words, aim, strict=True)], text)
            for aim, text in zip(aims, _texts(placement, chosen), strict=True)
        ]
        return Requests(prompts, chosen[:, None])


@dataclass(frozen=True)
class Directional:
    """An elite rewritten to be more of one answer or of the other along each measure (as PLAN-QD does).

    Attributes:
        what: kind of text.
        answers: for each measure, what a text is more of where the measure rises, and where it falls.
        name: of the operator.
    """

    what: str
    answers: tuple[tuple[str, str], ...]
    name: str = "directional"
    needs_elites: ClassVar[bool] = True

    def __call__(self, placement: Placement, n: int, rng: np.random.Generator) -> Requests:
        """Returns n prompts."""
        ids, _ = _placed(placement, self.what, 1)
        chosen = ids[rng.integers(len(ids), size=n)]
        falls = rng.integers(2, size=(n, len(self.answers)))
        prompts = [
            rewrite_in_direction(self.what, [pair[i] for pair, i in zip(self.answers, row, strict=True)], text)
            for row, text in zip(falls, _texts(placement, chosen), strict=True)
        ]
        return Requests(prompts, chosen[:, None])


def _aims(placement: Placement, n: int, rng: np.random.Generator) -> Ints:
    """Returns (n, k) cells drawn uniformly."""
    return np.stack([rng.integers(cells, size=n) for cells in placement.archive.dims], axis=1)


def _continued(placement: Placement, line: str, rows: Ints) -> Requests:
    """Returns the prompts that hold the texts of (n, p) candidates."""
    used, place = np.unique(rows, return_inverse=True)
    texts = _texts(placement, used)
    prompts = [few_shot(line, [texts[i] for i in row]) for row in place.reshape(rows.shape)]
    return Requests(prompts, rows)


def _texts(placement: Placement, ids: Ints) -> list[str]:
    return [str(text) for text in placement.resolved(ids)]


def _placed(placement: Placement, line: str, wanted: int) -> tuple[Ints, Floats]:
    """Returns (n,) ids of the elites, and (n, k) the numbers of their cells along each measure."""
    archive = placement.archive
    if len(archive) < wanted:
        raise RuntimeError(NOT_ENOUGH.format(n=len(archive), line=line, wanted=wanted))
    ids, index, measures = archive.data(["id", "index", "measures"], return_type="tuple")
    dims = getattr(archive, "dims", None)
    if dims is not None:
        return ids, np.stack(np.unravel_index(index, dims), axis=1).astype(float)
    width = np.asarray(archive.upper_bounds) - np.asarray(archive.lower_bounds)  # Voronoi cells: by their mean size
    return ids, measures / width * archive.cells ** (1 / archive.measure_dim)
