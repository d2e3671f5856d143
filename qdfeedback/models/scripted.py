"""A language model that says what it was told to: for tests, and to try an experiment without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qdfeedback.models.language import (
    CUT_OFF,
    DEFAULT,
    EMPTY,
    Choices,
    Completions,
    Sampling,
    Usage,
    end_at,
    same_number,
)
from qdfeedback.types import Ints


@dataclass(frozen=True)
class Scripted:
    """A model made of two functions.

    Attributes:
        write: prompt, seed → text. Words count as tokens.
        judge: prompt, options → how likely each is, or its weight; None = nothing can be said.
        name: which script.
    """

    write: Callable[[str, int], str]
    judge: Callable[[str, Sequence[str]], Sequence[float] | None]
    name: str = "scripted"

    def complete(self, prompts: Sequence[str], seeds: Ints, sampling: Sampling = DEFAULT) -> Completions:
        """Returns what the script writes, up to a stop or the token limit."""
        texts: list[str] = []
        reasons: list[str | None] = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            text, _ = end_at(self.write(prompt, int(seed)), sampling.stop)
            words = text.split(" ")
            texts.append(" ".join(words[: sampling.max_tokens]))
            reasons.append(EMPTY if not text.strip() else CUT_OFF if len(words) > sampling.max_tokens else None)
        read, written = (sum(len(text.split()) for text in side) for side in (prompts, texts))
        return Completions(tuple(texts), tuple(reasons), Usage(len(prompts), read, written))

    def choose(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> Choices:
        """Returns the logarithms of what the script finds likely."""
        found = np.full((len(prompts), same_number(options, len(prompts))), np.nan)
        for row, (prompt, given) in enumerate(zip(prompts, options, strict=True)):
            likely = self.judge(prompt, given)
            if likely is not None:
                with np.errstate(divide="ignore"):
                    found[row] = np.log(np.asarray(likely, dtype=float))
        reasons = tuple("the script says nothing" if np.isnan(row).any() else None for row in found)
        return Choices(found, reasons, Usage(len(prompts), sum(len(prompt.split()) for prompt in prompts), 0))
