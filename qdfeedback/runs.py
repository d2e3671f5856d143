"""The run folder: settings, history, checkpoints, models, judgments, summary.

DIR/settings.json           what was asked for
DIR/history.arrows          every evaluated candidate; history.sums, the checksums of its parts
DIR/judgments.db            every question and answer; refits.json, which of them each refit used
DIR/left_out.json           people whose answers did not count at each refit, and why
DIR/shown/                  what people and judges look at
DIR/models/                 each learned model, named by the iteration it was fitted at
DIR/checkpoints/            the last two, from which a run goes on exactly
DIR/parts.json              what axes and quality read
DIR/errors.log              tracebacks of candidates that failed by a mistake in the domain or the encoder
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
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qdfeedback import files
from qdfeedback.claims import LOCK, OURS, claim, release
from qdfeedback.csv_files import write_csv_records
from qdfeedback.failures import LOG, Failures
from qdfeedback.feedback.fingerprints import Fingerprint
from qdfeedback.feedback.store import Store
from qdfeedback.files import Arrays
from qdfeedback.generators import pyribs_state
from qdfeedback.history import History, Position
from qdfeedback.history_asides import forget_cuts
from qdfeedback.refits import NAME as REFITS
from qdfeedback.refits import (
    as_json,
    note_refit,
    notes_of,
    read_refits,
    readable_refits,
    restore_refits,
    verifiable,
)  # fmt: skip
from qdfeedback.run_settings import BEST, digest_of, read_settings, write_settings
from qdfeedback.search import Search, present
from qdfeedback.shown import Shown
from qdfeedback.types import Batch, Floats, Generator, Ints, Placement
from qdfeedback.values import check_json

if TYPE_CHECKING:
    from ribs.archives import ArchiveBase

REMOVING = "removing.json"
KEPT = 2  # checkpoints: one may be damaged
_NAME = re.compile(r"(\d{9})-([0-9a-f]{16})\.npz")


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


class LostError(RuntimeError):
    """Something that a run needs to go on is not there any more, and no crash takes it away."""


class NotEmptyError(ValueError):
    """The folder of a new run holds something already."""


class Run:
    """A run folder that is open for writing; `create` and `resume` give one.

    Attributes:
        path: the folder.
        settings: what `settings.json` holds.
        history: every evaluated candidate.
        shown: what people and judges look at.
        failures: tracebacks of the user's own code, kept in `errors.log`.
        saved: the newest model of each role, as its path within the folder.
    """

    def __init__(self, path: Path, settings: dict[str, Any], history: History) -> None:
        self.path = path
        self.settings = settings
        self.history = history
        self.shown = Shown(path / "shown")
        self.failures = Failures(path / LOG)
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
            "sums": True,
            "settings": digest_of(self.settings),
            "refits": as_json(read_refits(self.path)),
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

        Raises:
            LostError: A model that the newest one needs is gone, or the settings are others than it knows.
        """
        unsummed = len(self.history) > 0 and not self.history.sums.exists()
        self.history.check()
        for path in _newest_first(self.path / "checkpoints"):
            content = path.read_bytes()
            match = _NAME.fullmatch(path.name)
            try:
                if match is None or files.digest(content) != match[2]:
                    raise ValueError(f"{path} is torn or was edited")
                arrays, meta = files.unpack(content, str(path))
                _check_meta(meta, path)
                self._check_lost(meta)
                self._check_models(meta["models"])
                self.history.cut(Position(meta["rows"], meta["bytes"]))
            except ValueError as error:
                warnings.warn(f"{error}; going back to the checkpoint before it", stacklevel=2)
                files.put_aside(path)
                continue
            if unsummed and meta.get("sums"):
                warnings.warn(
                    f"{self.history.sums} was gone: whether the history is whole, nobody can tell", stacklevel=2
                )
            self.saved = {role: model["path"] for role, model in meta["models"].items()}
            restore_refits(self.path, notes_of(meta.get("refits", {}), str(path)))
            return Checkpoint(meta["iteration"], arrays, meta["state"])
        held = len(self.history)
        aside = self.history.cut(Position(0, 0))
        if held and aside is not None:
            warnings.warn(
                f"{self.path} has no checkpoint: it starts over, its history is kept as {aside}", stacklevel=2
            )
        return None

    def _check_lost(self, meta: Mapping[str, Any]) -> None:
        """Refuses to go on without what no crash takes away."""
        gone = [model["path"] for model in meta["models"].values() if not (self.path / model["path"]).exists()]
        if gone:
            raise LostError(f"{self.path / gone[0]} is gone, and the run cannot go on without it: put it back")
        if meta.get("settings", now := digest_of(self.settings)) != now:
            raise LostError(
                f"{self.path / 'settings.json'} is not what it was at the last checkpoint: put the settings back that "
                "the run was begun with"
            )

    def _check_models(self, models: Mapping[str, Mapping[str, str]]) -> None:
        for model in models.values():
            path = self.path / model["path"]
            if files.digest(path.read_bytes()) != model["digest"]:
                raise ValueError(f"{path} is missing, torn or was edited")

    @property
    def study(self) -> str:
        """The run's name in a store of judgments, which its settings hold.

        Raises:
            ValueError: They hold none.
        """
        if not isinstance(name := self.settings.get("study"), str) or not name:
            raise ValueError(f'the settings of {self.path} must name its study: create it with {{"study": "…"}}')
        return name

    def open_store(self, study: str | None = None, where: Path | str | None = None) -> Store:
        """Returns the store of the run's judgments: new for a new run, and for one that goes on the one that it had.

        Args:
            study: of whose judgments the refits tell; the one that the settings name if not given.
            where: a file or a URL; `judgments.db` in the folder if not given.

        Raises:
            LostError: Judgments that a refit has used are not there any more.
            ValueError: The store cannot be opened, or the settings name another study.
        """
        study = self.study if study is None else study
        if self.settings.get("study", study) != study:
            raise ValueError(f"study must be {self.study!r}, as the settings of {self.path} have it, got {study!r}")
        noted = self._known_refits()
        store = Store(where or self.path / "judgments.db", create=not noted)
        if lost := store.lost(study, verifiable(noted)):
            store.close()
            raise LostError(f"{lost}. Put back what it held, or begin {self.path} anew")
        return store

    def _known_refits(self) -> dict[str, Fingerprint]:
        """Returns the notes in the file; where it is gone, those of the newest checkpoint that is whole."""
        if (self.path / REFITS).exists():
            return readable_refits(self.path)
        for path in _newest_first(self.path / "checkpoints"):
            try:
                return notes_of(files.unpack(path.read_bytes(), str(path))[1].get("refits", {}), str(path))
            except ValueError:
                continue
        return {}

    def last_judgment(self, iteration: int, store: Store, study: str, part: str = "axes") -> int:
        """Returns the last judgment that a part's refit before an iteration uses: the newest, or what it was at first.

        So a resumed run repeats the same refits, though more judgments have come since. What the judgments were is
        noted too: `open_store` compares it.
        """
        return note_refit(self.path, part, iteration, store, study)

    def show(self, search: Search, ids: Ints) -> dict[int, str]:
        """Returns the file that shows each candidate, and writes those that are not there, or not whole.

        Candidates that failed are left out: there is nothing to show.

        Args:
            search: renders them again, under their own seeds.
            ids: of candidates in the history.

        Raises:
            LostError: A file is gone or damaged, and what is drawn in its place looks different.
            RuntimeError: A candidate that could be rendered before cannot be now.
        """
        there = self.shown.names()
        whole = {int(one) for one in ids if int(one) in there and self.shown.is_whole(there[int(one)])}
        missing = np.array([one for one in ids if int(one) not in whole], dtype=np.int64)
        if len(missing):  # what failed has an error, and no feature: what lacks a score alone can be shown
            failed = self.history.take(missing, "error") != None  # noqa: E711 - of each
            missing = missing[~failed | np.isfinite(self.history.take(missing, "features")).any(axis=1)]
        if len(missing):
            self._draw(search, missing, there)
            there = self.shown.names()
        return {int(candidate): there[int(candidate)] for candidate in ids if int(candidate) in there}

    def contents(self, search: Search, ids: Ints) -> dict[int, bytes | str]:
        """Returns what shows each candidate, as `show`: a text, or the bytes of a picture's file."""
        names = self.show(search, ids)
        return {
            candidate: self.shown.text(name) if name.endswith(".txt") else self.shown.path(name).read_bytes()
            for candidate, name in names.items()
        }

    def redraw(self, search: Search) -> int:
        """Draws again what was shown and whose files are gone; returns how many candidates that were.

        Raises:
            LostError: A candidate looks different now.
        """
        there = self.shown.names()
        gone = sorted(one for one, name in there.items() if one < len(self.history) and not self.shown.is_there(name))
        if gone:
            warnings.warn(f"{self.shown.folder}: {len(gone)} files are gone; they are drawn again", stacklevel=2)
            self._draw(search, np.array(gone, dtype=np.int64), there)
        return len(gone)

    def _draw(self, search: Search, ids: Ints, before: Mapping[int, str]) -> None:
        presented = present(search, self.history.take(ids, "solution"), ids)
        names = [self.shown.add(one) for one in presented]
        changed = [one for one, name in zip(ids.tolist(), names, strict=True) if before.get(one, name) != name]
        if changed:
            raise LostError(
                f"{self.shown.folder / before[changed[0]]} is gone, and candidate {changed[0]} looks different now: "
                "put the file back"
            )
        self.shown.note((one, name) for one, name in zip(ids.tolist(), names, strict=True) if one not in before)

    def show_batch(self, search: Search, batch: Batch) -> None:
        """Keeps what every candidate of a batch looks like, so that `show` renders none of them again.

        Raises:
            OSError: The disk is full.
        """
        rows = [i for i, artifact in enumerate(batch.artifacts) if artifact is not None]
        names = [self.shown.add(search.domain.present(batch.artifacts[i])) for i in rows]
        self.shown.note(zip(batch.ids[rows].tolist(), names, strict=True))

    def save_model(self, role: str, name: str, model: Any) -> None:
        """Writes a model under models/; another one of its name, of a refit that is repeated, is put aside."""
        self.saved[role] = f"models/{name}.npz"
        path = self.path / self.saved[role]
        path.parent.mkdir(exist_ok=True)
        before = files.put_aside(path)
        model.save(path)
        if before is not None and before.read_bytes() == path.read_bytes():
            before.unlink()

    def save_archive(self, placement: Placement) -> None:
        """Writes the archive's elites, with cells and ranges, as `archive.npz`."""
        arrays, _ = pyribs_state.archive_state(placement.archive)
        ordered = {"cells": arrays["cells"]} | files.under(arrays, "field_") | _ends(placement.archive)
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
        arrays = {"id": ids, "objective": objective, "measures": measures} | _ends(placement.archive)
        files.write_atomic(self.path / BEST, files.pack(arrays, {}))

    def save_curves(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes the figures logged along the run as `curves.csv`."""
        write_csv_records(self.path / "curves.csv", rows)

    def save_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes `summary.json`: a run that has one is finished, and another process may work on the folder."""
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in summary.items()}
        check_json(plain, "summary")
        forget_cuts(self.history.path, len(self.history), self.history.rows)
        files.write_json(self.path / "summary.json", plain)
        release(self.path)


