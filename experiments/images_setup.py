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
from qdfeedback.models.calls import read_prices
from qdfeedback.models.diffusion import Drawing, load_diffusion
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.opening import open_model
from qdfeedback.models.pictures import Pictures
from qdfeedback.models.recorded import Recorded
from qdfeedback.quality.alignment import alignment
from qdfeedback.quality.heads import OnEmbedding, read_head
from qdfeedback.run_settings import read_settings
from qdfeedback.search import Search
from qdfeedback.shown import Shown
from qdfeedback.types import Encoder, Floats, Generator, Quality

if TYPE_CHECKING:
    from experiments.qdhf_images import Args

ASKS = ("qdhf", "qdhf-active", "prompt-evolution")
SEARCHES = (*ASKS, "aurora-pca", "aurora-ae")
OF_NOW = ("run", "resume", "overwrite", "workers", "prices", "cap")


@dataclass(frozen=True)
class Made:
    """The parts of a run.

    Attributes:
        run: its folder.
        search: domain, encoder, generator.
        qualities: name → quality; the first is what pictures are made good by, the others are reported.
        truth: (…, d) features → (…, k) places by whose distances a simulation answers.
        learned: the columns of the embedding.
        true: the columns by which a simulation answers; none where nobody knows.
        pictures: the pipeline and what it drew.
    """

    run: runs.Run
    search: Search
    qualities: dict[str, Quality]
    truth: Callable[[Floats], Floats]
    learned: tuple[int, ...]
    true: slice
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
        raise ValueError("--truth: nobody knows what is in these pictures; name an embedding, ask people or a judge")
    if (args.annotator == "judge") != (args.judge is not None):
        raise ValueError(
            "--annotator judge needs --judge, a model on a server that sees pictures, and the other way round"
        )
    if args.cap is not None and args.prices is None:
        raise ValueError("--cap needs --prices, a table of what models cost")
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
    if args.first < 4 or args.pictures <= args.first or min(args.batch_size, args.at_once, args.set_size) < 1:
        raise ValueError("--first must be at least 4, --pictures above it, --batch-size, --at-once above 0")


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
    known = known_truth(args)
    compared = {spec: ImageEmbeddings(spec, name=f"{Path(spec).name}:", pixels=pixels) for spec in other_models(args)}
    encoder = Join((clip, *known, *compared.values()))
    learned = tuple(range(len(clip.names)))
    true = slice(len(learned), len(learned) + sum(len(one.names) for one in known))
    truth: Callable[[Floats], Floats] = lambda features: features[..., true]  # noqa: E731
    if args.truth is None and known:
        truth = partial(_likeness, true, args.prompt)
    how = Drawing(steps=args.steps, guidance=args.guidance)
    diffusion = load_diffusion(args.model, how=how, dtype=args.dtype, batch_size=args.at_once)
    run = open_run(args, encoder.names)
    pictures = Pictures(diffusion, Shown(args.run / "shown"))
    domain = Images(pictures, args.prompt, solutions_of(args))
    generator = make_generator(args, domain)
    qualities = {
        spec: make_quality(spec, args.prompt, clip, compared, encoder.names) for spec in (args.quality, *args.report)
    }
    search = Search(domain, encoder, generator, args.seed[0])
    return Made(run, search, qualities, truth, learned, true, pictures)


def open_language_model(args: Args, where: str) -> Recorded:
    """Returns a judge or a writer whose replies are kept in the run's folder."""
    prices = read_prices(args.prices) if args.prices else None
    return open_model(where, Ledger(args.run / "replies.db", prices=prices, cap=args.cap))


def known_truth(args: Args) -> tuple[Encoder, ...]:
    """Returns what encodes that by which a simulation answers, if anything is known."""
    if args.truth is None:
        return (SceneReader(),) if is_ours(args.model) else ()
    kind = args.truth.partition("dreamsim:")[2]
    if kind:
        from qdfeedback.encoders.dreamsim import DreamSim

        return (DreamSim(kind, name="truth", pixels=pixels),)
    return (ImageEmbeddings(args.truth, name="truth", pixels=pixels),)


def other_models(args: Args) -> list[str]:
    """Returns the models, besides --clip, that compare pictures with the prompt."""
    return [spec for spec in (args.quality, *args.report) if spec != "clip" and not is_head(spec)]


def is_head(spec: str) -> bool:
    """Whether a quality is a file of weights."""
    return spec.endswith(".safetensors")


def make_quality(
    spec: str, prompt: str, clip: ImageEmbeddings, compared: dict[str, ImageEmbeddings], names: tuple[str, ...]
) -> Quality:
    """Returns a quality by its name, as `--quality` takes it."""
    if spec == "clip":
        return alignment(names, clip.names, clip.embed_texts([prompt])[0], scale=100.0)
    if is_head(spec):
        head = read_head(spec, width=len(clip.names), activation="relu" if "relu" in Path(spec).name else "none")
        return OnEmbedding(head, tuple(range(len(clip.names))))
    model = compared[spec]
    return alignment(names, model.names, model.embed_texts([prompt])[0], scale=model.logit_scale)


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
        else ByModel(open_language_model(args, args.writer))
    )
    return Prompts(vary, domain.initial) if solutions_of(args) == "prompt" else PromptsAndNoise(vary, noise)


def _likeness(true: slice, prompt: str, features: Floats) -> Floats:
    return likeness(features[..., true], prompt)


def open_run(args: Args, columns: tuple[str, ...]) -> runs.Run:
    """Returns the run folder, new or to be resumed."""
    if args.resume:
        return runs.resume(args.run, columns, commit=True)
    if args.overwrite:
        runs.clear(args.run)
    settings = asdict(replace(args, run=Path())) | {"study": uuid.uuid4().hex}
    settings |= {"seed": list(args.seed), "report": list(args.report)}
    return runs.create(
        args.run,
        {name: value for name, value in settings.items() if name not in OF_NOW},
        columns,
        commit=True,
    )


def saved(args: Args) -> Args:
    """Returns the settings that the run was started with."""
    known: dict[str, Any] = {name: value for name, value in read_settings(args.run).items() if name != "study"}
    lists = {name: tuple(known[name]) for name in ("seed", "report")}
    return replace(args, **known | lists, resume=True)
