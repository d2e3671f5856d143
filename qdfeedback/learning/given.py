"""Axes that were learned before: by another run, or from triplets that somebody had."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qdfeedback.diversity import models
from qdfeedback.learning.aurora import Unsupervised
from qdfeedback.learning.schedule import Schedule
from qdfeedback.run_parts import models_of, read_parts

FIRST = 1
"""The iteration before which they are taken."""


def given(columns: tuple[int, ...], model: models.Model) -> Unsupervised:
    """Returns axes that stay as they are; the ranges over which candidates are placed follow the search.

    Args:
        columns: c of the d feature columns, which the model reads.
        model: (n, c) → measures.
    """
    return Unsupervised(columns, Schedule({FIRST: 0}), lambda *_, **__: model, model.dim)


def read_axes(path: Path, names: Sequence[str], learned: tuple[int, ...]) -> models.Model:
    """Returns axes from a model's file, as `qdfeedback similarity` writes one, or the last ones of a run.

    Args:
        path: the file, or the run's folder.
        names: the d feature columns.
        learned: the columns that the model is to read.

    Raises:
        ValueError: There are none, or they read other columns.
    """
    path = Path(path)
    if path.is_dir() and (path / "settings.json").exists():
        before = read_parts(path).get("axes", {}).get("learned_from")
        if before is not None and before != [names[i] for i in learned]:
            raise ValueError(f"the axes of {path} read other columns: {', '.join(before)}")
        found = models_of(path, "axes")
        if not found:
            raise ValueError(f"{path} has learned no axes")
        path = found[-1]
    elif path.is_dir():
        path = path / "model.npz"
    if not path.exists():
        raise ValueError(f"there are no axes in {path}")
    model = models.load(path)
    wants = models.columns_of(model)
    if wants != len(learned):
        raise ValueError(f"the axes in {path} read {wants} columns, here {len(learned)} are to be read")
    return model