def create(path: Path, settings: Mapping[str, Any], names: Sequence[str], *, commit: bool = False) -> Run:
    """Returns a new run.

    Args:
        path: the folder; it may exist if it is empty.
        settings: JSON values.
        names: the d feature columns.
        commit: True makes every batch durable at once (for candidates that cost money or minutes).

    Raises:
        NotEmptyError: The folder holds something already.
    """
    path = Path(path)
    if path.exists() and any(not _scrap(entry) for entry in path.iterdir()):
        raise NotEmptyError(f"{path} is not empty")
    path.mkdir(parents=True, exist_ok=True)
    claim(path)
    write_settings(path, settings)
    return Run(path, dict(settings), History(path / "history.arrows", names, commit=commit))


def resume(path: Path, names: Sequence[str], *, commit: bool = False) -> Run:
    """Returns an existing run; `latest` then gives the checkpoint to go on from.

    Raises:
        ValueError: The folder holds no run, one of another version, or one that another process is at work on.
    """
    if (Path(path) / REMOVING).exists():
        raise ValueError(f"{path} was being removed when the process ended: nothing is left to go on with")
    settings = read_settings(path)
    claim(Path(path))
    return Run(Path(path), settings, History(Path(path) / "history.arrows", names, commit=commit))


def open_or_create(path: Path, settings: Mapping[str, Any], names: Sequence[str], *, commit: bool = False) -> Run:
    """Returns the run in a folder, to be gone on with, or a new one where there is none.

    Args:
        path: the folder.
        settings: JSON values; of a run that is there, they must be its own.
        names: the d feature columns.
        commit: as in `create`.

    Raises:
        NotEmptyError: The folder holds something else.
        ValueError: The run was begun with other settings.
    """
    if not (Path(path) / "settings.json").exists():
        return create(path, settings, names, commit=commit)
    run = resume(path, names, commit=commit)
    wanted = json.loads(json.dumps(dict(settings)))
    if different := [name for name in wanted if wanted[name] != run.settings.get(name)]:
        name = different[0]
        release(run.path)
        raise ValueError(f"{path} was begun with {name} {run.settings.get(name)!r}, not {wanted[name]!r}")
    return run


