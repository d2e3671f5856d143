"""QDHF on pictures: one prompt, an archive of good and different pictures, on axes learned from what people find alike.

    pip install -e ".[images]"
    python -m experiments.images.qdhf                                         # our small pipeline; a simulation answers
    python -m experiments.images.qdhf --prompt "a dotted thing" --method best-of-n --run runs/best
    python -m experiments.images.qdhf --annotator study --run runs/people     # people do, on the study page
    qdfeedback study serve runs/people                                        # beside it
    python -m experiments.images.qdhf --annotator judge --judge Qwen/Qwen2.5-VL-7B-Instruct@http://localhost:8000/v1
    python -m experiments.images.qdhf --model stable-diffusion-v1-5/stable-diffusion-v1-5 --clip
        openai/clip-vit-base-patch32 --truth facebook/dinov2-base --prompt "a bear in a national park"

What is searched is the noise that a diffusion pipeline begins with (Ding 2024, sec. 4.3). `qdhf` learns as the paper
does: four refits on random triplets of elites, which alone are placed anew (the paper's steps are --sigma 0.1
--plain-step, its answers --truth dreamsim:dino_vitb16, its archive --cells 20 --floor 0); `qdhf-active` asks where an
ensemble disagrees and places every picture anew. `aurora-pca` and `aurora-ae` ask nobody; `best-of-n` draws fresh noise
and keeps what fits the prompt best; `best-of-n-plus` takes the noise, of a hundred, that is farthest from the one
before; `prompt-evolution` is `qdhf-active` on prompts, which say more and more of what the first one leaves open.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from domains.images.images import Images
from experiments.images import parts, report
from experiments.images.arguments import SEARCHES, Args, check
from experiments.images.seeing import open_encoders
from qdfeedback import commands
from qdfeedback.archives import grid
from qdfeedback.curves import Curves
from qdfeedback.generators.latent import Fresh
from qdfeedback.loop import Loop
from qdfeedback.models.pictures import Pictures
from qdfeedback.parallel import compute_on, threads
from qdfeedback.progress import Bar
from qdfeedback.put_forward import BestOfAll, FromArchive
from qdfeedback.quality.alignment import published_objective
from qdfeedback.search import Search
from qdfeedback.shown import Shown
from qdfeedback.stopping import InVain
from qdfeedback.types import mean_objective


def make(args: Args, *, quiet: bool = True) -> report.Made:
    """Returns the run, new or to be gone on with; the folder is made when what pictures need has been opened.

    Raises:
        OSError: A model or a file is not there.
        ValueError: A run that goes on was begun with others.
    """
    seeing, diffusion = open_encoders(args), parts.open_diffusion(args)
    run = commands.open_run(args, seeing.encoder.names, study=uuid.uuid4().hex)
    models = parts.open_language_models(args, run.study)
    used = {"model": diffusion.name} | {role: one.name for role, one in models.items()}
    commands.note_used(run, seeing.used | used)
    commands.note_not_kept(run, models.values())
    domain = Images(Pictures(diffusion, Shown(args.run / "shown")), args.prompt, args.varied)
    generator = parts.make_generator(args, domain, models.get("writer"))
    search = Search(domain, seeing.encoder, generator, args.seed[0], run.failures)
    store = run.open_store(where=args.database)
    feedback = parts.make_feedback(args, run, store, search, seeing, models.get("judge"))
    loop = Loop(
        run, search, parts.make_axes(args, seeing.learned, feedback), seeing.qualities[args.quality],
        grid((), (args.cells,) * 2), args.evaluations, args.batch_size, args.first,
        initial=generator.draw if isinstance(generator, Fresh) else None,
        objective=published_objective if args.published_objective else mean_objective,
        floor=args.floor, archive_seed=args.seed[0], checkpoint_every=args.checkpoint_every, shows=True,
        stopping=(InVain(100),), store=store,
        puts_forward=FromArchive(args.set_size, args.seed[0]) if args.method in SEARCHES else BestOfAll(args.set_size),
        curves=Curves(), bar=Bar("picture", quiet),
    )  # fmt: skip
    return report.Made(loop, seeing, domain.pictures, feedback.annotator)


def run_one(args: Args, *, quiet: bool = True) -> dict[str, Any]:
    """Runs one seed and returns its summary; one that is finished is not run again, one that was stopped goes on."""
    args, summary = commands.take_up(args, check)
    if summary is not None:
        return summary
    compute_on(1 if quiet else threads())
    made = make(args, quiet=quiet)
    for _ in made.loop:
        pass
    return report.finish(args, made)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs every seed."""
    commands.search(Args, argv, __doc__, one=run_one, check=check, line=report.one_line, closing=report.closing_lines)


if __name__ == "__main__":
    commands.run_main(main)
