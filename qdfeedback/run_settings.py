"""`settings.json` of a run folder: what was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qdfeedback import files
from qdfeedback.values import brief, check_json

FORMAT = 1
MAY_DIFFER = (
    "at_once", "cap", "concurrency", "database", "device", "key_variable", "ledger", "prices", "timeout", "workers",
)  # fmt: skip
"""Settings that may be others when a run goes on: no candidate depends on them."""
BEST = "best.npz"
"""In the folder of a run that has no map of its own: what it puts forward, the best first."""


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Writes the settings of a run into its folder.

    Raises:
        ValueError: One of them is nothing that JSON can hold; the message names it.
    """
    check_json(settings, "settings")
    files.write_json(path / "settings.json", {"format": FORMAT, "settings": dict(settings)})


def read_settings(path: Path) -> dict[str, Any]:
    """Returns the settings of the run in a folder.

    Raises:
        ValueError: There is no run, it was written by another version, or the file is damaged.
    """
    file = Path(path) / "settings.json"
    if not file.exists():
        raise ValueError(f"{path} holds no run: there is no settings.json in it")
    content = files.read_json(file)
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path} was written in run format {brief(found)}, this version reads format {FORMAT}")
    settings = content.get("settings")
    if not isinstance(settings, dict):
        raise ValueError(f"{file} must hold its settings as an object, they are {files.called(type(settings))}")
    return settings


def digest_of(settings: Mapping[str, Any]) -> str:
    """Returns a digest of the settings that a run keeps from its beginning to its end."""
    fixed = {name: value for name, value in settings.items() if name not in MAY_DIFFER}
    return files.digest(json.dumps(fixed, sort_keys=True).encode())
