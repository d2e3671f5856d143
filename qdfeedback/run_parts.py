"""`parts.json` of a run folder: what its axes and quality read, so that its history can be scored without its code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qdfeedback import files
from qdfeedback.diversity import models
from qdfeedback.diversity.bins import Bins
from qdfeedback.diversity.columns import Columns, Joined, OnColumns
from qdfeedback.feedback.refit_names import by_iteration
from qdfeedback.quality import transforms
from qdfeedback.quality.columns import Column
from qdfeedback.quality.linear import load_utility
from qdfeedback.types import Diversity, Quality, mean_objective

NAME = "parts.json"


def note_parts(path: Path, names: Sequence[str], axes: Any, quality: Any, objective: Any) -> None:
    """Writes what a run's parts read; of what only its own code can compute, its kind.

    Args:
        path: the run folder.
        names: the d feature columns.
        axes: a part of a loop.
        quality: likewise.
        objective: scores → what the archive maximises.
    """
    found = {"axes": _axes(names, axes), "quality": _quality(names, quality)}
    file = Path(path) / NAME
    noted = found | {"objective": "mean" if objective is mean_objective else "own"}
    if not file.exists() or files.read_json(file) != noted:
        files.write_json(file, noted)


def _named(names: Sequence[str], columns: Sequence[int]) -> list[str]:
    """Returns the names of columns; of one that is not there, which a part refuses when it is asked, its number."""
    there = set(range(len(names)))
    return [names[i] if i in there else str(i) for i in columns]


def _axes(names: Sequence[str], part: Any) -> dict[str, Any]:
    if not hasattr(part, "model"):
        return _known(names, part.diversity)
    pinned = None if part.pinned is None else _known(names, part.pinned)
    return {"learned_from": _named(names, part.columns), "pinned": pinned}


def _known(names: Sequence[str], diversity: Any) -> dict[str, Any]:
    if isinstance(diversity, Columns):
        return {"columns": _named(names, diversity.indices)}
    if isinstance(diversity, Bins):
        return {"columns": _named(names, diversity.indices), "edges": [list(one) for one in diversity.edges]}
    return {"kind": type(diversity).__name__}


def _quality(names: Sequence[str], part: Any) -> dict[str, Any]:
    if hasattr(part, "model"):
        return {"learned_from": _named(names, part.columns)}
    quality = part.quality
    if isinstance(quality, Column) and quality.curve is None:
        return {"column": _named(names, (quality.index,))[0], "sign": quality.sign}
    return {"kind": type(quality).__name__}


def read_parts(path: Path) -> dict[str, Any]:
    """Returns what `note_parts` wrote, {} where a run has no such file."""
    file = Path(path) / NAME
    return dict(files.read_json(file, dict)) if file.exists() else {}


def models_of(path: Path, role: str) -> list[Path]:
    """Returns the files of the models that a run fitted, oldest first.

    Args:
        path: the run folder.
        role: "axes" or "quality".
    """
    return sorted((Path(path) / "models").glob(f"{role}-*.npz"), key=lambda file: by_iteration(file.stem))


def diversity_of(parts: dict[str, Any], names: Sequence[str], model: Path | None) -> Diversity | None:
    """Returns the measures of a run; None where only its own code can compute them.

    Args:
        parts: as `read_parts` gives them.
        names: the d feature columns.
        model: file of the axes, of a run that learned them.
    """
    axes = parts.get("axes", {})
    if "columns" in axes:
        return _columns(axes, names)
    if "learned_from" not in axes or model is None:
        return None
    learned = OnColumns(tuple(names.index(name) for name in axes["learned_from"]), models.load(model))
    if axes["pinned"] is None:
        return learned
    pinned = _columns(axes["pinned"], names) if "columns" in axes["pinned"] else None
    return None if pinned is None else Joined((pinned, learned))


def _columns(noted: dict[str, Any], names: Sequence[str]) -> Diversity:
    where = tuple(names.index(name) for name in noted["columns"])
    if "edges" in noted:
        return Bins(where, tuple(tuple(one) for one in noted["edges"]))
    return Columns(where)


def quality_of(parts: dict[str, Any], names: Sequence[str], model: Path | None) -> Quality | None:
    """Returns the quality of a run; None where only its own code can compute it, or none was learned yet.

    A learned one has no zero of its own: what a run counts from is another number at each refit.

    Args:
        parts: as `read_parts` gives them.
        names: the d feature columns.
        model: file of the utility, of a run that learned it.
    """
    quality = parts.get("quality", {})
    if parts.get("objective") != "mean":
        return None
    if "column" in quality:
        return Column(names.index(quality["column"]), quality["sign"])
    if "learned_from" in quality and model is not None:
        where = tuple(names.index(name) for name in quality["learned_from"])
        return transforms.OnColumns(where, load_utility(model))
    return None
