"""Pictures of one prompt, or of many: what is searched is the noise that they are made from, or the prompt, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
        varied: what solutions are: noise, prompts (a picture's noise then comes from its seed), or both.
    """

    pictures: Pictures
    prompt: str
    varied: Literal["noise", "prompt", "both"] = "noise"

    def initial(self, n: int, rng: np.random.Generator) -> Solutions:
        """Returns n first solutions; prompts are all the same.

        Returns:
            (n, *latent_shape) float32 noise; (n,) text; or (n,) of both, a structured array with the fields `prompt`
            and `noise`.
        """
        if self.varied == "prompt":
            return np.full(n, self.prompt)
        noise = self.noise(n, rng)
        if self.varied == "noise":
            return noise
        found = np.empty(n, dtype=[("prompt", object), ("noise", np.float32, noise.shape[1:])])
        found["prompt"], found["noise"] = self.prompt, noise
        return found

    def noise(self, n: int, rng: np.random.Generator) -> Floats:
        """Returns (n, *latent_shape) float32, of a standard normal distribution."""
        return rng.standard_normal((n, *self.pictures.diffusion.latent_shape), dtype=np.float32)

    def render(self, solutions: Solutions, seeds: Ints) -> tuple[list[Picture | None], list[str | None]]:
        """Returns n pictures.

        Args:
            solutions: (n, *latent_shape) noise; or (n,) prompts, whose noise comes from their seeds; or both.
            seeds: (n,).
        """
        if solutions.dtype.names:
            return self.pictures.draw([str(one) for one in solutions["prompt"]], solutions["noise"], seeds)
        if solutions.dtype.kind not in "UO":
            return self.pictures.draw([self.prompt] * len(seeds), solutions, seeds)
        latents = np.empty((len(seeds), *self.pictures.diffusion.latent_shape), dtype=np.float32)
        for row, seed in zip(latents, seeds, strict=True):
            row[:] = self.noise(1, np.random.default_rng(int(seed)))[0]
        return self.pictures.draw([str(prompt) for prompt in solutions], latents, seeds)

    def present(self, artifact: Picture) -> bytes:
        """Returns the picture's file."""
        return artifact.png


def pixels(artifacts: Sequence[Picture]) -> list[np.ndarray]:
    """Returns what encoders look at."""
    return [one.pixels for one in artifacts]
