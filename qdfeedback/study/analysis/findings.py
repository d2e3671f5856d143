"""What people said: shares and rankings of pairs, means of ratings, labels of items."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from qdfeedback.feedback.answers import Answer
from qdfeedback.feedback.study import Question
from qdfeedback.study.analysis.answers import Item, code, numbers
from qdfeedback.study.analysis.ranking import parts, ranking
from qdfeedback.study.analysis.statistics import answers_needed, clustered_p, mean_over, shares
from qdfeedback.types import Floats, Ints

EFFECTS = (0.55, 0.6, 0.65, 0.7)
ICC = 0.05

Items = Mapping[str, Item]


def findings(
    answers: Sequence[Answer], question: Question, known: Items, *, rng: np.random.Generator
) -> dict[str, Any]:
    """Returns what answers to one question say; skipped ones are none.

    Args:
        answers: at least one, of the question's main trials.
        question: which.
        known: what is known of the items.
        rng: draws the bootstraps.
    """
    of_task: dict[str, Callable[..., dict[str, Any]]] = {
        "triplet": triplets,
        "pair": pairs,
        "rating": ratings,
        "label": labels,
    }
    return of_task[question.task](answers, question, known, rng=rng)


def triplets(answers: Sequence[Answer], *_: object, **__: object) -> dict[str, Any]:
    """Returns how many decided answers there are, by purpose, and how many an effect needs."""
    decided = [answer for answer in answers if answer.given != "tie"]
    return {
        "decided": len(decided),
        "ties": len(answers) - len(decided),
        "purposes": dict(sorted(Counter(answer.purpose for answer in decided).items())),
        "needed": needed(decided),
    }


def pairs(answers: Sequence[Answer], _: Question, known: Items, *, rng: np.random.Generator) -> dict[str, Any]:
    """Returns the Bradley-Terry ranking of the items, and for each two sources how often either was chosen."""
    sides = [(answer.first, str(answer.second)) for answer in answers]
    names = sorted({name for pair in sides for name in pair})
    at = {name: i for i, name in enumerate(names)}
    games = np.array([[at[first], at[second]] for first, second in sides])
    share = np.array([{"first": 1.0, "second": 0.0, "tie": 0.5}[str(answer.given)] for answer in answers])
    raters, trials = numbers([answer.rater for answer in answers]), numbers([answer.trial for answer in answers])
    ranked, notes = _ranked(names, games, share, raters, trials, known, rng=rng)
    return {
        "ranking": ranked,
        "notes": notes,
        "sources": (sources := _sources(answers, known, rng=rng)),
        "needed": min(
            (row["needed"] for row in sources),
            key=lambda rows: -rows[0]["more"],
            default=needed([answer for answer in answers if answer.given != "tie"]),
        ),
    }


def _ranked(
    names: Sequence[str],
    games: Ints,
    share: Floats,
    raters: Ints,
    trials: Ints,
    known: Items,
    *,
    rng: np.random.Generator,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the items by their strength, part by part, and sentences on what could not be ranked."""
    part = parts(games)
    sizes = np.bincount(part)
    if len(sizes) > 1 and sizes.max() <= 2:
        return [], ["No item was compared with two others: there is no ranking."]
    ranked: list[dict[str, Any]] = []
    notes = []
    for number in np.argsort(-sizes, kind="stable"):
        chosen, mine = part[games[:, 0]] == number, np.flatnonzero(part == number)
        local = np.searchsorted(mine, games[chosen])
        times = 100 if len(mine) <= 100 else 20
        try:
            strength = ranking(local, share[chosen], raters=raters[chosen], trials=trials[chosen], rng=rng, times=times)
        except ValueError:
            notes.append(f"The strengths of {len(mine)} items could not be fitted: they are left out.")
            continue
        counts = np.bincount(local.ravel(), minlength=len(mine))
        for place in np.argsort([-one.value for one in strength]):
            name = names[mine[place]]
            row = {"item": name, "source": _source(known, name), "part": int(number)}
            ranked.append(row | {"strength": strength[place], "answers": int(counts[place])})
    if (n := len({row["part"] for row in ranked})) > 1:
        notes.append(
            f"The items fall into {n} parts that were never compared with each other: each is ranked by itself."
        )
    return ranked, notes


