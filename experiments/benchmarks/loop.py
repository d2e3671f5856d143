"""What our loop costs over pyribs' own Scheduler: same archive, emitter and evaluation, taken in turn in one process.

    python -m experiments.benchmarks.loop

Prints the median of the ratios over the rounds; a ratio of 1.05 means 5 % slower. The last line compares a whole
`qdhf` run of 100,000 evaluations, with its history, figures in the true space and checkpoints, with the bare
Scheduler loop that makes the very same four fits.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
from ribs.archives import ArchiveBase
from ribs.emitters import GaussianEmitter
from ribs.schedulers import Scheduler
from tqdm import tqdm

from domains.arm import FEATURES, RANGES, Arm, ArmEncoder
from experiments.arm import qdhf
from experiments.arm.arguments import Args as ArmArgs
from qdfeedback import archives, files
from qdfeedback.bounds import Count, read_arguments
from qdfeedback.claims import release
from qdfeedback.commands import run_main
from qdfeedback.diversity import published
from qdfeedback.diversity.columns import columns
from qdfeedback.diversity.published import fit_published
from qdfeedback.diversity.similarity import Similarity
from qdfeedback.generators.pyribs import Pyribs
from qdfeedback.history import History
from qdfeedback.learning.known import Known
from qdfeedback.learning.schedule import as_published
from qdfeedback.loop import Loop
from qdfeedback.parallel import compute_on
from qdfeedback.quality.columns import column
from qdfeedback.runs import Run, create
from qdfeedback.search import Search, step
from qdfeedback.types import Floats, Ints, Placement

ARM, ENCODER = Arm(), ArmEncoder()
NAMES = ENCODER.names
BUILD = archives.grid(10, (50, 50))
BLOCK = 10  # iterations that a loop runs before it is another's turn


@dataclass(frozen=True)
class Args:
    rounds: Count = 7
    """How often each pair is measured; the median counts."""
    evaluations: Count = 100_000
    """In one measurement."""
    out: Path = Path("runs/benchmark_loop.json")
    """Where the figures go."""


class Fit(NamedTuple):
    """What one fit was given."""

    features: Floats
    triplets: Ints
    rng: np.random.Generator


def _emitters(archive: ArchiveBase, seed: int, n: int) -> list[GaussianEmitter]:
    first = ARM.initial(n, np.random.default_rng(0))
    return [GaussianEmitter(archive, sigma=0.1, initial_solutions=first, batch_size=n, seed=seed)]


def _evaluate(solutions: Floats) -> Floats:
    artifacts, _ = ARM.render(solutions, np.zeros(len(solutions), dtype=np.uint64))
    return ENCODER.encode(artifacts)


def scheduler_loop(n: int) -> Iterator[None]:
    """The loop of pyribs itself, an iteration at a time."""
    archive = BUILD(RANGES, 0)
    scheduler = Scheduler(archive, _emitters(archive, 0, n))
    for i in count():
        ids = np.arange(i * n, (i + 1) * n)
        features = _evaluate(scheduler.ask())
        scheduler.tell(features[:, 22], features[:, 20:22], id=ids)
        yield


def our_loop(n: int, history: History | None) -> Iterator[None]:
    """Ours, an iteration at a time; with a history, every candidate goes there."""
    generator = Pyribs(lambda archive, seed: _emitters(archive, seed, n))
    search = Search(ARM, ENCODER, generator, 0)
    placement = Placement(column(NAMES, "straightness"), columns(NAMES, "x", "y"), BUILD(RANGES, 0))
    rng = np.random.default_rng(0)
    for i in count():
        batch = step(search, placement, n=n, first_id=i * n, iteration=i, rng=rng)
        if history is not None:
            history.append(batch)
        yield


def whole_loop(n: int, run: Run) -> Iterator[None]:
    """A run as a `Loop` makes it, with its history, the ranges watched, and a checkpoint at the beginning alone."""
    generator = Pyribs(lambda archive, seed: _emitters(archive, seed, n))
    search = Search(ARM, ENCODER, generator, 0)
    axes, quality = Known(columns(NAMES, "x", "y"), np.array(RANGES)), column(NAMES, "straightness")
    for _ in Loop(run, search, axes, quality, BUILD, 10**9, n, archive_seed=0, checkpoint_every=10**9):
        yield


def loop_ratios(n: int, evaluations: int) -> tuple[float, float, float]:
    """Returns the time of our step over pyribs', with the history off and on, and that of a whole `Loop`."""
    with tempfile.TemporaryDirectory() as folder:
        history, run = History(Path(folder) / "history.arrows", NAMES), create(Path(folder) / "run", {}, NAMES)
        blocks = max(evaluations // n // BLOCK, 1)
        off, on = in_turn((scheduler_loop(n), our_loop(n, None), our_loop(n, history)), blocks, history)
        (loop,) = in_turn((scheduler_loop(n), whole_loop(n, run)), blocks, run.history)
        release(run.path)
    return off, on, loop


def in_turn(loops: Sequence[Iterator[None]], blocks: int, history: History) -> list[float]:
    """Returns the time of loops over that of the first; the last one has the history, which a thread writes.

    They take turns, ten iterations each, so that a machine that is slower for a while is so for all.
    """
    for loop in loops:
        next(loop)
    seconds = [0.0] * len(loops)
    for _ in range(blocks):
        for i, loop in enumerate(loops):
            began = time.perf_counter()
            for _ in range(BLOCK):
                next(loop)
            seconds[i] += time.perf_counter() - began
    began = time.perf_counter()
    history.flush()
    seconds[-1] += time.perf_counter() - began
    return [one / seconds[0] for one in seconds[1:]]


def published_whole(iterations: int, n: int, answers: int, folder: Path) -> tuple[float, list[Fit]]:
    """Returns the seconds of a `qdhf` run as it is made (history, judgments in the store, figures, checkpoints).

    And its fits, for the bare loop to make the same ones: how long a fit takes depends on its judgments.
    """
    fits: list[Fit] = []

    def recorded(features: Floats, triplets: Ints, *, dim: int, rng: np.random.Generator) -> Similarity:
        fits.append(Fit(features, triplets, deepcopy(rng)))
        return fit_published(features, triplets, dim=dim, rng=rng)

    with mock.patch.object(published, "fit_published", recorded):
        began = time.perf_counter()
        args = ArmArgs(run=folder / "run", method="qdhf", evaluations=iterations * n, batch_size=n, answers=answers)
        loop = qdhf.make(args)
        for _ in loop:
            pass
        assert loop.store is not None
        loop.store.close()
        return time.perf_counter() - began, fits


def published_bare(iterations: int, n: int, answers: int, fits: Sequence[Fit]) -> float:
    """Returns the seconds of the Scheduler loop that makes these fits, re-inserts its elites, and does nothing else."""
    when = dict(zip(as_published(iterations, answers), fits, strict=True))
    learned = slice(0, len(FEATURES))
    began = time.perf_counter()
    solutions = ARM.initial(n, np.random.default_rng(0))
    scheduler = model = None
    for i in range(iterations):
        if i in when:
            model = fit_published(when[i].features, when[i].triplets, rng=when[i].rng)
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


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    args = read_arguments(Args, argv, __doc__)
    compute_on()
    figures: dict[str, dict[str, float]] = {}
    for n in (100, 1000):
        rows = [loop_ratios(n, args.evaluations) for _ in tqdm(range(args.rounds), desc=f"batch {n}")]
        off, on, loop = np.median(rows, axis=0)
        figures[f"batch_{n}"] = {"history_off": float(off), "history_on": float(on), "loop": float(loop)}
        print(f"batch {n:>5}: history off {off:.3f}, on {on:.3f}, a whole Loop {loop:.3f} times the Scheduler loop")
    whole, bare = [], []
    iterations = max(args.evaluations // 100, 10)
    for _ in tqdm(range(args.rounds), desc="whole run"):
        with tempfile.TemporaryDirectory() as folder:
            seconds, fits = published_whole(iterations, 100, 1000, Path(folder))
            whole.append(seconds)
            bare.append(published_bare(iterations, 100, 1000, fits))
    ratio = float(np.median(np.array(whole) / bare))
    figures["qdhf_run"] = {"ratio": ratio, "seconds": float(np.median(whole)), "bare_seconds": float(np.median(bare))}
    print(f"whole qdhf run: {ratio:.2f} times the bare loop with its four fits")
    files.write_json(args.out, figures)


if __name__ == "__main__":
    run_main(main)