def is_finished(path: Path) -> bool:
    """True where the run has its summary."""
    return (Path(path) / "summary.json").exists()


def read_summary(path: Path) -> dict[str, Any]:
    """Returns the summary of a finished run."""
    return dict(files.read_json(Path(path) / "summary.json", dict))


def clear(path: Path) -> None:
    """Removes a run folder, and nothing that is not one; a kill in between leaves one that can be cleared again.

    Raises:
        ValueError: The folder holds something else, other runs below it, or another process works on it.
    """
    path = Path(path)
    if not path.exists() or all(_scrap(entry) for entry in path.iterdir()):
        return
    if not (path / REMOVING).exists():
        _check_is_run(path)
        others = [found.parent for found in path.rglob("settings.json") if found.parent != path]
        if others:
            raise ValueError(f"{path} holds other runs, {others[0]} for one: they would be lost with it")
    claim(path)
    if (path / "settings.json").exists():
        (path / "settings.json").replace(path / REMOVING)  # from here on it is no run, and can still be cleared
        files.sync_folder(path)
    for entry in path.iterdir():
        if entry.name not in (REMOVING, LOCK):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink(missing_ok=True)
    (path / REMOVING).unlink(missing_ok=True)
    (path / LOCK).unlink(missing_ok=True)
    path.rmdir()
    release(path)


