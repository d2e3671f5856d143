"""A problem of your own, searched with feedback: QDHF on any domain.

    FLOWERS = Problem(Flowers(), Descriptors(), quality="symmetry", text="Which is more like the one at the top?")

    def search(args: Args) -> dict[str, Any]:
        loop = qdhf(FLOWERS, args)
        for batch in loop:
            print(batch.iteration, len(loop.placement.archive))
        return loop.finish()

    if __name__ == "__main__":
        run_command(FLOWERS, __doc__)       # the same as a command: --help, several seeds, --resume

Who answers is an argument: a simulation, people on the study page, or a model. What is more special than this is a
`Loop` made of its parts, as here in `qdhf`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from qdfeedback import archives, bounds, commands
from qdfeedback.arguments import FeedbackArguments, ModelArguments
from qdfeedback.bounds import Bounds, Count, Natural
from qdfeedback.curves import Curves
from qdfeedback.feedback.annotators import Simulated
from qdfeedback.feedback.refit_names import refit_name
from qdfeedback.feedback.store import Store
from qdfeedback.generators.gaussian import Gaussian
from qdfeedback.learning.axes import Learned
from qdfeedback.learning.feedback import Feedback, Tally, ask_model, ask_people
from qdfeedback.learning.fits import Likelihood
from qdfeedback.learning.given import FIRST, given, read_axes
from qdfeedback.learning.part import AxesPart
from qdfeedback.learning.schedule import Schedule, in_rounds, iterations_of, with_looks
from qdfeedback.loop import Loop
from qdfeedback.models.opening import open_model
from qdfeedback.outcome import describe
from qdfeedback.parallel import compute_on, threads
from qdfeedback.progress import Bar
from qdfeedback.quality.columns import column
from qdfeedback.runs import Run
from qdfeedback.search import Search
from qdfeedback.types import Domain, Encoder, Floats, Generator, Ints, Quality
from qdfeedback.values import no_string

STEP = 0.3  # of the first population's spread: how far a mutation goes
ASKS_UNTIL = 0.8  # of the run: later answers are about better elites, and leave less time to follow them; see LOG


@dataclass(frozen=True)
class Args(FeedbackArguments, ModelArguments):
    """Of a search on a problem of one's own."""

    evaluations: Count = 10_000
    """Candidates in all."""
    answers: Annotated[int, Bounds(2)] = 200
    """Answers in all."""
    rounds: Count = 10
    """In how many rounds they are asked for, over the first four fifths of the run."""
    annotator: str = "simulated"
    """Who answers: simulated (by the columns that the problem calls true), study (people, on its page), or a model:
    folder, hub id, or model@http://host:port/v1."""
    wait_for: Natural = 0
    """study: wait until so many answers are there, or as many as were asked for; else the search never waits."""
    dim: Count = 2
    """Number of learned axes."""
    cells: Count = 20
    """Along each of two axes; an archive with another number of axes has CELLS × CELLS Voronoi cells."""
    axes: Path | None = None
    """Axes that were learned before, in place of new ones: a model's file, or the folder of another run."""


