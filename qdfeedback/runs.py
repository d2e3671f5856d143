"""The run folder: settings, history, checkpoints, models, judgments, summary.

DIR/settings.json           what was asked for
DIR/history.arrows          every evaluated candidate
DIR/judgments.db            every question and answer
DIR/left_out.json           people whose answers did not count at each refit, and why
DIR/shown/                  what people and judges look at
DIR/models/                 each learned model, named by the iteration it was fitted at
DIR/checkpoints/            the last two, from which a run goes on exactly
DIR/archive.npz, curves.csv, summary.json, *.png
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdfeedback import files
from qdfeedback.claims import claim
from qdfeedback.csv_files import write_csv_records
from qdfeedback.generators import pyribs_state
from qdfeedback.history import History, Position
from qdfeedback.run_settings import BEST, read_settings, write_settings
from qdfeedback.search import Search, present
from qdfeedback.shown import Shown
from qdfeedback.types import Batch, Floats, Generator, Ints, Placement

KEPT = 2  # checkpoints: one may be damaged
_NAME = re.compile(r"(\d{9})-([0-9a-f]{16})\.npz")

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stood.

    Attributes:
        iteration: the last one that was finished.
        arrays: named arrays.
        state: JSON.
    """

    iteration: int
    arrays: Arrays
    state: dict[str, Any]


