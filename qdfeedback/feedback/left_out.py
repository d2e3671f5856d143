"""The note of whom the refits of a search left out, and why: `left_out.json` in its run folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from qdfeedback import files

LEFT_OUT = "left_out.json"
LeftOut = dict[str, tuple[str, ...]]
"""Pseudonym → why the person's answers do not count."""


def read_left_out(path: Path) -> dict[int, LeftOut]:
    """Returns whom each refit left out, by its number; none where there is no such file.

    Raises:
        ValueError: The file holds something else.
    """
    if not path.exists():
        return {}
    noted = files.read_json(path, dict)
    try:
        return {
            int(refit): {who: tuple(map(str, why)) for who, why in people.items()} for refit, people in noted.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a note of whom refits left out: {error}") from error


def write_left_out(path: Path, noted: Mapping[int, LeftOut]) -> None:
    """Writes the note, in the order of the refits."""
    files.write_json(path, {str(refit): people for refit, people in sorted(noted.items())})


def last_before(refit: int, path: Path) -> LeftOut:
    """Returns whom the last refit before one left out."""
    earlier = {number: people for number, people in read_left_out(path).items() if number < refit}
    return earlier[max(earlier)] if earlier else {}


def forget(path: Path, people: Collection[str]) -> None:
    """Removes people from the note, who are to be forgotten."""
    noted = read_left_out(path)
    if any(who in out for out in noted.values() for who in people):
        write_left_out(
            path, {n: {who: why for who, why in out.items() if who not in people} for n, out in noted.items()}
        )
