"""Pictures that were drawn, kept as files: what was drawn once is never drawn again.

shown/<sha256>.png     a picture, named by content, with what made it in the file's metadata
shown/drawn.csv        key of all that a picture depends on, file name: one line per picture, appended
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from qdfeedback.files import append_lines
from qdfeedback.shown import Shown, is_name, pixels_of
from qdfeedback.types import Floats, Ints

_LINE = re.compile(r"([0-9a-f]{64}),([0-9a-f]{64}\.png)")


class Draws(Protocol):
    """What makes pictures: a `Diffusion`."""

    batch_size: int
    latent_shape: tuple[int, ...]

    @property
    def about(self) -> dict[str, Any]:
        """All that pictures depend on beside prompt, noise and seed, as JSON."""
        ...

    def draw(self, prompts: Sequence[str], latents: Floats, seeds: Ints) -> Any:
        """Returns pixels and reasons of n pictures."""
        ...


@dataclass(frozen=True)
class Picture:
    """A picture and its file.

    Attributes:
        pixels: (h, w, 3) uint8.
        png: the file's bytes.
    """

    pixels: NDArray[np.uint8]
    png: bytes


class Pictures:
    """A pipeline whose pictures are kept.

    Args:
        diffusion: draws what is not there yet.
        shown: the run's folder of what can be looked at; the same files are shown to people.

    Attributes:
        drawn: how many pictures were asked of the pipeline, through this object.
    """

    def __init__(self, diffusion: Draws, shown: Shown) -> None:
        self.diffusion, self.shown = diffusion, shown
        self.drawn = 0
        self._about = json.dumps(diffusion.about, sort_keys=True)
        self._names = _read(shown.folder / "drawn.csv")
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="pictures")

    def draw(
        self, prompts: Sequence[str], latents: Floats, seeds: Ints
    ) -> tuple[list[Picture | None], list[str | None]]:
        """Returns n pictures, and n reasons why there is none.

        Args:
            prompts: n.
            latents: (n, *latent_shape) noise.
            seeds: (n,) uint64.

        Raises:
            OSError: The disk is full; what was kept before stays.
        """
        keys = [self._key(*row) for row in zip(prompts, latents, seeds, strict=True)]
        found = [self._kept(key) for key in keys]
        reasons: list[str | None] = [None] * len(keys)
        missing = [i for i, picture in enumerate(found) if picture is None]
        while missing:
            rows, missing = missing[: self.diffusion.batch_size], missing[self.diffusion.batch_size :]
            drawn = self.diffusion.draw([prompts[i] for i in rows], latents[rows], seeds[rows])
            self.drawn += len(rows)
            made = list(self._pool.map(self._file, drawn.pixels, [(prompts[i], int(seeds[i])) for i in rows]))
            self._keep([keys[i] for i in rows], made)
            for i, picture, reason in zip(rows, made, drawn.reasons, strict=True):
                found[i], reasons[i] = picture, reason
        return found, reasons

    def _key(self, prompt: str, noise: Floats, seed: Any) -> str:
        content = hashlib.sha256(np.ascontiguousarray(noise, dtype=np.float32).tobytes())
        content.update(json.dumps([self._about, prompt, int(seed)]).encode())
        return content.hexdigest()

    def _kept(self, key: str) -> Picture | None:
        """Returns the picture that is there; one whose file is broken or gone is not."""
        name = self._names.get(key)
        if name is None:
            return None
        try:
            png = self.shown.path(name).read_bytes()
            if hashlib.sha256(png).hexdigest() + ".png" != name:
                raise ValueError("its content is not what its name says")
            return Picture(pixels_of(png, "it"), png)
        except (OSError, ValueError) as error:
            warnings.warn(f"{self.shown.folder / name} is broken and drawn again: {error}", stacklevel=3)
            return None

    def _file(self, pixels: NDArray[np.uint8] | None, of: tuple[str, int]) -> Picture | None:
        if pixels is None:
            return None
        told = PngImagePlugin.PngInfo()
        told.add_text("prompt", of[0])
        told.add_text("seed", str(of[1]))
        told.add_text("settings", self._about)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "png", pnginfo=told, compress_level=4)
        return Picture(pixels, file.getvalue())

    def _keep(self, keys: Sequence[str], made: Sequence[Picture | None]) -> None:
        names = {key: self.shown.add(one.png) for key, one in zip(keys, made, strict=True) if one is not None}
        append_lines(self.shown.folder / "drawn.csv", "".join(f"{key},{name}\n" for key, name in names.items()))
        self._names |= names


def _read(path: Path) -> dict[str, str]:
    """Returns key → file name; lines that a crash tore are left out."""
    if not path.exists():
        return {}
    lines = (_LINE.fullmatch(line) for line in path.read_text(errors="replace").splitlines())
    return {line[1]: line[2] for line in lines if line is not None and is_name(line[2])}
