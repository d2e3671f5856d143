"""Which triplets are held out together: answers about known items, or items with all that was said of them."""

from __future__ import annotations

import numpy as np

from qdfeedback.types import Bools, Ints


def judgment_folds(triplets: Ints, folds: int, rng: np.random.Generator) -> Bools:
    """Returns (f, t) bool: each triplet is held out once, with all others about the same three items.

    Args:
        triplets: (t, 3).
        folds: how many, f; fewer where there are fewer sets of three items.
        rng: deals them out.

    Raises:
        ValueError: There are fewer than two folds, or sets of three items.
    """
    _, group = np.unique(np.sort(triplets, axis=1), axis=0, return_inverse=True)
    fold = _deal(int(group.max(initial=-1)) + 1, folds, "sets of three items", rng)[group.reshape(-1)]
    return np.asarray(np.arange(fold.max() + 1)[:, None] == fold)


def item_folds(triplets: Ints, folds: int, rng: np.random.Generator) -> Bools:
    """Returns (f, t) bool: each item is held out once, and with it every triplet that touches it.

    Args:
        triplets: (t, 3).
        folds: how many, f; fewer where there are fewer items.
        rng: deals the items out.

    Raises:
        ValueError: There are fewer than two folds, or items.
    """
    _, items = np.unique(triplets, return_inverse=True)
    fold = _deal(int(items.max(initial=-1)) + 1, folds, "items", rng)[items.reshape(-1, 3)]
    return np.asarray((np.arange(fold.max() + 1)[:, None, None] == fold).any(axis=2))


def _deal(n: int, folds: int, what: str, rng: np.random.Generator) -> Ints:
    """Returns (n,) the fold of each, as even as can be."""
    if folds < 2 or n < 2:
        raise ValueError(f"folds must be at least 2, of 2 {what} or more; got {folds} folds and {n} {what}")
    found: Ints = rng.permutation(n) % min(folds, n)
    return found
