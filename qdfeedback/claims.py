"""Who works on a run folder: a lock that ends with its process. Light, for the study page asks it.

The lock is the file `lock` (flock): the system lets go of it when the process ends, however it ends. `process.json`
beside it says who holds it, for people to read; nothing is decided by it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from pathlib import Path

from qdfeedback import files

LOCK, NOTE = "lock", "process.json"
OURS = (LOCK, NOTE)

_TRIES, _PAUSE = 20, 0.05  # another process that only looks holds the lock for some microseconds
_held: dict[Path, int] = {}  # folder → open lock file, of this process


def claim(path: Path) -> None:
    """Takes a folder for this process until it ends, or `release` is called; one that it has already stays its own.

    What processes that are gone left half written in it is removed.

    Raises:
        ValueError: Another process works on it.
    """
    folder = Path(path).resolve()
    if not _is_held(folder):
        _held[folder] = _lock(folder)
    files.sweep(folder)
    files.write_json(folder / NOTE, {"pid": os.getpid(), "host": socket.gethostname()})


def release(path: Path) -> None:
    """Lets go of a folder that this process holds; of another, does nothing."""
    handle = _held.pop(Path(path).resolve(), None)
    if handle is not None:
        os.close(handle)


def is_at_work(path: Path) -> bool:
    """True where a process works on the folder, and its run is not finished; looking makes no file."""
    path = Path(path)
    if (path / "summary.json").exists():
        return False
    try:
        handle = os.open(path / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _is_held(folder: Path) -> bool:
    handle = _held.get(folder)
    if handle is None:
        return False
    if _is_there(folder, handle):
        return True
    release(folder)  # the folder was removed, or another stands in its place
    return False


def _is_there(folder: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), (folder / LOCK).stat())
    except FileNotFoundError:
        return False


def _lock(folder: Path) -> int:
    for _ in range(_TRIES):
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            time.sleep(_PAUSE)
            continue
        if _is_there(folder, handle):
            return handle
        os.close(handle)  # it was removed between the two calls
    raise ValueError(f"{_who(folder)} is at work on {folder}: stop it first")


def _who(folder: Path) -> str:
    """Returns what `process.json` says of who holds the lock."""
    try:
        note = files.read_json(folder / NOTE, dict)
        here = note["host"] == socket.gethostname()
        return f"process {int(note['pid'])}" + ("" if here else f" of {str(note['host'])[:99]}")
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _leave_to_parent() -> None:
    """Closes what a child inherited: a worker that outlives its parent must not hold the folder."""
    for handle in _held.values():
        with contextlib.suppress(OSError):
            os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_parent)
