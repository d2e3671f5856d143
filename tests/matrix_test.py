"""Every generator with every kind of axes and quality: runs, is cut, and goes on to the same archive.

What pyribs cannot resume exactly is not here: pycma's strategies, which are refused (`resume_test.py`).
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from qdfeedback import claims, runs
from qdfeedback.diversity import published
from qdfeedback.generators import pyribs_state
from qdfeedback.loop import Loop
from tests import toy

CELLS = list(itertools.product(toy.GENERATORS, toy.AXES, toy.QUALITIES))
QUICK = {(g, toy.AXES[i % len(toy.AXES)], toy.QUALITIES[i % 3]) for i, g in enumerate(toy.GENERATORS)} | {
    (toy.GENERATORS[(3 * i + 1) % 8], a, toy.QUALITIES[(i + 1) % 3]) for i, a in enumerate(toy.AXES)
}
"""Each generator, and each kind of axes, with one of each other."""


def left(loop: Loop) -> dict[str, bytes]:
    """Returns what a run left: its archive, its history, its models."""
    arrays, state = pyribs_state.archive_state(loop.placement.archive)
    found = {name: value.tobytes() for name, value in arrays.items()} | {"rng": repr(state["rng"]).encode()}
    found["solutions"] = np.asarray(loop.history.sample("solution")).astype(str).tobytes()
    return found | {path.name: path.read_bytes() for path in (loop.run.path / "models").glob("*.npz")}


def run_to(folder: Path, cell: tuple[str, str, str], *, cut: int | None = None, resume: bool = False) -> Loop:
    run = runs.resume(folder, toy.NAMES) if resume else runs.create(folder, {"study": "toy"}, toy.NAMES)
    loop = toy.make(run, *cell)
    for batch in loop:
        if batch.iteration == cut:
            break
    assert loop.store is not None
    loop.store.close()
    claims.release(folder)
    return loop


@pytest.fixture(autouse=True)
def _trains_for_a_little_while(monkeypatch) -> None:
    monkeypatch.setattr(published, "EPOCHS", 3)


@pytest.mark.parametrize(
    "cell", [pytest.param(c, marks=[] if c in QUICK else [pytest.mark.slow]) for c in CELLS], ids=" ".join
)
def test_a_cell_runs_is_cut_and_goes_on_to_the_same_archive(cell: tuple[str, str, str], tmp_path: Path) -> None:
    whole = run_to(tmp_path / "whole", cell)
    assert whole.offered == toy.N * toy.ITERATIONS
    assert len(whole.elites()) > 1
    run_to(tmp_path / "cut", cell, cut=4)
    again = run_to(tmp_path / "cut", cell, resume=True)
    assert left(again) == left(whole)
    assert again.answers == whole.answers
    np.testing.assert_array_equal(again.followed("true").archive.data("id"), whole.followed("true").archive.data("id"))
