"""AI feedback as features: what models say about texts or pictures, as named columns (QDAIF, Bradley 2024).

An attribute is a question with given answers. Judges are asked for the probability of each answer, in both orders where
there is an order, and what they say becomes one column or several:

    two answers      one column: the probability of the first
    more answers     a column for each: its probability
    a rating         one column: the expected value
    a category       one column: the number of the likeliest answer, from 0

Columns hold what judges said, as they said it. How it is to be read in the light of what people say
(`feedback.calibration`) is a matter of the map that is laid over them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from qdfeedback.files import called
from qdfeedback.models.failing import Failing, is_servers
from qdfeedback.models.frames import ask, rate
from qdfeedback.models.language import LEAST_MASS, LanguageModel, SeeingModel
from qdfeedback.text_files import read_json, why
from qdfeedback.types import Artifacts, Floats
from qdfeedback.values import a_record, a_text, brief, texts

LEAST = -50.0
"""Logarithm of a probability that a judge rounds to 0."""

Kind = Literal["probability", "rating", "category"]


@dataclass(frozen=True)
class Attribute:
    """A question about a text or a picture.

    Attributes:
        name: of its column.
        question: without the answers; they are added.
        answers: what can be answered; for a rating "1" to the highest.
        kind: what becomes of the probabilities.
        examples: texts with their answers, shown before the question (few-shot).
        swap: ask a second time with the answers the other way round, and average: judges prefer a place.
    """

    name: str
    question: str
    answers: tuple[str, ...] = ("yes", "no")
    kind: Kind = "probability"
    examples: tuple[tuple[str, str], ...] = ()
    swap: bool = True

    def __post_init__(self) -> None:
        """Refuses what cannot be asked."""
        a_text(self.name, "the name of an attribute")
        a_text(self.question, f"attribute {brief(self.name)}: question")
        texts(self.answers, f"attribute {brief(self.name)}: answers", least=2)
        if self.kind not in get_args(Kind):
            raise ValueError(
                f"attribute {brief(self.name)}: kind must be one of {get_args(Kind)}, got {brief(self.kind)}"
            )
        if not isinstance(self.swap, bool):
            raise ValueError(f"attribute {brief(self.name)}: swap must be true or false, got {brief(self.swap)}")
        if self.kind == "rating" and self.answers != tuple(str(i + 1) for i in range(len(self.answers))):
            raise ValueError(f"rating {brief(self.name)} needs the answers '1', '2', …, got {brief(self.answers)}")
        for one in _pairs(self.examples, f"attribute {brief(self.name)}: examples"):
            if one[1] not in self.answers:
                raise ValueError(
                    f"attribute {brief(self.name)} has an example answered {brief(one[1])}, which is no answer"
                )

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns."""
        if self.kind == "probability" and len(self.answers) > 2:
            return tuple(f"{self.name}={answer}" for answer in self.answers)
        return (self.name,)

    def prompts(self, text: str | None) -> list[str]:
        """Returns the prompts about a text, or about a picture that is shown: one for each order of the answers."""
        if self.kind == "rating":
            return [self._with_examples(text, self.answers)]
        orders = [self.answers, self.answers[::-1]] if self.swap else [self.answers]
        return [self._with_examples(text, order) for order in orders]

    def values(self, probabilities: Floats) -> Floats:
        """Returns (n, columns) values of (n, answers) probabilities."""
        if self.kind == "rating":
            return probabilities @ np.arange(1.0, len(self.answers) + 1)[:, None]
        if self.kind == "category":
            likeliest = np.where(np.isnan(probabilities).any(axis=1), np.nan, probabilities.argmax(axis=1))
            return likeliest[:, None]
        return probabilities if len(self.answers) > 2 else probabilities[:, :1]

    def _with_examples(self, text: str | None, order: Sequence[str]) -> str:
        shown = [self._asked(example, order) + answer for example, answer in self.examples]
        return "\n\n".join([*shown, self._asked(text, order)])

    def _asked(self, text: str | None, order: Sequence[str]) -> str:
        return (
            rate(self.question, len(self.answers), text) if self.kind == "rating" else ask(self.question, order, text)
        )


