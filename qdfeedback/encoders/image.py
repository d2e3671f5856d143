"""Pictures as points: embeddings by CLIP, SigLIP, DINOv2, and how well a picture fits a prompt.

    clip = ImageEmbeddings("openai/clip-vit-base-patch32")          # columns clip0 to clip511, each row of length 1
    quality = alignment(clip.names, clip.names, clip.embed_texts([prompt])[0])

A picture is encoded once: quality and diversity are both functions of its features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from qdfeedback.bounds import Bounds, check_number
from qdfeedback.types import Artifacts, Floats

Pixels = Callable[[Artifacts], Sequence[NDArray[np.uint8]]]


def as_they_are(artifacts: Artifacts) -> Sequence[NDArray[np.uint8]]:
    """Returns artifacts that are pixels."""
    found: Sequence[NDArray[np.uint8]] = artifacts
    return found


def embed_in_parts(
    pictures: Sequence[NDArray[np.uint8] | None],
    embed: Callable[[Sequence[NDArray[np.uint8]]], Floats],
    dim: int,
    batch_size: int,
) -> Floats:
    """Returns (n, dim) float32 embeddings of n pictures, so many at once; a picture that is None is NaN."""
    found = np.full((len(pictures), dim), np.nan, dtype=np.float32)
    seen = [(i, picture) for i, picture in enumerate(pictures) if picture is not None]
    for start in range(0, len(seen), batch_size):
        rows, part = zip(*seen[start : start + batch_size], strict=True)
        found[list(rows)] = embed(part)
    return found


class ImageEmbeddings:
    """Unit vectors of pictures by a transformers model.

    Args:
        model: hub id or folder: CLIP, SigLIP, DINOv2, or another that gives a pooled output.
        name: what columns begin with.
        pixels: artifacts → (h, w, 3) uint8 pictures.
        device: "cpu", "cuda" …; the first GPU where there is one if None.
        revision: of the hub's repository.
        batch_size: pictures at once.

    Raises:
        OSError: There is no such model.
        ValueError: The model gives no embedding of pictures, or the batch size is below 1.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        name: str = "clip",
        pixels: Pixels = as_they_are,
        device: str | None = None,
        revision: str | None = None,
        batch_size: int = 64,
    ) -> None:
        check_number(batch_size, "batch_size", Bounds(1), kind=int)
        where = device or ("cuda" if torch.cuda.is_available() else "cpu")
        network: Any = AutoModel.from_pretrained(model, revision=revision, use_safetensors=True, dtype=torch.float32)
        self.network = network.to(where).eval()
        processors: Any = AutoImageProcessor
        self._processor = processors.from_pretrained(model, revision=revision, backend="pil")
        self._source = (str(model), revision)
        self._pixels, self._batch_size = pixels, batch_size
        dim = self._embed([np.zeros((32, 32, 3), dtype=np.uint8)]).shape[1]
        self._names = tuple(f"{name}{i}" for i in range(dim))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns: name0, name1, and so on."""
        return self._names

    @property
    def logit_scale(self) -> float:
        """What a cosine is multiplied by where pictures and texts are compared (CLIP: 100)."""
        return float(self.network.logit_scale.exp().detach())

    def encode(self, artifacts: Artifacts) -> Floats:
        """Returns (n, d) float32 of n pictures, each of length 1; a picture that is None is NaN."""
        return embed_in_parts(self._pixels(artifacts), self._embed, len(self._names), self._batch_size)

    @torch.inference_mode()
    def _embed(self, pictures: Sequence[NDArray[np.uint8]]) -> Floats:
        ready = self._processor(images=list(pictures), return_tensors="pt", input_data_format="channels_last")
        values = ready["pixel_values"].to(self.network.device)
        features = getattr(self.network, "get_image_features", self.network)
        return _unit(features(pixel_values=values))

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> Floats:
        """Returns (n, d) float32 of n texts, each of length 1, in the space of the pictures.

        Raises:
            ValueError: The model knows no texts.
        """
        if not hasattr(self.network, "get_text_features"):
            raise ValueError(f"{self._source[0]} knows pictures alone, no texts")
        tokenizer: Any = AutoTokenizer.from_pretrained(self._source[0], revision=self._source[1])
        length = self.network.config.text_config.max_position_embeddings
        ready = tokenizer(list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        taken = {name: ready[name].to(self.network.device) for name in ("input_ids", "attention_mask") if name in ready}
        return _unit(self.network.get_text_features(**taken))


def _unit(output: Any) -> Floats:
    pooled = output if isinstance(output, torch.Tensor) else getattr(output, "pooler_output", None)
    if pooled is None:
        raise ValueError("the model gives no embedding of a whole picture or text")
    return np.asarray(torch.nn.functional.normalize(pooled.float(), dim=-1).cpu().numpy(), dtype=np.float32)
