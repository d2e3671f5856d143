"""What a run on the arm can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from qdfeedback import bounds
from qdfeedback.arguments import FeedbackArguments
from qdfeedback.bounds import Amount, Bounds, Count, Natural, Share
from qdfeedback.learning.schedule import iterations_of

Method = Literal["gt", "aurora-pca", "aurora-pca-inc", "aurora-ae", "aurora-ae-inc", "qdhf-base", "qdhf", "qdhf-active"]
Piece = Literal["bald", "ensemble", "history", "likelihood", "prior", "ranges", "rounds"]
LEAST = {"qdhf": 16, "qdhf-base": 4, "qdhf-active": 2}
"""Answers that a method needs."""


@dataclass(frozen=True)
class Args(FeedbackArguments):
    """Of a run on the arm."""

    run: Path = Path("runs/arm")
    """Folder of the run; with several seeds, of their folders seed-0, seed-1, …"""
    method: Method = "qdhf-active"
    """Where the axes come from."""
    evaluations: Count = 100_000
    """Arms in all; those that qdhf and qdhf-base ask about at first come on top."""
    annotator: Literal["simulated", "study"] = "simulated"
    """Who answers: a simulation that knows where the hand is, or (qdhf-active) people on the study page."""
    wait_for: Natural = 0
    """study: wait until so many answers are there, or as many as were asked for; else the search never waits."""
    refit_after: Annotated[int, Bounds(2)] = 5
    """study: fit the axes anew when so many new answers have come."""
    frames: Count = 1
    """Pictures in what people look at; above 1 it is an animation of the arm that bends into its pose."""
    label_noise: Share = 0.0
    """simulated: share of answers turned round at random."""
    dim: Count = 2
    """Number of learned axes; with two axes in all the archive is a 50×50 grid, else 2,500 Voronoi cells."""
    pinned: tuple[Literal["x", "y"], ...] = ()
    """True axes put beside the learned ones."""
    without: tuple[Piece, ...] = ()
    """qdhf-active: pieces to leave out, for the ablation; the published way takes their place."""
    emitter: Literal["gaussian", "iso-line", "cma-me", "cma-mae"] = "gaussian"
    """What makes new arms; the published procedure is gaussian."""
    es: Literal["cma_es", "sep_cma_es", "lm_ma_es", "openai_es", "pycma_es"] = "cma_es"
    """The evolution strategy in cma-me and cma-mae."""
    objective_noise: Amount = 0.0
    """Standard deviation of noise on the objective."""
    reevaluate: Natural = 0
    """At the end, evaluate each elite so many times again and report the corrected QD score."""
    present: bool = True
    """At the end, draw every elite into the run folder, for studies, reports and the explorer."""
    commit: bool = False
    """Make every batch and a checkpoint durable at once, as one would where a candidate costs money."""
    checkpoint_every: Count = 50
    """Iterations between checkpoints."""

    @property
    def iterations(self) -> int:
        """Iterations, the first population among them."""
        return iterations_of(self.evaluations, self.batch_size)


def check(args: Args) -> None:
    """Refuses settings that cannot work, before anything is spent.

    Raises:
        ValueError: Says which and why.
    """
    bounds.check(args)
    if args.iterations < 2:
        raise ValueError(f"--evaluations must be above --batch-size, {args.batch_size}, got {args.evaluations}")
    if args.emitter != "gaussian" and args.evaluations % args.batch_size:
        raise ValueError(
            f"--evaluations: {args.emitter} makes whole batches; a multiple of {args.batch_size} is needed"
        )
    least = 8 if "rounds" in args.without else LEAST.get(args.method, 0)
    if args.answers < least:
        raise ValueError(f"--answers must be at least {least} for {args.method}, got {args.answers}")
    if args.method != "gt" and args.dim + len(args.pinned) < 2:
        raise ValueError("one axis alone makes no map: raise --dim, or add --pinned x")
    if args.without and args.method != "qdhf-active":
        raise ValueError("--without takes pieces from qdhf-active only")
    if args.annotator == "study" and (args.method != "qdhf-active" or len(args.seed) > 1):
        raise ValueError("--annotator study: people answer one run of qdhf-active at a time")
    if args.wait_for and args.annotator != "study":
        raise ValueError("--wait-for waits for people: it needs --annotator study")
