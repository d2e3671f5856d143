"""Small searches on the arm."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from domains.arm import RANGES, Arm, ArmEncoder
from qdfeedback import archives
from qdfeedback.diversity.columns import columns
from qdfeedback.generators.gaussian import Gaussian
from qdfeedback.history import History
from qdfeedback.quality.columns import column
from qdfeedback.search import Search, step
from qdfeedback.types import Placement


def on_the_arm(seed: int = 0, dims: tuple[int, int] = (20, 20)) -> Placement:
    names = ArmEncoder.names
    return Placement(column(names, "straightness"), columns(names, "x", "y"), archives.grid(10, dims)(RANGES, seed))


def arm_search(seed: int = 0, generator: object | None = None, domain: object | None = None) -> Search:
    domain = domain or Arm()
    return Search(domain, ArmEncoder(), generator or Gaussian(0.1, domain.initial), seed)


def a_history(path: Path, batches: int = 4, n: int = 25, seed: int = 0) -> tuple[History, Placement]:
    """A history of some steps on the arm, and the placement that they filled."""
    rng = np.random.default_rng(seed)
    search, placement = arm_search(seed), on_the_arm(seed)
    history = History(path / "history.arrows", ArmEncoder.names)
    for i in range(batches):
        history.append(step(search, placement, n=n, first_id=len(history), iteration=i, rng=rng))
    return history, placement
