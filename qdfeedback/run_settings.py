"""`settings.json` of a run folder: what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qdfeedback import files

FORMAT = 1
BEST = "best.npz"
"""In the folder of a run that has no map of its own: what it puts forward, the best first."""


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Writes the settings of a run into its folder."""
    files.write_json(path / "settings.json", {"format": FORMAT, "settings": dict(settings)})


def read_settings(path: Path) -> dict[str, Any]:
    """Returns the settings of the run in a folder.

    Raises:
        ValueError: There is no run, or it was written by another version.
    """
    file = Path(path) / "settings.json"
    if not file.exists():
        raise ValueError(f"{path} holds no run: there is no settings.json in it")
    content = files.read_json(file)
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path} was written in run format {found}, this version reads format {FORMAT}")
    return dict(content["settings"])
