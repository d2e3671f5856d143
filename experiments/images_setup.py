"""What a run on pictures is made of: its settings checked, its pipeline, its encoders, its folder."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from domains.images import captions
from domains.images.captions import names
from domains.images.images import Images
from experiments import resuming
from experiments.arm_published import schedule
from experiments.images_encoders import Seeing, is_ours, open_encoders
from experiments.resuming import give_up, note_not_kept, note_used, refuse_keys
from qdfeedback import bounds, runs
from qdfeedback.generators.latent import Fresh, Noise
from qdfeedback.generators.prompts import ONE_LINE, ByModel, Prompts, PromptsAndNoise, by_grammar
from qdfeedback.models.calls import read_prices
from qdfeedback.models.diffusion import Drawing, load_diffusion
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.opening import Opening, open_model
from qdfeedback.models.pictures import Pictures
from qdfeedback.models.recorded import Recorded
from qdfeedback.search import Search
from qdfeedback.shown import Shown
from qdfeedback.types import Generator

if TYPE_CHECKING:
    from experiments.qdhf_images import Args

OURS = Drawing(steps=12, guidance=3.0)
ASKS = ("qdhf", "qdhf-active", "prompt-evolution")
SEARCHES = (*ASKS, "aurora-pca", "aurora-ae")
OF_NOW = ("prices", "cap", "ledger", "key_variable", "at_once")
"""What a run that goes on may do otherwise than before."""
LISTS, PATHS = ("seed", "report"), ("prices", "ledger")


@dataclass(frozen=True)
class Made:
    """The parts of a run.

    Attributes:
        run: its folder.
        search: domain, encoder, generator.
        seeing: what pictures are embedded and scored by.
        pictures: the pipeline and what it drew.
        judge: looks at pictures, where one does.
    """

    run: runs.Run
    search: Search
    seeing: Seeing
    pictures: Pictures
    judge: Recorded | None


def check(args: Args) -> None:
    """Refuses settings that cannot work, before anything is spent.

    Raises:
        ValueError: Says which and why.
    """
    bounds.check(args)
    if is_ours(args.model):
        names(args.prompt)
    elif args.annotator == "simulated" and args.truth is None and args.method in ASKS:
        raise ValueError("--truth: nobody knows what is in these pictures; name an embedding, ask people or a judge")
    if (args.annotator == "judge") != (args.judge is not None and "@http" in args.judge):
        raise ValueError("--annotator judge needs --judge, model@http://host:port/v1, which sees pictures; others none")
    refuse_keys(args.judge, args.writer)
    if args.cap is not None and args.prices is None:
        raise ValueError("--cap needs --prices, a table of what models cost")
    if args.prices is not None:
        read_prices(args.prices)
    if args.published_objective and args.quality != "clip":
        raise ValueError("--published-objective is a function of the CLIP score: it needs --quality clip")
    if len({args.quality, *args.report}) < 1 + len(args.report):
        raise ValueError("--report: each quality once, and not the one that is optimised")
    if args.method not in SEARCHES and args.solutions != "noise":
        raise ValueError(f"--solutions: {args.method} draws noise")
    if args.writer is None and solutions_of(args) != "noise" and not is_ours(args.model):
        raise ValueError("--writer: our grammar knows prompts of our small world; name a model that varies yours")
    if args.method in ASKS and args.judgments < 16:
        raise ValueError(f"--judgments must be at least 16, got {args.judgments}")
    if args.annotator == "study" and (args.method != "qdhf-active" or len(args.seed) > 1):
        raise ValueError("--annotator study: people answer one run of qdhf-active at a time")
    if args.pictures <= args.first:
        raise ValueError(f"--pictures must be above --first, {args.first}, got {args.pictures}")


def refit_schedule(args: Args) -> dict[int, int]:
    """Returns iteration → judgments to ask for before it."""
    iterations = 1 + -(-(args.pictures - args.first) // args.batch_size)
    if args.method not in ASKS or args.method == "qdhf":
        return schedule("qdhf" if args.method == "qdhf" else "aurora-pca", iterations, args.judgments)
    when = np.unique(1 + np.linspace(0, iterations / 2, min(args.rounds, args.judgments // 2)).astype(int))
    counts = np.diff(np.linspace(0, args.judgments, len(when) + 1).round().astype(int))
    return {int(iteration): int(count) for iteration, count in zip(when, counts, strict=True)}


def make(args: Args) -> Made:
    """Returns the parts of a run, new or to be resumed; the folder is made when what pictures need has been opened.

    Raises:
        OSError: A model or a file is not there.
        ValueError: A run that goes on was begun with others.
    """
    seeing = open_encoders(args)
    diffusion = load_diffusion(
        args.model, how=drawing(args), dtype=args.dtype, scheduler=args.scheduler, batch_size=args.at_once,
        compiled=args.compiled, sliced=args.sliced,
    )  # fmt: skip
    run = open_run(args, seeing.encoder.names)
    models = open_language_models(args, run.settings["study"])
    used = seeing.used | {"model": diffusion.name} | {role: one.name for role, one in models.items()}
    note_used(run, used, settings_of(args), of_now=OF_NOW)
    note_not_kept(run, models.values())
    domain = Images(Pictures(diffusion, Shown(args.run / "shown")), args.prompt, solutions_of(args))
    generator = make_generator(args, domain, models.get("writer"))
    search = Search(domain, seeing.encoder, generator, args.seed[0], run.failures)
    return Made(run, search, seeing, domain.pictures, models.get("judge"))


def drawing(args: Args) -> Drawing:
    """Returns how pictures are drawn: what is not given is the pipeline's own, and for ours what suits it."""
    usual = OURS if is_ours(args.model) else Drawing()
    return Drawing(
        steps=usual.steps if args.steps is None else args.steps,
        guidance=usual.guidance if args.guidance is None else args.guidance,
    )


