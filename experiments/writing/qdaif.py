"""QDAIF: language models write texts, vary them and judge them; the archive spreads over what they say (Bradley 2024).

    python -m experiments.writing.qdaif --domain stories                                  # offline, under three minutes
    python -m experiments.writing.qdaif --domain stories --method quality-only --seed 0 1 2 3 4 --run runs/quality-only
    python -m experiments.writing.qdaif --domain opinions --run runs/opinions
    python -m experiments.writing.qdaif --domain poetry --method guided --writer my-model@http://localhost:8000/v1
    python -m experiments.writing.qdaif --run runs/writing --resume                       # nothing is paid twice

Operators: `lmx-near` (QDAIF's own), `lmx-replace`, `rewrite`, `guided`, `directional`. Baselines, judged in the same
way: `fixed-few-shot`, `shuffled-few-shot`, `random-search`, `quality-only`, `rouge` and `novelty`, these also with a
least quality (`rouge-quality`, `novelty-quality`); from nothing, `targeted` and (with a --writer) `asked`; always from
the first seed, `seed-rewrite`. Without --writer, a small model of our own writes and judges: a laboratory model whose
stories have a known truth, not a writer (domains/stories/README.md, which also says where this differs from the paper).
Figures of several seeds: python -m experiments.writing.table.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.writing import parts, report
from experiments.writing.arguments import ZERO_SHOT, Args, check, writing_of
from qdfeedback import commands
from qdfeedback.curves import Curves
from qdfeedback.encoders.attributes import Attributes
from qdfeedback.learning.known import Known
from qdfeedback.loop import Loop
from qdfeedback.models.ledger import SpendCapError
from qdfeedback.parallel import compute_on, threads
from qdfeedback.progress import Bar
from qdfeedback.quality.columns import column
from qdfeedback.search import NothingEvaluatedError, Search
from qdfeedback.stopping import InVain, InVainError
from qdfeedback.writing import archive_of, begun_from_nothing, bins_of


def make(args: Args, *, quiet: bool = True) -> report.Made:
    """Returns the run, new or to be gone on with; every batch is durable at once, since texts may cost money."""
    writing = writing_of(args)
    run = commands.open_run(args, [name for one in writing.attributes for name in one.columns], id=uuid.uuid4().hex)
    if args.attributes is not None and not args.resume:
        shutil.copyfile(args.attributes, args.run / "attributes.json")
    models = parts.open_models(args, run)
    parts.note_what_is_used(run, writing, models)
    if args.begin == "zero-shot":
        seeds = np.random.default_rng([args.seed[0], 1]).integers(2**31, size=ZERO_SHOT)
        writing = begun_from_nothing(writing, models.writer, seeds, run.history)
    encoder = Attributes(writing.attributes, models.judges)
    generator = parts.make_generator(args, writing, models.writer, run.history)
    bins = bins_of(writing)
    loop = Loop(
        run, Search(writing, encoder, generator, args.seed[0], run.failures), Known(bins, bins.ranges),
        column(encoder.names, "quality"), archive_of(writing), args.evaluations, args.batch_size, len(writing.seeds),
        archive_seed=args.seed[0], checkpoint_every=args.checkpoint_every, stopping=(InVain(200),),
        curves=Curves(more=report.Along(models.ledger, run.settings["id"])), bar=Bar("text", quiet),
    )  # fmt: skip
    return report.Made(loop, writing, encoder, models.ledger)


def search(made: report.Made) -> None:
    """Runs to the end, or until the cap."""
    loop = made.loop
    try:
        for _ in loop:
            pass
    except SpendCapError as error:
        raise SpendCapError(f"stopped by --cap after {len(loop.history):,} texts: {error}") from error
    except (NothingEvaluatedError, InVainError) as error:
        raise type(error)(f"{error}{report.why_unmeasured(made.encoder)}") from error


def run_one(args: Args, *, quiet: bool = True) -> dict[str, Any]:
    """Runs one seed and returns its summary; one that is finished is not run again, one that was stopped goes on."""
    args, summary = commands.take_up(args, check)
    if summary is not None:
        return summary
    compute_on(1 if quiet else threads())
    made = make(args, quiet=quiet)
    search(made)
    return report.finish(args, made)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs every seed."""
    commands.search(Args, argv, __doc__, one=run_one, check=check, line=report.one_line, closing=report.closing_lines)


if __name__ == "__main__":
    commands.run_main(main)
