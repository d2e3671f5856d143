"""What a run on pictures can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from domains.images import CLIP, MODEL
from domains.images.captions import names
from qdfeedback import bounds
from qdfeedback.arguments import FeedbackArguments, ModelArguments
from qdfeedback.bounds import Amount, Bounds, Count, Positive
from qdfeedback.learning.schedule import iterations_of

Method = Literal["qdhf", "qdhf-active", "best-of-n", "best-of-n-plus", "aurora-pca", "aurora-ae", "prompt-evolution"]
ASKS = ("qdhf", "qdhf-active", "prompt-evolution")
SEARCHES = (*ASKS, "aurora-pca", "aurora-ae")


@dataclass(frozen=True)
class Args(FeedbackArguments, ModelArguments):
    """Of a run on pictures."""

    prompt: str = "any number of circles"
    """What all pictures are asked to show."""
    run: Path = Path("runs/images")
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
    clip: str = str(CLIP)
    """Folder or hub id of the CLIP or SigLIP by which pictures are embedded and compared with the prompt."""
    quality: str = "clip"
    """What pictures are made good by: "clip", the CLIP score of --clip; another such model, as
    yuvalkirstain/PickScore_v1; or a file of weights on --clip's embeddings, as LAION's aesthetics predictors are."""
    report: tuple[str, ...] = ()
    """Further qualities, which are never optimised: one that is gamed rises alone."""
    published_objective: bool = False
    """Keep 10 (10 - 100 / score) in the archive, as the authors' code does: the same elites, another QD score."""
    evaluations: Count = 1000
    """Pictures in all."""
    first: Annotated[int, Bounds(4)] = 200
    """Pictures of fresh noise, before the search."""
    batch_size: Count = 40
    """Pictures in an iteration."""
    answers: Annotated[int, Bounds(0)] = 300
    """Answers in all, for the methods that ask."""
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

    @property
    def iterations(self) -> int:
        """Iterations, the first pictures among them."""
        return iterations_of(self.evaluations, self.batch_size, self.first)

    @property
    def varied(self) -> Literal["noise", "prompt", "both"]:
        """What is varied."""
        return "prompt" if self.method == "prompt-evolution" else self.solutions

    @property
    def needed(self) -> dict[str, str]:
        """Role → language model, as far as the method needs them."""
        judge = self.judge if self.method in ASKS else None
        wanted = {"judge": judge, "writer": self.writer if self.varied != "noise" else None}
        return {role: where for role, where in wanted.items() if where is not None}


def is_ours(model: str) -> bool:
    """Whether a pipeline is the one of our small world, in whose pictures everything is known."""
    return Path(model).resolve() == MODEL.resolve()


def check(args: Args) -> None:
    """Refuses settings that cannot work, before anything is spent.

    Raises:
        ValueError: Says which and why.
    """
    bounds.check(args)
    if is_ours(args.model):
        names(args.prompt)
    elif args.annotator == "simulated" and args.truth is None and args.method in ASKS:
        raise ValueError("--truth: nobody knows what is in these pictures; name an embedding, ask people or a judge")
    if (args.annotator == "judge") != (args.judge is not None and "@http" in args.judge):
        raise ValueError("--annotator judge needs --judge, model@http://host:port/v1, which sees pictures; others none")
    args.check_models(args.judge, args.writer)
    if args.published_objective and args.quality != "clip":
        raise ValueError("--published-objective is a function of the CLIP score: it needs --quality clip")
    if len({args.quality, *args.report}) < 1 + len(args.report):
        raise ValueError("--report: each quality once, and not the one that is optimised")
    if args.method not in SEARCHES and args.solutions != "noise":
        raise ValueError(f"--solutions: {args.method} draws noise")
    if args.writer is None and args.varied != "noise" and not is_ours(args.model):
        raise ValueError("--writer: our grammar knows prompts of our small world; name a model that varies yours")
    if args.method in ASKS and args.answers < 16:
        raise ValueError(f"--answers must be at least 16, got {args.answers}")
    if args.annotator == "study" and (args.method != "qdhf-active" or len(args.seed) > 1):
        raise ValueError("--annotator study: people answer one run of qdhf-active at a time")
    if args.evaluations <= args.first:
        raise ValueError(f"--evaluations must be above --first, {args.first}, got {args.evaluations}")
