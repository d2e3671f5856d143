"""Which items people prefer: Bradley-Terry strengths from pairs."""

from __future__ import annotations

import numpy as np

from qdfeedback.feedback.agreement import Interval
from qdfeedback.study.statistics import both, library
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


def ranking(
    games: Ints, share: Floats, *, raters: Ints, trials: Ints, rng: np.random.Generator, times: int = 100
) -> list[Interval]:
    """Returns the Bradley-Terry strength of each of n items, with bootstrap intervals.

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
    edges = []
    for groups in (raters, trials):
        _, inverse = np.unique(groups, return_inverse=True)
        size = int(inverse.max()) + 1
        drawn = rng.multinomial(size, np.full(size, 1 / size), size=times if size > 1 else 1)
        samples = [strengths(weights[inverse].astype(float), value) for weights in drawn]
        edges.append(np.quantile(samples, [0.025, 0.975], axis=0))
    parts = [[Interval(value[i], edge[0, i], edge[1, i]) for edge in edges] for i in range(n)]
    return [both(float(value[i]), *part) for i, part in enumerate(parts)]
