"""What several tests need."""

from __future__ import annotations

import gc
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side

import numpy as np
import pytest

from domains.arm import RANGES, Arm, ArmEncoder
from experiments.postgres import postgres_programs, postgres_server
from qdfeedback import archives
from qdfeedback.diversity.columns import columns
from qdfeedback.generators.gaussian import Gaussian
from qdfeedback.history import History
from qdfeedback.parallel import compute_on
from qdfeedback.quality.columns import column
from qdfeedback.runs import Run
from qdfeedback.search import Search, start, step
from qdfeedback.types import Placement

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_finish() -> None:
    """What was imported stays: looking for garbage in it takes a twentieth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    compute_on(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of the tests' own."""
    pytest.importorskip("psycopg")
    if postgres_programs() is None:
        pytest.skip("PostgreSQL is not installed (no initdb found)")
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, tmp_path: Path) -> str:
    """Where a judgment store can be: each database in turn."""
    return str(tmp_path / "judgments.db") if request.param == "sqlite" else request.getfixturevalue("postgres")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def true_placement() -> Placement:
    return on_the_arm()


def on_the_arm(seed: int = 0, dims: tuple[int, int] = (20, 20)) -> Placement:
    names = ArmEncoder.names
    return Placement(column(names, "straightness"), columns(names, "x", "y"), archives.grid(10, dims)(RANGES, seed))


def arm_search(seed: int = 0, generator: object | None = None, domain: object | None = None) -> Search:
    domain = domain or Arm()
    return Search(domain, ArmEncoder(), generator or Gaussian(0.1, domain.initial), seed)


def a_history(path: Path, batches: int = 4, n: int = 25, seed: int = 0) -> tuple[History, Placement]:
    """A history of some steps on the arm, and the placement that they filled."""
    rng = np.random.default_rng(seed)
    search, placement = arm_search(seed), on_the_arm(seed)
    history = History(path / "history.arrows", ArmEncoder.names)
    for i in range(batches):
        history.append(step(search, placement, n=n, first_id=len(history), iteration=i, rng=rng))
    return history, placement


@pytest.fixture
def synced(monkeypatch) -> list[tuple[int, int]]:
    """Which files and folders were made durable, in order, and how long each was then: compare with `as_they_are`."""
    found: list[tuple[int, int]] = []
    fsync = os.fsync

    def note(handle: int) -> None:
        found.extend(as_they_are(handle))
        fsync(handle)

    monkeypatch.setattr("os.fsync", note)
    return found


def as_they_are(*places: Path | int) -> list[tuple[int, int]]:
    """Inode and length of files, 0 for a folder's length."""
    return [(one.st_ino, 0 if stat.S_ISDIR(one.st_mode) else one.st_size) for one in map(os.stat, places)]


@contextmanager
def stopped_on_its_way(checkpoints: int = 2) -> Iterator[None]:
    """Ends a run in this process, as Ctrl-C would, once it has written so many checkpoints."""
    write, left = Run.checkpoint, iter(range(checkpoints - 1, -1, -1))

    def checkpoint(self: Run, *given: Any) -> None:
        write(self, *given)
        if next(left) == 0:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "checkpoint", checkpoint)
        with pytest.raises(KeyboardInterrupt):
            yield


def killed_on_its_way(experiment: str, arguments: Sequence[str], run: Path) -> None:
    """Starts an experiment in a process of its own, and ends it by SIGKILL once it has written two checkpoints."""
    command = [sys.executable, "-m", experiment, *arguments, "--run", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 240
    try:
        while len(list(run.glob("checkpoints/*.npz"))) < 2:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()


__all__ = [
    "SHARED",
    "a_history",
    "arm_search",
    "as_they_are",
    "killed_on_its_way",
    "on_the_arm",
    "start",
    "stopped_on_its_way",
]
