"""QDAIF: language models write texts, vary them and judge them; the archive spreads over what they say (Bradley 2024).

    python -m experiments.qdaif_writing --domain stories                                  # offline, under three minutes
    python -m experiments.qdaif_writing --domain stories --method quality-only --seed 0 1 2 3 4 --run runs/quality-only
    python -m experiments.qdaif_writing --domain opinions --run runs/opinions
    python -m experiments.qdaif_writing --domain poetry --method guided --writer my-model@http://localhost:8000/v1
    python -m experiments.qdaif_writing --run runs/writing --resume                       # nothing is paid twice

Operators: `lmx-near` (QDAIF's own), `lmx-replace`, `rewrite`, `guided`, `directional`. Baselines, judged in the same
way: `fixed-few-shot`, `shuffled-few-shot`, `random-search`, `quality-only`, `rouge` and `novelty`, these also with a
least quality (`rouge-quality`, `novelty-quality`); from nothing, `targeted` and (with a --writer) `asked`; always from
the first seed, `seed-rewrite`. Without --writer, a small model of our own writes and judges: a laboratory model whose
stories have a known truth, not a writer (domains/stories/README.md, which also says where this differs from the paper).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from experiments import writing_report, writing_setup
from experiments.command import run_main, run_seeds
from experiments.resuming import give_up, jobs
from qdfeedback import runs
from qdfeedback.bounds import Amount, Count, Natural, Positive, Seed, read_arguments
from qdfeedback.encoders.attributes import Attributes
from qdfeedback.generators.similar import Words
from qdfeedback.models.ledger import SpendCapError
from qdfeedback.parallel import compute_on, threads
from qdfeedback.quality.columns import column
from qdfeedback.search import NothingEvaluatedError, Search, refresh, start, step
from qdfeedback.types import Placement

Method = Literal[
    "lmx-near", "lmx-replace", "guided", "directional", "rewrite", "novelty-quality", "novelty", "rouge-quality",
    "rouge", "quality-only", "random-search", "shuffled-few-shot", "fixed-few-shot", "targeted", "asked",
    "seed-rewrite",
]  # fmt: skip


@dataclass(frozen=True)
class Args:
    run: Path = Path("runs/writing")
    """Folder of the run; with several seeds, of their folders seed-0, seed-1, …"""
    domain: Literal["stories", "opinions", "poetry"] = "stories"
    """What is written."""
    axes: tuple[str, ...] = ()
    """Names of the domain's attributes to spread over (stories: genre, ending); all if none is named."""
    attributes: Path | None = None
    """JSON file of attributes to spread over in their place, as experiments.discover_axes leaves one."""
    method: Method = "lmx-near"
    """What makes new texts."""
    candidates: Count = 600
    """Texts in all, the seeds among them; the paper has 2000."""
    batch_size: Count = 50
    """Texts in an iteration; the paper's is 1."""
    begin: Literal["seeds", "zero-shot"] = "seeds"
    """The first texts: the domain's seeds, or ten that the writer makes from the bare line."""
    first: Natural = 50
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
    key_variable: str | None = None
    """Environment variable with the servers' API key; OPENAI_API_KEY for https addresses if not given."""
    samples: Count = 5
    """How often a server that tells no probabilities is asked for an answer."""
    concurrency: Count = 16
    """Requests to a server at the same time."""
    timeout: Positive = 120.0
    """Seconds in which a request ends."""
    thoughts: Natural = 0
    """Tokens in which models may think before each text, and those on servers before each answer too."""
    prices: Path | None = None
    """TOML file: for each model a table with prompt and completion, the price of a million tokens."""
    cap: Amount | None = None
    """What may be spent; the run stops before it, and --resume with a higher one goes on."""
    ledger: Path | None = None
    """Where replies are kept; replies.db in the run folder if not given. Runs may share one, and its cap."""
    seed: tuple[Seed, ...] = (0,)
    """Seeds; several run side by side in processes of their own."""
    resume: bool = False
    """Go on from where a run stopped, with its settings; --cap, --prices, --ledger, --timeout, --concurrency, --device
    and --key-variable may be others now."""
    overwrite: bool = False
    """Replace a run that is there already."""
    workers: Count | None = None
    """Processes for several seeds; as many as there are cores if not given."""


