"""What a run over texts is made of: its models, and what makes new texts by each method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from domains.stories import MODEL
from experiments.writing.arguments import Args, writing_of
from qdfeedback import commands
from qdfeedback.generators.language import (
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
)
from qdfeedback.generators.pools import Best, Everything, FromPool, Novel, Rule, Unlike
from qdfeedback.generators.similar import Words
from qdfeedback.history import History
from qdfeedback.metrics import best_in_cells
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.opening import open_model
from qdfeedback.models.recorded import Recorded
from qdfeedback.runs import Run
from qdfeedback.types import Generator, Ints, Placement
from qdfeedback.writing import Writing, bins_of, words_of

CROSSOVER = ("lmx-near", "lmx-replace")
LEAST_QUALITY = 0.8  # of the highest, for the baselines that ask for one
POOL = 100


@dataclass(frozen=True)
class Models:
    """Who writes and who judges.

    Attributes:
        ledger: their replies.
        writer: writes.
        judges: their log-odds are averaged.
    """

    ledger: Ledger
    writer: Recorded
    judges: tuple[Recorded, ...]


def open_models(args: Args, run: Run) -> Models:
    """Returns the writer and the judges; a new run that cannot begin leaves no folder, unless something was paid."""
    own = run.settings["id"]
    with commands.no_folder_left(args):
        ledger = args.open_ledger(args.run, own)
    how = args.opening(device=args.device, dtype=args.dtype, samples=args.samples)
    name, chat = args.writer or str(MODEL), {"auto": None, "messages": True, "text": False}
    writer = (name, chat[args.prompts])
    judges = [(where, chat[args.judge_prompts or args.prompts]) for where in args.judge or (name,)]
    with commands.no_folder_left(args, ledger, own):
        wanted = dict.fromkeys((writer, *judges))
        opened = {one: open_model(one[0], ledger, replace(how, chat=one[1])) for one in wanted}
        opened[writer].check(writing_of(args).sampling)
    return Models(ledger, opened[writer], tuple(opened[one] for one in judges))


def note_what_is_used(run: Run, writing: Writing, models: Models) -> None:
    """Writes the models, the questions and how texts are drawn into the settings of a run, whatever names them.

    Raises:
        ValueError: The run was begun with others.
    """
    used = {
        "writer": models.writer.name,
        "judges": [one.name for one in models.judges],
        "questions": [asdict(one) for one in writing.attributes],
        "sampling": asdict(writing.sampling),
    }
    commands.note_used(run, used)
    commands.note_not_kept(run, (models.writer, *models.judges))


def make_generator(args: Args, writing: Writing, writer: Recorded, history: History) -> Generator:
    """Returns what makes new texts; every method leaves out what says an earlier text again."""
    seen = Words() if args.duplicates <= 1 else None

    def written(operator: Operator) -> Written:
        return Written(writer, operator, writing.sampling, seen=seen, alike=args.duplicates)

    then = written(_operator(args.method, writing, history))
    if args.method in CROSSOVER:
        return Beginning(written(Seeds(writing.line, writing.seeds)), then, n=args.seeded)
    return then


def _operator(method: str, writing: Writing, history: History) -> Operator:
    line, seeds, what = writing.line, writing.seeds, writing.what
    if method == "lmx-near":
        return Near(line)
    if method == "lmx-replace":
        return Replace(line, parents=lambda ids: history.take(ids, "parents"), pool=_pool(history, len(seeds)))
    if method in ("rewrite", "seed-rewrite"):
        return Rewrite(what, seeds[0] if method == "seed-rewrite" else None, name=method)
    words = tuple(words_of(axis, cells) for axis, cells in zip(writing.axes, bins_of(writing).dims, strict=True))
    if method == "guided":
        return Guided(what, words)
    if method in ("asked", "targeted"):
        return Asked(what, words if method == "targeted" else (), name=method)
    if method == "directional":
        return Directional(what, tuple((axis.answers[0], axis.answers[1]) for axis in writing.axes))
    if method.endswith("few-shot"):
        return Seeds(line, seeds, shuffle=method == "shuffled-few-shot", name=method)
    return FromPool(line, seeds, _rule(method, LEAST_QUALITY * writing.highest), method)


def _pool(history: History, seeds: int) -> Callable[[Placement], Ints]:
    """Returns what gives the seeds and the best three texts of each cell."""

    def pool(placement: Placement) -> Ints:
        first, best = np.arange(seeds), best_in_cells(history, placement, depth=3)
        return np.concatenate([first, best[~np.isin(best, first)]])[:POOL]

    return pool


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
