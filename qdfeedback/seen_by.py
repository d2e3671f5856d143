"""Models that look at pictures, by the words in which a command names them.

A quality is "clip", the CLIP score of the embedding that is there anyway; a hub id or folder of another such model
(PickScore); or a file of weights on that embedding (LAION's aesthetics predictors, `*.safetensors`). An embedding is a
hub id or folder, or "dreamsim:" with the name of one of DreamSim's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdfeedback.models.naming import exact_name
from qdfeedback.quality.alignment import alignment
from qdfeedback.quality.heads import OnEmbedding, read_head
from qdfeedback.types import Encoder, Quality

if TYPE_CHECKING:
    from qdfeedback.encoders.image import ImageEmbeddings

DREAMSIM = "dreamsim:"
Pixels = Callable[[Sequence[Any]], Sequence[Any]]
"""n artifacts → what models look at."""


def is_head(name: str) -> bool:
    """Whether a quality is a file of weights."""
    return name.endswith(".safetensors")


def exactly(name: str) -> str:
    """Returns what tells one model or file from another of its name."""
    if is_head(name):
        return f"{Path(name).name}@{hashlib.sha256(Path(name).read_bytes()).hexdigest()[:16]}"
    return name if name.startswith(DREAMSIM) else exact_name(name)


def open_embedder(spec: str, *, name: str, pixels: Pixels) -> Encoder:
    """Returns an embedding.

    Args:
        spec: names the model.
        name: of its columns.
        pixels: artifacts → what it looks at.

    Raises:
        OSError: It is not there.
        ImportError: DreamSim is not installed.
    """
    if spec.startswith(DREAMSIM):
        from qdfeedback.encoders.dreamsim import DreamSim

        return DreamSim(spec.removeprefix(DREAMSIM), name=name, pixels=pixels)
    from qdfeedback.encoders.image import ImageEmbeddings  # transformers takes seconds to load

    return ImageEmbeddings(spec, name=name, pixels=pixels)


def open_compared(specs: Sequence[str], *, pixels: Pixels) -> dict[str, ImageEmbeddings]:
    """Returns the models of those qualities that bring one of their own."""
    from qdfeedback.encoders.image import ImageEmbeddings

    own = [spec for spec in specs if spec != "clip" and not is_head(spec)]
    return {spec: ImageEmbeddings(spec, name=f"{Path(spec).name}:", pixels=pixels) for spec in own}


def quality_of(
    spec: str, prompt: str, clip: ImageEmbeddings, compared: Mapping[str, ImageEmbeddings], names: tuple[str, ...]
) -> Quality:
    """Returns a quality.

    Args:
        spec: names it.
        prompt: which pictures are to fit.
        clip: the embedding that is there anyway; its columns come first.
        compared: as `open_compared` gives them.
        names: of all d feature columns.

    Raises:
        ValueError: It does not fit the embedding.
    """
    if spec == "clip":
        return alignment(names, clip.names, clip.embed_texts([prompt])[0], scale=100.0)
    if is_head(spec):
        head = read_head(spec, width=len(clip.names), activation="relu" if "relu" in Path(spec).name else "none")
        return OnEmbedding(head, tuple(range(len(clip.names))))
    model = compared[spec]
    return alignment(names, model.names, model.embed_texts([prompt])[0], scale=model.logit_scale)