class Run:
    """A run folder that is open for writing; `create` and `resume` give one.

    Attributes:
        path: the folder.
        settings: what `settings.json` holds.
        history: every evaluated candidate.
        shown: what people and judges look at.
        saved: the newest model of each role, as its path within the folder.
    """

    def __init__(self, path: Path, settings: dict[str, Any], history: History) -> None:
        self.path = path
        self.settings = settings
        self.history = history
        self.shown = Shown(path / "shown")
        self.saved: dict[str, str] = {}

    def checkpoint(self, iteration: int, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Makes the history durable, then the checkpoint, then forgets all but the last two.

        Raises:
            OSError: The disk is full; the checkpoints before stand.
        """
        position = self.history.flush(sync=True)
        meta = {
            "iteration": iteration,
            "rows": position.rows,
            "bytes": position.bytes,
            "models": {
                role: {"path": path, "digest": files.digest((self.path / path).read_bytes())}
                for role, path in self.saved.items()
            },
            "state": dict(state),
        }
        content = files.pack(arrays, meta)
        folder = self.path / "checkpoints"
        files.write_atomic(folder / f"{iteration:09d}-{files.digest(content)}.npz", content)
        for old in _newest_first(folder)[KEPT:]:
            old.unlink()

    def latest(self) -> Checkpoint | None:
        """Returns the newest checkpoint that is whole, with the history cut back to it; None where there is none.

        A damaged one, or one whose models or history do not fit it, is named in a warning and put aside, and the one
        before it is used. Where none is left, a history that is there is put aside too, never deleted.
        """
        for path in _newest_first(self.path / "checkpoints"):
            content = path.read_bytes()
            match = _NAME.fullmatch(path.name)
            try:
                if match is None or files.digest(content) != match[2]:
                    raise ValueError(f"{path} is torn or was edited")
                arrays, meta = files.unpack(content, str(path))
                self._check_models(meta["models"])
                self.history.cut(Position(meta["rows"], meta["bytes"]))
            except ValueError as error:
                warnings.warn(f"{error}; going back to the checkpoint before it", stacklevel=2)
                path.replace(path.with_name(f"{path.name}.damaged"))
                continue
            self.saved = {role: model["path"] for role, model in meta["models"].items()}
            return Checkpoint(meta["iteration"], arrays, meta["state"])
        if len(self.history):
            aside = self.history.path.with_suffix(".before-restart.arrows")
            warnings.warn(
                f"{self.path} has no checkpoint: it starts over, its history is kept as {aside}", stacklevel=2
            )
            shutil.copyfile(self.history.path, aside)
        self.history.cut(Position(0, 0))
        return None

    def _check_models(self, models: Mapping[str, Mapping[str, str]]) -> None:
        for model in models.values():
            path = self.path / model["path"]
            if not path.exists() or files.digest(path.read_bytes()) != model["digest"]:
                raise ValueError(f"{path} is missing, torn or was edited")

    def last_judgment(self, iteration: int, newest: int) -> int:
        """Returns the last judgment that the refit before an iteration uses: `newest`, or what it used the first time.

        So a resumed run repeats the same refits, though more judgments have come since.
        """
        path = self.path / "refits.json"
        noted: dict[str, int] = files.read_json(path) if path.exists() else {}
        if str(iteration) not in noted:
            files.write_json(path, noted | {str(iteration): newest})
            return newest
        return noted[str(iteration)]

    def show(self, search: Search, ids: Ints) -> dict[int, str]:
        """Returns the file that shows each candidate, and writes those that are not there yet.

        Candidates that failed are left out: there is nothing to show.

        Args:
            search: renders them again, under their own seeds.
            ids: of candidates in the history.

        Raises:
            RuntimeError: A candidate that could be rendered before cannot be now.
        """
        there = self.shown.names()
        missing = np.array([candidate for candidate in ids if int(candidate) not in there], dtype=np.int64)
        if len(missing):  # what failed has an error, and no feature: what lacks a score alone can be shown
            failed = self.history.take(missing, "error") != None  # noqa: E711 - of each
            missing = missing[~failed | np.isfinite(self.history.take(missing, "features")).any(axis=1)]
        if len(missing):
            presented = present(search, self.history.take(missing, "solution"), missing)
            self.shown.note(zip(missing.tolist(), map(self.shown.add, presented), strict=True))
            there = self.shown.names()
        return {int(candidate): there[int(candidate)] for candidate in ids if int(candidate) in there}

    def show_batch(self, search: Search, batch: Batch) -> None:
        """Keeps what every candidate of a batch looks like, so that `show` renders none of them again.

        Raises:
            OSError: The disk is full.
        """
        rows = [i for i, artifact in enumerate(batch.artifacts) if artifact is not None]
        names = [self.shown.add(search.domain.present(batch.artifacts[i])) for i in rows]
        self.shown.note(zip(batch.ids[rows].tolist(), names, strict=True))

    def save_model(self, role: str, name: str, model: Any) -> None:
        """Writes a model under models/."""
        self.saved[role] = f"models/{name}.npz"
        model.save(self.path / self.saved[role])

    def save_archive(self, placement: Placement) -> None:
        """Writes the archive's elites, with cells and ranges, as `archive.npz`."""
        arrays, _ = pyribs_state.archive_state(placement.archive)
        ordered = {"cells": arrays["cells"]} | {
            name.removeprefix("field_"): value for name, value in arrays.items() if name.startswith("field_")
        }
        ends = ("lower_bounds", "upper_bounds")  # categories have none
        ordered |= {end: getattr(placement.archive, end) for end in ends if hasattr(placement.archive, end)}
        meta = {
            "cells": int(placement.archive.cells),
            "dims": getattr(placement.archive, "dims", np.array([])).tolist(),
        }
        files.write_atomic(self.path / "archive.npz", files.pack(ordered, meta))

    def save_best(self, placement: Placement, ids: Ints, objective: Floats, measures: Floats) -> None:
        """Writes what a method without a map of its own puts forward, the best first, as `best.npz`.

        Args:
            placement: whose ranges are noted.
            ids: (e,).
            objective: (e,).
            measures: (e, k).
        """
        arrays = {"id": ids, "objective": objective, "measures": measures}
        arrays |= {end: getattr(placement.archive, end) for end in ("lower_bounds", "upper_bounds")}
        files.write_atomic(self.path / BEST, files.pack(arrays, {}))

    def save_curves(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes the figures logged along the run as `curves.csv`."""
        write_csv_records(self.path / "curves.csv", rows)

    def save_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes `summary.json`: a run that has one is finished."""
        files.write_json(self.path / "summary.json", dict(summary))


def create(path: Path, settings: Mapping[str, Any], names: Sequence[str], *, commit: bool = False) -> Run:
    """Returns a new run.

    Args:
        path: the folder; it may exist if it is empty.
        settings: JSON values.
        names: the d feature columns.
        commit: True makes every batch durable at once (for candidates that cost money or minutes).

    Raises:
        ValueError: The folder holds something already.
    """
    path = Path(path)
    if path.exists() and any(not _scrap(entry) for entry in path.iterdir()):
        raise ValueError(
            f"{path} is not empty: --resume goes on with it, --overwrite replaces it; or name another folder"
        )
    path.mkdir(parents=True, exist_ok=True)
    claim(path)
    write_settings(path, settings)
    return Run(path, dict(settings), History(path / "history.arrows", names, commit=commit))


def resume(path: Path, names: Sequence[str], *, commit: bool = False) -> Run:
    """Returns an existing run; `latest` then gives the checkpoint to go on from.

    Raises:
        ValueError: The folder holds no run, one of another version, or one that another process is at work on.
    """
    settings = read_settings(path)
    claim(Path(path))
    return Run(Path(path), settings, History(Path(path) / "history.arrows", names, commit=commit))


def is_finished(path: Path) -> bool:
    """True where the run has its summary."""
    return (Path(path) / "summary.json").exists()


def read_summary(path: Path) -> dict[str, Any]:
    """Returns the summary of a finished run."""
    return dict(files.read_json(Path(path) / "summary.json", dict))


def clear(path: Path) -> None:
    """Removes a run folder, and nothing that is not one.

    Raises:
        ValueError: The folder holds something else, or other runs below it.
    """
    if Path(path).exists() and any(not _scrap(entry) for entry in Path(path).iterdir()):
        read_settings(path)
        others = [found.parent for found in Path(path).rglob("settings.json") if found.parent != Path(path)]
        if others:
            raise ValueError(f"{path} holds other runs, {others[0]} for one: they would be lost with it")
        claim(Path(path))
        shutil.rmtree(path)


def capture(placement: Placement, generator: Generator, rng: np.random.Generator) -> tuple[Arrays, dict[str, Any]]:
    """Returns the arrays and JSON of all that changes from step to step: archive, generator, random numbers."""
    archive, archive_json = pyribs_state.archive_state(placement.archive)
    arrays = {f"archive/{name}": value for name, value in archive.items()}
    state: dict[str, Any] = {"archive": archive_json, "rng": rng.bit_generator.state}
    if hasattr(generator, "state"):
        own, state["generator"] = generator.state()
        arrays |= {f"generator/{name}": value for name, value in own.items()}
    return arrays, json.loads(json.dumps(state))


def restore(checkpoint: Checkpoint, placement: Placement, generator: Generator, rng: np.random.Generator) -> None:
    """Sets a new archive, generator and random numbers to where `capture` found them.

    Raises:
        ValueError: The generator cannot be continued exactly, or archive or generator are of another kind.
    """
    state = checkpoint.state
    archive = _under(checkpoint.arrays, "archive/")
    pyribs_state.restore_archive(placement.archive, archive, state["archive"])
    if hasattr(generator, "restore"):
        generator.restore(placement, _under(checkpoint.arrays, "generator/"), state["generator"])
        # building emitters may have drawn from the archive
        pyribs_state.restore_archive(placement.archive, archive, state["archive"])
    rng.bit_generator.state = state["rng"]


def _scrap(entry: Path) -> bool:
    """True for what a process that was killed while it wrote its first files may leave."""
    return entry.name.endswith(".part") or entry.name == "process.json"


def _under(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _newest_first(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*.npz") if not path.name.startswith(".")), reverse=True)
