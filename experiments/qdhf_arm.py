"""QDHF on the planar arm: diversity axes learned from similarity judgments (Ding 2024, sec. 4.1).

    python -m experiments.qdhf_arm --method qdhf-active --judgments 250 --seed 0 --run runs/arm
    python -m experiments.qdhf_arm --method qdhf --seed 0 1 2 3 --run runs/qdhf     # four runs, in parallel
    python -m experiments.qdhf_arm --run runs/arm --resume                          # go on where it was killed
    python -m experiments.qdhf_arm --annotator study --judgments 100 --wait-for 100 --run runs/people
    qdfeedback study serve runs/people                                              # beside it: people answer here

Methods: `gt` sees the true axes; `aurora-pca` and `aurora-ae` fit axes to the first population, `-inc` to the
elites four times; `qdhf-base` spends all judgments on random arms, `qdhf` a quarter at each of four refits. These
seven follow the published procedure (arm_published.py). `qdhf-active` asks where an ensemble disagrees, fits a
likelihood with a prior to all answers, and places the whole history anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from tqdm import tqdm

from domains.arm import FEATURES, Arm, ArmEncoder
from experiments import arm_published, arm_report, arm_setup
from experiments.command import for_each_seed, run_main, run_seeds
from experiments.people import judgments_of
from qdfeedback import archives, runs
from qdfeedback.bounds import Amount, Bounds, Count, Natural, Seed, Share, read_arguments
from qdfeedback.diversity import models
from qdfeedback.diversity.columns import Columns, Joined, OnColumns
from qdfeedback.diversity.linear import Linear, rotation_onto
from qdfeedback.diversity.similarity import Fit, Similarity, fit_and_test
from qdfeedback.diversity.unsupervised import fit_pca
from qdfeedback.feedback.annotators import Simulated
from qdfeedback.feedback.people import People, wait_for_answers
from qdfeedback.feedback.queries import RANDOM, ask, choose_triplets
from qdfeedback.feedback.store import Judged
from qdfeedback.feedback.study import begin_study, end_study
from qdfeedback.parallel import compute_on
from qdfeedback.quality.columns import column
from qdfeedback.search import Search, elites, rebuild, start, step
from qdfeedback.types import Annotator, Diversity, Floats, Ints, Placement, Queries

Method = Literal["gt", "aurora-pca", "aurora-pca-inc", "aurora-ae", "aurora-ae-inc", "qdhf-base", "qdhf", "qdhf-active"]
Piece = Literal["bald", "ensemble", "history", "likelihood", "prior", "ranges", "rounds"]
NAMES = ArmEncoder.names
LEARNED = tuple(NAMES.index(name) for name in FEATURES)
HAND = (NAMES.index("x"), NAMES.index("y"))
QUANTILE = 0.0002  # of all arms may lie outside the ranges on each side


@dataclass(frozen=True)
class Args:
    run: Path = Path("runs/qdhf_arm")
    """Folder of the run; with several seeds, of their folders seed-0, seed-1, …"""
    method: Method = "qdhf-active"
    """Where the axes come from."""
    judgments: Natural = 1000
    """Judgments in all, for the methods that use them."""
    iterations: Annotated[int, Bounds(2)] = 1000
    """Iterations, the first population among them."""
    batch_size: Count = 100
    """Candidates in an iteration."""
    seed: tuple[Seed, ...] = (0,)
    """Seeds; several run side by side in processes of their own."""
    annotator: Literal["simulated", "study"] = "simulated"
    """Who answers: a simulation that knows where the hand is, or (qdhf-active) people on the study page."""
    wait_for: Natural = 0
    """study: wait until so many answers are there, or as many as were asked for; else the search never waits."""
    refit_after: Annotated[int, Bounds(2)] = 5
    """study: fit the axes anew when so many new answers have come."""
    frames: Count = 1
    """Pictures in what people look at; above 1 it is an animation of the arm that bends into its pose."""
    label_noise: Share = 0.0
    """simulated: share of judgments turned round at random."""
    dim: Count = 2
    """Number of learned axes; with two axes in all the archive is a 50×50 grid, else 2,500 Voronoi cells."""
    pinned: tuple[Literal["x", "y"], ...] = ()
    """True axes put beside the learned ones."""
    rounds: Count = 20
    """qdhf-active: in how many rounds judgments are asked for, evenly over the first half of the run."""
    without: tuple[Piece, ...] = ()
    """qdhf-active: pieces to leave out, for the ablation; the published way takes their place."""
    emitter: Literal["gaussian", "iso-line", "cma-me", "cma-mae"] = "gaussian"
    """What makes new arms; the published procedure is gaussian."""
    es: Literal["cma_es", "sep_cma_es", "lm_ma_es", "openai_es", "pycma_es"] = "cma_es"
    """The evolution strategy in cma-me and cma-mae."""
    objective_noise: Amount = 0.0
    """Standard deviation of noise on the objective."""
    reevaluate: Natural = 0
    """At the end, evaluate each elite so many times again and report the corrected QD score."""
    present: bool = True
    """At the end, draw every elite into the run folder, for studies, reports and the explorer."""
    database: str | None = None
    """URL of the judgment store; a SQLite file in the run folder if not given."""
    commit: bool = False
    """Make every batch and a checkpoint durable at once, as one would where a candidate costs money."""
    checkpoint_every: Count = 50
    """Iterations between checkpoints."""
    resume: bool = False
    """Go on from the last checkpoint of the run, with its settings."""
    overwrite: bool = False
    """Replace a run that is there already."""
    workers: Count | None = None
    """Processes for several seeds; as many as there are cores if not given."""


def search_arm(arm: ArmSearch, log: arm_report.Log, bar: tqdm[Any]) -> None:
    """Runs one seed, from its beginning or its last checkpoint to its end."""
    args = arm.args
    schedule = arm_setup.refit_schedule(args)
    begin = arm.begin(log)
    bar.update(begin)
    for iteration in range(begin, args.iterations):
        if iteration in schedule:
            if args.annotator == "study" and arm.placement is not None:
                arm.checkpoint(iteration - 1, log)  # what people are asked about must never be taken back
            arm.refit(iteration, schedule[iteration])
        assert arm.placement is not None, "the first refit made it"
        batch = step(
            arm.search, arm.placement, n=args.batch_size, first_id=len(arm.history), iteration=iteration, rng=arm.rng
        )
        arm.history.append(batch)
        arm.follow_ranges(iteration, batch.measures)
        if log.due(iteration, args.iterations):
            figures = log.add(iteration, arm.placement, judgments=arm.judgments, clipped=arm.clipped)
            bar.set_postfix(figures, refresh=False)
        if args.commit or iteration % args.checkpoint_every == 0:
            arm.checkpoint(iteration, log)
        bar.update()
    if args.annotator == "study":
        arm.refit(args.iterations, 0)  # with what people have said since
        end_study(arm.run.path)
    if args.method == "qdhf-active":
        arm.place(margin=0.01)  # the search is done: nothing needs room outside any more


class ArmSearch:
    """All that changes in a run: the axes learned so far, the placement on them, and the random numbers."""

    def __init__(self, args: Args) -> None:
        self.args = args
        self.run = arm_setup.open_run(args)
        self.history = self.run.history
        self.rng = np.random.default_rng(args.seed[0])
        self.search = Search(
            Arm(args.objective_noise, args.frames),
            ArmEncoder(),
            arm_setup.make_generator(args),
            args.seed[0],
            self.run.failures,
        )
        self.build = arm_setup.make_build(args)
        self.learned = LEARNED
        self.quality = column(NAMES, "straightness")
        self.study = self.run.settings["study"]
        self.store = self.run.open_store(self.study, args.database)
        self.annotator: Annotator = Simulated(
            truth=lambda ids: self.history.take(ids, "features")[:, HAND], flip=args.label_noise, seed=args.seed[0]
        )
        if args.annotator == "study":
            begin_study(self.run.path, arm_setup.make_study(args, self.study))
            self.annotator = People(self.store, self.study, partial(self.run.show, self.search))
        self.model: models.Model | None = None
        self.placement: Placement | None = None
        self.accuracy: float | None = None
        self.judgments = self.last = 0  # how many answers the axes know, and the newest of them
        self.least_new = args.refit_after if args.annotator == "study" else 0
        self.clipped = 0.0

    def begin(self, log: arm_report.Log) -> int:
        """Evaluates the first population, or takes up the last checkpoint; returns the iteration to go on with."""
        found = self.run.latest() if self.args.resume else None
        if found is None:
            self.history.append(start(self.search, self.quality, self.args.batch_size, rng=self.rng))
            return 1
        state = found.state
        self.model = models.load(self.run.path / self.run.saved["axes"]) if "axes" in self.run.saved else None
        self.accuracy, self.judgments, self.clipped = state["accuracy"], state["judgments"], state["clipped"]
        self.last = state.get("last", 0)
        archive = self.build(np.array(state["ranges"]), 0)
        self.placement = Placement(self.quality, self.diversity(), archive)
        runs.restore(found, self.placement, self.search.generator, self.rng)
        self.run.redraw(self.search)
        log.restore(state["log"])
        return found.iteration + 1

    def checkpoint(self, iteration: int, log: arm_report.Log) -> None:
        """Writes all that `begin` needs."""
        assert self.placement is not None
        arrays, state = runs.capture(self.placement, self.search.generator, self.rng)
        state |= {
            "ranges": archives.bounds(self.placement.archive).tolist(),
            "accuracy": self.accuracy,
            "judgments": self.judgments,
            "last": self.last,
            "clipped": self.clipped,
            "log": log.state(),
        }
        self.run.checkpoint(iteration, arrays, state)

    def refit(self, iteration: int, count: int) -> None:
        """Asks for judgments, learns axes from all of them, and places the candidates on the new axes."""
        if self.args.method == "qdhf-active":
            triplets = self.judge(iteration, count)
            new = int((triplets.ids > self.last).sum())
            withdrawn = (
                len(triplets) - new != self.judgments
            )  # of somebody who does not count any more, or counts again
            if (new >= self.least_new or withdrawn) and len(triplets) >= max(self.least_new, 2):
                self.model = self.learn(triplets)
                self.judgments, self.last = len(triplets), int(triplets.ids.max())
            elif withdrawn or self.placement is None:  # nobody who counts has said much
                self.model = self.components()
                self.judgments, self.last, self.accuracy = 0, 0, None
            else:
                return
            self.place()
        else:
            arm_published.refit(self, iteration, count)
        if self.model is not None:
            self.run.save_model("axes", f"axes-{iteration:06d}", self.model)

    def components(self) -> Linear:
        """Returns the principal components of today's elites, turned to lie as the axes before."""
        points = self.history.take(self.current(), "features")[:, LEARNED]
        found = fit_pca(points, dim=self.args.dim)
        if self.model is None:
            return found
        return found.rotated(rotation_onto(found.project(points), self.model.project(points)))

    def current(self) -> Ints:
        """Returns the ids of today's elites; before there is an archive, of all first arms that could be measured."""
        if self.placement is not None:
            return elites(self.placement).ids
        ids: Ints = np.arange(len(self.history))
        measured: Ints = ids[np.isfinite(self.history.take(ids, "features")).all(axis=1)]
        return measured

    def judge(self, iteration: int, count: int) -> Judged:
        """Returns every judgment so far, `count` new ones among them, about arms now in the archive."""
        if not count:
            return self.judged(iteration)
        ids = self.current()
        features = self.history.take(ids, "features")
        known = self.model if isinstance(self.model, Similarity) and "bald" not in self.args.without else None
        rows, purpose = choose_triplets(known, features[:, LEARNED], count, rng=self.rng)
        queries = ask(rows, ids, purpose, batch=f"{iteration:06d}", shown=features[rows])
        return self.answered(iteration, queries)

    def answered(self, iteration: int, queries: Queries) -> Judged:
        """Asks what has no answer yet, keeps the answers, and returns every judgment of this run so far."""
        self.history.flush(sync=True)
        self.store.ask(self.study, queries, self.annotator)
        return self.judged(iteration)

    def judged(self, iteration: int) -> Judged:
        """Returns every judgment so far; with --wait-for, when so many are there."""
        if self.args.wait_for:
            wait_for_answers(self.store, self.study, self.args.wait_for)
        return judgments_of(self.run, self.store, iteration, people=self.args.annotator == "study")

    def learn(self, triplets: Judged) -> Similarity:
        """Returns axes fitted to all judgments, turned to lie as those before."""
        items, local = np.unique(triplets.items, return_inverse=True)
        features, local = self.history.take(items, "features")[:, LEARNED], local.reshape(-1, 3)
        left_out = self.args.without
        how = Fit(
            loss="hinge" if "likelihood" in left_out else "ste",
            ridge=1e-3 if "prior" in left_out else 1.0,
            starts=1 if "ensemble" in left_out else 8,
            flip=None,
        )
        tested = np.flatnonzero(triplets.purpose == RANDOM)
        model, self.accuracy = fit_and_test(features, local, tested, dim=self.args.dim, how=how, rng=self.rng)
        before = self.model or fit_pca(features, dim=self.args.dim)
        return model.rotated(rotation_onto(model.project(features), before.project(features)))

    def place(self, *, margin: float = 0.1) -> None:
        """Places the whole history on the present axes, over ranges that fit it."""
        diversity = self.diversity()
        if "history" in self.args.without and self.placement is not None:
            arm_published.reinsert(self, self.current(), margin=margin)
            return
        if "ranges" in self.args.without:
            elite = diversity.project(self.history.take(self.current(), "features"))
            ranges = archives.ranges(elite, quantile=0.0, margin=0.0)
        else:
            ranges = archives.ranges(
                diversity.project(self.history.sample("features")), quantile=QUANTILE, margin=margin
            )
        archive = self.build(ranges, int(self.rng.integers(2**63)))
        self.placement = rebuild(self.history, Placement(self.quality, diversity, archive), archive)

    def follow_ranges(self, iteration: int, measures: Floats) -> None:
        """Keeps the share of candidates outside the ranges; where it passes 1 %, qdhf-active fits new ones."""
        assert self.placement is not None
        self.clipped += 0.1 * (archives.clipped_share(measures, self.placement.archive) - self.clipped)
        grows = self.args.method == "qdhf-active" and "ranges" not in self.args.without
        if grows and self.clipped > 0.01 and iteration % 10 == 0:
            self.place()
            self.clipped = 0.0

    def diversity(self) -> Diversity:
        """Returns the present axes, pinned ones first."""
        pinned = tuple(NAMES.index(name) for name in self.args.pinned)
        if self.model is None:
            return Columns(HAND)
        learned = OnColumns(LEARNED, self.model)
        return Joined((Columns(pinned), learned)) if pinned else learned


