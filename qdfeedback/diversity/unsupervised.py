"""Measures found without anybody's opinion: PCA and autoencoder, as AURORA uses them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qdfeedback import files
from qdfeedback.diversity.linear import Linear, check_map
from qdfeedback.diversity.variation import check_directions, varying
from qdfeedback.types import Floats

if TYPE_CHECKING:
    import torch


def fit_pca(features: Floats, *, dim: int = 2) -> Linear:
    """Returns the projection on the first `dim` principal components of (n, d) features; rows with NaN do not count.

    Raises:
        ValueError: Fewer finite rows than components, rows that are all alike, or that differ in fewer directions.
    """
    from sklearn.decomposition import PCA

    features = _finite(features, dim)
    varying(features)
    features = features.astype(np.float64)
    check_directions(features - features.mean(axis=0), dim)
    found = PCA(n_components=dim, svd_solver="full").fit(features)
    return Linear(found.mean_, found.components_.T.copy())


@dataclass(frozen=True)
class Autoencoder:
    """The encoder half of an autoencoder.

    Attributes:
        weights: per layer (d_in, d_out); ReLU between layers, none after the last.
        biases: per layer (d_out,).
    """

    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]

    def __post_init__(self) -> None:
        for weight, bias in zip(self.weights, self.biases, strict=True):
            check_map(bias, weight.T)
        if not self.weights or any(len(b) != a.shape[1] for a, b in itertools.pairwise(self.weights)):
            raise ValueError(f"layers must fit each other, got {[weight.shape for weight in self.weights]}")

    @property
    def dim(self) -> int:
        """The number of measures."""
        return int(self.weights[-1].shape[1])

    def project(self, features: Floats) -> Floats:
        """Returns (n, k) float64 measures of (n, d) features."""
        hidden: Floats = features.astype(np.float64)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = (np.maximum(hidden, 0) if layer else hidden) @ weight + bias
        return hidden

    def save(self, path: Path) -> None:
        """Writes the model as arrays plus JSON."""
        arrays = {f"weight_{i}": array for i, array in enumerate(self.weights)}
        arrays |= {f"bias_{i}": array for i, array in enumerate(self.biases)}
        files.write_atomic(Path(path), files.pack(arrays, {"model": "autoencoder", "layers": len(self.weights)}))


def load_autoencoder(path: Path) -> Autoencoder:
    """Returns the model that `Autoencoder.save` wrote.

    Raises:
        ValueError: The file is damaged or holds another kind of model.
    """

    def build(arrays: dict[str, Any], meta: dict[str, Any]) -> Autoencoder:
        layers = range(meta["layers"])
        return Autoencoder(tuple(arrays[f"weight_{i}"] for i in layers), tuple(arrays[f"bias_{i}"] for i in layers))

    return files.read_packed(path, build, kind="autoencoder")


def fit_autoencoder(
    features: Floats, *, dim: int = 2, hidden: Sequence[int] = (64, 32), rng: np.random.Generator
) -> Autoencoder:
    """Returns the encoder of an autoencoder d-64-32-k-32-64-d, trained to the published stopping rule (MSE, ReLU).

    Args:
        features: (n, d); rows with NaN do not count. The last quarter validates.
        dim: number of measures, k.
        hidden: width of each hidden layer of the encoder; the decoder mirrors it.
        rng: draws the starting weights and the mini-batches.

    Raises:
        ValueError: Fewer than four finite rows, rows that are all alike, or a dim below 1.
    """
    import torch

    from qdfeedback.diversity.published import linear_start, train

    features = _finite(features, 4)
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
    varying(features)
    widths = [features.shape[1], *hidden, dim, *reversed(hidden), features.shape[1]]
    layers = [linear_start(a, b, rng) for a, b in itertools.pairwise(widths)]
    data = torch.from_numpy(features.astype(np.float32))
    n_train = int(len(data) * 0.75)

    def error(rows: torch.Tensor | slice) -> torch.Tensor:
        output = data[rows]
        for i, (weight, bias) in enumerate(layers):
            # no ReLU on the input or on the code
            output = (torch.relu(output) if i not in (0, len(hidden) + 1) else output) @ weight + bias
        return (output - data[rows]).square().mean()

    parameters = [tensor for layer in layers for tensor in layer]
    train(parameters, error, lambda: -float(error(slice(n_train, None))), n=n_train, rng=rng)
    encoder = layers[: len(hidden) + 1]
    return Autoencoder(
        tuple(weight.detach().numpy().astype(np.float64) for weight, _ in encoder),
        tuple(bias.detach().numpy().astype(np.float64) for _, bias in encoder),
    )


def _finite(features: Floats, least: int) -> Floats:
    features = np.asarray(features)
    if features.ndim != 2:
        raise ValueError(f"features must have shape (n, d), got {features.shape}")
    features = features[np.isfinite(features).all(axis=1)]
    if len(features) < least:
        raise ValueError(f"features must have at least {least} finite rows, got {len(features)}")
    return features
