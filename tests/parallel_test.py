from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from qdfeedback.parallel import cores, run_all, threads


def square(n: int) -> tuple[int, int]:
    if n < 0:
        raise ValueError(f"{n} is negative")
    return n * n, os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done(workers: int) -> None:
    found = list(run_all(square, [1, 2, 3, 4], workers=workers))
    assert sorted(value for value, _ in found) == [1, 4, 9, 16]
    elsewhere = {pid for _, pid in found} != {os.getpid()}
    assert elsewhere == (workers > 1)
    assert list(run_all(square, [])) == []
    assert cores() >= 1


def on_threads(_: int) -> tuple[int, int]:
    import torch
    from scipy import linalg
    from threadpoolctl import threadpool_info

    linalg.inv(np.eye(3))
    return torch.get_num_threads(), max(one["num_threads"] for one in threadpool_info())


@pytest.mark.slow
def test_a_worker_computes_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """In libraries that it loads later, too."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert list(run_all(on_threads, [1, 2], workers=2)) == [(1, 1)] * 2


def test_threads_are_asked_for_as_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked, found in (("3", 3), ("0", cores()), ("", cores())):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert threads() == found


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other habits")
def test_memory_is_kept_for_the_next_array() -> None:
    """Given back and asked for again, its pages cost more than what is computed in it."""
    code = """
import resource, sys, types, numpy as np
sys.modules["torch"] = types.SimpleNamespace(set_num_threads=lambda count: None)  # which takes long to load
from qdfeedback.parallel import compute_on
compute_on(1) if sys.argv[1] == "kept" else None
for number in range(60):
    if number == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    parts = [np.ones(1 << 20) for _ in range(4)]
    del parts
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {
        how: int(subprocess.run([sys.executable, "-c", code, how], capture_output=True, check=True).stdout)
        for how in ("kept", "plain")
    }
    assert faults["kept"] < 0.02 * faults["plain"], faults


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_job_raises_is_raised(workers: int) -> None:
    with pytest.raises(ValueError, match="-1 is negative"):
        list(run_all(square, [1, -1, 2], workers=workers))


def tick(folder: Path) -> None:
    for number in range(1200):
        (folder / f"{os.getpid()}").write_text(str(number))
        time.sleep(0.1)


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    """Else runs that were killed go on, and nobody can resume them."""
    code = "from tests.parallel_test import *; list(run_all(tick, [Path(sys.argv[1])] * 2, workers=2))"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 90
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    process.kill()
    process.wait()

    def ticks() -> list[str]:
        return sorted(path.read_text() for path in tmp_path.iterdir())

    before: list[str] = []
    while before != (before := ticks()):
        assert time.monotonic() < until
        time.sleep(2)
