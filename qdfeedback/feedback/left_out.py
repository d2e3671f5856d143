"""The note of whom the refits of a search left out, and why: `left_out.json` in its run folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from qdfeedback import files
from qdfeedback.feedback.refit_names import by_iteration, earlier, known_as

LEFT_OUT = "left_out.json"
LeftOut = dict[str, tuple[str, ...]]
"""Pseudonym → why the person's answers do not count."""


def read_left_out(path: Path) -> dict[str, LeftOut]:
    """Returns whom each refit left out, by its name; none where there is no such file.

    Raises:
        ValueError: The file holds something else.
    """
    if not path.exists():
        return {}
    noted = files.read_json(path, dict)
    try:
        return {
            known_as(refit): {who: tuple(map(str, why)) for who, why in people.items()}
            for refit, people in noted.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a note of whom refits left out: {error}") from error


def write_left_out(path: Path, noted: Mapping[str, LeftOut]) -> None:
    """Writes the note, in the order of the refits."""
    files.write_json(path, {refit: noted[refit] for refit in sorted(noted, key=by_iteration)})


def last_before(refit: str, path: Path) -> LeftOut:
    """Returns whom the last refit of the same part before one left out.

    Raises:
        ValueError: It is no name of a refit, or the file is damaged.
    """
    noted = read_left_out(path)
    before = earlier(refit, noted)
    return noted[before[-1]] if before else {}


def forget(path: Path, people: Collection[str]) -> None:
    """Removes people from the note, who are to be forgotten."""
    noted = read_left_out(path)
    if any(who in out for out in noted.values() for who in people):
        write_left_out(
            path, {one: {who: why for who, why in out.items() if who not in people} for one, out in noted.items()}
        )
