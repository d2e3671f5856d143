"""What our loop costs over pyribs' own Scheduler: same archive, emitter and evaluation, taken in turn in one process.

    python -m experiments.benchmark_loop

Prints the median of the ratios over the rounds; a ratio of 1.05 means 5 % slower. The last line compares a whole
`qdhf` run of 100,000 evaluations, with its history, figures in the true space and checkpoints, with the bare
Scheduler loop plus the same four fits.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from ribs.archives import ArchiveBase
from ribs.emitters import GaussianEmitter
from ribs.schedulers import Scheduler
from tqdm import tqdm

from domains.arm import FEATURES, RANGES, Arm, ArmEncoder
from experiments import arm_published, arm_report
from experiments.command import run_main
from experiments.qdhf_arm import Args as ArmArgs
from experiments.qdhf_arm import ArmSearch, search_arm
from qdfeedback import archives, files
from qdfeedback.diversity.columns import columns
from qdfeedback.diversity.published import fit_published
from qdfeedback.feedback.queries import uniform_triplets
from qdfeedback.generators.pyribs import Pyribs
from qdfeedback.history import History
from qdfeedback.parallel import limit_threads
from qdfeedback.quality.columns import column
from qdfeedback.search import Search, step
from qdfeedback.types import Floats, Placement

ARM, ENCODER = Arm(), ArmEncoder()
NAMES = ENCODER.names
BUILD = archives.grid(10, (50, 50))


@dataclass(frozen=True)
class Args:
    rounds: int = 7
    """How often each pair is measured; the median counts."""
    evaluations: int = 100_000
    """In one measurement."""
    out: Path = Path("runs/benchmark_loop.json")
    """Where the figures go."""


def _emitters(archive: ArchiveBase, seed: int, n: int) -> list[GaussianEmitter]:
    first = ARM.initial(n, np.random.default_rng(0))
    return [GaussianEmitter(archive, sigma=0.1, initial_solutions=first, batch_size=n, seed=seed)]


def _evaluate(solutions: Floats) -> Floats:
    artifacts, _ = ARM.render(solutions, np.zeros(len(solutions), dtype=np.uint64))
    return ENCODER.encode(artifacts)


def scheduler_loop(n: int, iterations: int) -> float:
    """Returns the seconds of pyribs' own loop."""
    archive = BUILD(RANGES, 0)
    scheduler = Scheduler(archive, _emitters(archive, 0, n))
    began = time.perf_counter()
    for i in range(iterations):
        ids = np.arange(i * n, (i + 1) * n)
        features = _evaluate(scheduler.ask())
        scheduler.tell(features[:, 22], features[:, 20:22], id=ids)
    return time.perf_counter() - began


def our_loop(n: int, iterations: int, folder: Path | None) -> float:
    """Returns the seconds of ours; with a folder, the history is written there."""
    generator = Pyribs(lambda archive, seed: _emitters(archive, seed, n))
    search = Search(ARM, ENCODER, generator, 0)
    placement = Placement(column(NAMES, "straightness"), columns(NAMES, "x", "y"), BUILD(RANGES, 0))
    history = History(folder / "history.arrows", NAMES) if folder else None
    rng = np.random.default_rng(0)
    began = time.perf_counter()
    for i in range(iterations):
        batch = step(search, placement, n=n, first_id=i * n, iteration=i, rng=rng)
        if history is not None:
            history.append(batch)
    if history is not None:
        history.flush()
    return time.perf_counter() - began


def published_bare(iterations: int, n: int, judgments: int) -> float:
    """Returns the seconds of the Scheduler loop that refits as the paper does, and does nothing else."""
    when = arm_published.schedule("qdhf", iterations, judgments)
    rng = np.random.default_rng(0)
    learned = slice(0, len(FEATURES))
    bank, triplets = np.empty((0, 23), dtype=np.float32), np.empty((0, 3), dtype=np.int64)
    began = time.perf_counter()
    solutions = ARM.initial(n, rng)
    scheduler = model = None
    for i in range(iterations):
        if i in when:
            features = _evaluate(ARM.initial(3 * when[i], rng) if model is None else solutions)
            rows = (
                np.arange(3 * when[i]).reshape(-1, 3)
                if model is None
                else uniform_triplets(len(features), when[i], rng, degenerate=True)
            )
            hand = features[:, 20:22]
            a, b, c = (hand[rows[:, k]] for k in range(3))
            near = np.square(a - b).sum(axis=1) < np.square(a - c).sum(axis=1)
            rows = np.where(near[:, None], rows, rows[:, [0, 2, 1]])
            triplets = np.concatenate([triplets, rows + len(bank)])
            bank = np.concatenate([bank, features])
            model = fit_published(bank[:, learned], triplets, rng=rng)
            features = _evaluate(solutions)
            measures = model.project(features[:, learned])
            archive = BUILD(archives.ranges(measures, quantile=0.0, margin=0.0), 0)
            archive.add(solutions, features[:, 22], measures, id=np.arange(len(solutions)))
            scheduler = Scheduler(archive, _emitters(archive, i, n))
        if scheduler is not None and model is not None:
            features = _evaluate(scheduler.ask())
            scheduler.tell(features[:, 22], model.project(features[:, learned]), id=np.arange(n))
            if i + 1 in when:
                solutions = scheduler.archive.data("solution")
    return time.perf_counter() - began


def published_whole(iterations: int, n: int, judgments: int, folder: Path) -> float:
    """Returns the seconds of a `qdhf` run as it is made: history, judgments in the store, figures, checkpoints."""
    began = time.perf_counter()
    args = ArmArgs(run=folder / "run", method="qdhf", iterations=iterations, batch_size=n, judgments=judgments)
    arm = ArmSearch(args)
    log = arm_report.Log(arm.run)
    search_arm(arm, log, tqdm(disable=True))
    arm.history.flush(sync=True)
    arm.store.close()
    return time.perf_counter() - began


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    args = tyro.cli(Args, description=__doc__, args=argv)
    limit_threads()
    figures: dict[str, dict[str, float]] = {}
    for n in (100, 1000):
        iterations = max(args.evaluations // n, 2)
        scheduler_loop(n, 5)
        rows = []
        for _ in tqdm(range(args.rounds), desc=f"batch {n}"):
            with tempfile.TemporaryDirectory() as folder:
                theirs = scheduler_loop(n, iterations)
                rows.append((our_loop(n, iterations, None) / theirs, our_loop(n, iterations, Path(folder)) / theirs))
        off, on = np.median(rows, axis=0)
        figures[f"batch_{n}"] = {"history_off": float(off), "history_on": float(on)}
        print(f"batch {n:>5}: history off {off:.3f}, history on {on:.3f} times the Scheduler loop")
    whole, bare = [], []
    iterations = max(args.evaluations // 100, 10)
    for _ in tqdm(range(max(args.rounds // 2, 1)), desc="whole run"):
        with tempfile.TemporaryDirectory() as folder:
            bare.append(published_bare(iterations, 100, 1000))
            whole.append(published_whole(iterations, 100, 1000, Path(folder)))
    ratio = float(np.median(np.array(whole) / bare))
    figures["qdhf_run"] = {"ratio": ratio, "seconds": float(np.median(whole)), "bare_seconds": float(np.median(bare))}
    print(f"whole qdhf run: {ratio:.2f} times the bare loop with its four fits")
    files.write_json(args.out, figures)


if __name__ == "__main__":
    run_main(main)
