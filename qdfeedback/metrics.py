"""Figures of an archive, comparable between runs because they are taken in one fixed space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qdfeedback.archives import grid
from qdfeedback.bounds import Bounds, check_number
from qdfeedback.feedback.queries import uniform_triplets
from qdfeedback.search import Rows, is_apart, measure
from qdfeedback.types import Bools, Diversity, Floats, Ints, Placement

if TYPE_CHECKING:
    from ribs.archives import ArchiveBase


@dataclass(frozen=True)
class GridScore:
    """Figures of one archive.

    Attributes:
        qd_score: sum of the elites' objectives over the number of cells, empty cells counting 0.
        coverage: percent of cells that hold an elite.
    """

    qd_score: float
    coverage: float


def score(archive: ArchiveBase) -> GridScore:
    """Returns QD score per cell and coverage; the same elites give the same figures, however they came in."""
    objective, cell = archive.data(["objective", "index"], return_type="tuple")
    cells = int(archive.cells)
    return GridScore(float(objective[np.argsort(cell)].sum()) / cells, 100 * len(cell) / cells)


def score_in(ranges: Floats, dims: tuple[int, ...], objective: Floats, measures: Floats) -> GridScore:
    """Returns the figures of candidates in a grid over fixed ranges, the best one counting in each cell.

    Args:
        ranges: (k, 2).
        dims: k numbers of cells.
        objective: (n,).
        measures: (n, k); candidates outside the ranges fall into border cells. Rows with NaN do not count.
    """
    archive = grid((), dims)(ranges, 0)
    _fill(archive, objective, measures)
    return score(archive)


def _fill(archive: ArchiveBase, objective: Floats, measures: Floats) -> None:
    good = np.flatnonzero(np.isfinite(objective) & np.isfinite(measures).all(axis=1))
    if len(good):
        blank = np.zeros((len(good), *np.empty(archive.solution_dim).shape), dtype=archive.dtypes["solution"])
        archive.add(blank, objective[good], measures[good], id=good)


def best_in_cells(history: Rows, placement: Placement, *, depth: int) -> Ints:
    """Returns the ids of the best candidates of every cell, `depth` of them at most.

    A query on the history: the archive itself keeps one elite in a cell, and everything else is still there.

    Returns:
        (m,) int64: the best of each cell first, by falling objective, then the second of each, and so on.
    """
    check_number(depth, "depth", Bounds(1), kind=int)
    ids, objectives, cells = [], [], []
    for part in history.chunks("id", "features"):
        _, objective, measures = measure(placement, part["features"])
        good = np.isfinite(objective) & np.isfinite(measures).all(axis=1)
        if good.any():
            ids.append(part["id"][good])
            objectives.append(objective[good])
            cells.append(placement.archive.index_of(measures[good]))
    if not ids:
        return np.empty(0, dtype=np.int64)
    of, value, cell = np.concatenate(ids), np.concatenate(objectives), np.concatenate(cells)
    order = np.lexsort((of, -value, cell))  # cells side by side, the best first in each
    _, begin, counts = np.unique(cell[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(begin, counts)
    kept = np.flatnonzero(rank < depth)
    found: Ints = of[order][kept[np.lexsort((-value[order][kept], rank[kept]))]]
    return found


def score_along(
    history: Rows, placement: Placement, marks: Sequence[int], *, apart: Sequence[tuple[int, int]] = ()
) -> list[GridScore]:
    """Returns the figures that the candidates so far have in one fixed space, at some points of a history.

    Where axes are learned along a run, the score on the axes of the moment jumps at every refit; this one cannot fall
    where objectives are not negative. The history is read a part at a time: a million candidates take seconds.

    Args:
        history: every candidate.
        placement: the space: its quality, its axes, and the cells of its archive, whose elites do not count.
        marks: (m,) numbers of candidates, rising.
        apart: (first id, id after the last) of candidates that do not count.
    """
    best = np.full(int(placement.archive.cells), -np.inf)
    found: list[GridScore] = []
    seen = 0
    for part in history.chunks("id", "features"):
        _, objective, measures = measure(placement, part["features"])
        good = np.isfinite(objective) & np.isfinite(measures).all(axis=1) & ~is_apart(part["id"], apart)
        good[good] = objective[good] >= placement.least
        cell = np.zeros(len(good), dtype=np.int64)
        if good.any():
            cell[good] = placement.archive.index_of(measures[good])
        begin = 0
        for end in [mark - seen for mark in marks[len(found) :] if mark <= seen + len(good)]:
            _take_in(best, cell[begin:end], objective[begin:end], good[begin:end])
            found.append(_score_of(best))
            begin = end
        _take_in(best, cell[begin:], objective[begin:], good[begin:])
        seen += len(good)
    return found + [_score_of(best)] * (len(marks) - len(found))


def _take_in(best: Floats, cell: Ints, objective: Floats, good: Bools) -> None:
    """Raises the best objective of each cell to that of the good candidates in it."""
    np.maximum.at(best, cell[good], objective[good])


def _score_of(best: Floats) -> GridScore:
    """Returns the figures of cells whose best objective is known; -inf = the cell is empty."""
    filled = best > -np.inf
    return GridScore(float(best[filled].sum()) / len(best), 100 * int(filled.sum()) / len(best))


def corrected_score(empty: ArchiveBase, objectives: Floats, measures: Floats) -> GridScore:
    """Returns the figures of elites by the mean of fresh evaluations, for noisy objectives or measures.

    A noisy objective is highest where the noise was kindest; this is what the archive is worth beyond luck
    (Flageul and Cully 2023: corrected QD score).

    Args:
        empty: a new archive of the kind and ranges that the elites come from; it is filled.
        objectives: (times, e) as `search.reevaluate` gives them; NaN = that evaluation failed.
        measures: (times, e, k).
    """
    good = np.isfinite(objectives) & np.isfinite(measures).all(axis=2)
    counts = good.sum(axis=0)
    with np.errstate(invalid="ignore"):
        objective = np.where(good, objectives, 0).sum(axis=0) / counts
        place = np.where(good[..., None], measures, 0).sum(axis=0) / counts[:, None]
    _fill(empty, objective, place)
    return score(empty)


def linear_r2(measures: Floats, truth: Floats) -> float:
    """Returns the share of a property's variance that a linear map of the measures explains.

    Args:
        measures: (n, k).
        truth: (n,); NaN = unknown: these rows do not count. NaN where it is the same everywhere.
    """
    known = np.isfinite(truth) & np.isfinite(measures).all(axis=1)
    x, y = np.column_stack([measures[known], np.ones(int(known.sum()))]).astype(float), truth[known].astype(float)
    if not len(y) or not y.var() > 0:
        return float("nan")
    left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return float(1 - np.square(left).mean() / y.var())


def orders_right(model: Diversity, features: Floats, triplets: Ints) -> np.ndarray:
    """Returns (t,) bool, True where the model finds the near item nearer to the anchor than the far one.

    Args:
        model: features → measures.
        features: (n, d).
        triplets: (t, 3) rows of features: anchor, near, far.
    """
    used, local = np.unique(triplets, return_inverse=True)
    places = model.project(features[used])
    anchor, near, far = (places[local.reshape(triplets.shape)[:, i]] for i in range(3))
    result: np.ndarray = np.square(anchor - near).sum(axis=1) < np.square(anchor - far).sum(axis=1)
    return result


def axes_accuracy(model: Diversity, features: Floats, truth: Diversity, true: Floats) -> float:
    """Returns how often measures order random triplets of candidates as a true space does, over 20,000 of them.

    Args:
        model: features → measures.
        features: (n, d).
        truth: true features → true measures.
        true: (n, …) of the same candidates.
    """
    triplets = uniform_triplets(len(features), 20_000, np.random.default_rng(0))
    right = orders_right(truth, true, triplets)
    return float((orders_right(model, features, triplets) == right).mean())


def pairwise_distance(embeddings: Floats) -> tuple[float, float]:
    """Returns mean and standard deviation of 1 - cosine over all pairs (Ding 2024 takes embeddings of DreamSim).

    Args:
        embeddings: (n, d), two rows at least; rows with NaN do not count.
    """
    unit = _unit_rows(embeddings)
    apart = 1 - (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    return float(apart.mean()), float(apart.std())


def vendi_score(embeddings: Floats) -> float:
    """Returns the effective number of different items, from 1 to n (Friedman and Dieng 2023), by cosine.

    Args:
        embeddings: (n, d); rows with NaN do not count.

    Raises:
        ImportError: The extra is not installed; says which.
    """
    try:
        from vendi_score import vendi
    except ModuleNotFoundError as error:
        raise ImportError('this needs vendi-score: pip install "qdfeedback[images]"') from error
    unit = _unit_rows(embeddings)
    return float(vendi.score_dual(unit) if len(unit) > unit.shape[1] else vendi.score_K(unit @ unit.T))


def _unit_rows(embeddings: Floats) -> Floats:
    rows = embeddings[np.isfinite(embeddings).all(axis=1)].astype(np.float64)
    if len(rows) < 2:
        raise ValueError(f"embeddings must have two finite rows or more, got {len(rows)}")
    unit: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def attribute_entropy(values: Floats, n_values: int) -> float:
    """Returns how evenly an attribute takes its values, from 0 (always the same) to 1 (GRADE).

    Args:
        values: (n,) numbers of values from 0, NaN = unknown: these do not count; NaN where all are.
        n_values: how many there are.
    """
    from scipy.stats import entropy

    check_number(n_values, "n_values", Bounds(2), kind=int)
    known = values[np.isfinite(values)].astype(int)
    if not len(known):
        return float("nan")
    return float(entropy(np.bincount(known, minlength=n_values)) / np.log(n_values))
