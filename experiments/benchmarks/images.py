"""What the search costs beside drawing: pictures per second against a bare loop of diffusers, in one process.

    python -m experiments.benchmarks.images                            # our small pipeline, a few minutes
    python -m experiments.benchmarks.images --random-weights --device cuda --dtype bfloat16 --at-once 8 --steps 50
    python -m experiments.benchmarks.images --random-weights --device cpu --size 64 --at-once 1 --steps 2

Three ways take turns, iteration by iteration, with batches, steps and noise of the same size. Bare: the prompt's
embeddings are given, pictures come and are forgotten. Search: the default run on pictures from its first refit on,
with embeddings, archive, files, the simulation's answers, refits and checkpoints. The paper's way: bare, but the prompt
is encoded on every call, and elites, as many as the search has, are drawn again at each of four refits. A small search
comes first, so that what happens once in a process (libraries that load on first use) is in none of the figures.

With --random-weights it is the architecture of Stable Diffusion 1.5, drawn as the search draws, with no search around.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
from tqdm import tqdm

from domains.images import MODEL
from experiments.images import qdhf
from experiments.images.arguments import Args as ImagesArgs
from experiments.images.arguments import check
from experiments.images.report import Made
from qdfeedback.bounds import Bounds, Count, Positive, Seed, read_arguments
from qdfeedback.commands import run_main
from qdfeedback.learning.schedule import PUBLISHED
from qdfeedback.models.diffusion import Diffusion, Drawing, dtype_of, load_diffusion
from qdfeedback.models.random_weights import stable_diffusion
from qdfeedback.parallel import compute_on, threads
from qdfeedback.types import Floats


@dataclass(frozen=True)
class Args:
    model: str = str(MODEL)
    """Folder or hub id."""
    truth: str | None = None
    """Embedding by whose distances the simulation answers; needed for another model than ours."""
    first: Annotated[int, Bounds(4)] = 200
    """Pictures that the search begins with, before anything is measured."""
    evaluations: Count = 800
    """Pictures of each way."""
    batch_size: Count = 40
    """Pictures in an iteration."""
    at_once: Count = 20
    """Pictures that are drawn at once."""
    steps: Count = 12
    """Of denoising."""
    answers: Annotated[int, Bounds(16)] = 300
    """Answers that the search asks for."""
    device: str | None = None
    """--random-weights: cpu or cuda."""
    dtype: str = "auto"
    """float32, bfloat16, float16."""
    random_weights: bool = False
    """Stable Diffusion 1.5's networks, never trained."""
    size: Count = 512
    """--random-weights: pixels of a side."""
    peak: Positive = 989.0
    """Of the accelerator, in Tflop/s for --dtype (an H100 SXM in bfloat16: 989)."""
    seed: Seed = 0
    """Seed."""
    out: Path | None = None
    """JSON file for the figures."""


class Bare:
    """A loop as a script would have it.

    Args:
        diffusion: its pipeline is used without what we put round it.
        prompt: of all pictures.
        encode: encode the prompt on every call.
    """

    def __init__(self, diffusion: Diffusion, prompt: str, *, encode: bool) -> None:
        self.pipeline, self.how, self.at_once = diffusion.pipeline, diffusion.how, diffusion.batch_size
        self.prompt, self.encode = prompt, encode
        settings = {"num_inference_steps": self.how.steps, "guidance_scale": self.how.guidance}
        self.settings = {name: value for name, value in settings.items() if value is not None}
        self.original = self.pipeline.encode_prompt.encode
        self.given, self.empty = self.embed()

    def embed(self) -> Any:
        """Returns the embeddings of the prompt and of the empty one."""
        with torch.inference_mode():
            return self.original(self.prompt, self.pipeline.unet.device, 1, True)

    def draw(self, latents: Floats) -> None:
        """Draws pictures of (n, …) noise, so many at once as the search does."""
        unet = self.pipeline.unet
        for start in range(0, len(latents), self.at_once):
            given, empty = self.embed() if self.encode else (self.given, self.empty)
            noise = torch.from_numpy(latents[start : start + self.at_once]).to(unet.device, unet.dtype)
            n = len(noise)
            self.pipeline(
                prompt_embeds=given.expand(n, -1, -1), negative_prompt_embeds=empty.expand(n, -1, -1), latents=noise,
                output_type="pil", **self.settings,
            )  # fmt: skip


def timed(work: Callable[[], Any]) -> float:
    """Returns the seconds that something took, on a GPU until it was done."""
    _wait()
    begun = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - begun


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def open_search(args: Args, run: Path) -> Made:
    """Returns the search that is measured, with its first pictures drawn."""
    settings = ImagesArgs(
        run=run, model=args.model, evaluations=args.first + args.evaluations, first=args.first,
        batch_size=args.batch_size, at_once=args.at_once, answers=args.answers, steps=args.steps, dtype=args.dtype,
        truth=args.truth, seed=(args.seed,),
    )  # fmt: skip
    check(settings)
    made = qdhf.make(settings)
    made.loop.begin()
    return made


