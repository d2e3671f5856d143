"""What domains of texts share whose truth a grammar knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy.special import expit

from qdfeedback.encoders.attributes import Attribute
from qdfeedback.types import Floats


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
