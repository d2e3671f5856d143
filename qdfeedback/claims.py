"""Who works on a run folder: a process says so, and others see whether it lives. Light, for the study page asks it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from qdfeedback import files


def claim(path: Path) -> None:
    """Notes that this process is at work on a folder.

    Raises:
        ValueError: Another living process on this machine is.
    """
    note = path / "process.json"
    mine = {"pid": os.getpid(), "host": socket.gethostname()}
    if note.exists():
        other = files.read_json(note)
        if other["host"] == mine["host"] and other["pid"] != mine["pid"] and _alive(other["pid"]):
            raise ValueError(f"process {other['pid']} is at work on {path}: stop it first")
    files.write_json(note, mine)


def is_at_work(path: Path) -> bool:
    """True where a process works on the folder; one on another machine is taken to live."""
    note = Path(path) / "process.json"
    if not note.exists() or (Path(path) / "summary.json").exists():
        return False
    other = files.read_json(note)
    return bool(other["host"] != socket.gethostname() or _alive(other["pid"]))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
