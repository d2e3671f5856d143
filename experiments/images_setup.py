"""What a run on pictures is made of: its settings checked, its pipeline, its encoders, its folder."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from domains.images import captions
from domains.images.attributes import SceneReader, likeness
from domains.images.captions import names
from domains.images.images import MODEL, Images, pixels
from experiments.arm_published import schedule
from qdfeedback import runs
from qdfeedback.encoders.image import ImageEmbeddings
from qdfeedback.encoders.join import Join
from qdfeedback.generators.latent import Fresh, Noise
from qdfeedback.generators.prompts import ByModel, Prompts, PromptsAndNoise, by_grammar
from qdfeedback.models.diffusion import Drawing, load_diffusion
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.opening import open_model
from qdfeedback.models.pictures import Pictures
from qdfeedback.quality.alignment import Alignment, alignment
from qdfeedback.run_settings import read_settings
from qdfeedback.search import Search
from qdfeedback.shown import Shown
from qdfeedback.types import Encoder, Floats, Generator

if TYPE_CHECKING:
    from experiments.qdhf_images import Args

ASKS = ("qdhf", "qdhf-active", "prompt-evolution")
SEARCHES = (*ASKS, "aurora-pca", "aurora-ae")


@dataclass(frozen=True)
class Made:
    """The parts of a run.

    Attributes:
        run: its folder.
        search: domain, encoder, generator.
        quality: the CLIP score.
        truth: (…, d) features → (…, k) places by whose distances a simulation answers.
        learned: the columns of the embedding.
        pictures: the pipeline and what it drew.
    """

    run: runs.Run
    search: Search
    quality: Alignment
    truth: Callable[[Floats], Floats]
    learned: tuple[int, ...]
    pictures: Pictures


def is_ours(model: str) -> bool:
    """Whether a pipeline is the one of our small world, in whose pictures everything is known."""
    return Path(model).resolve() == MODEL.resolve()


def check(args: Args) -> None:
    """Refuses settings that cannot work, before anything is spent.

    Raises:
        ValueError: Says which and why.
    """
    if is_ours(args.model):
        names(args.prompt)
    elif args.annotator == "simulated" and args.truth is None and args.method in ASKS:
        raise ValueError("--truth: nobody knows what is in these pictures; name an embedding, or ask people")
    if args.method not in SEARCHES and args.solutions != "noise":
        raise ValueError(f"--solutions: {args.method} draws noise")
    if args.writer is None and solutions_of(args) != "noise" and not is_ours(args.model):
        raise ValueError("--writer: our grammar knows prompts of our small world; name a model that varies yours")
    if args.method in ASKS and args.judgments < 16:
        raise ValueError(f"--judgments must be at least 16, got {args.judgments}")
    if args.annotator == "study" and (args.method != "qdhf-active" or len(args.seed) > 1):
        raise ValueError("--annotator study: people answer one run of qdhf-active at a time")
    if args.first < 4 or args.pictures < args.first or min(args.batch_size, args.at_once, args.set_size) < 1:
        raise ValueError("--first must be at least 4, --pictures not below it, --batch-size, --at-once above 0")


def refit_schedule(args: Args) -> dict[int, int]:
    """Returns iteration → judgments to ask for before it."""
    iterations = 1 + -(-(args.pictures - args.first) // args.batch_size)
    if args.method not in ASKS or args.method == "qdhf":
        return schedule("qdhf" if args.method == "qdhf" else "aurora-pca", iterations, args.judgments)
    when = np.unique(1 + np.linspace(0, iterations / 2, min(args.rounds, args.judgments // 2)).astype(int))
    counts = np.diff(np.linspace(0, args.judgments, len(when) + 1).round().astype(int))
    return {int(iteration): int(count) for iteration, count in zip(when, counts, strict=True)}


def make(args: Args) -> Made:
    """Returns the parts of a run, new or to be resumed."""
    clip = ImageEmbeddings(args.clip, pixels=pixels)
    parts: list[Encoder] = [clip]
    ours = is_ours(args.model)
    if args.truth is not None:
        parts.append(ImageEmbeddings(args.truth, name="truth", pixels=pixels))
    elif ours:
        parts.append(SceneReader())
    encoder = Join(tuple(parts))
    learned = tuple(range(len(clip.names)))
    rest = slice(len(learned), None)
    truth: Callable[[Floats], Floats] = lambda features: features[..., rest]  # noqa: E731
    if args.truth is None and ours:
        truth = partial(_likeness, rest, args.prompt)
    how = Drawing(steps=args.steps, guidance=args.guidance)
    diffusion = load_diffusion(args.model, how=how, dtype=args.dtype, batch_size=args.at_once)
    run = open_run(args, encoder.names)
    pictures = Pictures(diffusion, Shown(args.run / "shown"))
    domain = Images(pictures, args.prompt, solutions_of(args))
    generator = make_generator(args, domain)
    quality = alignment(encoder.names, clip.names, clip.embed_texts([args.prompt])[0], scale=100.0)
    return Made(run, Search(domain, encoder, generator, args.seed[0]), quality, truth, learned, pictures)


def solutions_of(args: Args) -> Literal["noise", "prompt", "both"]:
    """Returns what is varied: noise, prompt, or both."""
    return "prompt" if args.method == "prompt-evolution" else args.solutions


def make_generator(args: Args, domain: Images) -> Generator:
    """Returns what makes new solutions."""
    if args.method not in SEARCHES:
        return Fresh(domain.noise, among=100 if args.method == "best-of-n-plus" else 1)
    noise = Noise(args.sigma, domain.initial, keep_variance=not args.plain_step)
    if solutions_of(args) == "noise":
        return noise
    vary = (
        by_grammar(partial(captions.vary, keep=names(args.prompt)))
        if args.writer is None
        else ByModel(open_model(args.writer, Ledger(args.run / "replies.db")))
    )
    return Prompts(vary, domain.initial) if solutions_of(args) == "prompt" else PromptsAndNoise(vary, noise)


def _likeness(rest: slice, prompt: str, features: Floats) -> Floats:
    return likeness(features[..., rest], prompt)


def open_run(args: Args, columns: tuple[str, ...]) -> runs.Run:
    """Returns the run folder, new or to be resumed."""
    if args.resume:
        return runs.resume(args.run, columns, commit=True)
    if args.overwrite:
        runs.clear(args.run)
    settings = asdict(replace(args, run=Path())) | {"seed": list(args.seed), "study": uuid.uuid4().hex}
    return runs.create(
        args.run,
        {name: value for name, value in settings.items() if name not in ("run", "resume", "overwrite", "workers")},
        columns,
        commit=True,
    )


def saved(args: Args) -> Args:
    """Returns the settings that the run was started with."""
    known: dict[str, Any] = {name: value for name, value in read_settings(args.run).items() if name != "study"}
    return replace(args, **known | {"seed": tuple(known["seed"])}, resume=True)
