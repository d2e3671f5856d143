"""Runs that end in the middle."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from qdfeedback.loop import Loop
from qdfeedback.runs import Run
from qdfeedback.types import Batch


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


@contextmanager
def stopped_in(iteration: int) -> Iterator[None]:
    """Ends a run in this process, as Ctrl-C would, in the middle of an iteration: its batch is in the history."""
    follow = Loop._follow_ranges

    def failing(self: Loop, batch: Batch) -> None:
        if batch.iteration == iteration:
            raise KeyboardInterrupt
        follow(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_follow_ranges", failing)
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
