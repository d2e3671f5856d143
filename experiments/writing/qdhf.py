"""QDHF on stories: a language model writes, people say which of two stories is more like a third, axes are learned.

    pip install -e ".[embeddings]"                                    # sentence-transformers, and a small model for it
    python -m experiments.writing.qdhf                                # a simulation that knows the truth answers
    python -m experiments.writing.qdhf --annotator study --run runs/people-stories     # people do, on the study page
    qdfeedback study serve runs/people-stories                                         # beside it

The features are sentence embeddings and a judge's opinion of each story's quality; the axes are a linear map of the
embeddings that explains the answers (Ding 2024), learned anew in a few rounds. Stop it whenever you like; --resume.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from scipy.special import expit

from domains.stories import MODEL, STORIES
from domains.stories.truth import by_truth, log_odds, mostly_known
from qdfeedback import commands, viz
from qdfeedback.archives import grid
from qdfeedback.arguments import FeedbackArguments
from qdfeedback.bounds import Bounds, Count, check
from qdfeedback.curves import Curves
from qdfeedback.diversity.similarity import Fit
from qdfeedback.encoders.attributes import Attributes
from qdfeedback.encoders.join import Join
from qdfeedback.encoders.text import SentenceEmbeddings, bundled
from qdfeedback.feedback.annotators import Simulated
from qdfeedback.generators.language import Beginning, Near, Seeds, Written
from qdfeedback.generators.similar import Words
from qdfeedback.history import History
from qdfeedback.learning.axes import Learned
from qdfeedback.learning.feedback import Feedback, ask_people
from qdfeedback.learning.fits import Likelihood
from qdfeedback.learning.part import Placing
from qdfeedback.learning.schedule import Schedule, in_rounds, iterations_of
from qdfeedback.loop import Loop
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.opening import open_model
from qdfeedback.parallel import compute_on, threads
from qdfeedback.progress import Bar
from qdfeedback.quality.columns import column
from qdfeedback.search import Search
from qdfeedback.types import Floats, Ints

RIDGE = 30.0  # with 384 columns and as many answers, a weaker prior lets chance in
SOME = 1000  # stories, of which it is seen whether their truth is known
TEXT = "Read the story at the top. Which of the two below is more like it?"


@dataclass(frozen=True)
class Args(FeedbackArguments):
    """Of a run on stories."""

    run: Path = Path("runs/stories")
    """Folder of the run; with several seeds, of their folders seed-0, seed-1, …"""
    evaluations: Count = 1000
    """Stories in all."""
    batch_size: Count = 50
    """Stories in an iteration."""
    answers: Annotated[int, Bounds(2)] = 1000
    """Answers in all; a few hundred say little about the 384 columns of a sentence embedding."""
    rounds: Count = 5
    """In how many rounds they are asked for, over the first half of the run."""
    cells: Count = 12
    """Along each of two learned axes."""
    annotator: Literal["simulated", "study"] = "simulated"
    """Who answers: a simulation that knows genre and ending, or people on the study page."""
    writer: str = str(MODEL)
    """Folder, hub id, or model@http://host:port/v1."""
    embedder: str | None = None
    """Hub id or folder of a sentence-transformers model; the one of the extra `embeddings` if not given."""


