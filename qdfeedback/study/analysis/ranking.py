"""Which items people prefer: Bradley-Terry strengths from pairs."""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from qdfeedback.feedback.agreement import Interval
from qdfeedback.study.analysis.statistics import NOTHING, both, library, widened
from qdfeedback.types import Floats, Ints


def bradley_terry(wins: Floats, *, start: Floats | None = None) -> Floats:
    """Returns (n,) strengths, log-odds with mean 0, from (n, n) wins of row over column; a tie is half a win of each.

    Args:
        wins: (n, n).
        start: (n,) strengths near which they may lie.

    Raises:
        ValueError: The fit did not converge.
    """
    try:
        found: Floats = library("choix").ilsr_pairwise_dense(wins, alpha=0.01, initial_params=start)
    except RuntimeError as error:
        raise ValueError(f"wins could not be ranked: {error}") from error
    centred: Floats = found - found.mean()
    return centred


def parts(games: Ints) -> Ints:
    """Returns (n,) for each item the number of the part to which it belongs.

    Within a part, comparisons lead from each item to each other one; parts cannot be ranked against each other.
    """
    n = int(games.max()) + 1
    graph = coo_array((np.ones(len(games)), (games[:, 0], games[:, 1])), shape=(n, n))
    found: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return found


def ranking(
    games: Ints, share: Floats, *, raters: Ints, trials: Ints, rng: np.random.Generator, times: int = 100
) -> list[Interval]:
    """Returns the Bradley-Terry strength of each of n items that hang together (see `parts`), with bootstrap intervals.

    An item that won or lost all its comparisons has no interval: its strength has no bound on one side. Neither has any
    where one person answered, or one trial.

    Args:
        games: (g, 2) numbers of the items compared, from 0 to n-1.
        share: (g,) of the first: 1 = it won, 0 = the second did, 0.5 = tie.
        raters: (g,) who compared.
        trials: (g,) which trial it was.
        rng: draws people, and trials.
        times: samples of each.

    Raises:
        ValueError: The fit did not converge.
    """
    n = int(games.max()) + 1

    def strengths(weights: Floats, start: Floats | None = None) -> Floats:
        wins = np.zeros((n, n))
        np.add.at(wins, (games[:, 0], games[:, 1]), weights * share)
        np.add.at(wins, (games[:, 1], games[:, 0]), weights * (1 - share))
        return bradley_terry(wins, start=start)

    value = strengths(np.ones(len(games)))
    won, played = np.zeros(n), np.bincount(games.ravel(), minlength=n)
    np.add.at(won, games[:, 0], share)
    np.add.at(won, games[:, 1], 1 - share)
    bounded = (won > 0) & (won < played)
    found: list[list[Interval]] = [[] for _ in range(n)]
    for groups in (raters, trials):
        _, inverse = np.unique(groups, return_inverse=True)
        size = int(inverse.max()) + 1
        if size < 2:
            return [Interval(float(strength), math.nan, math.nan) for strength in value]
        drawn = rng.multinomial(size, np.full(size, 1 / size), size=times)
        samples = [strengths(weights[inverse].astype(float), value) for weights in drawn]
        low, high = np.quantile(samples, [0.025, 0.975], axis=0)
        for i in range(n):
            found[i].append(widened(Interval(float(value[i]), float(low[i]), float(high[i])), size))
    return [both(float(value[i]), *(found[i] if bounded[i] else (NOTHING, NOTHING))) for i in range(n)]
