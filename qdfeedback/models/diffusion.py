"""Text-to-image pipelines of Hugging Face diffusers, in this process.

    diffusion = load_diffusion("stable-diffusion-v1-5/stable-diffusion-v1-5", how=Drawing(steps=30))
    found = diffusion.draw(["a red boat"] * 8, noise, seeds)         # noise: (8, *diffusion.latent_shape)

Any pipeline will do that takes a prompt and `latents`: Stable Diffusion 1, 2, 3 and XL, PixArt, Sana, Flux and so on.
What it does between prompt and picture is left to the pipeline; here a prompt is encoded once, every picture has its
own random numbers, and a picture that cannot be used is told from one that can.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray

from qdfeedback.bounds import Amount, Bounds, Count, check, check_number
from qdfeedback.models.naming import exact_name
from qdfeedback.parallel import can_compile
from qdfeedback.types import Floats, Ints

NOT_FINITE = "the picture is not finite: numbers overflowed; bfloat16 or float32 has room for them"
FLAGGED = "flagged by the safety checker"
BEGIN_WITH_A_PICTURE = (
    "init_image", "mask_image", "strength", "control_image", "image_guidance_scale", "controlnet_conditioning_scale",
    "noise_level",
)  # fmt: skip
KNOWN_PROMPTS = 256  # whose embeddings are kept


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn; None = as the pipeline does by default.

    Attributes:
        steps: of denoising.
        guidance: weight of the prompt (classifier-free guidance); 1 = none, which takes half the time.
        height, width: of pictures, in pixels.
        negative: what pictures are led away from.
    """

    steps: Count | None = None
    guidance: Amount | None = None
    height: Count | None = None
    width: Count | None = None
    negative: str = ""

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")


@dataclass(frozen=True)
class Drawn:
    """What came of n prompts.

    Attributes:
        pixels: n pictures, (h, w, 3) uint8 each; None = there is none.
        reasons: n reasons why there is none, None = there is one.
    """

    pixels: tuple[NDArray[np.uint8] | None, ...]
    reasons: tuple[str | None, ...]


def load_diffusion(
    model: str | Path,
    *,
    how: Drawing = Drawing(),
    device: str | None = None,
    dtype: str = "auto",
    revision: str | None = None,
    scheduler: str | None = None,
    batch_size: int = 8,
    compiled: bool = False,
    sliced: bool = False,
) -> Diffusion:
    """Returns the pipeline of a hub id or a folder.

    Args:
        model: id or folder in diffusers format, with weights as safetensors.
        how: steps, guidance, size.
        device: "cpu", "cuda" …; the first GPU where there is one if None.
        dtype: "float32", "bfloat16", "float16"; "auto" is bfloat16 on a GPU that computes with it, else float16 there,
            and float32 on a CPU.
        revision: of the hub's repository.
        scheduler: name of a diffusers scheduler that takes the place of the pipeline's own.
        batch_size: pictures at once.
        compiled: compile the denoiser (torch.compile): minutes at first, faster then.
        sliced: compute attention in slices: slower, and less memory only where torch has no fused attention.

    Raises:
        OSError: There is no such model.
        ValueError: The pipeline does not make pictures of prompts and latents; there is no such dtype or scheduler;
            there is nothing to compile with; the batch size is below 1.
    """
    check_number(batch_size, "batch_size", Bounds(1), kind=int)
    if compiled and not can_compile():
        raise ValueError("compiling needs a C++ compiler (g++, or CXX) and the headers of Python")
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    logging.getLogger("transformers.utils.import_utils").addFilter(_needless)
    found = diffusers.DiffusionPipeline.from_pretrained(
        str(model), revision=revision, dtype=dtype_of(dtype, where), use_safetensors=True
    )
    if scheduler is not None:
        kind: Any = getattr(diffusers, scheduler, None)
        if not hasattr(kind, "from_config"):
            raise ValueError(f"diffusers has no scheduler {scheduler!r}")
        found.scheduler = kind.from_config(found.scheduler.config)
    name = exact_name(str(model), revision, holds="model_index.json")
    diffusion = Diffusion(found.to(where), name, how, batch_size=batch_size)
    if sliced:
        found.enable_attention_slicing()
    if compiled:
        diffusion.denoiser.compile()
    return diffusion


def _needless(record: logging.LogRecord) -> bool:
    return "requires torchvision" not in record.getMessage()