def run_one(args: Args) -> dict[str, Any]:
    """Runs one seed of several, without a progress bar, and returns its summary."""
    return _run(args, quiet=True)


def _run(args: Args, *, quiet: bool = False) -> dict[str, Any]:
    """Runs one seed; with --resume, one that is finished is not run again, one that was interrupted goes on."""
    if args.resume:
        args = arm_setup.saved(args)
        if runs.is_finished(args.run):
            return runs.read_summary(args.run)
    arm_setup.check(args)
    compute_on()
    arm = ArmSearch(args)
    log = arm_report.Log(arm.run)
    if args.annotator == "study":
        elsewhere = f" --database {arm.run.settings['database']}" if args.database else ""
        print(f"people answer here: qdfeedback study serve {args.run}{elsewhere}", flush=True)
    with tqdm(total=args.iterations, unit="it", disable=quiet, mininterval=0.5) as bar:
        search_arm(arm, log, bar)
    return arm_report.finish(arm, log)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs every seed."""
    args = read_arguments(Args, argv, __doc__)
    if len(args.seed) > 1:
        if not args.resume:
            arm_setup.check(args)
        run_seeds(run_one, for_each_seed(args, arm_setup.saved), arm_report.one_line)
        print(f"figures: python -m experiments.qdhf_arm_table {args.run}")
        return
    print(arm_report.closing_lines(args.run, _run(args)))


if __name__ == "__main__":
    run_main(main)