def _check_is_run(path: Path) -> None:
    """Refuses a folder without settings of ours; settings that are damaged are ours."""
    if not (path / "settings.json").exists():
        raise ValueError(f"{path} holds no run: there is no settings.json in it")
    if not (path / "history.arrows").exists() and not (path / "checkpoints").exists():
        read_settings(path)


def capture(
    placement: Placement | None, generator: Generator, rng: np.random.Generator
) -> tuple[Arrays, dict[str, Any]]:
    """Returns the arrays and JSON of all that changes from step to step: archive, generator, random numbers."""
    archive, archive_json = ({}, None) if placement is None else pyribs_state.archive_state(placement.archive)
    arrays = {f"archive/{name}": value for name, value in archive.items()}
    state: dict[str, Any] = {"archive": archive_json, "rng": rng.bit_generator.state}
    if hasattr(generator, "state"):
        own, state["generator"] = generator.state()
        arrays |= {f"generator/{name}": value for name, value in own.items()}
    return arrays, json.loads(json.dumps(state))


def misfit(checkpoint: Checkpoint, error: Exception) -> ValueError:
    """Returns the error of a checkpoint from which a run cannot go on, for the reason that another one gives."""
    why = f"there is no {error} in it" if isinstance(error, KeyError) else error
    return ValueError(f"the checkpoint of iteration {checkpoint.iteration} does not fit this run: {why}")


def restore(
    checkpoint: Checkpoint, placement: Placement | None, generator: Generator, rng: np.random.Generator
) -> None:
    """Sets a new archive, generator and random numbers to where `capture` found them; None where there was no archive.

    Raises:
        ValueError: The generator cannot be continued exactly, or archive or generator are of another kind.
    """
    state = checkpoint.state
    archive = files.under(checkpoint.arrays, "archive/")
    try:
        if placement is not None:
            pyribs_state.restore_archive(placement.archive, archive, state["archive"])
        rng.bit_generator.state = state["rng"]
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
        raise misfit(checkpoint, error) from error
    if hasattr(generator, "restore"):
        generator.restore(placement, files.under(checkpoint.arrays, "generator/"), state["generator"])
        if placement is not None:  # building emitters may have drawn from the archive
            pyribs_state.restore_archive(placement.archive, archive, state["archive"])
    rng.bit_generator.state = state["rng"]


def _check_meta(meta: Mapping[str, Any], path: Path) -> None:
    """Refuses what `Run.checkpoint` does not write."""
    numbers, objects = ("iteration", "rows", "bytes"), ("models", "state")
    kinds = dict.fromkeys(numbers, int) | dict.fromkeys(objects, dict)
    wrong = [name for name, kind in kinds.items() if type(meta.get(name)) is not kind]
    models = meta["models"].values() if not wrong else ()
    known = all(
        isinstance(one, dict) and all(isinstance(one.get(n), str) for n in ("path", "digest")) for one in models
    )
    if wrong or not known or not isinstance(meta.get("refits", {}), dict):
        raise ValueError(f"{path} is no checkpoint: {wrong[0] if wrong else 'models or refits'} cannot be so")
    notes_of(meta.get("refits", {}), str(path))


def _scrap(entry: Path) -> bool:
    """True for what a process that was killed while it wrote its first files may leave."""
    return entry.name.endswith(".part") or entry.name in OURS


def _ends(archive: ArchiveBase) -> Arrays:
    """Returns the ranges of an archive, by the names that pyribs gives them; categories have none."""
    return {end: getattr(archive, end) for end in ("lower_bounds", "upper_bounds") if hasattr(archive, end)}


def _newest_first(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*.npz") if not path.name.startswith(".")), reverse=True)