def make(args: Args, *, quiet: bool = True) -> Loop:
    """Returns the run, new or to be gone on with."""
    embeddings = SentenceEmbeddings(args.embedder or bundled())
    learned, names = tuple(range(1, 1 + len(embeddings.names))), ("quality", *embeddings.names)
    run = commands.open_run(args, names, study=uuid.uuid4().hex)
    ledger = Ledger(args.run / "replies.db", run=run.study)
    with commands.no_folder_left(args, ledger, run.study):
        writer = open_model(args.writer, ledger)
        writer.check(STORIES.sampling)
    commands.note_not_kept(run, [writer])
    seen = Words()
    first = Written(writer, Seeds(STORIES.line, STORIES.seeds), STORIES.sampling, seen=seen)
    then = Written(writer, Near(STORIES.line), STORIES.sampling, seen=seen)
    encoder = Join((Attributes((STORIES.quality,), (writer,)), embeddings))
    search = Search(STORIES, encoder, Beginning(first, then, n=args.batch_size), args.seed[0], run.failures)
    store = run.open_store(where=args.database)
    if args.annotator == "study":
        feedback = ask_people(run, search, store, title="Stories", text=TEXT, wait_for=None)
    else:
        feedback = Feedback(run, store, Simulated(partial(known_truth, args, run.history), seed=search.seed))
    iterations = iterations_of(args.evaluations, args.batch_size, len(STORIES.seeds))
    until = max(iterations_of(args.evaluations, args.batch_size) // 2, 2)
    schedule = Schedule(in_rounds(iterations, args.answers, args.rounds, first=2, until=until), after=(0, 1))
    axes = Learned(  # three seeds make no map: components are taken again after the first iteration
        learned, feedback, schedule, fitted=Likelihood(Fit(ridge=RIDGE, flip=None)),
        placing=Placing(quantile=0.005, grows=False, end=0.1),
    )  # fmt: skip
    return Loop(
        run, search, axes, column(names, "quality"), grid((), (args.cells,) * 2), args.evaluations, args.batch_size,
        len(STORIES.seeds), archive_seed=search.seed, checkpoint_every=args.checkpoint_every, store=store,
        curves=Curves(), bar=Bar("story", quiet),
    )  # fmt: skip


def known_truth(args: Args, history: History, ids: Ints) -> Floats:
    """Returns what `truth` does.

    Raises:
        ValueError: It is not known of most stories.
    """
    if not mostly_known([str(text) for text in history.sample("solution", most=SOME)]):
        raise ValueError(f"--annotator simulated: nobody knows the truth about stories of {args.writer}; ask people")
    return log_odds([str(text) for text in history.take(ids, "solution")])


def finish(args: Args, loop: Loop) -> dict[str, Any]:
    """Writes archive, pictures and summary; returns the summary."""
    run, found, axes = loop.run, loop.elites(), loop.axes
    assert isinstance(axes, Learned)
    run.show(loop.search, found.ids)
    texts = [str(text) for text in found.solutions]
    summary: dict[str, Any] = {
        "seed": args.seed[0], "evaluations": len(run.history), "answers": loop.answers, "elites": len(found),
        "judgment_accuracy": axes.accuracy,
    }  # fmt: skip
    colour, of = found.objective, "quality"
    if mostly_known(texts):
        points = run.history.take(found.ids, "features")[:, axes.columns]
        summary |= by_truth(texts, found.objective, points, axes.model)
        colour, of = expit(log_odds(texts)[:, 0]).astype(np.float32), "horror (1) or romance (0)"
    figure, panels = viz.figure(3)
    viz.heatmap(panels[0], loop.placement.archive, title="The archive, on learned axes", limits=(0, 1),
                axes=("learned axis 1", "learned axis 2"))  # fmt: skip
    viz.learned_map(panels[1], found.measures, colour=colour, title=f"Its stories: {of}")
    viz.own_curves(panels[2], loop.rows(), marks=loop.refits())
    viz.save(figure, run.path / "archive.png")
    return loop.finish(summary)


def run_one(args: Args, *, quiet: bool = True) -> dict[str, Any]:
    """Runs one seed and returns its summary; one that is finished is not run again, one that was stopped goes on."""
    args, summary = commands.take_up(args, check)
    if summary is not None:
        return summary
    compute_on(1 if quiet else threads())
    loop = make(args, quiet=quiet)
    for _ in loop:
        pass
    return finish(args, loop)


def one_line(summary: dict[str, Any]) -> str:
    """Returns one finished run in a line."""
    line = f"{summary['elites']} elites out of {summary['evaluations']:,} stories, from {summary['answers']} answers."
    if "axes_accuracy" in summary:
        line += (
            f"\nThe learned axes order stories as the truth does in {summary['axes_accuracy']:.0%} of cases "
            f"(PCA: {summary['axes_accuracy_pca']:.0%})."
        )
    return line


def closing_lines(path: Path, summary: dict[str, Any]) -> str:
    """Returns what a person wants to know at the end."""
    return f"\n{one_line(summary)}\nLook at {path}/archive.png"


def main(argv: Sequence[str] | None = None) -> None:
    """Runs every seed."""
    commands.search(Args, argv, __doc__, one=run_one, check=check, line=one_line, closing=closing_lines)


if __name__ == "__main__":
    commands.run_main(main)