def needed(args: Args) -> dict[str, str]:
    """Returns role → language model, as far as the method needs them."""
    wanted = {
        "judge": args.judge if args.method in ASKS else None,
        "writer": args.writer if solutions_of(args) != "noise" else None,
    }
    return {role: where for role, where in wanted.items() if where is not None}


def open_language_models(args: Args, run: str) -> dict[str, Recorded]:
    """Returns the judge and the writer, as far as the method needs them, whose replies are kept.

    A new run that cannot begin leaves no folder, unless something was paid.
    """
    named = needed(args)
    if not named:
        return {}
    prices = read_prices(args.prices) if args.prices else None
    ledger = Ledger(args.ledger or args.run / "replies.db", prices=prices, cap=args.cap, run=run)
    how = Opening(key_variable=args.key_variable, thoughts=args.thoughts)
    try:
        opened = {role: open_model(where, ledger, how) for role, where in named.items()}
        if "writer" in opened:
            opened["writer"].check(ONE_LINE)
        return opened
    except Exception:
        used = ledger.totals(run)
        if not used.requests and not used.possibly_paid:
            give_up(args.run, resumed=args.resume)
        raise


def solutions_of(args: Args) -> Literal["noise", "prompt", "both"]:
    """Returns what is varied: noise, prompt, or both."""
    return "prompt" if args.method == "prompt-evolution" else args.solutions


def make_generator(args: Args, domain: Images, writer: Recorded | None) -> Generator:
    """Returns what makes new solutions."""
    if args.method not in SEARCHES:
        return Fresh(domain.noise, among=100 if args.method == "best-of-n-plus" else 1)
    noise = Noise(args.sigma, domain.initial, keep_variance=not args.plain_step)
    if solutions_of(args) == "noise":
        return noise
    vary = by_grammar(partial(captions.vary, keep=names(args.prompt))) if writer is None else ByModel(writer)
    return Prompts(vary, domain.initial) if solutions_of(args) == "prompt" else PromptsAndNoise(vary, noise)


def open_run(args: Args, columns: tuple[str, ...]) -> runs.Run:
    """Returns the run folder, new or to be resumed."""
    return resuming.open_run(args, settings_of(args) | {"study": uuid.uuid4().hex}, columns)


def settings_of(args: Args) -> dict[str, Any]:
    """Returns what the run folder keeps of the arguments."""
    return resuming.settings_of(args, lists=LISTS, paths=PATHS)


def saved(args: Args) -> Args:
    """Returns the settings that the run was started with; of those given now, the ones in OF_NOW count instead.

    Raises:
        ValueError: Others are given now, which cannot be changed; or the ledger is gone.
    """
    found = resuming.go_on(args, resuming.arguments_of(args.run, lists=LISTS, paths=PATHS), of_now=OF_NOW)
    if needed(found):
        resuming.find_ledger(found)
    return found
