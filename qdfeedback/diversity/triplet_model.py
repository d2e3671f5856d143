"""The model that triplets teach: a linear map, its ensemble, and what it says of an answer. `similarity.py` fits it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.special import expit

from qdfeedback import files
from qdfeedback.array_files import is_numbers
from qdfeedback.diversity.fitting import likelihood
from qdfeedback.diversity.linear import check_map
from qdfeedback.types import Floats, Ints


@dataclass(frozen=True)
class Similarity:
    """A linear map learned from triplets, with the ensemble behind it.

    Attributes:
        offset: (d,).
        weights: (d, k): the map itself. Its squared distances, over the temperature, are log-odds.
        members: (m, d, k): the ensemble, whose disagreement says what is not known yet.
        temperature: of the answers; 1 where the likelihood set the scale already.
        flip: the share of answers that say the opposite, whatever the distances.
        note: what the fit reports: number of triplets, validation figures, and of how many feature columns it knows
            nothing, because they were the same for all items.
    """

    offset: Floats
    weights: Floats
    members: Floats
    temperature: float = 1.0
    flip: float = 0.0
    note: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_map(self.offset, self.weights)
        if self.members.ndim != 3 or self.members.shape[1:] != self.weights.shape:
            raise ValueError(f"members must be (m, *{self.weights.shape}), got {self.members.shape}")
        if not is_numbers(self.members):
            raise ValueError(f"members must be numbers, got {self.members.dtype}")
        if not (isinstance(self.temperature, float | int) and isinstance(self.flip, float | int)):
            raise ValueError(f"temperature and flip must be numbers, got {self.temperature} and {self.flip}")

    @property
    def dim(self) -> int:
        """The number of measures."""
        return int(self.weights.shape[1])

    def project(self, features: Floats) -> Floats:
        """Returns (n, k) float64 measures of (n, d) features.

        Raises:
            ValueError: The features have another number of columns than the model was fitted on.
        """
        if features.ndim != 2 or features.shape[1] != len(self.offset):
            raise ValueError(f"features must have shape (n, {len(self.offset)}), got {features.shape}")
        return (features - self.offset) @ self.weights

    def probability(self, features: Floats, triplets: Ints) -> Floats:
        """Returns (t,) the probability that a person finds the second item nearer to the first than the third."""
        return likelihood(evidence_of(self.project(features), triplets), self.flip, self.temperature)

    def member_probability(self, features: Floats, triplets: Ints) -> Floats:
        """Returns (m, t) what each member says, before any answer is flipped."""
        projected = np.einsum("nd,mdk->nmk", features - self.offset, self.members)
        probability: Floats = expit(evidence_of(projected, triplets).T / self.temperature)
        return probability

    def rotated(self, rotation: Floats) -> Similarity:
        """Returns the same model with its measures turned by a (k, k) orthogonal matrix."""
        return replace(self, weights=self.weights @ rotation, members=self.members @ rotation)

    def save(self, path: Path | str) -> None:
        """Writes the model as arrays plus JSON; `load` gives it back."""
        arrays = {"offset": self.offset, "weights": self.weights, "members": self.members}
        meta = {"model": "similarity", "temperature": self.temperature, "flip": self.flip, "note": self.note}
        files.write_atomic(Path(path), files.pack(arrays, meta))


def load(path: Path | str) -> Similarity:
    """Returns the model that `Similarity.save` wrote.

    Raises:
        ValueError: The file is damaged or holds another kind of model.
    """
    return files.read_packed(
        path,
        lambda arrays, meta: Similarity(
            arrays["offset"], arrays["weights"], arrays["members"], meta["temperature"], meta["flip"], meta["note"]
        ),
        kind="similarity",
    )


def constant_note(columns: int) -> dict[str, float]:
    """Returns what a model notes of feature columns that were the same for all items judged: nothing of none."""
    return {"constant_columns": float(columns)} if columns else {}


def evidence_of(projected: Floats, triplets: Ints) -> Floats:
    """Returns (t, …) squared distance anchor to far minus squared distance anchor to near."""
    anchor, near, far = (projected[triplets[:, i]] for i in range(3))
    margin: Floats = np.square(anchor - far).sum(axis=-1) - np.square(anchor - near).sum(axis=-1)
    return margin
