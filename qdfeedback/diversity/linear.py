"""Linear maps from features to measures, and turning one to lie as the one before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from qdfeedback import files
from qdfeedback.array_files import is_numbers
from qdfeedback.types import Floats


@dataclass(frozen=True)
class Linear:
    """Measures (features - offset) @ weights.

    Attributes:
        offset: (d,).
        weights: (d, k).

    Raises:
        ValueError: They have other shapes.
    """

    offset: Floats
    weights: Floats

    def __post_init__(self) -> None:
        check_map(self.offset, self.weights)

    @property
    def dim(self) -> int:
        """The number of measures."""
        return int(self.weights.shape[1])

    def project(self, features: Floats) -> Floats:
        """Returns (n, k) float64 measures of (n, d) features."""
        return (features - self.offset) @ self.weights

    def rotated(self, rotation: Floats) -> Linear:
        """Returns the same map with its measures turned by a (k, k) orthogonal matrix."""
        return replace(self, weights=self.weights @ rotation)

    def save(self, path: Path) -> None:
        """Writes the model as arrays plus JSON."""
        files.write_atomic(
            Path(path), files.pack({"offset": self.offset, "weights": self.weights}, {"model": "linear"})
        )


def check_map(offset: Floats, weights: Floats) -> None:
    """Refuses an offset that is not (d,), or weights that are not (d, k), of numbers."""
    if np.ndim(offset) != 1 or np.ndim(weights) != 2 or len(offset) != len(weights):
        raise ValueError(f"offset and weights must be (d,) and (d, k), got {np.shape(offset)} and {np.shape(weights)}")
    if not all(is_numbers(np.asarray(one)) for one in (offset, weights)):
        raise ValueError("offset and weights must be numbers")


def load(path: Path) -> Linear:
    """Returns the model that `Linear.save` wrote.

    Raises:
        ValueError: The file is damaged or holds another kind of model.
    """
    return files.read_packed(path, lambda arrays, _: Linear(arrays["offset"], arrays["weights"]), kind="linear")


def rotation_onto(measures: Floats, target: Floats) -> Floats:
    """Returns the (k, k) orthogonal matrix that turns measures closest to a target (Procrustes, reflections allowed).

    So that a refitted map does not flip under its reader's eyes: distances, and thus all that was learned,
    stay as they are.

    Args:
        measures: (n, k) of the new model.
        target: (n, k) of the model before, for the same rows.

    Raises:
        ValueError: The shapes differ.
    """
    if measures.shape != target.shape:
        raise ValueError(f"measures and target must have one shape, got {measures.shape} and {target.shape}")
    left, _, right = np.linalg.svd((measures - measures.mean(axis=0)).T @ (target - target.mean(axis=0)))
    rotation: Floats = left @ right
    return rotation
