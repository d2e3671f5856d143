"""How well pictures fit a prompt, from embeddings: CLIP score, PickScore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qdfeedback.types import Floats, Scores
from qdfeedback.values import no_string


@dataclass(frozen=True)
class Alignment:
    """The cosine between pictures and a text, times a factor.

    Attributes:
        columns: of the features, which hold the pictures' embeddings, each of length 1.
        text: (columns,) the text's embedding, of length 1.
        scale: 1 gives the cosine, 100 the CLIP score (Hessel 2021) and PickScore with its model (Kirstain 2023).
    """

    columns: tuple[int, ...]
    text: Floats
    scale: float = 100.0

    def score(self, features: Floats) -> Scores:
        """Returns the (n,) scores of (n, d) features, without doubt; NaN where an embedding is."""
        mean = features[:, self.columns] @ np.asarray(self.text, dtype=np.float32) * np.float32(self.scale)
        return Scores(mean, np.zeros(len(mean), dtype=np.float32))


def alignment(names: Sequence[str], columns: Sequence[str], text: Floats, *, scale: float = 100.0) -> Alignment:
    """Returns the score of named columns.

    Raises:
        ValueError: A column is not there, the text has another width, or it says the same of everything.
    """
    no_string(names, "names")
    no_string(columns, "columns")
    if missing := [name for name in columns if name not in names]:
        raise ValueError(f"there is no column {missing[0]!r}")
    if np.shape(text) != (len(columns),):
        raise ValueError(f"text must have shape {(len(columns),)}, got {np.shape(text)}")
    if not np.isfinite(text).all() or not np.any(text):
        raise ValueError("text must be a finite embedding that is not 0: everything would have one score")
    return Alignment(tuple(list(names).index(name) for name in columns), np.asarray(text), scale)


def published_objective(scores: Scores) -> Floats:
    """Returns the (n,) objective that the QDHF code makes of CLIP scores s: 10 (10 - 100 / s); 30 gives 66.7.

    It has a pole at 0: of scores that are not positive, which CLIP hardly gives, it is -inf, and they enter no archive.
    """
    positive = np.where(scores.mean > 0, scores.mean, np.nan)
    found: Floats = np.where(scores.mean <= 0, -np.inf, 10 * (10 - 100 / positive))
    return found