def ratings(answers: Sequence[Answer], question: Question, known: Items, *, rng: np.random.Generator) -> dict[str, Any]:
    """Returns the mean rating of all, of each source and of each item."""

    def mean(chosen: Sequence[Answer]) -> dict[str, Any]:
        values = np.array([code(answer, question) for answer in chosen])
        groups = [numbers([getattr(answer, name) for answer in chosen]) for name in ("rater", "first")]
        return {"mean": mean_over(values, *groups, rng=rng, limits=question.scale), "answers": len(values)}

    by_source, by_item = _grouped(answers, lambda a: _source(known, a.first)), _grouped(answers, lambda a: a.first)
    rows = [{"item": name, "source": _source(known, name)} | mean(chosen) for name, chosen in by_item.items()]
    return {
        "all": mean(answers),
        "counts": {step: sum(answer.given == step for answer in answers) for step in question.steps},
        "sources": [{"source": name} | mean(chosen) for name, chosen in by_source.items()],
        "items": sorted(rows, key=lambda row: -row["mean"].value),
    }


def labels(answers: Sequence[Answer], question: Question, *_: object, **__: object) -> dict[str, Any]:
    """Returns the share of each label, and what most people called each item."""
    rows = []
    for name, chosen in _grouped(answers, lambda answer: answer.first).items():
        given = Counter(str(answer.given) for answer in chosen)
        rows.append({"item": name, "majority": majority(given), "counts": dict(given.most_common())})
    counts = {option: sum(answer.given == option for answer in answers) for option in question.options}
    return {"counts": counts, "shares": shares(counts), "items": rows}


def majority(counts: Mapping[str, int]) -> str | None:
    """Returns the most frequent label, None where two are as frequent."""
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]


def needed(decided: Sequence[Answer]) -> list[dict[str, Any]]:
    """Returns for some true shares how many answers show them (power 80 %, 5 %), and how many more that is."""
    per_rater = max(len(decided) / max(len({answer.rater for answer in decided}), 1), 1.0)
    found = []
    for share in EFFECTS:
        n = answers_needed(share, judgments_per_rater=per_rater, icc=ICC)
        alone = answers_needed(share)
        found.append({"share": share, "independent": alone, "needed": n, "more": max(n - len(decided), 0)})
    return found


def _sources(answers: Sequence[Answer], known: Items, *, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Returns for each two sources how often either was chosen; intervals and p are for other people and trials."""
    rows = []
    for one, other in combinations(sorted({_source(known, name) for a in answers for name in _sides(a)}), 2):
        between = [a for a in answers if {_source(known, name) for name in _sides(a)} == {one, other}]
        if not between:
            continue
        chosen = [_chosen(answer, known) for answer in between]
        groups = [numbers([getattr(answer, name) for answer in between]) for name in ("rater", "trial")]
        hits = [np.array([name == wanted for name in chosen], dtype=float) for wanted in (one, other, None)]
        is_decided = np.array([name is not None for name in chosen])
        decided = hits[0][is_decided], *(group[is_decided] for group in groups)
        rows.append(
            {
                "sources": [one, other],
                "answers": len(between),
                "counts": [int(hit.sum()) for hit in hits],  # the first, the second, neither
                "shares": [mean_over(hit, *groups, rng=rng) for hit in hits],
                "of_decided": mean_over(*decided, rng=rng),
                "p": clustered_p(*decided),
                "needed": needed([answer for answer, yes in zip(between, is_decided, strict=True) if yes]),
            }
        )
    return rows


def _sides(answer: Answer) -> tuple[str, str]:
    return answer.first, str(answer.second)


def _chosen(answer: Answer, known: Items) -> str | None:
    side = {"first": answer.first, "second": answer.second}.get(str(answer.given))
    return None if side is None else _source(known, side)


def _source(known: Items, name: str) -> str:
    item = known.get(name)
    return (item.source or "") if item else ""


def _grouped(answers: Sequence[Answer], key: Callable[[Answer], str]) -> dict[str, list[Answer]]:
    found = defaultdict(list)
    for answer in answers:
        found[key(answer)].append(answer)
    return dict(sorted(found.items()))
