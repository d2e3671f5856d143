"""The private state of pyribs objects, as arrays and JSON. Nothing outside this file touches it.

Written against ribs 0.12. A restored archive draws the same elites in the same order: the order in which cells
were filled and the generator's state are part of it, and so are the running sums and CMA-MAE's thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qdfeedback import files
from qdfeedback.files import Arrays

if TYPE_CHECKING:
    from ribs.archives import ArchiveBase
    from ribs.emitters import EmitterBase

State = dict[str, Any]

_STATS = ("num_elites", "coverage", "qd_score", "norm_qd_score", "obj_max", "obj_mean")
_SKIP = {"_archive", "archive", "dtype", "_opts"}  # bound at construction, or no state


def archive_state(archive: ArchiveBase) -> tuple[Arrays, State]:
    """Returns the elites in the archive's own order, its sums, and its generator."""
    cells = np.asarray(archive._store.occupied_list)
    _, data = archive._store.retrieve(cells)
    arrays: Arrays = {f"field_{name}": values for name, values in data.items() if name != "index"}
    arrays |= {"cells": cells, "objective_sum": np.asarray(archive._objective_sum)}
    if archive._best_elite is not None:
        arrays |= {f"best_{name}": np.asarray(value) for name, value in archive._best_elite.items()}
        arrays |= {f"stats_{name}": np.asarray(getattr(archive._stats, name)) for name in _STATS}
    return arrays, {"rng": archive._rng.bit_generator.state}


def restore_archive(archive: ArchiveBase, arrays: Arrays, state: State) -> None:
    """Makes a new archive of the same kind and size hold what `archive_state` read.

    Raises:
        ValueError: The archive has other fields, or fewer cells, or what was stored is no numbers.
    """
    if strange := [name for name, one in arrays.items() if one.dtype.kind not in "fiubU"]:
        raise ValueError(f"{strange[0]} cannot be {arrays[strange[0]].dtype}")
    stored = files.under(arrays, "field_")
    fields = set(archive.field_list) - {"index"}
    cells = arrays["cells"]
    if stored.keys() == fields and len(cells) and int(cells.max()) >= archive.cells:
        raise ValueError(f"the stored archive fills cell {int(cells.max())}, this one has {archive.cells} cells")
    if stored.keys() != fields:
        raise ValueError(
            f"the stored archive has fields {sorted(stored)}, this one {sorted(fields)} and {archive.cells} cells"
        )
    store = archive._store
    store.clear()
    store.add(cells, stored)
    store._props["occupied_list"][: len(cells)] = cells
    archive._objective_sum = arrays["objective_sum"][()]
    if len(cells):
        archive._best_elite = {name: value[()] for name, value in files.under(arrays, "best_").items()}
        archive._stats = type(archive._stats)(**{name: arrays[f"stats_{name}"][()] for name in _STATS})
    archive._rng.bit_generator.state = state["rng"]


def emitters_state(emitters: Sequence[EmitterBase]) -> tuple[Arrays, State]:
    """Returns all that changes in the emitters; `refused` gives the reason where that cannot be stored plainly."""
    arrays: Arrays = {}
    state: State = {"emitters": [type(emitter).__name__ for emitter in emitters]}
    try:
        for i, emitter in enumerate(emitters):
            _read(emitter, f"{i}", arrays, state)
    except TypeError as error:
        return {}, {"emitters": state["emitters"], "refused": str(error)}
    return arrays, state


def restore_emitters(emitters: Sequence[EmitterBase], arrays: Arrays, state: State) -> None:
    """Sets new emitters to the state that `emitters_state` read.

    Raises:
        ValueError: The state could not be stored, or belongs to other emitters.
    """
    if "refused" in state:
        raise ValueError(f"this run cannot be resumed exactly: {state['refused']}")
    names = [type(emitter).__name__ for emitter in emitters]
    if names != state["emitters"]:
        raise ValueError(f"the checkpoint was written with the emitters {state['emitters']}, this run has {names}")
    for i, emitter in enumerate(emitters):
        _write(emitter, f"{i}", arrays, state)


def _read(owner: Any, path: str, arrays: Arrays, state: State) -> None:
    for name, value in vars(owner).items():
        key = f"{path}.{name}"
        if name in _SKIP or callable(value) or isinstance(value, (np.dtype, tuple)):
            continue
        if isinstance(value, (np.ndarray, np.generic)):
            arrays[key] = np.asarray(value)
        elif value is None or isinstance(value, (bool, int, float, str)):
            state[key] = value
        elif isinstance(value, np.random.Generator):
            state[key] = value.bit_generator.state
        elif type(value).__module__.startswith("ribs."):
            _read(value, key, arrays, state)
        else:
            raise TypeError(
                f"{type(owner).__name__} keeps its state in a {type(value).__module__}.{type(value).__name__}, "
                "which cannot be stored plainly; choose cma_es, sep_cma_es, lm_ma_es or openai_es"
            )


def _write(owner: Any, path: str, arrays: Arrays, state: State) -> None:
    for name, value in list(vars(owner).items()):
        key = f"{path}.{name}"
        if key in arrays:
            stored = arrays[key]
            plain = stored.ndim == 0 and not isinstance(value, np.ndarray)
            setattr(owner, name, stored[()] if plain else stored.copy())
        elif isinstance(value, np.random.Generator):
            value.bit_generator.state = state[key]
        elif key in state:
            setattr(owner, name, state[key])
        elif type(value).__module__.startswith("ribs.") and name not in _SKIP:
            _write(value, key, arrays, state)