@dataclass(frozen=True)
class Problem:
    """What is searched, and what is wanted of it.

    Attributes:
        domain: makes, renders and shows candidates.
        encoder: names and measures features.
        quality: what is good: the name of a feature column, or any fixed quality.
        learned: names of the columns from which axes are learned, "radius_*" for several; if not given, all but those
            of quality and truth.
        truth: columns by which a simulation answers.
        text: the question that people are asked about three candidates.
        title: of the study page.
        unit: what a candidate is called.
        generator: where new candidates come from; mutations of elites if not given, for solutions that are vectors.
    """

    domain: Domain
    encoder: Encoder
    quality: str | Quality
    learned: tuple[str, ...] = ()
    truth: tuple[str, ...] = ()
    text: str = "Which of the two below is more like the one at the top?"
    title: str = "Which is more like it?"
    unit: str = "candidate"
    generator: Generator | None = None

    def __post_init__(self) -> None:
        """Refuses names that no column has."""
        no_string(self.learned, "learned")
        no_string(self.truth, "truth")
        for name in self.truth:
            _ = column(self.names, name)
        if isinstance(self.quality, str):
            _ = column(self.names, self.quality)
        for pattern in self.learned:
            if not any(fnmatchcase(name, pattern) for name in self.names):
                raise ValueError(f"learned: no column of {', '.join(self.names)} is called {pattern!r}")
        if not self.columns:
            raise ValueError("learned: no column is left to learn axes from")

    @property
    def names(self) -> tuple[str, ...]:
        """The d feature columns."""
        return tuple(self.encoder.names)

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """The numbers of those from which axes are learned."""
        if self.learned:
            wanted = [any(fnmatchcase(name, pattern) for pattern in self.learned) for name in self.names]
        else:
            wanted = [name not in (self.quality, *self.truth) for name in self.names]
        return tuple(int(i) for i in np.flatnonzero(wanted))


def check(problem: Problem, args: Args) -> None:
    """Refuses arguments that cannot work, before anything is spent.

    Raises:
        ValueError: Says which and why.
    """
    bounds.check(args)
    if args.evaluations <= args.batch_size:
        raise ValueError(f"--evaluations must be above --batch-size, {args.batch_size}, got {args.evaluations}")
    if args.annotator == "simulated" and not problem.truth and args.axes is None:
        raise ValueError("--annotator: the problem names no true columns; ask people (study), or name a model")
    if args.annotator == "study" and len(args.seed) > 1:
        raise ValueError("--annotator study: people answer one run at a time")
    if args.wait_for and args.annotator != "study":
        raise ValueError("--wait-for waits for people: it needs --annotator study")
    args.check_models(args.annotator)


def qdhf(problem: Problem, args: Args = Args(), *, quiet: bool = False) -> Loop:
    """Returns a run, new or to be gone on with, whose axes are learned from answers.

    Iterate it, and `finish` it; or `complete` it, which does both.

    Args:
        problem: what is searched.
        args: how long, who answers, and where the folder is.
        quiet: show no progress.

    Raises:
        ValueError: The arguments cannot work, or are others than those the run was begun with.
    """
    return _loop(problem, commands.arguments_for(args, partial(check, problem)), quiet=quiet)


def _loop(problem: Problem, args: Args, *, quiet: bool) -> Loop:
    compute_on(1 if quiet else threads())
    names, learned = problem.names, [problem.names[i] for i in problem.columns]
    run = commands.open_run(args, names, study=uuid.uuid4().hex, learned=learned)
    with commands.no_folder_left(args):
        generator, archive = _making(problem, args)
        search = Search(problem.domain, problem.encoder, generator, args.seed[0], run.failures)
        store = run.open_store(where=args.database)
        axes = _axes(problem, args, run, search, store)
    return Loop(
        run, search, axes, column(names, problem.quality) if isinstance(problem.quality, str) else problem.quality,
        archive, args.evaluations, args.batch_size, checkpoint_every=args.checkpoint_every, store=store,
        curves=Curves(), bar=Bar(problem.unit, quiet), report=partial(describe, known=problem.truth),
    )  # fmt: skip


def run_one(problem: Problem, args: Args, *, quiet: bool = True) -> dict[str, Any]:
    """Runs one seed and returns its summary; one that is finished is not run again, one that was stopped goes on."""
    args, summary = commands.take_up(args, partial(check, problem))
    return _loop(problem, args, quiet=quiet).complete() if summary is None else summary


def run_command(problem: Problem, description: str | None = None, argv: Sequence[str] | None = None) -> None:
    """Runs a problem as a command: reads its arguments, runs every seed, says what came of it.

    Args:
        problem: what is searched; one at the top level of a module can be run for several seeds side by side.
        description: for the help text.
        argv: the words after the command's name; the process's own if not given.

    Raises:
        SystemExit: It cannot run; says why in a line.
    """
    how = {"one": partial(run_one, problem), "check": partial(check, problem)}
    commands.run_main(
        lambda: commands.search(Args, argv, description, line=one_line, closing=closing_lines, **how)  # type: ignore[arg-type]
    )


