"""Axes that were learned before: by another run, or from triplets that somebody had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdfeedback.diversity import models
from qdfeedback.learning.asking import measurable
from qdfeedback.learning.axes import diversity_of
from qdfeedback.learning.part import Change, Now, Placing, View
from qdfeedback.run_settings import read_settings
from qdfeedback.types import Annotator, Diversity, Ints


@dataclass
class Given:
    """Axes that stay as they are; the ranges over which candidates are placed follow the search.

    Attributes:
        columns: c of the d feature columns, which the model reads.
        model: (n, c) → measures.
        pinned: measures put before them.
        placing: how candidates are placed on them.
    """

    columns: tuple[int, ...]
    model: models.Model | None
    pinned: Diversity | None = None
    placing: Placing = field(default_factory=Placing)
    role: str = field(default="axes", init=False)
    annotator: Annotator | None = field(default=None, init=False)

    @property
    def diversity(self) -> Diversity | None:
        """The measures."""
        return diversity_of(self)

    def askable(self, view: View) -> Ints:
        """Returns today's elites, or first candidates, that can be measured."""
        return measurable(view, self.columns, None)

    def due(self, now: Now) -> bool:
        """Once, when the first population is there."""
        return now.moment == "begin"

    def ask(self, now: Now, view: View) -> None:
        """Asks nobody."""

    def fit(self, now: Now, view: View) -> Change:  # noqa: ARG002
        """Returns the model, so that the run folder keeps it."""
        return Change(self.model)

    def state(self) -> dict[str, Any]:
        """Returns nothing."""
        return {}

    def restore(self, state: Mapping[str, Any], model: Path | None) -> None:  # noqa: ARG002
        """Goes on with the model that the run folder keeps."""
        self.model = self.model if model is None else models.load(model)


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
        before = read_settings(path).get("learned")
        wanted = [names[i] for i in learned]
        if before is not None and list(before) != wanted:
            raise ValueError(f"the axes of {path} read other columns: {', '.join(map(str, before))}")
        found = sorted((path / "models").glob("axes-*.npz"))
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