class TextSearch:
    """All that a run is made of."""

    def __init__(self, args: Args) -> None:
        self.args = args
        writing = writing_setup.writing_of(args)
        attributes = (writing.quality, *writing.axes)
        self.run = writing_setup.open_run(args, tuple(name for one in attributes for name in one.columns))
        self.history, own = self.run.history, self.run.settings["id"]
        try:
            self.ledger = writing_setup.open_ledger(args, own)
        except Exception:
            give_up(args.run, resumed=args.resume)
            raise
        try:
            self.writer, judges = writing_setup.open_models(args, self.ledger)
        except Exception:
            used = self.ledger.totals(own)
            if not used.requests and not used.possibly_paid:
                give_up(args.run, resumed=args.resume)
            raise
        writing_setup.note_what_is_used(args, self.run, writing, self.writer, judges)
        self.writing = writing_setup.with_first_texts(args, writing, self.writer, self.history)
        self.encoder = Attributes(attributes, judges)
        self.rng = np.random.default_rng(args.seed[0])
        self.quality = column(self.encoder.names, "quality")
        self.bins = writing_setup.bins(self.writing)
        archive = writing_setup.build(self.writing)(self.bins.ranges, args.seed[0])
        self.placement = Placement(
            self.quality, self.bins, archive, resolve=lambda ids: self.history.take(ids, "solution")
        )
        self.seen = Words()
        generator = writing_setup.make_generator(self)
        self.search = Search(self.writing, self.encoder, generator, args.seed[0], self.run.failures)

    def begin(self, log: writing_report.Log) -> int:
        """Judges the seeds, or takes up the last checkpoint; returns the iteration to go on with."""
        found = self.run.latest() if self.args.resume else None
        if found is not None:
            runs.restore(found, self.placement, self.search.generator, self.rng)
            self.encoder.reasons.update(found.state["reasons"])
            log.restore(found.state["log"])
        else:
            try:
                self.history.append(start(self.search, self.quality, len(self.writing.seeds), rng=self.rng))
            except NothingEvaluatedError as error:
                raise NothingEvaluatedError(f"{error}{writing_report.why_unmeasured(self)}") from error
            refresh(self.history, self.placement)
            if not len(self.placement.archive) and self.args.method in writing_setup.NEEDS_ELITES:
                why = writing_report.why_unmeasured(self)
                raise NothingEvaluatedError(f"none of the first texts has a place on the axes{why}")
            self.checkpoint(0, log)
        writing_setup.remember(self.seen, self.history)
        return 1 if found is None else found.iteration + 1

    def checkpoint(self, iteration: int, log: writing_report.Log) -> None:
        """Writes all that `begin` needs."""
        arrays, state = runs.capture(self.placement, self.search.generator, self.rng)
        self.run.checkpoint(iteration, arrays, state | {"log": log.state(), "reasons": dict(self.encoder.reasons)})


def search_texts(texts: TextSearch, log: writing_report.Log, bar: tqdm[Any]) -> None:
    """Runs one seed, from its beginning or its last checkpoint to its end."""
    args, iteration = texts.args, texts.begin(log)
    bar.update(len(texts.history))
    in_vain = 0  # candidates since one was last judged
    while (left := args.candidates - len(texts.history)) > 0:
        n = min(args.batch_size, left)
        batch = step(
            texts.search, texts.placement, n=n, first_id=len(texts.history), iteration=iteration, rng=texts.rng
        )
        texts.history.append(batch)
        in_vain = 0 if batch.valid.any() else in_vain + n
        if in_vain >= writing_setup.MOST_IN_VAIN:
            why = writing_report.why_unmeasured(texts)
            raise RuntimeError(f"{in_vain} candidates in a row without a score; the last: {batch.errors[-1]}{why}")
        bar.set_postfix(log.add(texts), refresh=False)
        texts.checkpoint(iteration, log)
        bar.update(n)
        iteration += 1


def run_one(args: Args) -> dict[str, Any]:
    """Runs one seed of several, without a progress bar, and returns its summary."""
    return _run(args, quiet=True)


def _run(args: Args, *, quiet: bool = False) -> dict[str, Any]:
    """Runs one seed; with --resume, one that is finished is not run again, one that was interrupted goes on."""
    if args.resume:
        args = writing_setup.saved(args)
        if runs.is_finished(args.run):
            return runs.read_summary(args.run)
    writing_setup.check(args)
    compute_on(1 if quiet else threads())
    texts = TextSearch(args)
    log = writing_report.Log()
    with tqdm(total=args.candidates, unit="text", disable=quiet, mininterval=0.5) as bar:
        try:
            search_texts(texts, log, bar)
        except SpendCapError as error:
            raise SpendCapError(f"stopped by --cap after {len(texts.history):,} texts: {error}") from error
    return writing_report.finish(texts, log)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs every seed."""
    args = read_arguments(Args, argv, __doc__)
    if len(args.seed) > 1:
        if not args.resume:
            writing_setup.check(args)
        run_seeds(run_one, jobs(args, writing_setup.saved), writing_report.one_line)
        print(f"table: python -m experiments.qdaif_table {args.run}")
        return
    print(writing_report.closing_lines(args.run, _run(args)))


if __name__ == "__main__":
    run_main(main)