def measure(args: Args, folder: Path) -> dict[str, Any]:
    """Returns the figures of the three ways."""
    small = open_search(replace(args, first=20, batch_size=4, evaluations=8, answers=16), folder / "small")
    for _ in small.loop:
        pass
    made = open_search(args, folder / "run")
    loop, diffusion = made.loop, cast(Diffusion, made.pictures.diffusion)
    batches = iter(loop)
    bare, published = (Bare(diffusion, ImagesArgs().prompt, encode=encode) for encode in (False, True))
    rng = np.random.default_rng(args.seed)
    seconds = {"bare": 0.0, "search": 0.0, "published": 0.0}
    iterations = args.evaluations // args.batch_size
    refits = {1 + int(share * iterations) for share in PUBLISHED}

    def draw(iteration: int) -> None:  # noqa: ARG001
        bare.draw(loop.search.domain.initial(args.batch_size, rng))

    def search(iteration: int) -> None:  # noqa: ARG001
        next(batches)

    def as_published(iteration: int) -> None:
        again = len(loop.placement.archive) if iteration in refits else 0  # the search goes first
        published.draw(loop.search.domain.initial(args.batch_size + again, rng))

    ways: dict[str, Callable[[int], None]] = {"search": search, "bare": draw, "published": as_published}
    for iteration in tqdm(range(1, iterations + 1), unit="iteration", mininterval=1):
        for name in list(ways) if iteration == 1 else rng.permutation(list(ways)):  # elites come with the first search
            seconds[name] += timed(partial(ways[name], iteration))
    for one in (small.loop, loop):
        assert one.store is not None
        one.store.close()
    return {
        "pictures": args.evaluations, "at_once": args.at_once, "steps": args.steps,
        "pictures_per_second": {name: iterations * args.batch_size / taken for name, taken in seconds.items()},
        "search_to_bare": seconds["bare"] / seconds["search"],
        "published_to_search": seconds["published"] / seconds["search"],
    }  # fmt: skip


def sd15(args: Args) -> Diffusion:
    """Returns a pipeline with the architecture of Stable Diffusion 1.5 and random weights, but our few words."""
    pipeline = stable_diffusion(load_diffusion(MODEL, device="cpu").pipeline, size=args.size)
    where = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    how = Drawing(steps=args.steps, guidance=7.5)
    return Diffusion(pipeline.to(where, dtype_of(args.dtype, where)), "random", how, batch_size=args.at_once)


def measure_random(args: Args) -> dict[str, Any]:
    """Returns pictures per second, share of time and speed of the U-Net; on a GPU memory, and its share of the peak."""
    diffusion = sd15(args)
    n = args.at_once
    noise = np.random.default_rng(args.seed).standard_normal((n, *diffusion.latent_shape)).astype(np.float32)
    unet = diffusion.denoiser
    tokens = torch.zeros(2 * n, diffusion.pipeline.tokenizer.model_max_length, unet.config.cross_attention_dim)
    given = [torch.from_numpy(np.concatenate([noise, noise])), torch.tensor(500), tokens]
    given = [one.to(unet.device, unet.dtype) if one.is_floating_point() else one.to(unet.device) for one in given]
    with torch.inference_mode():
        unet(*given)
        inside = timed(lambda: [unet(*given) for _ in range(args.steps)])
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            unet(*given)
    flops = counter.get_total_flops() * args.steps
    diffusion.draw(["a circle"] * n, noise, np.arange(n))
    taken = min(timed(lambda: diffusion.draw(["a circle"] * n, noise, np.arange(n))) for _ in range(3))
    found: dict[str, Any] = {
        "device": str(unet.device), "pictures_per_second": n / taken, "share_in_unet": inside / taken,
        "unet_tflops": flops / inside / 1e12,
    }  # fmt: skip
    if unet.device.type == "cuda":
        found["share_of_peak"] = found["unet_tflops"] / args.peak
        found["memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    args = read_arguments(Args, argv, __doc__)
    compute_on(threads())
    if args.random_weights:
        figures = measure_random(args)
        print("\n".join(f"{name}: {value}" for name, value in figures.items()))
    else:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(args, Path(folder))
        rates = figures["pictures_per_second"]
        print(
            f"{args.evaluations} pictures, {args.at_once} at once, {args.steps} steps\n"
            f"bare {rates['bare']:.2f} pictures/s, the search {rates['search']:.2f}, a share of "
            f"{figures['search_to_bare']:.3f}\nthe paper's way {rates['published']:.2f}: "
            f"the search is {figures['published_to_search']:.2f} times as fast"
        )
    if args.out is not None:
        args.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    run_main(main)