def dtype_of(dtype: str, device: str) -> torch.dtype:
    """Returns the type of numbers with a name, or for "auto" the one that suits a device.

    Raises:
        ValueError: There is none.
    """
    if dtype == "auto" and not device.startswith("cuda"):
        return torch.float32
    if dtype == "auto":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if dtype not in ("float32", "bfloat16", "float16"):
        raise ValueError(f"dtype must be auto, float32, bfloat16 or float16, got {dtype!r}")
    found: torch.dtype = getattr(torch, dtype)
    return found


class Diffusion:
    """A pipeline that makes pictures of prompts and noise.

    A picture depends on its prompt, its noise and its seed, not on those drawn beside it. How kernels add up can depend
    on the size of a batch, so that pixels may differ by a level or two of 255 between batches of different sizes, more
    with half precision and many steps.

    Args:
        pipeline: of diffusers; its `encode_prompt` remembers from now on.
        name: which.
        how: steps, guidance, size.
        batch_size: pictures at once; halved where memory does not suffice.

    Raises:
        ValueError: The pipeline takes no prompt, no `latents`, or needs a picture to begin with.
    """

    def __init__(self, pipeline: Any, name: str, how: Drawing = Drawing(), *, batch_size: int = 8) -> None:
        self.pipeline, self.name, self.how, self.batch_size = pipeline, name, how, batch_size
        self._takes = _checked(pipeline)
        pipeline.set_progress_bar_config(disable=True)
        if hasattr(pipeline, "encode_prompt"):
            pipeline.encode_prompt = Remembering(pipeline.encode_prompt)
        self.latent_shape = self._find_latent_shape()

    @property
    def denoiser(self) -> Any:
        """The network that takes most of the time: a U-Net or a transformer."""
        return getattr(self.pipeline, "unet", None) or self.pipeline.transformer

    @property
    def about(self) -> dict[str, Any]:
        """All that pictures depend on beside prompt, noise and seed, as JSON."""
        return {
            "model": self.name,
            "pipeline": type(self.pipeline).__name__,
            "scheduler": type(self.pipeline.scheduler).__name__,
            "dtype": str(self.denoiser.dtype).removeprefix("torch."),
            **asdict(self.how),
        }

    def draw(self, prompts: Sequence[str], latents: Floats, seeds: Ints) -> Drawn:
        """Returns a picture for each prompt.

        Args:
            prompts: n.
            latents: (n, *latent_shape) noise; the models expect a standard normal distribution.
            seeds: (n,) for schedulers that add noise on the way.

        Raises:
            ValueError: The shapes do not fit.
        """
        if np.shape(latents) != (len(prompts), *self.latent_shape) or len(seeds) != len(prompts):
            raise ValueError(
                f"{len(prompts)} prompts need latents of shape {(len(prompts), *self.latent_shape)} and as many seeds, "
                f"got {np.shape(latents)} and {len(seeds)}"
            )
        pixels: list[NDArray[np.uint8] | None] = []
        reasons: list[str | None] = []
        while len(pixels) < len(prompts):
            rows = slice(len(pixels), min(len(pixels) + self.batch_size, len(prompts)))
            try:
                found = self._draw_at_once(prompts[rows], latents[rows], seeds[rows])
            except torch.OutOfMemoryError:
                if self.batch_size == 1:
                    raise
                self.batch_size = -(-min(self.batch_size, len(prompts)) // 2)
                warnings.warn(f"memory does not suffice: {self.batch_size} pictures at once now", stacklevel=2)
                continue
            pixels += found.pixels
            reasons += found.reasons
        return Drawn(tuple(pixels), tuple(reasons))

    @torch.inference_mode()
    def _draw_at_once(self, prompts: Sequence[str], latents: Floats, seeds: Ints) -> Drawn:
        denoiser = self.denoiser
        noise = torch.from_numpy(np.ascontiguousarray(latents, dtype=np.float32)).to(denoiser.device, denoiser.dtype)
        asked = self._asked(list(prompts))
        found = self.pipeline(latents=noise, output_type="pt", generator=_generators(seeds), **asked)
        flagged = getattr(found, "nsfw_content_detected", None) or [False] * len(prompts)
        images = found.images.float()
        finite = images.isfinite().flatten(1).all(dim=1).tolist()
        levels = (images.nan_to_num() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        reasons = tuple(
            FLAGGED if bad else None if good else NOT_FINITE for bad, good in zip(flagged, finite, strict=True)
        )
        return Drawn(tuple(one if why is None else None for one, why in zip(levels, reasons, strict=True)), reasons)

    def _asked(self, prompts: list[str]) -> dict[str, Any]:
        """Returns the pipeline's arguments for prompts, as far as it takes them."""
        how, n = self.how, len(prompts)
        given = {
            "num_inference_steps": how.steps, "guidance_scale": how.guidance, "height": how.height, "width": how.width,
            "negative_prompt": [how.negative] * n if how.negative else None,
        }  # fmt: skip
        given = {name: value for name, value in given.items() if value is not None}
        if unknown := [name for name in given if name not in self._takes]:
            raise ValueError(f"{type(self.pipeline).__name__} takes no {unknown[0]}")
        return given | {"prompt": prompts}

    def _find_latent_shape(self) -> tuple[int, ...]:
        """Returns the shape of the noise for one picture, as the pipeline itself would make it."""
        original = self.pipeline.prepare_latents

        def stop(*args: Any, **kwargs: Any) -> Any:
            made = original(*args, **kwargs)
            raise _Found(made[0] if isinstance(made, tuple) else made)

        self.pipeline.prepare_latents = stop
        try:
            self.pipeline(output_type="pt", generator=_generators(np.zeros(1, dtype=np.int64)), **self._asked([""]))
        except _Found as found:
            return tuple(found.latents.shape[1:])
        finally:
            del self.pipeline.prepare_latents
        raise ValueError(f"{type(self.pipeline).__name__} does not begin with latents")


class _Found(Exception):  # noqa: N818 - no error
    def __init__(self, latents: torch.Tensor) -> None:
        self.latents = latents


def _checked(pipeline: Any) -> frozenset[str]:
    """Returns the names of the arguments that a pipeline takes."""
    parameters = inspect.signature(pipeline.__call__).parameters
    for name in ("prompt", "latents"):
        if name not in parameters or not hasattr(pipeline, "prepare_latents"):
            raise ValueError(
                f"{type(pipeline).__name__} takes no {name}: a text-to-image pipeline with latents is needed"
            )
    for name in BEGIN_WITH_A_PICTURE:  # where they can begin without one, as Flux 2 does, `image` alone says nothing
        if name in parameters:
            raise ValueError(f"{type(pipeline).__name__} begins with a picture: a text-to-image pipeline is needed")
    return frozenset(parameters)


def _generators(seeds: Ints) -> list[torch.Generator]:
    """Returns one source of random numbers for each picture; on the CPU, so that devices agree."""
    return [torch.Generator().manual_seed(int(np.uint64(seed) >> np.uint64(1))) for seed in seeds]


@dataclass
class Remembering:
    """A pipeline's `encode_prompt` that encodes each prompt once, alone, and remembers.

    Attributes:
        encode: the original.
        kept: the embeddings of the latest prompts.
    """

    encode: Callable[..., Any]
    kept: OrderedDict[str, tuple[Any, ...]] = field(default_factory=OrderedDict)

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Returns what the original returns for a list of prompts."""
        given = inspect.signature(self.encode).bind(*args, **kwargs).arguments
        lists = {name: value for name, value in given.items() if isinstance(value, list)}
        n = len(given["prompt"]) if isinstance(given.get("prompt"), list) else 0
        if not n or any(len(value) != n for value in lists.values()):
            return tuple(self.encode(*args, **kwargs))
        rows = [self._one(given | {name: [value[i]] for name, value in lists.items()}) for i in range(n)]
        parts = [_side_by_side(part) for part in zip(*rows, strict=True)]
        if any(part is NotImplemented for part in parts):  # of different lengths, say: the pipeline pads them together
            return tuple(self.encode(*args, **kwargs))
        return tuple(parts)

    def _one(self, given: dict[str, Any]) -> tuple[Any, ...]:
        key = repr(sorted(given.items()))
        if key not in self.kept:
            self.kept[key] = tuple(self.encode(**given))
            if len(self.kept) > KNOWN_PROMPTS:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]


def _side_by_side(parts: Sequence[Any]) -> Any:
    """Returns the rows of all parts, `NotImplemented` where it is not known how they go together.

    What has no row for each prompt, token positions say, must be the same for all.
    """
    one = parts[0]
    if all(part is None for part in parts):
        return None
    if all(isinstance(part, torch.Tensor) and part.shape == one.shape for part in parts):
        if one.shape[:1] == (1,):
            return torch.cat(list(parts))
        return one if all(torch.equal(part, one) for part in parts) else NotImplemented
    if all(isinstance(part, list) and len(part) == 1 for part in parts):
        return [part[0] for part in parts]
    return NotImplemented
