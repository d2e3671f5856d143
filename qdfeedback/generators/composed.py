"""Generators made of others: how the states of the parts are kept as one, by their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qdfeedback import files
from qdfeedback.files import Arrays
from qdfeedback.types import Generator, Placement


def states_of(parts: Sequence[Generator]) -> tuple[Arrays, dict[str, Any]]:
    """Returns arrays and JSON of those parts that keep a state."""
    arrays: Arrays = {}
    states: dict[str, Any] = {}
    for i, part in enumerate(parts):
        if hasattr(part, "state"):
            own, states[str(i)] = part.state()
            arrays |= {f"{i}/{name}": value for name, value in own.items()}
    return arrays, states


def restore_parts(parts: Sequence[Generator], placement: Placement, arrays: Arrays, states: Mapping[str, Any]) -> None:
    """Sets the parts to where `states_of` found them.

    Raises:
        ValueError: A part cannot be continued exactly.
    """
    for i, own in states.items():
        part: Any = parts[int(i)]
        part.restore(placement, files.under(arrays, f"{i}/"), own)


def recall_parts(parts: Sequence[Generator], history: Any) -> None:
    """Tells the parts that want to know of a run that begins or goes on."""
    for part in parts:
        if hasattr(part, "recall"):
            part.recall(history)
