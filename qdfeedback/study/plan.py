"""In which order, and on which sides, a person sees trials: made from the study's seed and the person's pseudonym."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from qdfeedback.feedback.study import Study


@dataclass(frozen=True)
class Slot:
    """One place in a person's order.

    Attributes:
        kind: "main", "catch" or "repeat".
        swapped: whether the trial's second item stands left.
        repeats: for a repeat, the place of the trial that comes again.
    """

    kind: Literal["main", "catch", "repeat"]
    swapped: bool
    repeats: int | None = None


def rng_of(study: Study, rater_id: str, *purpose: str) -> np.random.Generator:
    """Returns the random numbers of one person, for one purpose."""
    text = "|".join([str(study.seed), study.study_id, rater_id, *purpose])
    return np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))


def plan(study: Study, rater_id: str, *, main: int | None = None, catch: int | None = None) -> list[Slot]:
    """Returns a person's slots.

    Sides are balanced, not thrown: half of the main trials are swapped (with an odd number, one more or less), and half
    of the catch trials; a repeat is shown the other way round than its original. Repeats lie at least `repeat_gap`
    trials after their originals where the plan is long enough, catch trials are spread over the whole. The web page,
    whose trials may come bit by bit, takes order and repeats from here and balances the sides itself (`allotment`).

    Args:
        study: its rules.
        rater_id: whose.
        main: number of main trials; the study's own if None.
        catch: number of catch trials; the study's own if None.
    """
    rng = rng_of(study, rater_id, "plan")
    main = study.trials_per_rater if main is None else main
    catch = study.catch_per_rater if catch is None else catch
    repeats = round(study.repeats * main)
    total = main + catch + repeats
    kinds: list[Literal["main", "catch", "repeat"]] = ["main"] * total
    for place in _spread(catch, total, rng):
        kinds[place] = "catch"
    for place in [place for place in range(total - 1, -1, -1) if kinds[place] == "main"][:repeats]:
        kinds[place] = "repeat"
    sides = {"main": _balanced(main, rng), "catch": _balanced(catch, rng)}
    slots: list[Slot] = []
    originals: list[int] = []
    for place, kind in enumerate(kinds):
        if kind == "repeat":
            early = [original for original in originals if original <= place - study.repeat_gap - 1] or originals[:1]
            original = early[int(rng.integers(len(early)))]
            originals.remove(original)
            slots.append(Slot("repeat", not slots[original].swapped, original))
        else:
            if kind == "main":
                originals.append(place)
            slots.append(Slot(kind, sides[kind].pop()))
    return slots


def _balanced(n: int, rng: np.random.Generator) -> list[bool]:
    """Returns n sides, half of each, in random order; an odd one falls to either."""
    halves = [False] * (n // 2) + [True] * (n // 2) + [bool(rng.integers(2))] * (n % 2)
    return [halves[i] for i in rng.permutation(n)]


def _spread(n: int, total: int, rng: np.random.Generator) -> list[int]:
    """Returns n places, one in each nth of the whole."""
    edges = np.linspace(0, total, n + 1).astype(int)
    return [int(rng.integers(low, high)) for low, high in pairwise(edges)]
