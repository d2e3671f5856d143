"""What a run over texts is made of: its domain, models, archive, generator and folder."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from domains.opinions import OPINIONS
from domains.poetry import POETRY
from domains.stories import MODEL, STORIES
from domains.writing import EDGES_1D, EDGES_2D, Writing, words_of
from experiments import resuming
from experiments.resuming import note_not_kept, note_used, refuse_keys
from qdfeedback import archives, bounds, runs
from qdfeedback.diversity.bins import Bins
from qdfeedback.encoders.attributes import Attribute, read_attributes
from qdfeedback.generators.language import (
    EXAMPLES,
    Asked,
    Beginning,
    Directional,
    Guided,
    Near,
    Operator,
    Replace,
    Rewrite,
    Seeds,
    Written,
    tidy,
    was_made,
)
from qdfeedback.generators.pools import Best, Everything, FromPool, Novel, Rule, Unlike
from qdfeedback.generators.similar import Words
from qdfeedback.history import History
from qdfeedback.metrics import best_in_cells
from qdfeedback.models.calls import read_prices
from qdfeedback.models.frames import few_shot
from qdfeedback.models.language import LanguageModel
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.opening import Opening, open_model
from qdfeedback.models.recorded import Patience, Recorded
from qdfeedback.types import Generator, Ints, Placement

if TYPE_CHECKING:
    from experiments.qdaif_writing import Args, TextSearch

DOMAINS = {"stories": STORIES, "opinions": OPINIONS, "poetry": POETRY}
CROSSOVER = ("lmx-near", "lmx-replace")
ZERO_SHOT = 10  # texts from the bare line
LEAST_QUALITY = 0.8  # of the highest, for the baselines that ask for one
POOL = 100
MOST_IN_VAIN = 200  # candidates without one score
OF_NOW = ("ledger", "prices", "cap", "timeout", "concurrency", "device", "key_variable")
"""What a run that goes on may do otherwise than before."""
NEEDS_ELITES = ("rewrite", "guided", "directional")
PATHS = ("prices", "ledger", "attributes")
TUPLES = ("seed", "axes", "judge")


def check(args: Args) -> None:
    """Refuses settings that cannot work, before anything is spent.

    Raises:
        ValueError: Says which and why.
    """
    bounds.check(args)
    writing = writing_of(args)
    if args.candidates <= (first := max(len(writing.seeds), ZERO_SHOT)):
        raise ValueError(f"--candidates must be above {first}, which the run begins with, got {args.candidates}")
    if args.writer is None and args.domain == "poetry":
        raise ValueError("--writer: poems need a model of your own, in a folder or on a server; ours writes stories")
    if is_ours(args.writer) and args.method == "asked" and not args.resume:
        raise ValueError("--method asked: ours writes from examples and to targets alone; name a --writer")
    if args.method == "directional" and any(axis.kind == "category" for axis in writing.axes):
        raise ValueError("--method directional: categories have no direction; take guided")
    refuse_keys(args.writer, *args.judge)
    if args.cap is not None and args.prices is None:
        raise ValueError("--cap needs --prices, a table of what models cost")
    if args.prices is not None:
        read_prices(args.prices)


def is_ours(model: str | None) -> bool:
    """Whether a model that was named, or none, is the story model."""
    return model is None or Path(model).resolve() == MODEL.resolve()


def writing_of(args: Args) -> Writing:
    """Returns the domain, with the axes that are wanted; nobody knows the truth about axes of the user's own.

    Raises:
        ValueError: It has no such axis, or what the file holds makes no map.
    """
    writing = DOMAINS[args.domain]
    if args.temperature is not None:
        writing = replace(writing, sampling=replace(writing.sampling, temperature=args.temperature))
    if args.attributes is not None:
        writing = replace(writing, axes=read_attributes(args.attributes), truth=None)
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


def open_ledger(args: Args, run: str) -> Ledger:
    """Returns the file of replies."""
    prices = read_prices(args.prices) if args.prices else None
    return Ledger(args.ledger or args.run / "replies.db", prices=prices, cap=args.cap, run=run)


def open_models(args: Args, ledger: Ledger) -> tuple[Recorded, tuple[Recorded, ...]]:
    """Returns the writer and the judges."""
    how = Opening(
        args.device, args.dtype, patience=Patience(args.concurrency), timeout=args.timeout,
        key_variable=args.key_variable, samples=args.samples, thoughts=args.thoughts,
    )  # fmt: skip
    name, chat = args.writer or str(MODEL), {"auto": None, "messages": True, "text": False}
    writer = (name, chat[args.prompts])
    judges = [(where, chat[args.judge_prompts or args.prompts]) for where in args.judge or (name,)]
    opened = {one: open_model(one[0], ledger, replace(how, chat=one[1])) for one in dict.fromkeys((writer, *judges))}
    opened[writer].check(writing_of(args).sampling)
    return opened[writer], tuple(opened[one] for one in judges)


def with_first_texts(args: Args, writing: Writing, writer: Recorded, history: History) -> Writing:
    """Returns the domain with its own seeds, or with texts that the writer makes from the bare line in their place.

    A run that goes on has them in its history.

    Raises:
        RuntimeError: It made fewer than three.
    """
    if args.begin == "seeds":
        return writing
    if len(history):
        parts = history.chunks("solution", "origin")
        rows = [row for part in parts for row in zip(part["solution"], part["origin"], strict=True)]
        return replace(writing, seeds=tuple(str(text) for text, origin in rows if origin == "initial"))
    seeds = np.random.default_rng([args.seed[0], 1]).integers(2**31, size=ZERO_SHOT)
    texts, reasons = from_nothing(writing, writer, seeds)
    if len(texts) < EXAMPLES:
        raise RuntimeError(f"--begin zero-shot: {len(texts)} of {ZERO_SHOT} texts were whole; {reasons}")
    return replace(writing, seeds=tuple(texts))


def from_nothing(writing: Writing, writer: LanguageModel, seeds: Ints) -> tuple[list[str], tuple[str | None, ...]]:
    """Returns the whole ones of the texts that a model writes after the bare line, and every text's reason, if any."""
    said = writer.complete([few_shot(writing.line, ())] * len(seeds), seeds, writing.sampling)
    return [tidy(text) for text, reason in zip(said.texts, said.reasons, strict=True) if reason is None], said.reasons


