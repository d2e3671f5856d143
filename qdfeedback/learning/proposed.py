"""Questions that a language model proposes as axes, and which of them to keep.

A question is kept
    if its answers spread: entropy over the archive's cells, 1 = evenly over all of them;
    if it does not repeat one kept before it: rank correlation, the questions that spread most come first;
    if it orders people's triplets better than chance, where there are any: 95 % interval (Wilson).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qdfeedback.bounds import Share
from qdfeedback.diversity.bins import Bins
from qdfeedback.encoders.attributes import Attribute
from qdfeedback.feedback.agreement import proportion
from qdfeedback.models.frames import instruct
from qdfeedback.models.language import LanguageModel, Sampling
from qdfeedback.types import Floats, Ints
from qdfeedback.writing import EDGES_2D

LINE = re.compile(r"[-*\d.) ]+(?P<question>[^?\n]{5,200}\?) \((?P<first>[^()\n]{1,40}) or (?P<second>[^()\n]{1,40})\)")


@dataclass(frozen=True)
class Found:
    """A proposed question and what is known about it.

    Attributes:
        attribute: the question.
        spread: entropy of its answers over cells, 0 to 1.
        repeats: the kept question that it repeats, "" = none.
        agreement: share of triplets that it orders as people do, and the lower end of its interval; NaN = none asked.
        kept: it passed.
    """

    attribute: Attribute
    spread: float
    repeats: str
    agreement: tuple[float, float]
    kept: bool


def propose(model: LanguageModel, topic: str, asks: int, seed: int) -> list[Attribute]:
    """Returns the questions in what the model says, each once."""
    seeds = np.random.default_rng(seed).integers(2**31, size=asks)
    said = model.complete([instruct(topic)] * asks, seeds, Sampling(max_tokens=400, temperature=0.9))
    found: dict[tuple[str, frozenset[str]], Attribute] = {}
    for text in said.texts:
        for line in LINE.finditer(text):
            answers = (line["first"].strip(), line["second"].strip())
            key = (line["question"].strip().casefold(), frozenset(one.casefold() for one in answers))
            if len(key[1]) == 2 and all(answers) and key not in found:
                found[key] = Attribute(f"axis{len(found) + 1}", line["question"].strip(), answers)
    return list(found.values())


def spread(values: Floats) -> float:
    """Returns the entropy of probabilities over the cells of an archive, 1 = evenly over all; NaN are left out."""
    from scipy.stats import entropy

    cells = Bins((0,), (EDGES_2D,))
    place = cells.project(values[np.isfinite(values)][:, None])[:, 0].astype(int).clip(max=cells.dims[0] - 1)
    counts = np.bincount(place, minlength=cells.dims[0])
    return float(entropy(counts) / np.log(cells.dims[0])) if len(place) else 0.0


def agreement(values: Floats, triplets: Ints) -> tuple[float, float]:
    """Returns the share of triplets that a column orders as people do, and the lower end of its 95 % interval."""
    if not len(triplets):
        return float("nan"), float("nan")
    anchor, near, far = values[triplets].astype(float).T
    apart = np.abs(anchor - far) - np.abs(anchor - near)
    apart = apart[np.isfinite(apart)]
    if not len(apart):
        return float("nan"), float("nan")
    right = (apart > 0).mean() + (apart == 0).mean() / 2  # what cannot tell is right by half
    return float(right), proportion(round(right * len(apart)), len(apart)).low


def choose(
    attributes: Sequence[Attribute], features: Floats, triplets: Ints, *, least_spread: Share, most_alike: Share
) -> list[Found]:
    """Returns what became of each question, those that spread most first.

    Args:
        attributes: q questions.
        features: (n, q) their answers about n texts.
        triplets: (t, 3) rows of texts: anchor, near, far; none where nobody was asked.
        least_spread: entropy over cells that a question needs.
        most_alike: rank correlation with one kept before, at most.
    """
    spreads = [spread(features[:, i]) for i in range(len(attributes))]
    kept: list[int] = []
    found = []
    for i in sorted(range(len(attributes)), key=lambda i: -spreads[i]):
        like = next((j for j in kept if _alike(features[:, i], features[:, j]) > most_alike), None)
        agrees = agreement(features[:, i], triplets)
        keep = spreads[i] >= least_spread and like is None and not agrees[1] <= 0.5
        kept += [i] if keep else []
        repeats = "" if like is None else attributes[like].question
        found.append(Found(attributes[i], spreads[i], repeats, agrees, keep))
    return found


def _alike(one: Floats, two: Floats) -> float:
    from scipy.stats import spearmanr

    both = np.isfinite(one) & np.isfinite(two)
    if both.sum() < 3 or np.ptp(one[both]) == 0 or np.ptp(two[both]) == 0:
        return 0.0
    return float(abs(spearmanr(one[both], two[both]).statistic))
