"""The human QD score of QDAIF (Bradley 2024): how good people find a set, and how many kinds they find in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qdfeedback.feedback.agreement import Interval
from qdfeedback.feedback.answers import Answer
from qdfeedback.feedback.study import SIDED, Question, Study
from qdfeedback.study.analysis.answers import Item, code
from qdfeedback.study.analysis.statistics import both, widened
from qdfeedback.types import Floats

SAMPLES = 500


def human_qd(
    answers: Sequence[Answer], study: Study, known: Mapping[str, Item], *, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Returns the human QD score of each source's elites, for each rating question with each label question.

    The score is the sum, over the categories that people find in the set, of the mean rating there as a share of the
    highest rating, over the number of categories (Bradley 2024, App. A.1): 1 = all categories found, all rated the
    highest. A label counts with the rating by the same person, or with the item's mean rating where that person gave
    none. The interval is from drawing people and drawing items anew, NaN with fewer than two of either. Scales that
    begin below 0 have no score.
    """
    main = [answer for answer in answers if answer.given is not None and answer.task not in SIDED]
    rows = []
    for quality in [question for question in study.questions if question.task == "rating" and question.scale[0] >= 0]:
        for category in [question for question in study.questions if question.task == "label"]:
            for source in sorted({item.source or "" for item in known.values()}):
                of = [a for a in main if a.first in known and (known[a.first].source or "") == source]
                made = _set_of(of, quality, category)
                if made is not None:
                    found = sorted({str(answer.given) for answer in made[1]})
                    rows.append(
                        {
                            "source": source,
                            "rating": quality.name,
                            "label": category.name,
                            "items": len({answer.first for answer in made[1]}),
                            "found": found,
                            "missing": [option for option in category.options if option not in found],
                            "score": _over_people_and_items(made[0], rng=rng),
                        }
                    )
    return rows


@dataclass(frozen=True)
class _Set:
    """Ratings (r of them) and labels (l) of one source's elites, as numbers.

    Attributes:
        rated: (r, 3) item, person, rating.
        labelled: (l, 4) item, person, category, the person's own rating of the item, NaN = none.
        categories: how many there are.
        highest: rating.
    """

    rated: Floats
    labelled: Floats
    categories: int
    highest: float

    def score(self, *, people: Floats | None = None, items: Floats | None = None) -> float:
        """Returns the score, where each person and each item counts as often as said; NaN where no label counts."""
        weights = []
        for rows in (self.rated, self.labelled):
            of_people = 1.0 if people is None else people[rows[:, 1].astype(int)]
            of_items = 1.0 if items is None else items[rows[:, 0].astype(int)]
            weights.append(np.ones(len(rows)) * of_people * of_items)
        at, size = self.rated[:, 0].astype(int), 1 + int(max(self.rated[:, 0].max(), self.labelled[:, 0].max()))
        sums, counts = np.bincount(at, weights[0] * self.rated[:, 2], size), np.bincount(at, weights[0], size)
        mean = np.divide(sums, counts, out=np.full(size, np.nan), where=counts > 0)
        item, category, own = self.labelled[:, 0].astype(int), self.labelled[:, 2].astype(int), self.labelled[:, 3]
        value, weight = np.where(np.isnan(own), mean[item], own), np.where(counts[item] > 0, weights[1], 0.0)
        there = weight > 0
        of_label = np.bincount(category[there], weight[there], self.categories)
        total = np.bincount(category[there], (weight * value)[there], self.categories)
        if not there.any():
            return math.nan
        found = total[of_label > 0] / of_label[of_label > 0]
        return float(found.sum()) / self.highest / self.categories


def _set_of(answers: Sequence[Answer], quality: Question, category: Question) -> tuple[_Set, list[Answer]] | None:
    """Returns the numbers of one source's elites, and the labels among the answers; None where none is rated."""
    rated = [answer for answer in answers if answer.question == quality.name]
    own = {(answer.rater, answer.first): code(answer, quality) for answer in rated}
    both_ = {answer.first for answer in rated}
    labels = [
        answer
        for answer in answers
        if answer.question == category.name and answer.given in category.options and answer.first in both_
    ]
    if not labels:
        return None
    item = {name: i for i, name in enumerate(sorted(both_))}
    person = {name: i for i, name in enumerate(sorted({answer.rater for answer in (*rated, *labels)}))}
    return _Set(
        np.array([[item[a.first], person[a.rater], code(a, quality)] for a in rated]),
        np.array(
            [
                [
                    item[a.first],
                    person[a.rater],
                    category.options.index(str(a.given)),
                    own.get((a.rater, a.first), math.nan),
                ]
                for a in labels
            ]
        ),
        len(category.options),
        quality.scale[1],
    ), labels


def _over_people_and_items(found: _Set, *, rng: np.random.Generator) -> Interval:
    value, parts = found.score(), []
    rows = np.concatenate([found.rated[:, :2], found.labelled[:, :2]])
    for column, name in ((1, "people"), (0, "items")):
        groups = 1 + int(rows[:, column].max())
        if groups < 2:
            return Interval(value, math.nan, math.nan)
        drawn = rng.multinomial(groups, np.full(groups, 1 / groups), size=SAMPLES).astype(float)
        samples = [found.score(**{name: weights}) for weights in drawn]
        low, high = (float(edge) for edge in np.nanquantile(samples, [0.025, 0.975]))
        if low == high:  # all said the same: that tells nothing about others
            return Interval(value, math.nan, math.nan)
        parts.append(widened(Interval(value, low, high), groups))
    whole = both(value, *parts)
    return Interval(value, max(whole.low, 0.0), min(whole.high, 1.0))
