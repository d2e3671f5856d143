"""A run folder as data frames, whether the run is finished, stopped, or at work right now; nothing in it is changed.

run = open_run("runs/curves")
run.elites()                       # a row for each: objective, measures, features, the file that shows it
run.history()                      # every candidate: objective, measures on the last axes, features
run.history(axes="axes-000041")    # on those of an earlier refit
run.judgments()                    # every answer
run.score_along()                  # QD score and coverage along the run, in one fixed space
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qdfeedback import archives, files, metrics
from qdfeedback.claims import is_at_work
from qdfeedback.feedback.database import Database
from qdfeedback.feedback.opening import database_of
from qdfeedback.feedback.store import Store
from qdfeedback.history import History, read_history
from qdfeedback.run_parts import diversity_of, models_of, quality_of, read_parts
from qdfeedback.run_settings import read_settings
from qdfeedback.shown import Shown
from qdfeedback.types import Diversity, Floats, Placement, Quality, mean_objective

if TYPE_CHECKING:
    from pandas import DataFrame

TRIES = 20  # a checkpoint may be gone before it is read: the run has written a newer one


@dataclass(frozen=True)
class Reading:
    """A run folder that is only read.

    Attributes:
        path: the folder.
        settings: what was asked for.
        evaluated: every candidate that was on disk when the folder was opened; one that is written later is not there.
    """

    path: Path
    settings: dict[str, Any]
    evaluated: History

    @property
    def names(self) -> tuple[str, ...]:
        """The d feature columns."""
        return self.evaluated.names

    @property
    def is_at_work(self) -> bool:
        """Whether a process works on it now."""
        return is_at_work(self.path)

    @property
    def summary(self) -> dict[str, Any] | None:
        """The figures at its end; None where it is not finished."""
        file = self.path / "summary.json"
        return dict(files.read_json(file, dict)) if file.exists() else None

    @cached_property
    def parts(self) -> dict[str, Any]:
        """What its axes and its quality read."""
        return read_parts(self.path)

    def models(self, role: str = "axes") -> list[str]:
        """Returns the names of the models that the run fitted, oldest first.

        Args:
            role: "axes" or "quality".
        """
        return [file.stem for file in models_of(self.path, role)]

    def diversity(self, axes: str | None = None) -> Diversity | None:
        """Returns the measures of the run; None where only its own code can compute them, or there are none yet.

        Args:
            axes: of which refit, as `models` names it; the last one if not given.

        Raises:
            ValueError: There was no such refit.
        """
        return diversity_of(self.parts, self.names, self._model("axes", axes))

    def quality(self, name: str | None = None) -> Quality | None:
        """Returns the quality of the run; None where only its own code can compute it.

        Args:
            name: of which refit, where it was learned; the last one if not given.

        Raises:
            ValueError: There was no such refit.
        """
        return quality_of(self.parts, self.names, self._model("quality", name))

    def _model(self, role: str, name: str | None) -> Path | None:
        known = {file.stem: file for file in models_of(self.path, role)}
        if name is not None and name not in known:
            raise ValueError(f"{role}: {self.path} has fitted {', '.join(known) or 'none'}, not {name!r}")
        return known[name or list(known)[-1]] if known else None

    def history(self, *, axes: str | None = None, quality: str | None = None, solutions: bool = False) -> DataFrame:
        """Returns every candidate, one row each, with its id as the index.

        Columns: iteration, origin, error; objective and measure_1, measure_2, … where they can be computed; every
        feature by its name; with `solutions` also solution_1, … of vectors, or solution.

        Args:
            axes: on the axes of which refit; the last ones if not given.
            quality: by the quality of which refit, where it was learned.
            solutions: with what each candidate was made from.
        """
        wanted = ["id", "iteration", "origin", "error", "features", *(["solution"] if solutions else [])]
        chunks = list(self.evaluated.chunks(*wanted))
        whole = {name: _joined([chunk[name] for chunk in chunks]) for name in wanted}
        found = {name: whole[name] for name in ("iteration", "origin", "error")}
        features = whole["features"].reshape(-1, len(self.names))
        if solutions:
            found |= _by_column("solution", whole["solution"])
        found |= self._placed(features, axes, quality)
        return _frame(whole["id"], found, features, self.names)

    def _placed(self, features: Floats, axes: str | None, quality: str | None) -> dict[str, Any]:
        """Returns objective and measures of (n, d) features, as far as they can be computed."""
        scored, measured = self.quality(quality), self.diversity(axes)
        found: dict[str, Any] = {}
        if scored is not None:
            found["objective"] = mean_objective(scored.score(features))
        if measured is not None:
            found |= {f"measure_{i + 1}": one for i, one in enumerate(np.asarray(measured.project(features)).T)}
        return found

    def elites(self) -> DataFrame:
        """Returns the elites, those of the last checkpoint where the run is not finished, best first; id is the index.

        Columns: objective, measure_1, …, shown (a file in the folder, "" where there is none), every feature.
        """
        arrays = self._archive()
        order = np.argsort(-arrays["objective"], kind="stable")
        ids, measures = arrays["id"][order], arrays["measures"][order]
        shown = Shown(self.path / "shown").names()
        files_ = [f"shown/{shown[one]}" if one in shown else "" for one in ids.tolist()]
        found: dict[str, Any] = {"objective": arrays["objective"][order]}
        found |= {f"measure_{i + 1}": one for i, one in enumerate(measures.T)}
        found["shown"] = np.array(files_, dtype=object)
        there = len(ids) == 0 or ids.max() < len(self.evaluated)  # else the run has gone on since
        history = self.evaluated if there else open_run(self.path).evaluated
        return _frame(ids, found, history.take(ids, "features"), self.names)

    def _archive(self) -> files.Arrays:
        if (self.path / "archive.npz").exists():
            return files.read_packed(self.path / "archive.npz", lambda arrays, _: arrays)
        for _ in range(TRIES):
            for path in sorted((self.path / "checkpoints").glob("*.npz"), reverse=True):
                try:
                    arrays = files.under(files.unpack(path.read_bytes(), str(path))[0], "archive/field_")
                except (FileNotFoundError, ValueError):
                    continue
                if arrays:
                    return arrays
        nothing = np.empty(0)
        return {"id": nothing.astype(np.int64), "objective": nothing, "measures": np.empty((0, 0))}

    def judgments(self, database: str | Path | None = None) -> DataFrame:
        """Returns every answer, oldest first, one row each; an answer that was withdrawn is there with its replacement.

        Args:
            database: where they are, if it is not in the folder.

        Raises:
            ValueError: They cannot be read, or are elsewhere, where only you can say to look.
        """
        from pandas import DataFrame

        there = self.settings.get("database") or (self.path / "judgments.db").exists()
        if database is None and not there:
            return DataFrame()
        store = Store(Database(database or database_of(self.path), write=False))
        try:
            return DataFrame(store.records(str(self.settings.get("study", ""))))
        finally:
            store.close()

    def score_along(self, marks: Sequence[int] | None = None, *, axes: str | None = None, cells: int = 20) -> DataFrame:
        """Returns QD score and coverage of the history in one fixed space, one row for each mark.

        Args:
            marks: numbers of candidates; a hundred at even distances if not given.
            axes: of which refit; the last ones if not given.
            cells: along each measure, between the least and the greatest of all candidates.

        Raises:
            ValueError: Only the run's own code can compute its quality or its axes.
        """
        from pandas import DataFrame

        quality, diversity = self.quality(), self.diversity(axes)
        if quality is None or diversity is None:
            raise ValueError(f"only the code of {self.path} can compute its {'quality' if quality is None else 'axes'}")
        n = len(self.evaluated)
        marks = np.unique(np.linspace(0, n, 101).astype(int)[1:]).tolist() if marks is None else sorted(marks)
        measures = diversity.project(self.evaluated.sample("features"))
        ranges = archives.ranges(measures[np.isfinite(measures).all(axis=1)], quantile=0.001, margin=0.0)
        placement = Placement(quality, diversity, archives.grid((), (cells,) * diversity.dim)(ranges, 0))
        found = metrics.score_along(self.evaluated, placement, marks)
        rows = [(mark, one.qd_score, one.coverage) for mark, one in zip(marks, found, strict=True)]
        return DataFrame(rows, columns=["evaluations", "qd_score", "coverage"])


def open_run(path: str | Path) -> Reading:
    """Returns a run folder to be read; opening and reading change nothing, also while the run is at work.

    Raises:
        ValueError: The folder holds no run, or nothing was evaluated yet.
    """
    path = Path(path)
    settings, file = read_settings(path), path / "history.arrows"
    if not file.exists() or not file.stat().st_size:
        raise ValueError(f"{path} has evaluated nothing yet")
    return Reading(path, settings, read_history(file))


def _joined(parts: list[Any]) -> Any:
    return np.concatenate(parts) if parts else np.empty(0)


def _by_column(name: str, values: Any) -> dict[str, Any]:
    """Returns the columns of a frame that solutions fill: one for each number of a vector."""
    if values.dtype.names:
        return {one: list(values[one]) for one in values.dtype.names}
    if values.ndim == 2:
        return {f"{name}_{i + 1}": values[:, i] for i in range(values.shape[1])}
    return {name: values if values.ndim == 1 else list(values)}


def _frame(ids: Any, columns: dict[str, Any], features: Floats, names: Sequence[str]) -> DataFrame:
    """Returns a frame of columns, then of features; a feature that is called as a column gets "feature " before it."""
    from pandas import DataFrame, Index, concat

    index = Index(ids, name="id")
    called = [f"feature {name}" if name in columns else name for name in names]
    return concat([DataFrame(columns, index=index), DataFrame(features, columns=called, index=index)], axis=1)


def describe(run: Reading) -> str:
    """Returns in a few lines what a run holds and how far it is."""
    summary, n = run.summary, len(run.evaluated)
    total = run.settings.get("evaluations")
    state = "finished" if summary is not None else "at work" if run.is_at_work else "stopped; --resume goes on"
    of = f" of {total:,}" if isinstance(total, int) and summary is None else ""
    lines = [f"{run.path}: {state}", f"  {n:,}{of} candidates, {run.evaluated.failed():,} of them failed"]
    elites = run.elites()
    if len(elites):
        best = elites["objective"].max()
        lines.append(f"  {len(elites):,} elites, the best with objective {best:.4g}")
    for role in ("axes", "quality"):
        if models := run.models(role):
            lines.append(f"  {role} fitted {len(models)} times, {models[0]} to {models[-1]}")
    try:
        answers = len(run.judgments())
    except (ValueError, OSError) as error:
        lines.append(f"  answers cannot be read: {error}")
    else:
        lines += [f"  {answers:,} answers"] if answers else []
    said = {name: value for name, value in run.settings.items() if value not in (None, [], ()) and name != "study"}
    lines.append("  begun with " + ", ".join(f"{name} {_brief(value)}" for name, value in said.items()))
    if summary is not None:
        lines.append("  " + ", ".join(f"{name} {_brief(value)}" for name, value in summary.items()))
    pictures = sorted(path.name for path in run.path.glob("*") if path.suffix in (".png", ".html", ".csv"))
    lines += [f"  look at {', '.join(pictures)}"] if pictures else []
    return "\n".join(lines)


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        value = [f"{name} {_brief(one)}" for name, one in value.items()]
    said = f"{value:.4g}" if isinstance(value, float) else str(value)
    if isinstance(value, list):
        said = f"({', '.join(map(str, value))})"
    return said if len(said) <= 60 else f"{said[:57]}…"