def bins(writing: Writing) -> Bins:
    """Returns the map of the axes' columns into cells."""
    edges = EDGES_1D if len(writing.axes) == 1 else EDGES_2D
    of_axes = [_category_edges(axis) if axis.kind == "category" else edges for axis in writing.axes]
    return Bins(tuple(range(1, len(of_axes) + 1)), tuple(of_axes))


def _category_edges(axis: Attribute) -> tuple[float, ...]:
    return tuple(float(number) for number in range(len(axis.answers) + 1))


def build(writing: Writing) -> archives.Build:
    """Returns the builder of the archive."""
    dims = bins(writing).dims
    categories = all(axis.kind == "category" for axis in writing.axes)
    return archives.categorical(dims) if categories else archives.grid((), dims)


def make_generator(texts: TextSearch) -> Generator:
    """Returns what makes new texts; every method leaves out what says an earlier text again."""
    args, writing = texts.args, texts.writing

    def written(operator: Operator) -> Written:
        seen = texts.seen if args.duplicates <= 1 else None
        return Written(texts.writer, operator, writing.sampling, seen=seen, alike=args.duplicates)

    if args.method in CROSSOVER:
        return Beginning(written(Seeds(writing.line, writing.seeds)), written(_operator(texts)), n=args.first)
    return written(_operator(texts))


