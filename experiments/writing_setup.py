"""What a run over texts is made of: its domain, models, archive, generator and folder."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domains.opinions import OPINIONS
from domains.poetry import POETRY
from domains.stories import MODEL, STORIES
from domains.writing import EDGES_1D, EDGES_2D, Writing, words_of
from qdfeedback import archives, files, runs
from qdfeedback.diversity.bins import Bins
from qdfeedback.encoders.attributes import Attribute
from qdfeedback.generators.language import (
    Beginning,
    Directional,
    Guided,
    Near,
    Operator,
    Replace,
    Rewrite,
    Seeds,
    Written,
    ZeroShot,
)
from qdfeedback.generators.pools import Best, Everything, FromPool, Novel, Rule, Unlike
from qdfeedback.metrics import best_in_cells
from qdfeedback.models.calls import read_prices
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.opening import Opening, open_model
from qdfeedback.models.recorded import Patience, Recorded
from qdfeedback.run_settings import read_settings
from qdfeedback.types import Generator

if TYPE_CHECKING:
    from experiments.qdaif_writing import Args, TextSearch

DOMAINS = {"stories": STORIES, "opinions": OPINIONS, "poetry": POETRY}
OPERATORS = ("lmx-near", "lmx-replace", "rewrite", "guided", "directional")
BEGINNING = 50  # texts
LEAST_QUALITY = 0.8  # of the highest, for the baselines that ask for one
POOL = 100
NOT_KEPT = ("run", "resume", "overwrite", "workers", "cap", "prices", "ledger")
TUPLES = ("seed", "axes", "judge")


def check(args: Args) -> None:
    """Refuses settings that cannot work, before anything is spent.

    Raises:
        ValueError: Says which and why.
    """
    writing = writing_of(args)
    if args.candidates <= len(writing.seeds) or args.batch_size < 1 or args.concurrency < 1:
        raise ValueError(f"--candidates must be above {len(writing.seeds)}, --batch-size and --concurrency at least 1")
    if args.writer is None and writing is POETRY:
        raise ValueError("--writer: poems need a model of your own, in a folder or on a server; ours writes stories")
    if args.begin == "zero-shot" and args.method not in OPERATORS[:2]:
        raise ValueError(f"--begin zero-shot is for {' and '.join(OPERATORS[:2])}")
    if args.cap is not None and args.prices is None:
        raise ValueError("--cap needs --prices, a table of what models cost")


def writing_of(args: Args) -> Writing:
    """Returns the domain, with the axes that are wanted; nobody knows the truth about axes of the user's own.

    Raises:
        ValueError: It has no such axis, or there is no such file.
    """
    writing = DOMAINS[args.domain]
    if args.attributes is not None:
        own = tuple(Attribute(**one | {"answers": tuple(one["answers"])}) for one in files.read_json(args.attributes))
        writing = replace(writing, axes=own, truth=None)
    known = {axis.name: axis for axis in writing.axes}
    if unknown := [name for name in args.axes if name not in known]:
        raise ValueError(f"--axes of {args.domain} are {', '.join(known)}; got {unknown[0]!r}")
    if not known:
        raise ValueError(f"{args.attributes} holds no attribute")
    return replace(writing, axes=tuple(known[name] for name in args.axes or known))


def truth_columns(args: Args) -> list[int]:
    """Returns which columns of the domain's truth the run's features stand for."""
    known = [axis.name for axis in DOMAINS[args.domain].axes]
    return [0, *(1 + known.index(name) for name in args.axes or known)]


def open_ledger(args: Args) -> Ledger:
    """Returns the file of replies."""
    prices = read_prices(args.prices) if args.prices else None
    return Ledger(args.ledger or args.run / "replies.db", prices=prices, cap=args.cap)


def open_models(args: Args, ledger: Ledger) -> tuple[Recorded, tuple[Recorded, ...]]:
    """Returns the writer and the judges."""
    how = Opening(args.device, args.dtype, patience=Patience(args.concurrency), timeout=args.timeout)
    name = args.writer or str(MODEL)
    opened = {where: open_model(where, ledger, how) for where in dict.fromkeys((name, *args.judge))}
    return opened[name], tuple(opened[where] for where in args.judge or (name,))


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
    """Returns what makes new texts."""
    args, writing = texts.args, texts.writing
    line, seeds = writing.line, writing.seeds
    if args.method in OPERATORS:
        seen = texts.seen if args.duplicates <= 1 else None
        written = Written(
            texts.writer, _operator(texts), writing.sampling, seen=seen, alike=args.duplicates
        )  # fmt: skip
        if args.method not in OPERATORS[:2]:
            return written
        begin: Operator = ZeroShot(line) if args.begin == "zero-shot" else Seeds(line, seeds)
        first = Written(texts.writer, begin, writing.sampling, seen=seen, alike=args.duplicates)
        return Beginning(first, written, n=BEGINNING)
    baseline: Operator = (
        Seeds(line, seeds, shuffle=args.method == "shuffled-few-shot", name=args.method)
        if args.method.endswith("few-shot")
        else FromPool(line, seeds, _rule(args.method, LEAST_QUALITY * writing.highest), args.method)
    )
    return Written(texts.writer, baseline, writing.sampling)


def _operator(texts: TextSearch) -> Operator:
    args, writing = texts.args, texts.writing
    if args.method == "lmx-near":
        return Near(writing.line)
    if args.method == "lmx-replace":
        return Replace(
            writing.line,
            parents=lambda ids: texts.history.take(ids, "parents"),
            pool=lambda placement: best_in_cells(texts.history, placement, depth=3)[:POOL],
        )
    if args.method == "rewrite":
        return Rewrite(writing.what)
    if args.method == "guided":
        dims = texts.bins.dims
        return Guided(
            writing.what, tuple(words_of(axis, cells) for axis, cells in zip(writing.axes, dims, strict=True))
        )
    if any(axis.kind == "category" for axis in writing.axes):
        raise ValueError("--method directional: categories have no direction; take guided")
    return Directional(writing.what, tuple((axis.answers[0], axis.answers[1]) for axis in writing.axes))


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


def open_run(args: Args, names: tuple[str, ...]) -> runs.Run:
    """Returns the run folder, new or to be resumed; every batch is durable at once, since texts may cost money."""
    if args.resume:
        return runs.resume(args.run, names, commit=True)
    if args.overwrite:
        runs.clear(args.run)
    return runs.create(args.run, settings_of(args), names, commit=True)


def settings_of(args: Args) -> dict[str, Any]:
    """Returns what the run folder keeps of the arguments."""
    found = asdict(replace(args, run=Path(), prices=None, ledger=None))
    found |= {name: list(getattr(args, name)) for name in TUPLES}
    found["attributes"] = None if args.attributes is None else str(args.attributes.resolve())
    return {name: value for name, value in found.items() if name not in NOT_KEPT}


def saved(args: Args) -> Args:
    """Returns the settings that the run was started with."""
    known = read_settings(args.run)
    known |= {name: tuple(known[name]) for name in TUPLES}
    known["attributes"] = Path(known["attributes"]) if known["attributes"] else None
    return replace(args, **known, resume=True)
