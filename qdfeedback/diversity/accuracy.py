"""How well axes learned from triplets predict answers that they did not see, over growing numbers of answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from qdfeedback.diversity.folds import item_folds, judgment_folds
from qdfeedback.diversity.similarity import Fit, HeldOut, held_out
from qdfeedback.feedback.agreement import Interval, bootstrap, mean_over_items
from qdfeedback.types import Floats, Ints


@dataclass(frozen=True)
class Tested:
    """How well fits to so many judgments predict those that were held out.

    Attributes:
        judgments: what the fits were given, when nothing was held out.
        held_out: accuracy on new judgments about known items; judgments about the same three items are held out
            together, and count as one draw of the interval.
        items: accuracy on judgments about a new item, mostly one of the three; None = too little is left to fit to.
        why: why not.
        by_judgment: what the fits said.
        by_item: the same.
    """

    judgments: int
    held_out: Interval
    items: Interval | None
    why: str
    by_judgment: HeldOut
    by_item: HeldOut | None

    def summary(self) -> dict[str, Any]:
        """Returns the figures as JSON."""
        fitted = {"held_out": self.by_judgment.fitted, "items": self.by_item.fitted if self.by_item else None}
        items = asdict(self.items) if self.items else None
        return {"judgments": self.judgments, "held_out": asdict(self.held_out), "items": items, "fitted": fitted}


@dataclass(frozen=True)
class Validation:
    """How fits are tested.

    Attributes:
        dim: number of measures, k.
        how: of the fits.
        folds: of judgments; of items, three of which make a judgment, there are three times as many, so that fits see
            about as much.
        seed: of the folds, the samples and the starting weights.
    """

    dim: int = 2
    how: Fit = field(default_factory=Fit)
    folds: int = 10
    seed: int = 0


def accuracies(features: Floats, triplets: Ints, test: Validation, count: int, *, every: int = 1) -> Tested:
    """Returns the accuracy of fits to `count` judgments, or to as many as are left.

    Args:
        features: (n, d).
        triplets: (t, 3), of which parts are held out.
        test: how.
        count: so many of those that are not held out are drawn at random.
        every: hold out every so manieth part of the items, to be quicker.
    """
    rng = np.random.default_rng([test.seed, count])
    held = partial(held_out, features, triplets, dim=test.dim, how=test.how, count=count, rng=rng)
    by_judgment = held(judgment_folds(triplets, test.folds, rng))
    _, groups = np.unique(np.sort(triplets[by_judgment.rows], axis=1), axis=0, return_inverse=True)
    known = bootstrap(by_judgment.right.astype(float), groups=groups.reshape(-1), rng=rng)
    try:
        by_item = held(item_folds(triplets, 3 * test.folds, rng)[::every])
    except ValueError as error:
        return Tested(count, known, None, str(error), by_judgment, None)
    rows, inverse = np.unique(by_item.rows, return_inverse=True)
    share = np.bincount(inverse, by_item.right) / np.bincount(inverse)
    return Tested(count, known, mean_over_items(share, triplets[rows]), "", by_judgment, by_item)


def learning_curve(features: Floats, triplets: Ints, test: Validation, most: int) -> list[Tested]:
    """Returns both accuracies over growing numbers of judgments; the last are those of the model that is saved."""
    counts = [count for count in (50, 100, 200, 400, 1000, 2000, 4000, 10_000) if count < 0.9 * most]
    found = [
        accuracies(features, triplets, test, count, every=3)
        for count in tqdm(counts, desc="learning curve", unit="size")
    ]
    return [*found, accuracies(features, triplets, test, most)]


def by_fold(found: HeldOut) -> list[float]:
    """Returns the accuracy in each fold that tests something."""
    return [float(found.right[found.fold == fold].mean()) for fold in np.unique(found.fold)]
