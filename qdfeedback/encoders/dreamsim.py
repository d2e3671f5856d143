"""Pictures as points by DreamSim (Fu 2023), which was trained on people's similarity judgments (NIGHTS).

pip install "qdfeedback[dreamsim]"      # it needs torchvision, and fetches its weights when it is first used
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from qdfeedback.bounds import Bounds, check_number
from qdfeedback.encoders.image import Pixels, as_they_are, embed_in_parts
from qdfeedback.types import Artifacts, Floats


class DreamSim:
    """Unit vectors whose cosine is DreamSim's similarity.

    Args:
        kind: "dino_vitb16" (the QDHF paper's), "ensemble", "open_clip_vitb32", "clip_vitb32", "dinov2_vitb14" …
        name: what columns begin with.
        pixels: artifacts → (h, w, 3) uint8 pictures.
        device: "cpu", "cuda" …; the first GPU where there is one if None.
        cache: folder for the weights; ~/.cache/dreamsim if None.
        batch_size: pictures at once.

    Raises:
        ImportError: The extra is not installed; says which.
    """

    def __init__(
        self,
        kind: str = "dino_vitb16",
        *,
        name: str = "dreamsim",
        pixels: Pixels = as_they_are,
        device: str | None = None,
        cache: Path | None = None,
        batch_size: int = 64,
    ) -> None:
        check_number(batch_size, "batch_size", Bounds(1), kind=int)
        try:
            from dreamsim import dreamsim
        except ModuleNotFoundError as error:
            raise ImportError(f'this needs {error.name}: pip install "qdfeedback[dreamsim]"') from error
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        where = str(cache or Path.home() / ".cache" / "dreamsim")
        self._model, self._prepare = dreamsim(pretrained=True, device=self._device, cache_dir=where, dreamsim_type=kind)
        self._pixels, self._batch_size = pixels, batch_size
        dim = self._embed([np.zeros((64, 64, 3), dtype=np.uint8)]).shape[1]
        self._names = tuple(f"{name}{i}" for i in range(dim))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns: name0, name1, and so on."""
        return self._names

    def encode(self, artifacts: Artifacts) -> Floats:
        """Returns (n, d) float32 of n pictures, each of length 1; a picture that is None is NaN."""
        return embed_in_parts(self._pixels(artifacts), self._embed, len(self._names), self._batch_size)

    @torch.inference_mode()
    def _embed(self, pictures: Sequence[NDArray[np.uint8]]) -> Floats:
        ready = torch.cat([self._prepare(Image.fromarray(one)) for one in pictures]).to(self._device)
        unit = torch.nn.functional.normalize(self._model.embed(ready).float(), dim=-1)
        return np.asarray(unit.cpu().numpy(), dtype=np.float32)
