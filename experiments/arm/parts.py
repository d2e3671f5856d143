"""What a run on the arm is made of: its axes by method, who answers, its generator, its archive."""

from __future__ import annotations

from typing import Any

import numpy as np

from domains.arm import FEATURES, RANGES, Arm, ArmEncoder
from experiments.arm.arguments import Args
from qdfeedback import archives
from qdfeedback.diversity.columns import Columns
from qdfeedback.diversity.similarity import Fit
from qdfeedback.feedback.annotators import Simulated
from qdfeedback.feedback.store import Store
from qdfeedback.generators.gaussian import Gaussian
from qdfeedback.generators.pyribs import Pyribs
from qdfeedback.learning.aurora import aurora
from qdfeedback.learning.axes import Learned
from qdfeedback.learning.feedback import Feedback, Tally, ask_people
from qdfeedback.learning.fits import Likelihood
from qdfeedback.learning.known import Known
from qdfeedback.learning.part import AxesPart, Placing
from qdfeedback.learning.published import qdhf
from qdfeedback.learning.questions import Uncertain
from qdfeedback.learning.schedule import Schedule, as_published, in_rounds, with_looks
from qdfeedback.runs import Run
from qdfeedback.search import Search
from qdfeedback.types import Generator

CELLS = 50  # along each of two axes
NAMES = ArmEncoder.names
LEARNED = tuple(NAMES.index(name) for name in FEATURES)
HAND = Columns((NAMES.index("x"), NAMES.index("y")))
EVERYTHING = tuple(range(len(NAMES)))
TEXT = "Look at the red hand of the arm at the top. Which arm puts its hand nearer to that place?"
QUANTILE = 0.0002  # of all arms may lie outside the ranges on each side


def make_axes(args: Args, feedback: Feedback) -> AxesPart:
    """Returns the axes by their method."""
    iterations, method = args.iterations, args.method
    pinned = Columns(tuple(NAMES.index(name) for name in args.pinned)) if args.pinned else None
    if method == "gt":
        return Known(HAND, np.array(RANGES))
    if method.startswith("aurora"):
        return aurora(
            LEARNED, iterations=iterations, autoencoder="-ae" in method, again=method.endswith("-inc"), dim=args.dim,
            pinned=pinned,
        )  # fmt: skip
    if method != "qdhf-active":
        return qdhf(
            LEARNED, feedback, iterations=iterations, answers=args.answers, fresh=Arm().initial,
            at_once=method == "qdhf-base", dim=args.dim, pinned=pinned, named_by=EVERYTHING,
        )  # fmt: skip
    people, left_out = args.annotator == "study", args.without
    asks = in_rounds(iterations, args.answers, args.rounds)
    if "rounds" in left_out:
        asks = as_published(iterations, args.answers)
    schedule = Schedule(with_looks(asks, iterations), at_end=True) if people else Schedule(asks)
    how = Fit(
        loss="hinge" if "likelihood" in left_out else "ste",
        ridge=1e-3 if "prior" in left_out else 1.0,
        starts=1 if "ensemble" in left_out else 8,
        flip=None,
    )
    placing = Placing("elites" if "history" in left_out else "history", quantile=QUANTILE)
    if "ranges" in left_out:
        placing = Placing(placing.rows, of="elites", margin=0.0, grows=False, end=0.0)
    tally = Tally(least_new=args.refit_after if people else 0)
    return Learned(
        LEARNED, feedback, schedule, Uncertain(bald="bald" not in left_out), Likelihood(how), args.dim, pinned, placing,
        tally, EVERYTHING,
    )  # fmt: skip


def make_feedback(args: Args, run: Run, store: Store, search: Search) -> Feedback:
    """Returns who answers; people are asked on the study page."""
    if args.annotator == "simulated":
        truth = lambda ids: HAND.project(run.history.take(ids, "features"))  # noqa: E731
        return Feedback(run, store, Simulated(truth, flip=args.label_noise, seed=search.seed))
    return ask_people(
        run, search, store, title="Robot arms", text=TEXT, wait_for=args.wait_for, trials_per_rater=args.answers
    )


def make_generator(args: Args) -> Generator:
    """Returns what makes new arms."""
    from ribs.emitters import EvolutionStrategyEmitter, IsoLineEmitter

    n = args.batch_size
    share = n // 5 if n % 10 == 0 else n  # five evolution strategies side by side
    zero = np.zeros(10)
    if args.emitter == "gaussian":
        return Gaussian(0.1, Arm().initial)
    if args.emitter == "iso-line":
        return Pyribs(
            lambda archive, seed: [IsoLineEmitter(archive, x0=zero, batch_size=n, seed=seed)], origin="iso-line"
        )
    rules: dict[str, Any] = {"ranker": "2imp"}
    if args.emitter == "cma-mae":
        rules = {"ranker": "imp", "selection_rule": "mu", "restart_rule": "basic"}
    return Pyribs(
        lambda archive, seed: [
            EvolutionStrategyEmitter(archive, x0=zero, sigma0=0.5, es=args.es, batch_size=share, seed=seed + i, **rules)
            for i in range(n // share)
        ],
        origin=args.emitter,
    )


def make_archive(args: Args) -> archives.Build:
    """Returns what builds the archive, for all axes together."""
    soft: dict[str, Any] = {"learning_rate": 0.01, "threshold_min": -1000.0} if args.emitter == "cma-mae" else {}
    k = 2 if args.method == "gt" else args.dim + len(args.pinned)
    return archives.grid(10, (CELLS, CELLS), **soft) if k == 2 else archives.cvt(10, k, CELLS * CELLS, **soft)
