"""Qualities made of others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdfeedback.types import Floats, Quality, Scores


@dataclass(frozen=True)
class Equal:
    """One score for everything that was measured: nothing is known of what is good.

    Attributes:
        columns: what was measured has these columns; all where there are none.
    """

    columns: tuple[int, ...] = ()

    def score(self, features: Floats) -> Scores:
        """Returns 0 for each of (n, d) features, NaN where a column is."""
        read = features[:, list(self.columns)] if self.columns else features
        mean = np.where(np.isfinite(read).all(axis=1), 0.0, np.nan)
        return Scores(mean, np.zeros(len(mean)))


@dataclass(frozen=True)
class OnColumns:
    """A quality that was fitted on some columns, applied to all of them.

    Attributes:
        indices: the columns that it reads.
        quality: (n, len(indices)) features → scores.
    """

    indices: tuple[int, ...]
    quality: Quality

    def score(self, features: Floats) -> Scores:
        """Returns the scores of (n, d) features."""
        return self.quality.score(features[:, list(self.indices)])


@dataclass(frozen=True)
class Shifted:
    """A quality with another zero: learned utilities have none, and a QD score needs one.

    Attributes:
        quality: any.
        zero: the score that becomes 0.
    """

    quality: Quality
    zero: float

    def score(self, features: Floats) -> Scores:
        """Returns the scores of (n, d) features."""
        found = self.quality.score(features)
        return Scores(found.mean - self.zero, found.std)
