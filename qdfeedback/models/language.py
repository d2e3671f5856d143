"""Language models: text in, text out, and how likely given answers are; in this process or on a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Protocol

from qdfeedback.bounds import Amount, Bounds, Count, check
from qdfeedback.types import Floats, Ints
from qdfeedback.values import no_string

EMPTY = "empty"
CUT_OFF = "cut off at the token limit"
FILTERED = "content filter"
REFUSED = "refused"
ONLY_THOUGHTS = "thinking in place of an answer"
TOO_LONG = "the prompt is too long"
NO_REPLY = "no reply: "
NO_NUMBERS = "what the model computes is no number"
LEAST_MASS = 0.5
"""Answers that are less likely than this together mean that a judge did not understand: they count for nothing."""


@dataclass(frozen=True)
class Sampling:
    """How text is drawn.

    Attributes:
        max_tokens: a text is cut off after so many.
        temperature: 0 = always the likeliest token.
        top_p: of the likeliest tokens, those that together have this probability.
        stop: a text ends before the first of these.
    """

    max_tokens: Count = 100
    temperature: Amount = 0.8
    top_p: Annotated[float, Bounds(above=0, most=1)] = 1.0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses settings that cannot be."""
        check(self, "")
        no_string(self.stop, "stop")
        if "" in self.stop:
            raise ValueError(f"stop must hold no empty string, got {self.stop!r}")


@dataclass(frozen=True)
class Usage:
    """What calls cost.

    Attributes:
        requests: that reached the model.
        prompt_tokens: read.
        completion_tokens: written.
        cached: calls that the disk answered, or another call of the same batch; they are in none of the other counts.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached: int = 0

    def __post_init__(self) -> None:
        """Refuses counts that cannot be: below 0 they would give money back."""
        if min(self.requests, self.prompt_tokens, self.completion_tokens, self.cached) < 0:
            raise ValueError(f"usage must not be below 0: {self}")

    def __add__(self, other: Usage) -> Usage:
        """Returns both together."""
        return Usage(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


@dataclass(frozen=True)
class Completions:
    """Texts for n prompts.

    Attributes:
        texts: n; "" where there is none.
        reasons: n; why a text is not as it should be, None = it is. A text that is cut off is still there.
        usage: of all.
    """

    texts: tuple[str, ...]
    reasons: tuple[str | None, ...]
    usage: Usage


@dataclass(frozen=True)
class Choices:
    """How likely k given answers are after n prompts.

    Attributes:
        logprobs: (n, k) natural logarithm of each answer's probability, as the model would write it next; NaN = not
            known. Answers that the model would hardly give have little: their sum tells whether it understood.
        reasons: n; why a row is NaN, None = it is not.
        usage: of all.
    """

    logprobs: Floats
    reasons: tuple[str | None, ...]
    usage: Usage


class LanguageModel(Protocol):
    """What writes text and knows how likely an answer is."""

    @property
    def name(self) -> str:
        """The model and its revision: another name where anything about its answers can differ."""
        ...

    def complete(self, prompts: Sequence[str], seeds: Ints, sampling: Sampling = ...) -> Completions:
        """Returns a text for each of n prompts.

        Args:
            prompts: n.
            seeds: (n,): with the same seed the same prompt has the same text, whatever else is in the batch.
            sampling: how text is drawn.
        """
        ...

    def choose(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> Choices:
        """Returns how likely each prompt's k options are.

        Args:
            prompts: n.
            options: n times k; the same k for all.
        """
        ...


class SeeingModel(Protocol):
    """What knows how likely an answer about pictures is."""

    @property
    def name(self) -> str:
        """The model and its revision: another name where anything about its answers can differ."""
        ...

    def look(
        self, prompts: Sequence[str], options: Sequence[Sequence[str]], pictures: Sequence[Sequence[bytes]]
    ) -> Choices:
        """Returns how likely each prompt's k options are.

        Args:
            prompts: n; they may call the pictures picture 1, 2, and so on.
            options: n times k; the same k for all.
            pictures: n times any number of PNG files.
        """
        ...


DEFAULT = Sampling()
_NO_TEXT = (NO_REPLY, EMPTY, CUT_OFF, FILTERED, REFUSED, ONLY_THOUGHTS, TOO_LONG, NO_NUMBERS)


def no_text(reason: str | None) -> bool:
    """Returns whether a reason is a model's why there is no text, or no whole one."""
    return (reason or "").startswith(_NO_TEXT)


def end_at(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """Returns the text up to the first stop, and whether there was one."""
    places = [place for one in stop if (place := text.find(one)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def same_number(options: Sequence[Sequence[str]], n: int) -> int:
    """Returns how many options each of n prompts has.

    Raises:
        ValueError: They are not as many for each, fewer than two, or not different.
    """
    for one in options:
        no_string(one, "the options of a prompt")
    sizes = {len(one) for one in options}
    if len(options) != n or len(sizes) > 1:
        raise ValueError(f"options must hold as many answers for each of {n} prompts, got {len(options)} with {sizes}")
    k = sizes.pop() if sizes else 0
    if n and (k < 2 or any(len(set(one)) < k or "" in one for one in options)):
        raise ValueError("each prompt needs two or more options that differ and are not empty")
    return k
