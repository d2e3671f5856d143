"""Pictures of one prompt, or of many: what is searched is the noise that they are made from, or the prompt, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qdfeedback.models.pictures import Picture, Pictures
from qdfeedback.types import Floats, Ints, Solutions

MODEL = Path(__file__).with_name("model")
"""Folder of the diffusion pipeline that `train` writes."""
CLIP = Path(__file__).with_name("clip")
"""Folder of the contrastive model that `train` writes."""


@dataclass(frozen=True)
class Images:
    """Pictures of a text-to-image pipeline.

    Attributes:
        pictures: draws them, and keeps them.
        prompt: of all pictures whose solution has none of its own.
    """

    pictures: Pictures
    prompt: str

    def initial(self, n: int, rng: np.random.Generator) -> Floats:
        """Returns (n, *latent_shape) float32 noise."""
        return rng.standard_normal((n, *self.pictures.diffusion.latent_shape), dtype=np.float32)

    def render(self, solutions: Solutions, seeds: Ints) -> tuple[list[Picture | None], list[str | None]]:
        """Returns n pictures.

        Args:
            solutions: (n, *latent_shape) noise, or (n,) prompts, whose noise comes from their seeds.
            seeds: (n,).
        """
        if solutions.dtype.kind != "U":
            return self.pictures.draw([self.prompt] * len(seeds), solutions, seeds)
        noise = [np.random.default_rng(int(seed)) for seed in seeds]
        latents = np.concatenate([np.empty((0, *self.pictures.diffusion.latent_shape), dtype=np.float32)]
                                 + [self.initial(1, one) for one in noise])  # fmt: skip
        return self.pictures.draw([str(prompt) for prompt in solutions], latents, seeds)

    def present(self, artifact: Picture) -> bytes:
        """Returns the picture's file."""
        return artifact.png


def pixels(artifacts: Sequence[Picture]) -> list[np.ndarray]:
    """Returns what encoders look at."""
    return [one.pixels for one in artifacts]