def one_line(summary: dict[str, Any]) -> str:
    """Returns one finished run in a line."""
    known = ", ".join(f"{name} {value:.2f}" for name, value in summary.get("linear_r2", {}).items())
    return (
        f"seed {summary['seed']}: {summary['elites']:,} elites out of {summary['evaluations']:,} candidates, "
        f"{summary['answers']:,} answers, QD score {summary['qd_score']:.2f}, coverage {summary['coverage']:.1f} %"
        + (f"; linear R² of what is true on the axes: {known}" if known else "")
    )


def closing_lines(path: Path, summary: dict[str, Any]) -> str:
    """Returns what a person wants to know at the end."""
    return f"\n{one_line(summary)}\nLook at {path}/archive.png and elites.csv; figures in {path}/summary.json"


def _making(problem: Problem, args: Args) -> tuple[Generator, archives.Build]:
    """Returns what makes candidates, and what builds archives for them."""
    some = np.asarray(problem.domain.initial(100, np.random.default_rng(args.seed[0])))
    vectors = some.ndim == 2 and some.dtype.kind == "f" and not some.dtype.names
    shape: int | tuple[int, ...] = int(some.shape[1]) if vectors else ()
    n = args.cells
    archive = archives.grid(shape, (n, n)) if args.dim == 2 else archives.cvt(shape, args.dim, n * n)
    if problem.generator is not None:
        return problem.generator, archive
    if not vectors:
        raise ValueError(f"generator: solutions of {some.dtype} {some.shape[1:]} are no vectors: say how they vary")
    spread = some.std(axis=0)
    return Gaussian(STEP, problem.domain.initial, tuple(np.where(spread > 0, spread, 1.0).tolist())), archive


def _axes(problem: Problem, args: Args, run: Run, search: Search, store: Store) -> AxesPart:
    if args.axes is not None:
        kept = run.path / "models" / f"{refit_name('axes', FIRST)}.npz"  # the file may be gone when the run goes on
        path = kept if args.resume and kept.exists() else args.axes
        return given(problem.columns, read_axes(path, problem.names, problem.columns))
    people = args.annotator == "study"
    iterations = iterations_of(args.evaluations, args.batch_size)
    asks = in_rounds(iterations, args.answers, args.rounds, until=int(ASKS_UNTIL * iterations))
    schedule = Schedule(with_looks(asks, iterations), at_end=True) if people else Schedule(asks)
    feedback = _feedback(problem, args, run, search, store)
    fitted = Likelihood(tested="last")
    tally = Tally(least_new=5 if people else 0)
    return Learned(problem.columns, feedback, schedule, fitted=fitted, dim=args.dim, tally=tally)


def _feedback(problem: Problem, args: Args, run: Run, search: Search, store: Store) -> Feedback:
    """Returns who answers."""
    if args.annotator == "simulated":
        return Feedback(run, store, Simulated(_truth(problem, args, run), seed=search.seed))
    if args.annotator == "study":
        return ask_people(
            run, search, store, title=problem.title, text=problem.text, wait_for=args.wait_for,
            trials_per_rater=args.answers,
        )  # fmt: skip
    model = open_model(args.annotator, args.open_ledger(args.run, run.study), args.opening())
    commands.note_used(run, {"annotator": model.name})
    return ask_model(run, search, store, model)


def _truth(problem: Problem, args: Args, run: Run) -> Callable[[Ints], Floats]:
    """Returns what gives the true columns of candidates, each in units of its spread over the first population."""
    where = [problem.names.index(name) for name in problem.truth]

    def truth(ids: Ints) -> Floats:
        first = run.history.take(np.arange(min(args.batch_size, len(run.history))), "features")[:, where]
        spread = np.nanstd(first, axis=0)
        places: Floats = run.history.take(ids, "features")[:, where] / np.where(spread > 0, spread, 1.0)
        return places

    return truth
