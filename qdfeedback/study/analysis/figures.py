"""All figures of one question: how far to trust its answers, and what they say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from qdfeedback.feedback.agreement import chance, krippendorff_alpha, raw_agreement
from qdfeedback.feedback.answers import Answer
from qdfeedback.feedback.study import SIDED, Question
from qdfeedback.study.analysis import human_model
from qdfeedback.study.analysis.answers import Item, code, numbers, table
from qdfeedback.study.analysis.findings import findings
from qdfeedback.study.analysis.statistics import (
    agreement_over,
    fleiss,
    flip_rate,
    mean_entropy,
    mean_kappa,
    mean_over,
    shares,
)
from qdfeedback.types import Floats

Probabilities = Mapping[str, Mapping[str, float]]
"""A model's name → trial id → probability that the trial's first item is the answer."""


@dataclass(frozen=True)
class Given:
    """What the figures of one group of people are made from.

    Attributes:
        people: their answers.
        others: main answers of models and simulations.
        known: item id → what is known of it.
        probabilities: what models say.
        seed: of the bootstraps.
    """

    people: Sequence[Answer]
    others: Sequence[Answer]
    known: Mapping[str, Item]
    probabilities: Probabilities
    seed: int

    @property
    def main(self) -> list[Answer]:
        """Their answers to main trials."""
        return [answer for answer in self.people if answer.kind == "main"]

    def rng(self) -> np.random.Generator:
        """Returns the random numbers of one set of figures, from their beginning."""
        return np.random.default_rng(self.seed)


def question_figures(given: Given, question: Question) -> dict[str, Any]:
    """Returns all figures of one question for one group of people."""
    rng = given.rng()
    asked = [answer for answer in given.people if answer.question == question.name]
    main = [answer for answer in given.main if answer.question == question.name]
    answered = [answer for answer in main if not math.isnan(code(answer, question))]
    found: dict[str, Any] = {
        "raters": len({answer.rater for answer in answered}),
        "trials": len({answer.trial for answer in answered}),
        "answers": len(answered),
        "skipped": len(main) - len(answered),
        "agreement": None,
        "repeats": _repeats(asked, question, rng=rng),
        "sides": _sides(answered) if question.task in SIDED else None,
        "findings": None,
        "models": None,
        "notes": [],
    }
    if not answered:
        found["notes"] = ["All were skipped." if main else "There are no answers."]
        return found
    found["agreement"], found["notes"] = _agreement(table(answered, question), question, rng=rng)
    if found["repeats"] is None:
        found["notes"].append("No trial was answered twice by one person: agreement with oneself is not known.")
    found["findings"] = findings(answered, question, given.known, rng=rng)
    found["models"] = _models(answered, given, question, rng=rng)
    return found


def _agreement(
    answers: Floats, question: Question, *, rng: np.random.Generator
) -> tuple[dict[str, Any] | None, list[str]]:
    """Returns how far people agree with each other, and sentences on what could not be said."""
    if len(answers) < 2:
        return None, ["One person answered: agreement between people is not defined."]
    if not ((~np.isnan(answers)).sum(axis=0) >= 2).any():
        return None, ["No trial has answers from two people: agreement between people is not defined."]
    rated = question.task == "rating"
    notes, raw = [], agreement_over(raw_agreement, answers, rng=rng, least=0.0)
    level: Literal["nominal", "ordinal"] = "ordinal" if rated else "nominal"
    try:
        alpha = agreement_over(partial(krippendorff_alpha, level=level), answers, rng=rng)
    except ValueError:
        alpha = None
        notes.append("All answers are the same: Krippendorff's alpha is not defined.")
    scale = [float(step) for step in question.steps] if rated else None
    kappa, pairs = mean_kappa(answers, weights="quadratic" if rated else None, codes=scale, rng=rng)
    return {
        "alpha": alpha,
        "level": level,
        "raw": raw,
        "kappa": kappa,
        "kappa_weights": "quadratic" if rated else None,
        "kappa_pairs": pairs,
        "fleiss": math.nan if rated else fleiss(answers),
        "entropy_bits": mean_entropy(answers),
        "flip_rate": flip_rate(raw) if question.task in SIDED and not question.tie else None,
    }, notes


def _repeats(asked: Sequence[Answer], question: Question, *, rng: np.random.Generator) -> dict[str, Any] | None:
    """Returns how often people repeat their answer; None where nobody was asked twice, or skipped."""
    before = {
        (answer.rater, answer.trial): code(answer, question) for answer in asked if answer.kind in ("main", "surplus")
    }
    again = [
        (answer, before[answer.rater, answer.trial], code(answer, question))
        for answer in asked
        if answer.kind == "repeat" and (answer.rater, answer.trial) in before
    ]
    both = [(answer, first, second) for answer, first, second in again if not math.isnan(first + second)]
    if not both:
        return None
    same = np.array([first == second for _, first, second in both], dtype=float)
    groups = [numbers([getattr(answer, name) for answer, _, _ in both]) for name in ("rater", "trial")]
    share = mean_over(same, *groups, rng=rng)
    distance = float(np.mean([abs(first - second) for _, first, second in both]))
    return {
        "repeats": len(both),
        "same": share,
        "mean_difference": distance if question.task == "rating" else None,
        "flip_rate": flip_rate(share) if question.task in SIDED and not question.tie else None,
    }


def _sides(answered: Sequence[Answer]) -> dict[str, Any]:
    counts = Counter(answer.shown for answer in answered)
    left, right = counts["left"], counts["right"]
    return {
        "left": left,
        "right": right,
        "share": shares({"left": left, "right": right})["left"],
        "p": chance(left, left + right),
    }


def _models(
    answered: Sequence[Answer], given: Given, question: Question, *, rng: np.random.Generator
) -> dict[str, Any]:
    others = [other for other in given.others if other.question == question.name]
    sided = question.task in SIDED
    return {
        "probabilities": [
            {"model": name} | human_model.as_people(answered, by_trial, rng=rng)
            for name, by_trial in given.probabilities.items()
            if sided and any(answer.trial in by_trial for answer in answered)
        ],
        "annotators": human_model.as_annotators(answered, others, question, rng=rng),
        "labels": human_model.label_agreement(answered, question, given.known, rng=rng)
        if question.task == "label"
        else None,
        "ratings": human_model.rating_agreement(answered, question, given.known) if question.task == "rating" else None,
    }
