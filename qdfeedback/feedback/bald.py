"""Which of many questions tell an ensemble most (BALD, Houlsby 2011)."""

from __future__ import annotations

import numpy as np

from qdfeedback.types import Floats


def most_telling(probability: Floats, n: int) -> list[int]:
    """Returns n questions about which the members disagree while each is sure of itself.

    The gain of a question is the mutual information between its answer and the model, with the members as samples of
    the model. A batch is chosen one question after another: what the members' disagreement about a chosen one explains
    of the others no longer counts (as in BatchBALD, Kirsch 2019, with answers taken as jointly Gaussian), so that a
    batch does not ask one thing n times.

    Args:
        probability: (m, t) of one of the two answers, as each member sees it.
        n: how many of the t.
    """
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
    return chosen
