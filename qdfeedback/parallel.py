"""Where independent jobs run: here, or in worker processes."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import shutil
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from qdfeedback.bounds import Bounds, check_number

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
KEPT = 128 << 20  # bytes that were freed and are not given back

Job = TypeVar("Job")
Result = TypeVar("Result")


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Returns on how many threads one process should compute: OMP_NUM_THREADS where that is set, else all cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else cores()


def can_compile() -> bool:
    """Returns whether torch can compile for the CPU here: it needs a C++ compiler and Python's own headers."""
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    return shutil.which(os.environ.get("CXX", "g++")) is not None and headers.exists()


def run_all(work: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int | None = None) -> Iterator[Result]:
    """Yields the result of every job, as they finish; each worker process computes on one thread.

    Args:
        work: a function at the top level of a module.
        jobs: its arguments.
        workers: processes; 1 works through the jobs here. None = as many as there are cores.

    Raises:
        ValueError: `workers` is below 1.
        Exception: What a job raised; the others are given up.
    """
    if workers is not None:
        check_number(workers, "workers", Bounds(1), kind=int)
    count = min(workers or cores(), len(jobs))
    if count <= 1:
        yield from map(work, jobs)
        return
    spawn = multiprocessing.get_context("spawn")  # fork would copy the parent's thread pools half-alive
    with ProcessPoolExecutor(count, mp_context=spawn, initializer=_begin_worker) as pool:
        futures = [pool.submit(work, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin_worker() -> None:
    """Makes a worker process compute on one thread, and end when the process that started it does, however it ends."""
    os.environ |= dict.fromkeys(_THREADS, "1")  # which libraries read when they are loaded, from now on
    if "torch" in sys.modules:
        compute_on()
    else:  # a job that needs no torch does not wait for it
        threadpool_limits(1)
        _keep_memory()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def compute_on(count: int = 1) -> None:
    """Lets torch and the BLAS of this process compute on so many threads, and keep memory that they will want again.

    Small matrices are faster on one thread, processes side by side do not fight over cores, and a run repeats bit for
    bit whatever the number of cores.

    Raises:
        ValueError: `count` is below 1.
    """
    check_number(count, "count", Bounds(1), kind=int)
    import torch

    torch.set_num_threads(count)
    threadpool_limits(count)
    _keep_memory()


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Lets this process compute on one thread for a while: on small arrays, threads cost more than they give."""
    import torch

    before = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _keep_memory() -> None:
    """Makes glibc keep what is freed: new pages for each large array cost a network on a CPU a fifth of its time."""
    allocator = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if allocator is not None:
        trim_threshold, mmap_threshold = -1, -3  # of malloc.h
        allocator(mmap_threshold, KEPT // 4)
        allocator(trim_threshold, KEPT)
