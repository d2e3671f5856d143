"""AI feedback as features: what language models say about texts, as named columns (QDAIF, Bradley 2024).

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
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from qdfeedback.models.frames import ask, rate
from qdfeedback.models.language import LanguageModel
from qdfeedback.types import Floats

LEAST_MASS = 0.5
"""Answers that are less likely than this together mean that the judge did not understand: the column is NaN."""

LEAST = -50.0
"""Logarithm of a probability that a judge rounds to 0."""

Kind = Literal["probability", "rating", "category"]


@dataclass(frozen=True)
class Attribute:
    """A question about a text.

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
        if len(self.answers) < 2 or len(set(self.answers)) < len(self.answers) or "" in self.answers:
            raise ValueError(f"attribute {self.name!r} needs two answers or more that differ, got {self.answers}")
        if self.kind == "rating" and self.answers != tuple(str(i + 1) for i in range(len(self.answers))):
            raise ValueError(f"rating {self.name!r} needs the answers '1', '2', …, got {self.answers}")
        if wrong := [answer for _, answer in self.examples if answer not in self.answers]:
            raise ValueError(f"attribute {self.name!r} has an example answered {wrong[0]!r}, which is no answer")

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns."""
        if self.kind == "probability" and len(self.answers) > 2:
            return tuple(f"{self.name}={answer}" for answer in self.answers)
        return (self.name,)

    def prompts(self, text: str) -> list[str]:
        """Returns the prompts about a text: one for each order of the answers."""
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

    def _with_examples(self, text: str, order: Sequence[str]) -> str:
        shown = [self._asked(example, order) + answer for example, answer in self.examples]
        return "\n\n".join([*shown, self._asked(text, order)])

    def _asked(self, text: str, order: Sequence[str]) -> str:
        return (
            rate(self.question, len(self.answers), text) if self.kind == "rating" else ask(self.question, order, text)
        )


@dataclass(frozen=True)
class Attributes:
    """What judges say about texts.

    Attributes:
        attributes: the questions.
        judges: language models; what several say is averaged as log-odds.
        reasons: why how many values are missing, counted as they come.
    """

    attributes: tuple[Attribute, ...]
    judges: tuple[LanguageModel, ...]
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of all attributes, in their order."""
        return tuple(name for attribute in self.attributes for name in attribute.columns)

    def encode(self, artifacts: Sequence[str]) -> Floats:
        """Returns (n, columns) float32 of n texts; NaN = a judge gave no clear answer, and `reasons` counts why."""
        if not artifacts:
            return np.empty((0, len(self.names)), dtype=np.float32)
        said = [self._log_probabilities(judge, artifacts) for judge in self.judges]
        columns = []
        for number, attribute in enumerate(self.attributes):
            columns.append(attribute.values(_normalised(np.mean([one[number] for one in said], axis=0))))
        found: Floats = np.concatenate(columns, axis=1).astype(np.float32)
        return found

    def _log_probabilities(self, judge: LanguageModel, texts: Sequence[str]) -> list[Floats]:
        """Returns for each attribute (n, answers) log-probabilities up to a constant, averaged over orders."""
        found = []
        for attribute in self.attributes:  # each with its own number of answers
            asked = [attribute.prompts(text) for text in texts]
            prompts = [prompt for of_text in asked for prompt in of_text]
            choices = judge.choose(prompts, [attribute.answers] * len(prompts))
            logs = choices.logprobs.reshape(len(texts), -1, len(attribute.answers))
            mass = np.exp(logs).sum(axis=2)
            unclear = mass < LEAST_MASS
            self.reasons.update(reason for reason in choices.reasons if reason is not None)
            self.reasons[f"{attribute.name}: unclear answers"] += int(np.count_nonzero(unclear))
            logs = np.where(unclear[..., None], np.nan, np.maximum(logs, LEAST))
            found.append(logs.mean(axis=1))  # of logarithms: a preference for one place goes out exactly
        return found


def _normalised(logs: Floats) -> Floats:
    """Returns probabilities that sum to 1 along the last axis."""
    weights = np.exp(logs - logs.max(axis=-1, keepdims=True))
    found: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return found
