"""A tiny problem with every kind of part: any generator, axes and quality, put together by name.

python -m tests.toy --run DIR [--resume]     # learned axes and a learned quality, for tests that kill it
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ribs.emitters import EvolutionStrategyEmitter, IsoLineEmitter

from qdfeedback import archives, runs
from qdfeedback.diversity.bins import Bins
from qdfeedback.diversity.columns import Columns
from qdfeedback.diversity.similarity import Fit
from qdfeedback.encoders.attributes import Attribute, Attributes
from qdfeedback.encoders.join import Join
from qdfeedback.feedback.annotators import Simulated
from qdfeedback.generators.gaussian import Gaussian
from qdfeedback.generators.language import Beginning, Near, Seeds, Written
from qdfeedback.generators.latent import Noise
from qdfeedback.generators.mixture import Mixture
from qdfeedback.generators.prompts import Prompts, by_grammar
from qdfeedback.generators.pyribs import Pyribs
from qdfeedback.generators.similar import Words
from qdfeedback.learning.aurora import aurora
from qdfeedback.learning.axes import Learned
from qdfeedback.learning.feedback import Feedback
from qdfeedback.learning.fits import Likelihood
from qdfeedback.learning.known import Known
from qdfeedback.learning.part import AxesPart, Placing
from qdfeedback.learning.preferences import LearnedQuality
from qdfeedback.learning.published import qdhf
from qdfeedback.learning.schedule import Schedule
from qdfeedback.loop import Loop
from qdfeedback.models.language import Sampling
from qdfeedback.models.scripted import Scripted
from qdfeedback.quality.columns import column
from qdfeedback.runs import Run
from qdfeedback.search import Search
from qdfeedback.types import Floats, Ints, Placement

N, ITERATIONS = 10, 7  # candidates in an iteration; iterations
NAMES = ("a", "b", "c", "d", "good", "fair", "grand")
LEARNED, TRUE = (0, 1, 2, 3), [0, 1]
TEXTS = ("ab ba c.", "dd c ab.", "b b a d.", "c cc da.")
SPREAD = Bins((5,), (tuple(np.linspace(0, 1, 6)),))
BOTH = Bins((5, 6), (tuple(np.linspace(0, 1, 6)),) * 2)
NUMERIC = ("gaussian", "iso-line", "cma-me", "cma-mae", "noise", "mixture")
GENERATORS = (*NUMERIC, "language", "prompts")
AXES = ("known", "pca", "pca again", "learned", "published", "questions", "questions and learned")
QUALITIES = ("column", "attribute", "learned")


def likely(prompt: str, options: Sequence[str]) -> list[float]:
    """Answers questions by the letters that they are asked with."""
    share = (zlib.crc32(prompt.encode()) % 1000 + 1) / 1002
    return [share, *[(1 - share) / (len(options) - 1)] * (len(options) - 1)]


def letters(seed: int) -> str:
    rng = np.random.default_rng(seed)
    return " ".join("".join(rng.choice(list("abcd"), rng.integers(1, 4))) for _ in range(rng.integers(3, 6))) + "."


MODEL = Scripted(lambda _, seed: letters(seed), likely)


class Points:
    """Four numbers; what lies over the edge cannot be rendered."""

    dtype: Any = np.float64

    def initial(self, n: int, rng: np.random.Generator) -> Any:
        return rng.uniform(-1, 1, (n, 4)).astype(self.dtype)

    def render(self, solutions: Floats, seeds: Ints) -> tuple[list[str], list[str | None]]:
        return [" ".join(f"{x:.6f}" for x in one) for one in solutions], [
            "over the edge" if one[0] > 2 else None for one in solutions
        ]

    def present(self, artifact: str) -> str:
        return artifact


class Single(Points):
    """The same as noise is."""

    dtype = np.float32


class Lines(Points):
    """Words of four letters."""

    def initial(self, n: int, rng: np.random.Generator) -> Any:
        return np.array([letters(int(seed)) for seed in rng.integers(2**31, size=n)])

    def render(self, solutions: Any, seeds: Ints) -> tuple[list[str], list[str | None]]:
        return [str(one) for one in solutions], [None] * len(solutions)


class Measured:
    """Four numbers of each text, and how good it is."""

    names = NAMES[:5]

    def encode(self, artifacts: Sequence[str]) -> Floats:
        rows = [
            [text.count(one) / len(text) for one in "abcd"]
            if set(text) & set("abcd")
            else [float(x) for x in text.split()]
            for text in artifacts
        ]
        found = np.array(rows, dtype=np.float32).reshape(-1, 4)
        return np.column_stack([found, -np.square(found).sum(axis=1)])


def make_generator(name: str, domain: Points) -> Any:
    zero = np.zeros(4)
    if name == "iso-line":
        return Pyribs(lambda archive, seed: [IsoLineEmitter(archive, x0=zero, batch_size=N, seed=seed)])
    if name in ("cma-me", "cma-mae"):
        rules: dict[str, Any] = {"ranker": "2imp"} if name == "cma-me" else {"ranker": "imp", "selection_rule": "mu"}
        strategy: Callable[..., Any] = EvolutionStrategyEmitter
        return Pyribs(lambda archive, seed: [strategy(archive, x0=zero, sigma0=0.3, batch_size=N, seed=seed, **rules)])
    if name == "noise":
        return Noise(0.4, domain.initial)
    if name == "mixture":
        return Mixture((Gaussian(0.2, domain.initial), 0.6), (Noise(0.5, domain.initial), 0.4))
    if name == "prompts":
        return Prompts(by_grammar(lambda text, rng: f"{text[:-1]} {letters(int(rng.integers(2**31)))}"), domain.initial)
    if name == "language":
        seen, sampling = Words(), Sampling(max_tokens=12)
        first = Written(MODEL, Seeds("A line:", TEXTS), sampling, seen=seen)
        return Beginning(first, Written(MODEL, Near("A line:"), sampling, seen=seen), n=N)
    return Gaussian(0.3, domain.initial)


def make_axes(name: str, feedback: Feedback) -> AxesPart:
    placing, how = Placing(quantile=0.0, end=0.05), Likelihood(Fit(starts=1, members=3, steps=20, flip=None))
    if name == "known":
        return Known(Columns((0, 1)), np.array([(-1.0, 1.0)] * 2))
    if name == "questions":
        return Known(BOTH, BOTH.ranges)
    if name.startswith("pca"):
        return aurora(LEARNED, iterations=ITERATIONS, again=name == "pca again", placing=placing)
    if name == "published":
        return qdhf(LEARNED, feedback, iterations=ITERATIONS, answers=16)
    joined = name == "questions and learned"
    schedule = Schedule({1: 6, 4: 8})
    return Learned(
        LEARNED, feedback, schedule, fitted=how, dim=1 if joined else 2, pinned=SPREAD if joined else None,
        placing=placing,
    )  # fmt: skip


def make(run: Run, generator: str, axes: str, quality: str, *, iterations: int = ITERATIONS) -> Loop:
    """Returns a run of parts that are named, new or to be gone on with."""
    domain = Lines() if generator not in NUMERIC else Single() if generator == "noise" else Points()
    judge = Attributes((Attribute("fair", "Is it fair?"), Attribute("grand", "Is it grand?")), (MODEL,))
    search = Search(domain, Join((Measured(), judge)), make_generator(generator, domain), 3, run.failures)
    store = run.open_store("toy")
    alike = Feedback(run, store, Simulated(lambda ids: run.history.take(ids, "features")[:, TRUE]))
    better = Feedback(run, store, Simulated(lambda ids: run.history.take(ids, "features")[:, [4]]))
    soft = {"learning_rate": 0.5, "threshold_min": -10.0} if generator == "cma-mae" else {}
    good: Any = {
        "column": column(NAMES, "good"),
        "attribute": column(NAMES, "grand"),
        "learned": LearnedQuality(LEARNED, better, Schedule({2: 6, 4: 6})),
    }[quality]
    pyribs = generator in ("gaussian", "iso-line", "cma-me", "cma-mae")
    archive = archives.grid(4 if pyribs else (), (5, 5), **soft)
    return Loop(
        run, search, make_axes(axes, alike), good, archive, iterations * N, N,
        follow={"true": _true(run, pyribs)}, store=store,
    )  # fmt: skip


def _true(run: Run, pyribs: bool) -> Placement:
    archive = archives.grid(4 if pyribs else (), (5, 5))(np.array([(-1.0, 1.0)] * 2), 0)
    resolve = lambda ids: run.history.take(ids, "solution")  # noqa: E731
    return Placement(column(NAMES, "good"), Columns((0, 1)), archive, resolve=resolve)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs learned axes and a learned quality, for tests that kill it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--iterations", type=int, default=60)
    args = parser.parse_args(argv)
    settings = {"study": "toy", "iterations": args.iterations}
    run = runs.resume(args.run, NAMES) if args.resume else runs.create(args.run, settings, NAMES)
    loop = make(run, "gaussian", "learned", "learned", iterations=run.settings["iterations"])
    for _ in loop:
        pass
    loop.finish({"elites": len(loop.elites()), "answers": loop.answers})
    sys.stdout.write(f"{len(loop.elites())} elites\n")


if __name__ == "__main__":
    main()
