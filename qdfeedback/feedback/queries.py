"""Which question to ask next."""

from __future__ import annotations

import numpy as np

from qdfeedback.bounds import Bounds, check_number
from qdfeedback.feedback.bald import most_telling
from qdfeedback.files import digest
from qdfeedback.types import Bools, Floats, Ints, PairModel, Queries, TripletModel, listed, width_of

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
    count = _count(items, n, least=1 if degenerate else 3, of="triplet")
    if degenerate:
        return _rows_of(items, rng.integers(count, size=(n, 3)))
    two = _two(count, n, rng)
    third = rng.integers(count - 2, size=n)
    third += third >= two.min(axis=1)
    third += third >= two.max(axis=1)
    return _rows_of(items, np.column_stack([two, third]))


def uniform_pairs(items: int | Ints, n: int, rng: np.random.Generator) -> Ints:
    """Returns (n, 2) rows drawn uniformly, two that differ: left, right.

    Args:
        items: as in `uniform_triplets`.
        n: how many pairs.
        rng: what draws.

    Raises:
        ValueError: Fewer than two items, or a number of pairs below 0.
    """
    count = _count(items, n, least=2, of="pair")
    return _rows_of(items, _two(count, n, rng))


def uniform_items(items: int | Ints, n: int, rng: np.random.Generator) -> Ints:
    """Returns (n, 1) rows drawn uniformly, none again before each was drawn as often.

    Args:
        items: as in `uniform_triplets`.
        n: how many.
        rng: what draws.

    Raises:
        ValueError: No items, or a number below 0.
    """
    count = _count(items, n, least=1, of="question")
    rounds = [rng.permutation(count) for _ in range(-(-n // count))]
    return _rows_of(items, np.concatenate([np.empty(0, dtype=np.int64), *rounds])[:n, None])


def _count(items: int | Ints, n: int, *, least: int, of: str) -> int:
    check_number(n, "n", Bounds(0), kind=int)
    count = len(items) if isinstance(items, np.ndarray) else items
    if count < least:
        raise ValueError(f"items must be at least {least} to make a {of}, got {count}")
    return count


def _rows_of(items: int | Ints, drawn: Ints) -> Ints:
    return items[drawn] if isinstance(items, np.ndarray) else drawn


def _two(count: int, n: int, rng: np.random.Generator) -> Ints:
    """Returns (n, 2) numbers below a count, two that differ."""
    first = rng.integers(count, size=n)
    return np.stack([first, (first + rng.integers(1, count, size=n)) % count], axis=1)


def bald_triplets(
    model: TripletModel,
    features: Floats,
    n: int,
    *,
    rng: np.random.Generator,
    pool: int = 20_000,
    may_show: Bools | None = None,
) -> Ints:
    """Returns (n, 3) rows about which the ensemble's members disagree while each is sure of itself: `most_telling`.

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
    return _bald("triplet", model, features, n, rng=rng, pool=pool, may_show=may_show)


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
    return choose("triplet", model, features, n, rng=rng, random_share=random_share, pool=pool, may_show=may_show)


_DRAW = {"triplet": uniform_triplets, "pair": uniform_pairs}


def choose(
    task: str,
    model: TripletModel | PairModel | None,
    features: Floats,
    n: int,
    *,
    rng: np.random.Generator,
    random_share: float = 0.15,
    pool: int = 20_000,
    may_show: Bools | None = None,
) -> tuple[Ints, np.ndarray]:
    """Returns (n, 3) rows of a "triplet", or (n, 2) of a "pair", and their (n,) purposes, as `choose_triplets` does.

    Raises:
        ValueError: It is another task, too few rows can be asked about, or a number is out of its bounds.
    """
    if task not in _DRAW:
        raise ValueError(f"task must be one of {tuple(_DRAW)}, got {task!r}")
    check_number(random_share, "random_share", Bounds(0, 1))
    n_random = n if model is None else int(np.ceil(random_share * n))
    rows = _DRAW[task](_enough(task, features, may_show), n_random, rng)
    purpose = np.array([RANDOM] * n_random + [BALD] * (n - n_random), dtype="<U6")
    if model is not None and n > n_random:
        chosen = _bald(task, model, features, n - n_random, rng=rng, pool=pool, may_show=may_show)
        rows = np.concatenate([rows, chosen])
    return rows, purpose


def _bald(
    task: str,
    model: TripletModel | PairModel,
    features: Floats,
    n: int,
    *,
    rng: np.random.Generator,
    pool: int,
    may_show: Bools | None,
) -> Ints:
    check_number(pool, "pool", Bounds(1), kind=int)
    rows = _enough(task, features, may_show)
    candidates = _DRAW[task](len(rows), max(pool, n), rng)
    chosen = most_telling(model.member_probability(features[rows], candidates), n)
    found: Ints = rows[candidates[chosen]]
    return found


def _enough(task: str, features: Floats, may_show: Bools | None) -> Ints:
    rows, least = askable(features, may_show), width_of(task)
    if len(rows) < least:
        raise ValueError(
            f"features must have at least {least} rows that are finite and may be shown, "
            f"got {len(rows)} of {len(features)}"
        )
    return rows


def ask(rows: Ints, ids: Ints, purpose: np.ndarray, *, batch: str, shown: Floats, task: str = "triplet") -> Queries:
    """Returns the questions as they are published.

    Args:
        rows: (t, w) rows of ids, as many in a question as its task has.
        ids: (i,) candidate ids.
        purpose: (t,).
        batch: names this batch within the study.
        shown: (t, w, …) what is judged. A uid carries its digest: the same question asked again, after a resume, has
            the same uid, and an answer never stands for another question.
        task: "triplet", "pair" or "rating".

    Raises:
        ValueError: There is no such task, the shapes do not fit, or what is to be judged could not be measured: says of
            which candidates.
    """
    rows, ids, shown, width = np.asarray(rows), np.asarray(ids), np.asarray(shown), width_of(task)
    if rows.ndim != 2 or rows.shape[1] != width or len(purpose) != len(rows) or shown.shape[:2] != rows.shape:
        raise ValueError(
            f"rows must have shape (t, {width}), purpose (t,) and shown (t, {width}, …), "
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
                f"that could not be measured, {listed(np.unique(items[missing]))}: `askable` leaves these out"
            )
    uids = np.array([f"{batch}/{i}-{digest(np.ascontiguousarray(shown[i]).tobytes())}" for i in range(len(rows))])
    return Queries(uids, items, purpose, task)
