"""Opinions as a domain, with the truth of their grammar."""

from __future__ import annotations

from collections.abc import Sequence

from domains.opinions.grammar import read
from domains.opinions.prompts import LINE, QUALITY, SEEDS, SENTIMENT, WHAT
from domains.writing import asked, probabilities
from qdfeedback.models.frames import STOPS
from qdfeedback.models.language import Sampling
from qdfeedback.types import Floats
from qdfeedback.writing import Writing


def truth(texts: Sequence[str]) -> Floats:
    """Returns (n, 2) quality (on topic) and sentiment (1 = positive) as the grammar sees them.

    NaN where it does not know half of the sentences.
    """
    return probabilities([read(text) for text in texts], ("on_topic", "positive"))


OPINIONS = Writing(
    WHAT, LINE, SEEDS, asked("quality", QUALITY), (asked("sentiment", SENTIMENT),),
    Sampling(max_tokens=140, temperature=0.8, stop=STOPS), truth=truth, levels=12, best=4.0,
)  # fmt: skip