@dataclass(frozen=True)
class Attributes:
    """What judges say about texts, or pictures.

    Attributes:
        attributes: the questions.
        judges: language models, for pictures those that see; what several say is averaged as log-odds.
        reasons: why how many values are missing, counted as they come.
        files: artifacts → PNG files that the judges look at; None = artifacts are texts.
        failing: what judges' servers left without a value, and why.
    """

    attributes: tuple[Attribute, ...]
    judges: tuple[LanguageModel, ...] | tuple[SeeingModel, ...]
    reasons: Counter[str] = field(default_factory=Counter)
    files: Callable[[Artifacts], Sequence[bytes]] | None = None
    failing: Failing = field(default_factory=lambda: Failing("candidates"), repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuses columns of one name, and examples where there can be none."""
        if twice := [name for name, count in Counter(self.names).items() if count > 1]:
            raise ValueError(f"attributes must have names of their own, got {twice[0]!r} twice")
        if self.files is not None and (wrong := [one.name for one in self.attributes if one.examples]):
            raise ValueError(f"attribute {wrong[0]!r} has examples, which are texts: it cannot be asked about pictures")

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of all attributes, in their order."""
        return tuple(name for attribute in self.attributes for name in attribute.columns)

    def encode(self, artifacts: Artifacts) -> Floats:
        """Returns (n, columns) float32 of n artifacts; NaN = a judge gave no clear answer, and `reasons` counts why.

        Raises:
            MostFailError: More than half of all artifacts had no answer for one reason of a judge's server.
        """
        if not len(artifacts):
            return np.empty((0, len(self.names)), dtype=np.float32)
        lost: list[str | None] = [None] * len(artifacts)
        said = [self._log_probabilities(judge, artifacts, lost) for judge in self.judges]
        self.failing.add(lost, ", ".join(judge.name for judge in self.judges))
        columns = []
        for number, attribute in enumerate(self.attributes):
            columns.append(attribute.values(_normalised(np.mean([one[number] for one in said], axis=0))))
        found: Floats = np.concatenate(columns, axis=1).astype(np.float32)
        return found

    def state(self) -> dict[str, Any]:
        """Returns its reasons, as JSON."""
        return dict(self.reasons)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on counting from a state."""
        self.reasons.clear()
        self.reasons.update(state)

    def _log_probabilities(self, judge: Any, artifacts: Artifacts, lost: list[str | None]) -> list[Floats]:
        """Returns for each attribute (n, answers) log-probabilities up to a constant, averaged over orders.

        In `lost` it notes the first reason of the server's why an artifact had no answer.
        """
        found = []
        files = None if self.files is None else self.files(artifacts)
        for attribute in self.attributes:  # each with its own number of answers
            asked = [attribute.prompts(None if files is not None else text) for text in artifacts]
            prompts = [prompt for of_one in asked for prompt in of_one]
            options = [attribute.answers] * len(prompts)
            if files is None:
                choices = judge.choose(prompts, options)
            else:
                shown = [[file] for file, of_one in zip(files, asked, strict=True) for _ in of_one]
                choices = judge.look(prompts, options, shown)
            logs = choices.logprobs.reshape(len(artifacts), -1, len(attribute.answers))
            mass = np.exp(logs).sum(axis=2)
            unclear = mass < LEAST_MASS
            self.reasons.update(reason for reason in choices.reasons if reason is not None)
            places = [i for i, of_one in enumerate(asked) for _ in of_one]
            for place, reason in zip(places, choices.reasons, strict=True):
                lost[place] = lost[place] or (reason if reason and is_servers(reason) else None)
            self.reasons[f"{attribute.name}: unclear answers"] += int(np.count_nonzero(unclear))
            logs = np.where(unclear[..., None], np.nan, np.maximum(logs, LEAST))
            found.append(logs.mean(axis=1))  # of logarithms: a preference for one place goes out exactly
        return found


def read_attributes(path: Path) -> tuple[Attribute, ...]:
    """Returns the attributes that a JSON file lists: objects with name, question and answers, and maybe more.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no such list, or one cannot be asked; the message names the file and which of them.
    """
    found = read_json(path)
    try:
        if not isinstance(found, list) or not found:
            raise ValueError(f"it holds {'an empty list' if found == [] else called(type(found))}")
        attributes = tuple(_attribute(one, f"number {number}") for number, one in enumerate(found, 1))
        if twice := [name for name, count in Counter(one.name for one in attributes).items() if count > 1]:
            raise ValueError(f"{brief(twice[0])} stands there twice")
    except ValueError as error:
        raise ValueError(f"{path} must list objects with name, question and answers: {why(error)}") from error
    return attributes


def _attribute(value: Any, where: str) -> Attribute:
    known = [one.name for one in fields(Attribute)]
    record = a_record(value, where, known=known, needed=("name", "question", "answers"))
    try:
        answers, examples = texts(record["answers"], "answers"), _pairs(record.get("examples", ()), "examples")
        return Attribute(**record | {"answers": answers, "examples": examples})
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _pairs(value: Any, name: str) -> tuple[tuple[str, str], ...]:
    """Returns examples: texts with their answers.

    Raises:
        ValueError: They are none.
    """
    if not isinstance(value, list | tuple) or any(not isinstance(one, list | tuple) or len(one) != 2 for one in value):
        raise ValueError(f'{name} must be a list of pairs, ["text", "answer"], got {brief(value)}')
    return tuple((a_text(text, f"{name}: a text"), a_text(answer, f"{name}: an answer")) for text, answer in value)


def _normalised(logs: Floats) -> Floats:
    """Returns probabilities that sum to 1 along the last axis."""
    weights = np.exp(logs - logs.max(axis=-1, keepdims=True))
    found: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return found
