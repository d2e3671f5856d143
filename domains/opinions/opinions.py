"""Opinions as a domain, with the truth of their grammar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from domains.opinions.grammar import read
from domains.opinions.prompts import LINE, QUALITY, SEEDS, SENTIMENT, WHAT
from domains.writing import Writing, asked, logistic
from qdfeedback.models.frames import STOPS
from qdfeedback.models.language import Sampling
from qdfeedback.types import Floats


def truth(texts: Sequence[str]) -> Floats:
    """Returns (n, 2) quality (on topic) and sentiment (1 = positive) as the grammar sees them.

    NaN where it does not know half of the sentences.
    """
    found = [read(text) for text in texts]
    columns = [logistic([getattr(one, name) for one in found]) for name in ("on_topic", "positive")]
    known = np.array([one.known >= 0.5 for one in found])
    return np.where(known[:, None], np.stack(columns, axis=1), np.nan)


OPINIONS = Writing(
    WHAT, LINE, SEEDS, asked("quality", QUALITY), (asked("sentiment", SENTIMENT),),
    Sampling(max_tokens=140, temperature=0.8, stop=STOPS), truth=truth, levels=12, best=4.0,
)  # fmt: skip
