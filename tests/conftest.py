"""Fixtures of several tests. It loads little: the process that hands out the tests loads it too, and waits for it."""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side

import numpy as np
import pytest

from tests.postgres import postgres_programs, postgres_server

if TYPE_CHECKING:
    from qdfeedback.types import Placement

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_finish() -> None:
    """What was imported stays: looking for garbage in it takes a twentieth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    from qdfeedback.parallel import compute_on

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
    from tests.arms import on_the_arm

    return on_the_arm()


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
