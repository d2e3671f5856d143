"""Our fit of a similarity model against the published training procedure, on the same triplets in one process.

    python -m experiments.benchmarks.similarity

Arms from an archive in the true space, judged there. Speed-up is the median over rounds of the ratio of seconds;
accuracy is on 20,000 fresh triplets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from tqdm import tqdm

from domains.arm import RANGES, Arm, ArmEncoder
from qdfeedback import archives, files
from qdfeedback.bounds import Bounds, Count, read_arguments
from qdfeedback.commands import run_main
from qdfeedback.diversity.columns import Columns, columns
from qdfeedback.diversity.published import fit_published
from qdfeedback.diversity.similarity import Fit, Similarity, fit_similarity
from qdfeedback.feedback.queries import uniform_triplets
from qdfeedback.generators.gaussian import Gaussian
from qdfeedback.metrics import orders_right
from qdfeedback.parallel import compute_on
from qdfeedback.quality.columns import column
from qdfeedback.search import Search, elites, step
from qdfeedback.types import Floats, Ints, Placement

NAMES = ArmEncoder.names


@dataclass(frozen=True)
class Args:
    rounds: Count = 5
    """How often each size is measured."""
    sizes: tuple[Annotated[int, Bounds(2)], ...] = (1000, 40_000)
    """Numbers of triplets."""
    evaluations: Annotated[int, Bounds(200)] = 30_000
    """Of the search that makes the arms."""
    out: Path = Path("runs/benchmark_similarity.json")
    """Where the figures go."""


def arms(iterations: int) -> Floats:
    """Returns the features of elites that a search in the true space found."""
    arm = Arm()
    search = Search(arm, ArmEncoder(), Gaussian(0.1, arm.initial), 0)
    archive = archives.grid(10, (50, 50))(RANGES, 0)
    placement = Placement(column(NAMES, "straightness"), columns(NAMES, "x", "y"), archive)
    rng = np.random.default_rng(0)
    for i in range(iterations):
        step(search, placement, n=100, first_id=100 * i, iteration=i, rng=rng)
    found = elites(placement)
    artifacts, _ = arm.render(found.solutions, found.ids)
    return ArmEncoder().encode(artifacts)


def judged(features: Floats, t: int, rng: np.random.Generator) -> Ints:
    """Returns t triplets ordered by the place of the hand."""
    triplets = uniform_triplets(len(features), t, rng)
    right = orders_right(Columns((20, 21)), features, triplets)
    return np.where(right[:, None], triplets, triplets[:, [0, 2, 1]])


def timed(fit: Callable[[], Similarity]) -> tuple[float, Similarity]:
    """Returns the seconds a fit took, and the model."""
    began = time.perf_counter()
    model = fit()
    return time.perf_counter() - began, model


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    args = read_arguments(Args, argv, __doc__)
    compute_on()
    features = arms(args.evaluations // 100)
    learned = features[:, :20]
    figures: dict[str, dict[str, float]] = {}
    for size in args.sizes:
        rows = []
        for round_ in tqdm(range(args.rounds), desc=f"{size} triplets"):
            rng = np.random.default_rng(round_)
            triplets, test = judged(features, size, rng), judged(features, 20_000, rng)
            measured = [
                timed(partial(fit_published, learned, triplets, rng=rng)),
                timed(partial(fit_similarity, learned, triplets, how=Fit(starts=1, members=0), rng=rng)),
                timed(partial(fit_similarity, learned, triplets, how=Fit(starts=1, members=5), rng=rng)),
            ]
            seconds = [spent for spent, _ in measured]
            accuracy = [float(orders_right(model, learned, test).mean()) for _, model in measured]
            rows.append([seconds[0] / seconds[1], seconds[2] / seconds[1], *accuracy])
        speed, ensemble, theirs, ours, five = np.median(rows, axis=0)
        figures[str(size)] = {
            "speed_up": speed, "ensemble_cost": ensemble,
            "accuracy_published": theirs, "accuracy_ours": ours, "accuracy_ensemble": five,
        }  # fmt: skip
        print(
            f"{size:>6} triplets: {speed:.1f} times faster, accuracy {ours:.4f} (published {theirs:.4f}); "
            f"with an ensemble of five {ensemble:.2f} times the cost, accuracy {five:.4f}"
        )
    files.write_json(args.out, {name: {k: float(v) for k, v in row.items()} for name, row in figures.items()})


if __name__ == "__main__":
    run_main(main)
