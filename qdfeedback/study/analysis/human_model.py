"""Whether models judge as people do: triplets and pairs, labels, ratings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, log_loss

from qdfeedback.feedback.agreement import proportion
from qdfeedback.feedback.answers import Answer
from qdfeedback.feedback.study import Question
from qdfeedback.study.analysis.answers import Item, code, numbers
from qdfeedback.study.analysis.findings import majority
from qdfeedback.study.analysis.statistics import mean_over
from qdfeedback.types import Diversity, Floats


def nearer(diversity: Diversity, features: Mapping[str, Floats], asked: Sequence[sa.RowMapping]) -> dict[str, float]:
    """Returns trial id → probability that the trial's first item is nearer to the anchor, as a diversity model says.

    A model without probabilities says 1, 0, or 0.5 where both are as far.

    Args:
        diversity: the model.
        features: item id → (d,); a trial with an item that is missing is left out.
        asked: rows of the table of trials.
    """
    rows = [row for row in asked if {row["anchor_id"], row["a_id"], row["b_id"]} <= features.keys()]
    if not rows:
        return {}
    names = sorted({row[side] for row in rows for side in ("anchor_id", "a_id", "b_id")})
    at = {name: i for i, name in enumerate(names)}
    triplets = np.array([[at[row[side]] for side in ("anchor_id", "a_id", "b_id")] for row in rows])
    matrix = np.stack([features[name] for name in names])
    if hasattr(diversity, "probability"):
        found = diversity.probability(matrix, triplets)
    else:
        anchor, first, second = (diversity.project(matrix)[triplets[:, i]] for i in range(3))
        found = (1 + np.sign(np.square(anchor - second).sum(axis=1) - np.square(anchor - first).sum(axis=1))) / 2
    return {row["trial_id"]: float(p) for row, p in zip(rows, found, strict=True)}


def as_people(
    answers: Sequence[Answer], probabilities: Mapping[str, float], *, rng: np.random.Generator
) -> dict[str, Any]:
    """Returns how often a model chooses as people do in triplets or pairs; ties of people are left out.

    Where the model gives one half it is right half of the time.

    Args:
        answers: of people.
        probabilities: trial id → probability of the trial's first item.
        rng: draws people.
    """
    of = [answer for answer in answers if answer.given in ("first", "second") and answer.trial in probabilities]
    p = np.array([probabilities[answer.trial] for answer in of])
    first = np.array([answer.given == "first" for answer in of], dtype=bool)
    right = np.where(p == 0.5, 0.5, (p > 0.5) == first)
    groups = [numbers([getattr(answer, name) for answer in of]) for name in ("rater", "trial")]
    random = np.array([answer.purpose == "random" for answer in of], dtype=bool)
    clipped = np.clip(p, 1e-6, 1 - 1e-6)
    return {
        "answers": len(of),
        "same": mean_over(right, *groups, rng=rng),
        "random_answers": int(random.sum()),
        "same_random": mean_over(right[random], *(group[random] for group in groups), rng=rng),
        "log_loss": float(log_loss(first, clipped, labels=[False, True])) if len(of) else float("nan"),
    }


def as_annotators(
    answers: Sequence[Answer], others: Sequence[Answer], question: Question, *, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Returns how often each model or simulation that answered the same trials gave the answer of a person.

    Args:
        answers: of people.
        others: of models and simulations.
        question: of both.
        rng: draws people.
    """
    found = []
    for name in sorted({other.rater for other in others}):
        said = {other.trial: code(other, question) for other in others if other.rater == name and other.given}
        of = [answer for answer in answers if answer.given is not None and answer.trial in said]
        same = np.array([code(answer, question) == said[answer.trial] for answer in of], dtype=float)
        groups = [numbers([getattr(answer, key) for answer in of]) for key in ("rater", "trial")]
        found.append({"annotator": name, "answers": len(of), "same": mean_over(same, *groups, rng=rng)})
    return found


def label_agreement(
    answers: Sequence[Answer], question: Question, known: Mapping[str, Item], *, rng: np.random.Generator
) -> dict[str, Any] | None:
    """Returns how often people give an item the model's label; None where no model labelled.

    "single" counts single answers, "agreed" the items on which at least two people answered and all agree (QDAIF,
    Bradley 2024, gives both: about 73 % and 82 %); "kappa" compares the model with the majority, "sources" holds
    the single answers of each source.
    """
    of = [(answer, known[answer.first].label(question.name)) for answer in answers if answer.first in known]
    of = [(answer, label) for answer, label in of if label is not None]
    if not of:
        return None
    same = np.array([answer.given == label for answer, label in of])
    raters = numbers([answer.rater for answer, _ in of])
    by_item: dict[str, Counter[str]] = defaultdict(Counter)
    for answer, _ in of:
        by_item[answer.first][str(answer.given)] += 1
    by_source = defaultdict(list)
    for (answer, _), one in zip(of, same.tolist(), strict=True):
        by_source[known[answer.first].source or ""].append(one)
    model = {answer.first: label for answer, label in of}
    agreed = [name for name, counts in by_item.items() if len(counts) == 1 and counts.total() >= 2]
    decided = {name: found for name, counts in by_item.items() if (found := majority(counts)) is not None}
    pairs = [(people, str(model[name])) for name, people in decided.items()]
    differ = len({label for pair in pairs for label in pair}) > 1
    return {
        "answers": len(of),
        "items": len(by_item),
        "single": mean_over(same.astype(float), raters, numbers([answer.first for answer, _ in of]), rng=rng),
        "agreed_items": len(agreed),
        "agreed": proportion(sum(model[name] in by_item[name] for name in agreed), len(agreed)),
        "kappa": float(cohen_kappa_score(*zip(*pairs, strict=True))) if differ else float("nan"),
        "sources": [
            {"source": name, "answers": len(rows), "single": proportion(sum(rows), len(rows))}
            for name, rows in sorted(by_source.items())
        ],
    }


def rating_agreement(answers: Sequence[Answer], question: Question, known: Mapping[str, Item]) -> dict[str, Any] | None:
    """Returns how people's mean ratings go with the model's objective (Spearman); None with fewer than three items."""
    given = defaultdict(list)
    for answer in answers:
        given[answer.first].append(code(answer, question))
    both_known = {name: known[name].objective() for name in given if name in known}
    names = [name for name, objective in both_known.items() if np.isfinite(objective)]
    people, model = [float(np.mean(given[name])) for name in names], [both_known[name] for name in names]
    if len(names) < 3 or len(set(people)) < 2 or len(set(model)) < 2:
        return None
    found = spearmanr(people, model)
    return {"items": len(names), "spearman": float(found.statistic), "p": float(found.pvalue)}
