"""QDHF on pictures: one prompt, an archive of good and different pictures, on axes learned from what people find alike.

    pip install -e ".[images]"
    python -m experiments.qdhf_images                                         # our small pipeline; a simulation answers
    python -m experiments.qdhf_images --prompt "a dotted thing" --method best-of-n --run runs/best
    python -m experiments.qdhf_images --annotator study --run runs/people     # people do, on the study page
    qdfeedback study serve runs/people                                        # beside it
    python -m experiments.qdhf_images --annotator judge --judge Qwen/Qwen2.5-VL-7B-Instruct@http://localhost:8000/v1
    python -m experiments.qdhf_images --model stable-diffusion-v1-5/stable-diffusion-v1-5 --clip
        openai/clip-vit-base-patch32 --truth facebook/dinov2-base --prompt "a bear in a national park"

What is searched is the noise that a diffusion pipeline begins with (Ding 2024, sec. 4.3). `qdhf` learns as the paper
does: four refits on random triplets of elites, which alone are placed anew (the paper's steps are --sigma 0.1
--plain-step, its answers --truth dreamsim:dino_vitb16, its archive --cells 20 --floor 0); `qdhf-active` asks where an
ensemble disagrees and places every picture anew. `aurora-pca` and `aurora-ae` ask nobody; `best-of-n` draws fresh noise
and keeps what fits the prompt best; `best-of-n-plus` takes the noise, of a hundred, that is farthest from the one
before; `prompt-evolution` is `qdhf-active` on prompts, which say more and more of what the first one leaves open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from tqdm import tqdm

from domains.images import CLIP, MODEL
from experiments import images_report, images_setup
from experiments.command import run_main, run_seeds
from experiments.people import judgments_of
from experiments.resuming import jobs
from qdfeedback import archives, runs
from qdfeedback.bounds import Amount, Bounds, Count, Natural, Positive, Seed, read_arguments
from qdfeedback.diversity import models
from qdfeedback.diversity.columns import OnColumns
from qdfeedback.diversity.linear import rotation_onto
from qdfeedback.diversity.published import fit_published
from qdfeedback.diversity.similarity import Fit, Similarity, fit_and_test
from qdfeedback.diversity.unsupervised import fit_autoencoder, fit_pca
from qdfeedback.feedback.annotators import Simulated
from qdfeedback.feedback.judges import Judge
from qdfeedback.feedback.people import People, wait_for_answers
from qdfeedback.feedback.queries import RANDOM, ask, choose_triplets, uniform_triplets
from qdfeedback.feedback.study import begin_study, end_study, similarity_study
from qdfeedback.generators.latent import Fresh
from qdfeedback.parallel import compute_on, threads
from qdfeedback.quality.alignment import published_objective
from qdfeedback.search import add, elites, refresh, start, step
from qdfeedback.types import Annotator, Floats, Ints, Placement, mean_objective

Method = Literal["qdhf", "qdhf-active", "best-of-n", "best-of-n-plus", "aurora-pca", "aurora-ae", "prompt-evolution"]
MOST_IN_VAIN = 100  # candidates without one picture
LEAST_TO_LEARN = 4  # answers: fewer change no axes
LEAST_ANSWERED = (
    0.25  # of what a judge is asked: one that says less has not understood, and there is no use in going on
)
HOW = Fit(ridge=0.3, flip=None, prepare="center", components=16, steps=50)  # of a CLIP; see LOG


@dataclass(frozen=True)
class Args:
    prompt: str = "any number of circles"
    """What all pictures are asked to show."""
    run: Path = Path("runs/qdhf_images")
    """Folder of the run; with several seeds, of their folders seed-0, seed-1, …"""
    model: str = str(MODEL)
    """Diffusion pipeline: folder or hub id."""
    method: Method = "qdhf-active"
    """Where the axes come from, or what is done without."""
    solutions: Literal["noise", "prompt", "both"] = "noise"
    """What is varied: the noise, the prompt (prompt-evolution does), or both. Our grammar keeps what --prompt names."""
    writer: str | None = None
    """Varies prompts: a language model (folder, hub id, or model@http://host:port/v1); none = our grammar of scenes."""
    annotator: Literal["simulated", "study", "judge"] = "simulated"
    """Who answers: a simulation, people on the study page, or a model that looks at the pictures."""
    truth: str | None = None
    """simulated: folder or hub id of the embedding by whose distances it answers, or "dreamsim:dino_vitb16", the
    paper's; none = by what is in our pictures."""
    judge: str | None = None
    """judge: the model, as model@http://host:port/v1."""
    prices: Path | None = None
    """TOML file with what models cost."""
    cap: Amount | None = None
    """What the judge and the writer may cost, with all that shares the ledger, in the currency of --prices."""
    ledger: Path | None = None
    """Where replies are kept; replies.db in the run's folder if not given, and for all seeds where there is a cap."""
    key_variable: str | None = None
    """Environment variable that holds the servers' API key; OPENAI_API_KEY if not given, for https alone."""
    thoughts: Natural = 0
    """Tokens in which models may think before each text, and those on servers before each answer too."""
    clip: str = str(CLIP)
    """Folder or hub id of the CLIP or SigLIP by which pictures are embedded and compared with the prompt."""
    quality: str = "clip"
    """What pictures are made good by: "clip", the CLIP score of --clip; another such model, as
    yuvalkirstain/PickScore_v1; or a file of weights on --clip's embeddings, as LAION's aesthetics predictors are."""
    report: tuple[str, ...] = ()
    """Further qualities, which are never optimised: one that is gamed rises alone."""
    published_objective: bool = False
    """Keep 10 (10 - 100 / score) in the archive, as the authors' code does: the same elites, another QD score."""
    pictures: Count = 1000
    """Pictures in all."""
    first: Annotated[int, Bounds(4)] = 200
    """Pictures of fresh noise, before the search."""
    batch_size: Count = 40
    """Pictures in an iteration."""
    judgments: Natural = 300
    """Answers in all."""
    rounds: Count = 10
    """qdhf-active: in how many rounds they are asked for, over the first half of the run."""
    cells: Count = 10
    """Along each of two learned axes."""
    floor: Annotated[float, Bounds(0, below=1)] = 0.1
    """Share of the first pictures that is too poor for the archive: what is below their quantile of the quality is no
    elite. 0 = everything may be one, as in the paper."""
    sigma: Positive = 0.5
    """Standard deviation of a step of the noise; the paper's is 0.1, with --plain-step."""
    plain_step: bool = False
    """Add to the noise as the paper does, without keeping its variance."""
    steps: Count | None = None
    """Of denoising; 12 for our model, as its pipeline does for another, if not given."""
    guidance: Amount | None = None
    """Weight of the prompt; 3 for our model, as its pipeline does for another, if not given."""
    at_once: Count = 20
    """Pictures that are drawn at once."""
    dtype: str = "auto"
    """Of the pipeline's numbers: float32, bfloat16, float16."""
    scheduler: str | None = None
    """Name of a diffusers scheduler in place of the pipeline's own, as DPMSolverMultistepScheduler."""
    compiled: bool = False
    """Compile the denoiser: minutes at first, faster then."""
    sliced: bool = False
    """Compute attention in slices: slower, and less memory only where torch has no fused attention."""
    set_size: Count = 50
    """Pictures of the sets that are compared: of the archive at random, or the best."""
    seed: tuple[Seed, ...] = (0,)
    """Seeds; several run side by side in processes of their own."""
    resume: bool = False
    """Go on from where a run stopped, with its settings; --prices, --cap, --ledger, --key-variable and --at-once may be
    others now."""
    overwrite: bool = False
    """Replace a run that is there already."""
    workers: Count | None = None
    """Processes for several seeds; as many as there are cores if not given."""


def search_images(images: ImageSearch, bar: tqdm[Any]) -> None:
    """Runs one seed, from its beginning or its last checkpoint to its end."""
    args = images.args
    iteration = images.begin()
    bar.update(len(images.history))
    while (left := args.pictures - len(images.history)) > 0:
        n = min(args.batch_size, left)
        bar.set_postfix(cells=iterate(images, iteration, n), judgments=images.judgments, refresh=False)
        bar.update(n)
        iteration += 1
    if args.method != "qdhf":
        images.place()


def iterate(images: ImageSearch, iteration: int, n: int) -> int:
    """Refits if it is time to, makes n pictures, keeps and places them; returns how many cells are filled.

    Raises:
        RuntimeError: There was no picture for a long time.
    """
    if iteration in images.schedule:
        images.refit(iteration)
    assert images.placement is not None, "the first refit made it"
    first_id = len(images.history)
    batch = step(images.search, images.placement, n=n, first_id=first_id, iteration=iteration, rng=images.rng)
    images.history.append(batch)
    images.in_vain = 0 if batch.valid.any() else images.in_vain + n
    if images.in_vain >= MOST_IN_VAIN:
        raise RuntimeError(f"{images.in_vain} candidates in a row without a picture; the last: {batch.errors[-1]}")
    images.run.show_batch(images.search, batch)
    images.checkpoint(iteration)
    return len(images.placement.archive)


class ImageSearch:
    """All that changes in a run."""

    def __init__(self, args: Args) -> None:
        self.args = args
        made = images_setup.make(args)
        self.run, self.search, self.pictures = made.run, made.search, made.pictures
        self.qualities, self.quality = made.seeing.qualities, made.seeing.qualities[args.quality]
        self.truth, self.learned, self.true = made.seeing.truth, made.seeing.learned, made.seeing.true
        self.schedule = images_setup.refit_schedule(args)
        self.objective = published_objective if args.published_objective else mean_objective
        self.history, self.study = self.run.history, self.run.settings["study"]
        self.rng = np.random.default_rng(args.seed[0])
        self.store = self.run.open_store(self.study)
        self.annotator: Annotator = Simulated(
            truth=lambda ids: self.truth(self.history.take(ids, "features")), seed=args.seed[0]
        )
        if args.annotator == "study":
            text = "Look at the picture at the top. Which of the two below is more like it?"
            begin_study(args.run, similarity_study(self.study, title="Pictures", text=text, seed=args.seed[0]))
            self.annotator = People(self.store, self.study, partial(self.run.show, self.search))
        if made.judge is not None:
            self.annotator = Judge(made.judge, self.files)
        self.model: models.Model | None = None
        self.placement: Placement | None = None
        self.accuracy: float | None = None
        self.judgments = self.in_vain = 0

    def files(self, ids: Ints) -> dict[int, bytes]:
        """Returns the PNG file of each candidate."""
        names = self.run.show(self.search, ids)
        return {candidate: self.run.shown.path(name).read_bytes() for candidate, name in names.items()}

    def begin(self) -> int:
        """Draws the first pictures, or takes up the last checkpoint; returns the iteration to go on with."""
        found = self.run.latest() if self.args.resume else None
        if found is None:
            n, made_by = self.args.first, self.search.generator
            solutions = made_by.draw(n, self.rng) if isinstance(made_by, Fresh) else None
            first = start(self.search, self.quality, n, rng=self.rng, solutions=solutions)
            self.history.append(first)
            self.run.show_batch(self.search, first)
            return 1
        self.model = models.load(self.run.path / self.run.saved["axes"])
        self.accuracy, self.judgments = found.state["accuracy"], found.state["judgments"]
        if isinstance(self.annotator, Judge):
            self.annotator.restore(found.state["judge"])
        self.placement = self.placed_on(self.build(np.array(found.state["ranges"])))
        runs.restore(found, self.placement, self.search.generator, self.rng)
        self.run.redraw(self.search)
        return found.iteration + 1

    @cached_property
    def least(self) -> float:
        """The objective below which no picture is an elite."""
        if not self.args.floor:
            return -np.inf
        features = self.history.take(np.arange(self.args.first), "features")
        return float(np.nanquantile(self.objective(self.quality.score(features)), self.args.floor, method="higher"))

    def checkpoint(self, iteration: int) -> None:
        """Writes all that `begin` needs."""
        assert self.placement is not None
        arrays, state = runs.capture(self.placement, self.search.generator, self.rng)
        state |= {"ranges": archives.bounds(self.placement.archive).tolist()}
        state |= {"accuracy": self.accuracy, "judgments": self.judgments}
        state |= {"judge": self.annotator.state()} if isinstance(self.annotator, Judge) else {}
        self.run.checkpoint(iteration, arrays, state)

    def refit(self, iteration: int) -> None:
        """Asks what is to be asked, learns axes, and places pictures on them."""
        count = self.schedule[iteration]
        ids, points = self.current()
        before = self.model or fit_pca(points, dim=2)
        if self.args.method == "aurora-ae":
            self.model = fit_autoencoder(points, dim=2, rng=self.rng)
        elif not count:
            self.model = before
        elif self.args.method == "qdhf":
            rows = uniform_triplets(len(ids), count, self.rng, degenerate=True)
            self.learn_published(self.answered(iteration, rows, ids, np.full(count, RANDOM)), before)
        else:
            known = self.model if isinstance(self.model, Similarity) else None
            rows, purpose = choose_triplets(known, points, count, rng=self.rng)
            self.learn(self.answered(iteration, rows, ids, purpose), before, last=iteration == max(self.schedule))
        assert self.model is not None
        self.run.save_model("axes", f"axes-{iteration:06d}", self.model)
        self.place(ids if self.args.method == "qdhf" else None)

    def current(self) -> tuple[Ints, Floats]:
        """Returns ids and embeddings of today's elites, or of the first pictures: those that can be judged."""
        ids = np.arange(len(self.history)) if self.placement is None else elites(self.placement).ids
        features = self.history.take(ids, "features")
        points = features[:, self.learned]
        known = np.isfinite(points).all(axis=1)
        if self.args.annotator == "simulated":
            known &= np.isfinite(self.truth(features)).all(axis=1)
        return ids[known], points[known]

    def answered(self, iteration: int, rows: Ints, ids: Ints, purpose: Any) -> Any:
        """Asks, keeps the answers, and returns every judgment so far."""
        shown = self.history.take(ids, "features")[rows][..., self.learned]
        queries = ask(rows, ids, purpose, batch=f"{iteration:06d}", shown=shown)
        self.store.ask(self.study, queries, self.annotator)
        if self.args.annotator == "study":
            wait_for_answers(self.store, self.study, self.store.asked(self.study))
        triplets = judgments_of(self.run, self.store, iteration, people=self.args.annotator == "study")
        self.judgments = len(triplets)
        asked = sum(count for when, count in self.schedule.items() if when <= iteration)
        if isinstance(self.annotator, Judge) and len(triplets) < LEAST_ANSWERED * asked - 2:
            raise RuntimeError(f"{self.annotator.name} answered {len(triplets)} of {asked}: {+self.annotator.counts}")
        return triplets

    def learn(self, triplets: Any, before: models.Model, *, last: bool) -> None:
        """Fits axes to all answers, turned to lie as those before; the last ones are tested too."""
        if len(triplets) < LEAST_TO_LEARN:
            self.model, self.accuracy = self.not_learned(before), None
            return
        points, local = self.judged(triplets)
        tested = np.flatnonzero((triplets.purpose == RANDOM) & last)
        model, self.accuracy = fit_and_test(points, local, tested, dim=2, how=HOW, rng=self.rng)
        self.model = model.rotated(rotation_onto(model.project(points), before.project(points)))

    def learn_published(self, triplets: Any, before: models.Model) -> None:
        """Fits axes as the paper does."""
        if len(triplets) < LEAST_TO_LEARN:
            self.model, self.accuracy = self.not_learned(before), None
            return
        self.model = fit_published(*self.judged(triplets), dim=2, rng=self.rng)
        self.accuracy = self.model.note["validation_accuracy"]

    def not_learned(self, before: models.Model) -> models.Model:
        """Returns the axes before, or components in place of some that were learned from people who do not count."""
        if not isinstance(before, Similarity):
            return before
        _, points = self.current()
        found = fit_pca(points, dim=2)
        return found.rotated(rotation_onto(found.project(points), before.project(points)))

    def judged(self, triplets: Any) -> tuple[Floats, Ints]:
        """Returns the embeddings of all that was judged, and the triplets as their rows."""
        items, local = np.unique(triplets.items, return_inverse=True)
        return self.history.take(items, "features")[:, self.learned], local.reshape(-1, 3)

    def place(self, ids: Ints | None = None) -> None:
        """Places the pictures with these ids, the whole history if None, on the present axes."""
        assert self.model is not None
        features = self.history.sample("features") if ids is None else self.history.take(ids, "features")
        measures = OnColumns(self.learned, self.model).project(features)
        how = {"quantile": 0.005, "margin": 0.05} if ids is None else {"quantile": 0.0, "margin": 0.0}
        self.placement = self.placed_on(self.build(archives.ranges(measures, **how)))
        if ids is None:
            refresh(self.history, self.placement)
        else:
            add(self.placement, {"id": ids, "features": features})

    def build(self, ranges: Floats) -> Any:
        """Returns an empty archive."""
        return archives.grid((), (self.args.cells,) * 2)(ranges, self.args.seed[0])

    def placed_on(self, archive: Any) -> Placement:
        """Returns the placement on the present axes."""
        assert self.model is not None
        diversity = OnColumns(self.learned, self.model)
        resolve = partial(self.history.take, column="solution")
        return Placement(self.quality, diversity, archive, self.objective, resolve, self.least)


def run_one(args: Args) -> dict[str, Any]:
    """Runs one seed of several, without a progress bar, and returns its summary."""
    return _run(args, quiet=True)


def _run(args: Args, *, quiet: bool = False) -> dict[str, Any]:
    """Runs one seed; with --resume, one that is finished is not run again, one that was interrupted goes on."""
    if args.resume:
        args = images_setup.saved(args)
        if runs.is_finished(args.run):
            return runs.read_summary(args.run)
    images_setup.check(args)
    compute_on(1 if quiet else threads())
    images = ImageSearch(args)
    if args.annotator == "study":
        print(f"people answer here: qdfeedback study serve {args.run}", flush=True)
    with tqdm(total=args.pictures, unit="picture", disable=quiet, mininterval=0.5) as bar:
        search_images(images, bar)
    summary = images_report.finish(images)
    if args.annotator == "study":
        end_study(args.run)
    return summary


def main(argv: Sequence[str] | None = None) -> None:
    """Runs every seed."""
    args = read_arguments(Args, argv, __doc__)
    if len(args.seed) > 1:
        if not args.resume:
            images_setup.check(args)
        run_seeds(run_one, jobs(args, images_setup.saved), images_report.one_line)
        return
    print(images_report.closing_lines(args.run, _run(args)))


if __name__ == "__main__":
    run_main(main)
