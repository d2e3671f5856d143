"""Several encoders side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qdfeedback.types import Artifacts, Encoder, Floats


@dataclass(frozen=True)
class Join:
    """The columns of all parts: what a judge says next to an embedding, say.

    Attributes:
        parts: encoders of the same artifacts, with different names.
    """

    parts: tuple[Encoder, ...]

    def __post_init__(self) -> None:
        """Refuses parts that share a name."""
        names = self.names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"parts must have different columns, {twice[0]!r} is in two of them")

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the first part, then those of the second, and so on."""
        return tuple(name for part in self.parts for name in part.names)

    def encode(self, artifacts: Artifacts) -> Floats:
        """Returns (n, d) float32."""
        return np.concatenate([part.encode(artifacts) for part in self.parts], axis=1)

    def state(self) -> dict[str, Any]:
        """Returns the states of the parts that have one, by their numbers as text."""
        return {str(i): part.state() for i, part in enumerate(self.parts) if hasattr(part, "state")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Hands each state back to its part."""
        for i, part in enumerate(self.parts):
            if str(i) in state and hasattr(part, "restore"):
                part.restore(state[str(i)])
