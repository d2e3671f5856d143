"""The elites of finished runs, as things to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from qdfeedback import files
from qdfeedback.array_files import is_numbers
from qdfeedback.run_settings import BEST, read_settings
from qdfeedback.shown import Shown
from qdfeedback.types import Floats, Ints


@dataclass(frozen=True)
class Source:
    """A run's elites (e of them).

    Attributes:
        label: the method or whatever else is compared; several runs may bear one label.
        key: the run's own name within the study.
        shown: the run's folder of things to look at.
        ids: (e,) candidate ids.
        names: (e,) the file that shows each.
        objective: (e,).
        measures: (e, k).
        bounds: (2, k) the ranges of the archive.
        prompt: what the run was asked for, "" where it was for nothing: what was asked for alike is compared.
        ranked: these are a method's best, the best first, and no archive: a set of them is the first ones.
    """

    label: str
    key: str
    shown: Shown
    ids: Ints
    names: tuple[str, ...]
    objective: Floats
    measures: Floats
    bounds: Floats
    prompt: str = ""
    ranked: bool = False

    def __len__(self) -> int:
        return len(self.ids)


def read_all(specs: Sequence[str]) -> list[Source]:
    """Returns the runs that specs name, each a folder or LABEL=FOLDER; of several seeds or prompts, each is a source.

    Raises:
        ValueError: There is no finished run, it shows nothing of its elites, or two bear one name by chance.
    """
    found: list[Source] = []
    for spec in specs:
        new = read_sources(spec)
        if "=" not in spec and new[0].label in {source.label for source in found}:
            raise ValueError(f"two runs are called {new[0].label!r}: tell them apart with LABEL=FOLDER")
        for source in new:
            same = sum(other.key.partition("~")[0] == source.key for other in found)
            found.append(replace(source, key=f"{source.key}~{same}") if same else source)
    if not found:
        raise ValueError("name at least one run")
    return found


def read_sources(spec: str) -> list[Source]:
    """Returns the runs that one spec names.

    Raises:
        ValueError: There is no finished run, or it shows nothing of its elites.
    """
    label, equals, path = spec.partition("=")
    folder = Path(path if equals else spec)
    label = label if equals else folder.name
    if not label or "/" in label or " " in label:
        raise ValueError(f"a label must be a word without slashes, got {label!r}")
    if (folder / "archive.npz").exists():
        return [_read(folder, label, label)]
    runs = sorted(path.parent for path in folder.glob("*/settings.json"))
    for run in runs:
        if not (run / "archive.npz").exists():
            raise ValueError(f"{run} is not finished: let it run to its end, or name the runs one by one")
    if not runs:
        raise ValueError(f"{folder} holds no finished run: there is no archive.npz in it, nor in the folders in it")
    return [_read(run, label, f"{label}/{run.name}") for run in runs]


def _read(folder: Path, label: str, key: str) -> Source:
    ranked = (folder / BEST).exists()
    path = folder / (BEST if ranked else "archive.npz")
    arrays = files.read_packed(path, _elites)
    settings = read_settings(folder) if (folder / "settings.json").exists() else {}
    shown = Shown(folder / "shown")
    names = shown.names()
    files_ = np.array([names.get(int(candidate), "") for candidate in arrays["id"]])
    there = np.array([bool(name) and (shown.folder / name).is_file() for name in files_], dtype=bool)
    there &= np.isin(np.arange(len(there)), np.unique(files_, return_index=True)[1])  # of what looks the same, one
    if not there.any():
        raise ValueError(f"{folder}/shown has no pictures or texts of the elites: the search was told not to draw them")
    ids = arrays["id"][there]
    return Source(
        label,
        key,
        shown,
        ids,
        tuple(names[int(candidate)] for candidate in ids),
        arrays["objective"][there],
        arrays["measures"][there],
        np.stack([arrays["lower_bounds"], arrays["upper_bounds"]]),
        str(settings.get("prompt", "")),
        ranked,
    )


def _elites(arrays: files.Arrays, _: object) -> files.Arrays:
    """Returns the arrays of an archive of elites, of which each has an id, an objective and measures."""
    ids, objective, measures = (arrays[name] for name in ("id", "objective", "measures"))
    n, axes = len(ids), arrays["lower_bounds"].shape
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or objective.shape != (n,) or measures.shape != (n, *axes):
        shapes = f"{ids.dtype} {ids.shape}, {objective.shape} and {measures.shape}"
        raise ValueError(f"id, objective and measures do not go together: {shapes}")
    if not all(is_numbers(arrays[name]) for name in ("objective", "measures", "lower_bounds", "upper_bounds")):
        raise ValueError("objective, measures and bounds must be numbers")
    if len(axes) != 1 or arrays["upper_bounds"].shape != axes:
        raise ValueError(f"lower_bounds and upper_bounds must be one per axis, they are {axes}")
    return arrays


def spaced(source: Source, side: int, rng: np.random.Generator) -> Ints:
    """Returns (side²,) rows of elites spaced evenly over the archive's first two axes, from top left to bottom right.

    Of a method's best, without an archive, the first ones. The map is cut into side × side parts and one elite drawn
    from each; an empty part is filled by one drawn from all that are left (Ding 2024, App. D: a uniformly spaced subset
    of the archive).

    Raises:
        ValueError: The archive has fewer elites.
    """
    if len(source) < side * side:
        raise ValueError(f"{source.key} has {len(source)} elites, fewer than the {side * side} of a set")
    if source.ranked:
        return np.arange(side * side)
    measures = np.pad(source.measures[:, :2], ((0, 0), (0, max(2 - source.measures.shape[1], 0))))
    low, high = measures.min(axis=0), measures.max(axis=0)
    scaled = (measures - low) / np.where(high > low, high - low, 1)
    x, y = np.minimum((scaled * side).astype(int), side - 1).T
    part = (side - 1 - y) * side + x
    chosen = np.full(side * side, -1, dtype=np.int64)
    for cell in np.unique(part):
        chosen[cell] = rng.choice(np.flatnonzero(part == cell))
    rest = np.setdiff1d(np.arange(len(source)), chosen)
    holes = np.flatnonzero(chosen < 0)
    chosen[holes] = rng.choice(rest, len(holes), replace=False)
    return chosen
