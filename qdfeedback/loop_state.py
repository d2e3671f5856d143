"""What a loop keeps in its checkpoints beside archive, generator and random numbers, and how it is taken up again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from qdfeedback.learning.part import AxesPart, Part, View
from qdfeedback.runs import Checkpoint, Run, misfit
from qdfeedback.search import Search
from qdfeedback.types import Floats


class Stateful(Protocol):
    """A piece whose state belongs to a run: counts of a judge, reasons of an encoder, a log."""

    def state(self) -> dict[str, Any]:
        """Returns it as JSON."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from there."""
        ...


class Kept(Protocol):
    """The loop, as far as it is kept here."""

    run: Run
    search: Search
    evaluations: int
    batch_size: int
    axes: AxesPart
    quality: Any
    view: View
    offered: int
    firsts: int
    over: str
    clipped: float
    ranges: Floats | None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The axes and the quality, learned or known."""
        ...

    def pieces(self) -> dict[str, Stateful]:
        """Returns name → whatever has a state."""
        ...


def state_of(loop: Kept) -> dict[str, Any]:
    """Returns JSON of all that changes along a run, by name."""
    return {
        "ranges": None if loop.ranges is None else np.asarray(loop.ranges).tolist(),
        "parts": {part.role: part.state() for part in loop.parts},
        "pieces": {name: piece.state() for name, piece in loop.pieces().items()},
        "made_of": made_of(loop),
        "offered": loop.offered,
        "first": loop.firsts,
        "over": loop.over,
        "apart": loop.view.apart,
        "clipped": loop.clipped,
    }


def made_of(loop: Kept) -> dict[str, Any]:
    """Returns what cannot change along a run, as far as it can be said of parts that anybody may have written."""
    found: dict[str, Any] = {
        "seed": loop.search.seed, "evaluations": loop.evaluations, "batch_size": loop.batch_size,
        "generator": type(loop.search.generator).__name__,
    }  # fmt: skip
    for role, part in (("axes", loop.axes), ("quality", loop.quality)):
        said = {name: getattr(part, name) for name in ("columns", "dim", "diversity", "pinned") if hasattr(part, name)}
        if hasattr(part, "model"):
            said.pop("diversity", None)
        ranges = getattr(getattr(part, "placing", None), "ranges", None)
        said |= {} if hasattr(part, "due") else {"is": part}
        said |= {} if ranges is None else {"ranges": np.asarray(ranges).tolist()}
        found[role] = " ".join([type(part).__name__, *(f"{name}={_said(one)}" for name, one in said.items())])
    kept: dict[str, Any] = json.loads(json.dumps(found))
    return kept


def _said(value: Any) -> str:
    """Returns a value in words that are the same in another process."""
    words = repr(value)
    return type(value).__name__ if " at 0x" in words or len(words) > 500 else words


def restore_state(loop: Kept, found: Checkpoint) -> None:
    """Sets all of it to where a checkpoint found it.

    Raises:
        ValueError: It is of another run.
    """
    try:
        _restore(loop, found.state)
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise misfit(found, error) from error


def _restore(loop: Kept, state: Mapping[str, Any]) -> None:
    now = made_of(loop)
    if different := [name for name in now if now[name] != state["made_of"][name]]:
        name = different[0]
        raise ValueError(f"the run was begun with {name} {state['made_of'][name]}, this one has {now[name]}")
    for part in loop.parts:
        saved = loop.run.saved.get(part.role)
        part.restore(state["parts"][part.role], None if saved is None else loop.run.path / saved)
    for name, piece in loop.pieces().items():
        piece.restore(state["pieces"][name])
    for name in ("offered", "first"):
        if type(state[name]) is not int:
            raise TypeError(f"{name} must be a whole number, it is {state[name]!r:.80}")
    loop.offered, loop.firsts = state["offered"], state["first"]
    loop.clipped, loop.over = float(state["clipped"]), str(state["over"])
    loop.ranges = None if state["ranges"] is None else np.array(state["ranges"], dtype=float)
    if loop.ranges is not None and (loop.ranges.ndim != 2 or loop.ranges.shape[1] != 2):
        raise ValueError(f"the run's ranges must have shape (k, 2), got {loop.ranges.shape}")
    loop.view.apart = [(int(low), int(high)) for low, high in state["apart"]]
