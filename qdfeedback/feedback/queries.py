"""Which question to ask next."""

from __future__ import annotations

import numpy as np

from qdfeedback.files import digest
from qdfeedback.types import Floats, Ints, Queries, TripletModel

RANDOM = "random"
BALD = "bald"


def uniform_triplets(items: int, n: int, rng: np.random.Generator, *, degenerate: bool = False) -> Ints:
    """Returns (n, 3) rows drawn uniformly: anchor, left, right.

    Args:
        items: how many there are to draw from.
        n: how many triplets.
        rng: what draws.
        degenerate: True draws the three independently, so that they may coincide, as the released QDHF code does.

    Raises:
        ValueError: Fewer than three items.
    """
    if degenerate:
        return rng.integers(items, size=(n, 3))
    if items < 3:
        raise ValueError(f"items must be at least 3 to make a triplet, got {items}")
    first = rng.integers(items, size=n)
    second = (first + rng.integers(1, items, size=n)) % items
    low, high = np.minimum(first, second), np.maximum(first, second)
    third = rng.integers(items - 2, size=n)
    third += third >= low
    third += third >= high
    return np.stack([first, second, third], axis=1)


def bald_triplets(
    model: TripletModel, features: Floats, n: int, *, rng: np.random.Generator, pool: int = 20_000
) -> Ints:
    """Returns (n, 3) rows about which the ensemble's members disagree while each is sure of itself.

    The gain of a question is the mutual information between its answer and the model (BALD, Houlsby 2011), with
    the members as samples of the model. A batch is chosen one question after another: what the members'
    disagreement about a chosen one explains of the others no longer counts (as in BatchBALD, Kirsch 2019,
    with answers taken as jointly Gaussian), so that a batch does not ask one thing n times.

    Args:
        model: the ensemble.
        features: (i, d) of the items to choose from.
        n: how many triplets.
        rng: draws the pool.
        pool: how many random triplets to choose among.
    """
    candidates = uniform_triplets(len(features), max(pool, n), rng)
    probability = model.member_probability(features, candidates)
    noise = (probability * (1 - probability)).mean(axis=0) + 1e-3
    spread = probability - probability.mean(axis=0)
    chosen: list[int] = []
    for _ in range(n):
        gain = np.square(spread).mean(axis=0) / noise
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        picked = spread[:, best].copy()
        explained = (picked @ spread) / (picked @ picked + len(picked) * noise[best])
        spread -= picked[:, None] * explained
    return candidates[chosen]


def choose_triplets(
    model: TripletModel | None,
    features: Floats,
    n: int,
    *,
    rng: np.random.Generator,
    random_share: float = 0.15,
    pool: int = 20_000,
) -> tuple[Ints, np.ndarray]:
    """Returns (n, 3) rows and their (n,) purposes: some random, to measure accuracy by, the others by BALD.

    Args:
        model: the ensemble so far; None before the first judgment, when all are random.
        features: (i, d) of the items to choose from.
        n: how many triplets.
        rng: what draws.
        random_share: the share drawn at random, rounded up.
        pool: how many random triplets BALD chooses among.
    """
    n_random = n if model is None else int(np.ceil(random_share * n))
    rows = uniform_triplets(len(features), n_random, rng)
    purpose = np.array([RANDOM] * n_random + [BALD] * (n - n_random), dtype="<U6")
    if model is not None and n > n_random:
        rows = np.concatenate([rows, bald_triplets(model, features, n - n_random, rng=rng, pool=pool)])
    return rows, purpose


def ask(rows: Ints, ids: Ints, purpose: np.ndarray, *, batch: str, shown: Floats) -> Queries:
    """Returns the questions as they are published.

    Args:
        rows: (t, 3) rows of ids.
        ids: (i,) candidate ids.
        purpose: (t,).
        batch: names this batch within the study.
        shown: (t, 3, …) what is judged. A uid carries its digest: the same question asked again, after a resume, has
            the same uid, and an answer never stands for another question.
    """
    uids = np.array([f"{batch}/{i}-{digest(np.ascontiguousarray(shown[i]).tobytes())}" for i in range(len(rows))])
    return Queries(uids, np.asarray(ids)[rows], purpose)
