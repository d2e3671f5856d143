"""Which question to ask next."""

from __future__ import annotations

import numpy as np

from qdfeedback.bounds import Bounds, check_number
from qdfeedback.files import digest
from qdfeedback.types import Bools, Floats, Ints, Queries, TripletModel, listed

RANDOM = "random"
BALD = "bald"


def askable(features: Floats, may_show: Bools | None = None) -> Ints:
    """Returns the rows that somebody can be asked about: what could not be measured or shown is not among them.

    Args:
        features: (i, d), NaN = could not be measured.
        may_show: (i,) bool, False where there is nothing to look at; None = there is, of all that was measured.

    Raises:
        ValueError: The shapes do not fit.
    """
    if np.ndim(features) != 2:
        raise ValueError(f"features must have shape (i, d), got {np.shape(features)}")
    good = np.isfinite(features).all(axis=1)
    if may_show is not None:
        if np.shape(may_show) != good.shape or np.asarray(may_show).dtype != bool:
            raise ValueError(f"may_show must be bool of shape {good.shape}, got {np.shape(may_show)}")
        good &= may_show
    return np.flatnonzero(good)


def uniform_triplets(items: int | Ints, n: int, rng: np.random.Generator, *, degenerate: bool = False) -> Ints:
    """Returns (n, 3) rows drawn uniformly: anchor, left, right.

    Args:
        items: how many rows there are to draw from; or which they are, (i,) as `askable` gives them.
        n: how many triplets.
        rng: what draws.
        degenerate: True draws the three independently, so that they may coincide, as the released QDHF code does.

    Raises:
        ValueError: Fewer than three items, or a number of triplets below 0.
    """
    if isinstance(items, np.ndarray):
        among: Ints = items[_uniform(len(items), n, rng, degenerate=degenerate)]
        return among
    return _uniform(items, n, rng, degenerate=degenerate)


def _uniform(items: int, n: int, rng: np.random.Generator, *, degenerate: bool) -> Ints:
    check_number(n, "n", Bounds(0), kind=int)
    if items < (least := 1 if degenerate else 3):
        raise ValueError(f"items must be at least {least} to make a triplet, got {items}")
    if degenerate:
        return rng.integers(items, size=(n, 3))
    first = rng.integers(items, size=n)
    second = (first + rng.integers(1, items, size=n)) % items
    low, high = np.minimum(first, second), np.maximum(first, second)
    third = rng.integers(items - 2, size=n)
    third += third >= low
    third += third >= high
    return np.stack([first, second, third], axis=1)


def bald_triplets(
    model: TripletModel,
    features: Floats,
    n: int,
    *,
    rng: np.random.Generator,
    pool: int = 20_000,
    may_show: Bools | None = None,
) -> Ints:
    """Returns (n, 3) rows about which the ensemble's members disagree while each is sure of itself.

    The gain of a question is the mutual information between its answer and the model (BALD, Houlsby 2011), with
    the members as samples of the model. A batch is chosen one question after another: what the members'
    disagreement about a chosen one explains of the others no longer counts (as in BatchBALD, Kirsch 2019,
    with answers taken as jointly Gaussian), so that a batch does not ask one thing n times.

    Args:
        model: the ensemble.
        features: (i, d) of the items to choose from; rows with NaN are never chosen.
        n: how many triplets.
        rng: draws the pool.
        pool: how many random triplets to choose among.
        may_show: as in `askable`.

    Raises:
        ValueError: Fewer than three rows can be asked about, or a number is out of its bounds.
    """
    check_number(pool, "pool", Bounds(1), kind=int)
    rows = _at_least_three(features, may_show)
    candidates = uniform_triplets(len(rows), max(pool, n), rng)
    probability = model.member_probability(features[rows], candidates)
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
    found: Ints = rows[candidates[chosen]]
    return found


def choose_triplets(
    model: TripletModel | None,
    features: Floats,
    n: int,
    *,
    rng: np.random.Generator,
    random_share: float = 0.15,
    pool: int = 20_000,
    may_show: Bools | None = None,
) -> tuple[Ints, np.ndarray]:
    """Returns (n, 3) rows and their (n,) purposes: some random, to measure accuracy by, the others by BALD.

    Args:
        model: the ensemble so far; None before the first judgment, when all are random.
        features: (i, d) of the items to choose from; rows with NaN are never chosen.
        n: how many triplets.
        rng: what draws.
        random_share: the share drawn at random, rounded up.
        pool: how many random triplets BALD chooses among.
        may_show: as in `askable`.

    Raises:
        ValueError: Fewer than three rows can be asked about, or a number is out of its bounds.
    """
    check_number(random_share, "random_share", Bounds(0, 1))
    n_random = n if model is None else int(np.ceil(random_share * n))
    rows = uniform_triplets(_at_least_three(features, may_show), n_random, rng)
    purpose = np.array([RANDOM] * n_random + [BALD] * (n - n_random), dtype="<U6")
    if model is not None and n > n_random:
        chosen = bald_triplets(model, features, n - n_random, rng=rng, pool=pool, may_show=may_show)
        rows = np.concatenate([rows, chosen])
    return rows, purpose


def _at_least_three(features: Floats, may_show: Bools | None) -> Ints:
    rows = askable(features, may_show)
    if len(rows) < 3:
        raise ValueError(
            f"features must have at least 3 rows that are finite and may be shown, got {len(rows)} of {len(features)}"
        )
    return rows


def ask(rows: Ints, ids: Ints, purpose: np.ndarray, *, batch: str, shown: Floats) -> Queries:
    """Returns the questions as they are published.

    Args:
        rows: (t, 3) rows of ids.
        ids: (i,) candidate ids.
        purpose: (t,).
        batch: names this batch within the study.
        shown: (t, 3, …) what is judged. A uid carries its digest: the same question asked again, after a resume, has
            the same uid, and an answer never stands for another question.

    Raises:
        ValueError: The shapes do not fit, or what is to be judged could not be measured: says of which candidates.
    """
    rows, ids, shown = np.asarray(rows), np.asarray(ids), np.asarray(shown)
    if rows.ndim != 2 or rows.shape[1] != 3 or len(purpose) != len(rows) or shown.shape[:2] != rows.shape:
        raise ValueError(
            f"rows must have shape (t, 3), purpose (t,) and shown (t, 3, …), "
            f"got {rows.shape}, {np.shape(purpose)} and {shown.shape}"
        )
    if shown.dtype.kind == "O":  # whose bytes are addresses
        raise ValueError("shown must be numbers or text, got objects")
    items = ids[rows]
    if shown.dtype.kind in "fc":
        missing: Bools = np.asarray(~np.isfinite(shown).reshape(*rows.shape, -1).all(axis=2))
        if missing.any():
            raise ValueError(
                f"shown must be finite: {int(missing.any(axis=1).sum())} of {len(rows)} questions are about candidates "
                f"that could not be measured, {listed(np.unique(items[missing]))}: choose_triplets leaves these out"
            )
    uids = np.array([f"{batch}/{i}-{digest(np.ascontiguousarray(shown[i]).tobytes())}" for i in range(len(rows))])
    return Queries(uids, items, purpose)