def _operator(texts: TextSearch) -> Operator:
    writing, method = texts.writing, texts.args.method
    line, seeds = writing.line, writing.seeds
    if method == "lmx-near":
        return Near(line)
    if method == "lmx-replace":
        return Replace(
            line, parents=lambda ids: texts.history.take(ids, "parents"), pool=lambda placement: _pool(texts, placement)
        )
    if method in ("rewrite", "seed-rewrite"):
        return Rewrite(writing.what, seeds[0] if method == "seed-rewrite" else None, name=method)
    words = tuple(words_of(axis, cells) for axis, cells in zip(writing.axes, texts.bins.dims, strict=True))
    if method == "guided":
        return Guided(writing.what, words)
    if method in ("asked", "targeted"):
        return Asked(writing.what, words if method == "targeted" else (), name=method)
    if method == "directional":
        return Directional(writing.what, tuple((axis.answers[0], axis.answers[1]) for axis in writing.axes))
    if method.endswith("few-shot"):
        return Seeds(line, seeds, shuffle=method == "shuffled-few-shot", name=method)
    return FromPool(line, seeds, _rule(method, LEAST_QUALITY * writing.highest), method)


def remember(seen: Words, history: History) -> None:
    """Makes `seen` hold every text of a history that its generator made: what it held when the history was written."""
    for part in history.chunks("solution", "error"):
        for text, error in zip(part["solution"], part["error"], strict=True):
            if was_made(error):
                seen.add(str(text))


def _pool(texts: TextSearch, placement: Placement) -> Ints:
    """Returns the seeds and the best three texts of each cell."""
    best = best_in_cells(texts.history, placement, depth=3)
    seeds = np.arange(len(texts.writing.seeds))
    return np.concatenate([seeds, best[~np.isin(best, seeds)]])[:POOL]


def _rule(method: str, least: float) -> Rule:
    rules: dict[str, Rule] = {
        "random-search": Everything(),
        "quality-only": Best(POOL),
        "rouge": Unlike(),
        "rouge-quality": Unlike(least_quality=least, most=POOL),
        "novelty": Novel(),
        "novelty-quality": Novel(least_quality=least),
    }
    return rules[method]


def note_what_is_used(
    args: Args, run: runs.Run, writing: Writing, writer: Recorded, judges: Sequence[Recorded]
) -> None:
    """Writes the models, the questions and how texts are drawn into the settings of a run, whatever names them.

    Raises:
        ValueError: The run was begun with others.
    """
    used = {
        "writer": writer.name,
        "judges": [one.name for one in judges],
        "questions": [asdict(one) for one in (writing.quality, *writing.axes)],
        "sampling": asdict(writing.sampling),
    }
    note_used(run, used, settings_of(args), of_now=OF_NOW)
    note_not_kept(run, (writer, *judges))


def open_run(args: Args, names: tuple[str, ...]) -> runs.Run:
    """Returns the run folder, new or to be resumed; every batch is durable at once, since texts may cost money."""
    run = resuming.open_run(args, settings_of(args) | {"id": uuid.uuid4().hex}, names)
    if args.attributes is not None and not args.resume:
        shutil.copyfile(args.attributes, args.run / "attributes.json")
    return run


def settings_of(args: Args) -> dict[str, Any]:
    """Returns what the run folder keeps of the arguments."""
    return resuming.settings_of(args, lists=TUPLES, paths=PATHS)


def saved(args: Args) -> Args:
    """Returns the settings that the run was started with; of those given now, the ones in OF_NOW count instead.

    Raises:
        ValueError: Others are given now, which cannot be changed; or the ledger is gone.
    """
    known = resuming.arguments_of(args.run, lists=TUPLES, paths=PATHS)
    found = resuming.go_on(args, known, of_now=OF_NOW, free=("seed", "attributes"))
    resuming.find_ledger(found)
    return replace(found, attributes=None if known["attributes"] is None else args.run / "attributes.json")
