"""What a run over texts can be asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from domains.opinions import OPINIONS
from domains.poetry import POETRY
from domains.stories import MODEL, STORIES
from qdfeedback import bounds
from qdfeedback.arguments import ModelArguments, SearchArguments
from qdfeedback.bounds import Amount, Count, Natural
from qdfeedback.encoders.attributes import read_attributes
from qdfeedback.writing import Writing

Method = Literal[
    "lmx-near", "lmx-replace", "guided", "directional", "rewrite", "novelty-quality", "novelty", "rouge-quality",
    "rouge", "quality-only", "random-search", "shuffled-few-shot", "fixed-few-shot", "targeted", "asked",
    "seed-rewrite",
]  # fmt: skip
DOMAINS = {"stories": STORIES, "opinions": OPINIONS, "poetry": POETRY}
ZERO_SHOT = 10  # texts from the bare line


@dataclass(frozen=True)
class Args(SearchArguments, ModelArguments):
    """Of a run over texts."""

    run: Path = Path("runs/writing")
    """Folder of the run; with several seeds, of their folders seed-0, seed-1, …"""
    domain: Literal["stories", "opinions", "poetry"] = "stories"
    """What is written."""
    axes: tuple[str, ...] = ()
    """Names of the domain's attributes to spread over (stories: genre, ending); all if none is named."""
    attributes: Path | None = None
    """JSON file of attributes to spread over in their place, as experiments.writing.axes leaves one."""
    method: Method = "lmx-near"
    """What makes new texts."""
    evaluations: Count = 600
    """Texts in all, the seeds among them; the paper has 2000."""
    batch_size: Count = 50
    """Texts in an iteration; the paper's is 1."""
    begin: Literal["seeds", "zero-shot"] = "seeds"
    """The first texts: the domain's seeds, or ten that the writer makes from the bare line."""
    seeded: Natural = 50
    """lmx-near, lmx-replace: texts from these alone, before the archive gives the examples."""
    temperature: Amount | None = None
    """At which texts are drawn; the domain's if not given."""
    duplicates: Amount = 0.95
    """ROUGE-L from which a text counts as an earlier one again, and is not judged; above 1 = never."""
    writer: str | None = None
    """Folder or hub id of a model (id@revision), or model@http://host:port/v1; the story model if not given."""
    judge: tuple[str, ...] = ()
    """The same for judges, whose log-odds are averaged; the writer if none is given."""
    device: str | None = None
    """cpu or cuda for models in this process."""
    dtype: str = "auto"
    """Of their weights: float32, bfloat16 …"""
    prompts: Literal["auto", "messages", "text"] = "auto"
    """How models get their prompts: as a chat's messages, as text, or as messages where they take them."""
    judge_prompts: Literal["auto", "messages", "text"] | None = None
    """The same for judges alone."""
    samples: Count = 5
    """How often a server that tells no probabilities is asked for an answer."""


def is_ours(model: str | None) -> bool:
    """Whether a model that was named, or none, is the story model."""
    return model is None or Path(model).resolve() == MODEL.resolve()


def check(args: Args) -> None:
    """Refuses settings that cannot work, before anything is spent.

    Raises:
        ValueError: Says which and why.
    """
    bounds.check(args)
    writing = writing_of(args)
    if args.evaluations <= (first := max(len(writing.seeds), ZERO_SHOT)):
        raise ValueError(f"--evaluations must be above {first}, which the run begins with, got {args.evaluations}")
    if args.writer is None and args.domain == "poetry":
        raise ValueError("--writer: poems need a model of your own, in a folder or on a server; ours writes stories")
    if is_ours(args.writer) and args.method == "asked" and not args.resume:
        raise ValueError("--method asked: ours writes from examples and to targets alone; name a --writer")
    if args.method == "directional" and any(axis.kind == "category" for axis in writing.axes):
        raise ValueError("--method directional: categories have no direction; take guided")
    args.check_models(args.writer, *args.judge)


def writing_of(args: Args) -> Writing:
    """Returns the domain, with the axes that are wanted; nobody knows the truth about axes of the user's own.

    Raises:
        ValueError: It has no such axis, or what the file holds makes no map.
    """
    writing = DOMAINS[args.domain]
    if args.temperature is not None:
        writing = replace(writing, sampling=replace(writing.sampling, temperature=args.temperature))
    if args.attributes is not None:
        kept = args.run / "attributes.json"  # a copy, which a run that goes on reads
        source = kept if args.resume and kept.exists() else args.attributes
        writing = replace(writing, axes=read_attributes(source), truth=None)
    known = {axis.name: axis for axis in writing.axes}
    if unknown := [name for name in args.axes if name not in known]:
        raise ValueError(f"--axes of {args.domain} are {', '.join(known)}; got {unknown[0]!r}")
    wanted = args.axes or tuple(known)
    if not 1 <= len(wanted) <= 2 or len(set(wanted)) < len(wanted) or "quality" in wanted:
        raise ValueError(f"--axes: one or two of {', '.join(known)}, each once; got {', '.join(wanted) or 'none'}")
    axes = tuple(known[name] for name in wanted)
    if bad := [axis.name for axis in axes if axis.kind == "rating" or len(axis.columns) > 1]:
        raise ValueError(f"axis {bad[0]!r} must have two answers, or be a category")
    return replace(writing, axes=axes)


def truth_columns(args: Args) -> list[int]:
    """Returns which columns of the domain's truth the run's features stand for."""
    known = [axis.name for axis in DOMAINS[args.domain].axes]
    return [0, *(1 + known.index(name) for name in args.axes or known)]
