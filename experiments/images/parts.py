"""What a run on pictures is made of: its pipeline, its generator, its axes, who answers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from domains.images import captions
from domains.images.captions import names
from domains.images.images import Images
from experiments.images.arguments import SEARCHES, Args, is_ours
from experiments.images.seeing import Seeing
from qdfeedback import commands
from qdfeedback.diversity.similarity import Fit
from qdfeedback.feedback.annotators import Simulated
from qdfeedback.feedback.store import Store
from qdfeedback.generators.latent import Fresh, Noise
from qdfeedback.generators.prompts import ONE_LINE, ByModel, Prompts, PromptsAndNoise, by_grammar
from qdfeedback.learning.aurora import aurora
from qdfeedback.learning.axes import Learned
from qdfeedback.learning.feedback import Feedback, Tally, ask_model, ask_people
from qdfeedback.learning.fits import Likelihood
from qdfeedback.learning.part import AxesPart, Placing
from qdfeedback.learning.published import qdhf
from qdfeedback.learning.schedule import Schedule, in_rounds
from qdfeedback.models.language import SeeingModel
from qdfeedback.models.opening import open_model
from qdfeedback.models.recorded import Recorded
from qdfeedback.runs import Run
from qdfeedback.search import Search
from qdfeedback.types import Generator

if TYPE_CHECKING:
    from qdfeedback.models.diffusion import Diffusion

PLACING = Placing(quantile=0.005, margin=0.05, grows=False, end=0.05)
HOW = Fit(ridge=0.3, flip=None, prepare="center", components=16, steps=50)  # of a CLIP; see LOG
TEXT = "Look at the picture at the top. Which of the two below is more like it?"


def open_diffusion(args: Args) -> Diffusion:
    """Returns the pipeline.

    Raises:
        OSError: It is not there.
    """
    from qdfeedback.models.diffusion import Drawing, load_diffusion  # diffusers takes seconds to load

    # what is not given is the pipeline's own
    usual = Drawing(steps=12, guidance=3.0) if is_ours(args.model) else Drawing()
    how = Drawing(
        steps=usual.steps if args.steps is None else args.steps,
        guidance=usual.guidance if args.guidance is None else args.guidance,
    )
    return load_diffusion(
        args.model, how=how, dtype=args.dtype, scheduler=args.scheduler, batch_size=args.at_once,
        compiled=args.compiled, sliced=args.sliced,
    )  # fmt: skip


def open_language_models(args: Args, run: str) -> dict[str, Recorded]:
    """Returns the judge and the writer, as far as the method needs them, whose replies are kept."""
    named = args.needed
    if not named:
        return {}
    ledger = args.open_ledger(args.run, run)
    with commands.no_folder_left(args, ledger, run):
        opened = {role: open_model(where, ledger, args.opening()) for role, where in named.items()}
        if "writer" in opened:
            opened["writer"].check(ONE_LINE)
    return opened


def make_generator(args: Args, domain: Images, writer: Recorded | None) -> Generator:
    """Returns what makes new solutions."""
    if args.method not in SEARCHES:
        return Fresh(domain.noise, among=100 if args.method == "best-of-n-plus" else 1)
    noise = Noise(args.sigma, domain.initial, keep_variance=not args.plain_step)
    if args.varied == "noise":
        return noise
    vary = by_grammar(partial(captions.vary, keep=names(args.prompt))) if writer is None else ByModel(writer)
    return Prompts(vary, domain.initial) if args.varied == "prompt" else PromptsAndNoise(vary, noise)


def make_axes(args: Args, learned: tuple[int, ...], feedback: Feedback) -> AxesPart:
    """Returns the axes by their method; those that ask nobody show on what they found."""
    if args.method == "qdhf":
        return qdhf(learned, feedback, iterations=args.iterations, answers=args.answers)
    if args.method in ("qdhf-active", "prompt-evolution"):
        schedule = Schedule(in_rounds(args.iterations, args.answers, args.rounds))
        fitted = Likelihood(HOW, tested="last", upright="current")
        return Learned(learned, feedback, schedule, fitted=fitted, placing=PLACING, tally=Tally(least=4))
    ae, by = args.method == "aurora-ae", feedback.annotator
    return aurora(learned, iterations=args.iterations, autoencoder=ae, placing=PLACING, judged_by=by)


def make_feedback(
    args: Args, run: Run, store: Store, search: Search, seeing: Seeing, judge: SeeingModel | None
) -> Feedback:
    """Returns who answers; people are asked on the study page."""
    if args.annotator == "study":
        return ask_people(run, search, store, title="Pictures", text=TEXT, wait_for=None)
    if judge is not None:
        return ask_model(run, search, store, judge)
    truth = lambda ids: seeing.truth(run.history.take(ids, "features"))  # noqa: E731
    return Feedback(run, store, Simulated(truth, seed=search.seed))
