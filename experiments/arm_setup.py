"""What a run on the arm is made of: its settings checked, its generator, its archive, its folder, its refits."""

from __future__ import annotations

import uuid
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from ribs.emitters import EvolutionStrategyEmitter, IsoLineEmitter

from domains.arm import FEATURES, Arm, ArmEncoder
from experiments import arm_published, resuming
from qdfeedback import archives, bounds, runs
from qdfeedback.feedback.study import Study, similarity_study
from qdfeedback.generators.gaussian import Gaussian
from qdfeedback.generators.pyribs import Pyribs
from qdfeedback.run_settings import read_settings
from qdfeedback.types import Generator

if TYPE_CHECKING:
    from experiments.qdhf_arm import Args

LOOKS = 20  # how often a search looks for answers in its second half
CELLS = 50  # along each of two axes
TUPLES = ("seed", "pinned", "without")


def check(args: Args) -> None:
    """Refuses settings that cannot work, before anything is spent.

    Raises:
        ValueError: Says which and why.
    """
    bounds.check(args)
    least = {"qdhf": 16, "qdhf-base": 4, "qdhf-active": 2}.get(args.method, 0)
    if "rounds" in args.without:
        least = 8
    if args.judgments < least:
        raise ValueError(f"--judgments must be at least {least} for {args.method}, got {args.judgments}")
    if args.method != "gt" and args.dim + len(args.pinned) < 2:
        raise ValueError("one axis alone makes no map: raise --dim, or add --pinned x")
    if args.without and args.method != "qdhf-active":
        raise ValueError("--without takes pieces from qdhf-active only")
    if args.annotator == "study" and (args.method != "qdhf-active" or len(args.seed) > 1):
        raise ValueError("--annotator study: people answer one run of qdhf-active at a time")
    if args.wait_for and args.annotator != "study":
        raise ValueError("--wait-for waits for people: it needs --annotator study")


def refit_schedule(args: Args) -> dict[int, int]:
    """Returns iteration → judgments to ask for before it."""
    if args.method != "qdhf-active":
        return arm_published.schedule(args.method, args.iterations, args.judgments)
    if "rounds" in args.without:
        return arm_published.schedule("qdhf", args.iterations, args.judgments)
    rounds = min(args.rounds, args.judgments // 2)
    when = np.unique(1 + np.linspace(0, args.iterations / 2, rounds).astype(int))
    counts = np.diff(np.linspace(0, args.judgments, len(when) + 1).round().astype(int))
    asked = {int(iteration): int(count) for iteration, count in zip(when, counts, strict=True)}
    if args.annotator == "study":  # people also answer when nothing more is asked
        looked = np.linspace(args.iterations / 2, args.iterations, LOOKS, endpoint=False).astype(int)
        asked = {int(iteration): 0 for iteration in looked if iteration > max(asked)} | asked
    return asked


def make_study(args: Args, study_id: str) -> Study:
    """Returns what people are asked, and how."""
    return similarity_study(
        study_id,
        title="Robot arms",
        text="Look at the red hand of the arm at the top. Which arm puts its hand nearer to that place?",
        seed=args.seed[0],
        trials_per_rater=args.judgments,
    )


def make_generator(args: Args) -> Generator:
    """Returns what makes new arms."""
    n = args.batch_size
    share = n // 5 if n % 10 == 0 else n  # five evolution strategies side by side
    zero = np.zeros(10)
    if args.emitter == "gaussian":
        return Gaussian(0.1, Arm().initial)
    if args.emitter == "iso-line":
        return Pyribs(
            lambda archive, seed: [IsoLineEmitter(archive, x0=zero, batch_size=n, seed=seed)], origin="iso-line"
        )
    rules: dict[str, Any] = (
        {"ranker": "2imp"}
        if args.emitter == "cma-me"
        else {"ranker": "imp", "selection_rule": "mu", "restart_rule": "basic"}
    )
    return Pyribs(
        lambda archive, seed: [
            EvolutionStrategyEmitter(archive, x0=zero, sigma0=0.5, es=args.es, batch_size=share, seed=seed + i, **rules)
            for i in range(n // share)
        ],
        origin=args.emitter,
    )


def make_build(args: Args) -> archives.Build:
    """Returns what builds the archive, for all axes together."""
    soft: dict[str, Any] = {"learning_rate": 0.01, "threshold_min": -1000.0} if args.emitter == "cma-mae" else {}
    k = 2 if args.method == "gt" else args.dim + len(args.pinned)
    return archives.grid(10, (CELLS, CELLS), **soft) if k == 2 else archives.cvt(10, k, CELLS * CELLS, **soft)


def open_run(args: Args) -> runs.Run:
    """Returns the run folder, new or to be resumed."""
    settings = settings_of(args) | {"study": uuid.uuid4().hex, "learned": list(FEATURES)}
    return resuming.open_run(args, settings, ArmEncoder.names, commit=args.commit)


def settings_of(args: Args) -> dict[str, Any]:
    """Returns what the run folder keeps of the arguments: no password, nothing about this one call."""
    settings = asdict(replace(args, run=Path())) | {name: list(getattr(args, name)) for name in TUPLES}
    if args.database and "://" in args.database:  # no password in the run folder
        settings["database"] = sa.make_url(args.database).render_as_string(hide_password=True)
    return {name: value for name, value in settings.items() if name not in ("run", "resume", "overwrite", "workers")}


def saved(args: Args) -> Args:
    """Returns the settings that the run was started with."""
    found = read_settings(args.run)
    known = {name: value for name, value in found.items() if name not in ("study", "learned")}
    known |= {name: tuple(known[name]) for name in TUPLES}
    resuming.same_version(args, known)
    known["database"] = args.database or known["database"]
    if known["database"] and ":***@" in known["database"]:
        raise ValueError("give --database again: the run folder does not keep its password")
    return replace(args, **known, resume=True)
