"""Scores by a small network on top of embeddings: the aesthetics predictors of LAION, and others of their form.

    head = read_head("sac+logos+ava1-l14-linearMSE.safetensors")    # on CLIP ViT-L/14, scores of 1 to 10
    quality = OnEmbedding(head, columns)

Weights are read as safetensors alone, which hold no code. What is published as PyTorch's own file is converted once,
with `safetensors.torch.save_file` of what PyTorch reads with `weights_only=True`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors import SafetensorError

from qdfeedback.text_files import why
from qdfeedback.types import Floats, Scores
from qdfeedback.values import brief

Activation = Literal["none", "relu"]
_NUMBER = re.compile(r"(?<!\d)(\d{1,9})\.(?:weight|bias)$")


@dataclass(frozen=True)
class Head:
    """Linear layers, one after the other.

    Attributes:
        layers: each a (out, in) weight and an (out,) bias; the last has one output.
        activation: between them.
    """

    layers: tuple[tuple[Floats, Floats], ...]
    activation: Activation = "none"

    def __call__(self, embeddings: Floats) -> Floats:
        """Returns the (n,) scores of (n, d) embeddings."""
        x = embeddings
        for number, (weight, bias) in enumerate(self.layers):
            x = x @ weight.T + bias
            if self.activation == "relu" and number + 1 < len(self.layers):
                x = np.maximum(x, 0)
        found: Floats = x[:, 0]
        return found


@dataclass(frozen=True)
class OnEmbedding:
    """What a head says of some columns.

    Attributes:
        head: (n, d) → (n,).
        columns: d of the features, an embedding of length 1.
    """

    head: Head
    columns: tuple[int, ...]

    def score(self, features: Floats) -> Scores:
        """Returns the (n,) scores of (n, d) features, without doubt; NaN where an embedding is."""
        mean = self.head(features[:, self.columns]).astype(np.float32)
        return Scores(mean, np.zeros(len(mean), dtype=np.float32))


def read_head(path: str | Path, *, width: int | None = None, activation: Activation = "none") -> Head:
    """Returns the head that a file of weights holds, its layers in the order of their numbers.

    Args:
        path: of a safetensors file.
        width: of the embeddings that it is to score.
        activation: between layers; LAION's "linearMSE" has none, "reluMSE" has "relu".

    Raises:
        OSError: There is no such file.
        ValueError: Its tensors are no such layers, do not take embeddings of that width, or say the same of everything.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}")
    tensors = _read(path)
    numbers = sorted({_number(name) for name in tensors})
    layers = []
    for number in numbers:
        mine = {name.rpartition(".")[2]: value for name, value in tensors.items() if _number(name) == number}
        if set(mine) != {"weight", "bias"}:
            raise ValueError(f"{path}: each layer must have a weight and a bias, got {brief(sorted(tensors))}")
        layers.append((mine["weight"], mine["bias"]))
    _check(path, layers, width)
    return Head(tuple(layers), activation)


def _number(name: str) -> int:
    found = _NUMBER.search(name)
    return int(found[1]) if found else 0


def _read(path: Path) -> dict[str, Floats]:
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file: {why(error, 200)}") from error
    return {name: value.float().numpy() for name, value in tensors.items()}


def _check(path: Path, layers: Sequence[tuple[Floats, Floats]], width: int | None) -> None:
    wanted = width
    for weight, bias in layers:
        if weight.ndim != 2 or bias.shape != weight.shape[:1] or weight.shape[1] != (wanted or weight.shape[1]):
            takes = f"{wanted} numbers" if wanted else "what comes before it"
            raise ValueError(f"{path}: a layer of shape {weight.shape} does not take {takes}")
        wanted = len(weight)
    if not layers or wanted != 1:
        raise ValueError(f"{path}: the last layer must have one output")
    for weight, bias in layers:
        if not np.isfinite(weight).all() or not np.isfinite(bias).all():
            raise ValueError(f"{path}: weights must be finite numbers")
        if not weight.any():
            raise ValueError(f"{path}: a layer's weights are all 0, so that everything has one score")
