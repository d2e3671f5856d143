"""`refits.json` of a run folder: which judgments each refit used, so that a run that goes on repeats its refits."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qdfeedback import files
from qdfeedback.feedback.fingerprints import Fingerprint
from qdfeedback.feedback.refit_names import by_iteration, earlier, known_as, refit_name
from qdfeedback.feedback.store import Store
from qdfeedback.values import brief

NAME = "refits.json"
_UNKNOWN = ""  # digest of a note that an earlier version made: it knew the last judgment alone


def read_refits(folder: Path) -> dict[str, Fingerprint]:
    """Returns the name of each refit → the judgments that came since its part's refit before, up to the last it used.

    They are in the order of their iterations.

    Raises:
        ValueError: The file is damaged; the message names it.
    """
    path = Path(folder) / NAME
    return notes_of(files.read_json(path, dict), str(path)) if path.exists() else {}


def notes_of(content: Mapping[str, Any], name: str) -> dict[str, Fingerprint]:
    """Returns the notes in JSON.

    Args:
        content: as `as_json` gives it; earlier versions wrote iteration → the same, or iteration → last judgment, and
            fitted axes alone.
        name: what to call it in an error.

    Raises:
        ValueError: It is something else.
    """
    found = {}
    for refit, note in content.items():
        try:
            one = Fingerprint(0, note, 0, 0, _UNKNOWN) if type(note) is int else Fingerprint(**note)
            numbers = (one.after, one.until, one.count, one.erased)
            if not all(type(number) is int for number in numbers) or not isinstance(one.digest, str):
                raise TypeError
            found[known_as(refit)] = one
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} is damaged: {brief(refit)}: {brief(note)} is no note of a refit") from error
    return {refit: found[refit] for refit in sorted(found, key=by_iteration)}


def as_json(notes: Mapping[str, Fingerprint]) -> dict[str, Any]:
    """Returns notes as JSON values."""
    in_order = sorted(notes, key=by_iteration)
    return {refit: asdict(notes[refit]) if notes[refit].digest else notes[refit].until for refit in in_order}


def write_refits(folder: Path, notes: Mapping[str, Fingerprint]) -> None:
    """Writes the notes of all refits."""
    files.write_json(Path(folder) / NAME, as_json(notes))


def verifiable(notes: Mapping[str, Fingerprint]) -> list[Fingerprint]:
    """Returns the notes that tell more than a last judgment."""
    return [one for one in notes.values() if one.digest]


def note_refit(folder: Path, part: str, iteration: int, store: Store, study: str) -> int:
    """Returns the last judgment that a refit uses: the newest, noted now, or what was noted the first time.

    Args:
        folder: of the run.
        part: what is fitted anew.
        iteration: before which the refit is.
        store: the judgments.
        study: whose.
    """
    noted, refit = read_refits(folder), refit_name(part, iteration)
    if refit not in noted:
        after = max((noted[one].until for one in earlier(refit, noted)), default=0)
        noted[refit] = store.fingerprint(study, after=after)
        write_refits(folder, noted)
    return noted[refit].until


def readable_refits(folder: Path) -> dict[str, Fingerprint]:
    """Returns the notes; those of a damaged file, put aside with a warning, are none."""
    try:
        return read_refits(folder)
    except ValueError as error:
        warnings.warn(f"{error}; it is put aside", stacklevel=4)
        files.put_aside(folder / NAME)
        return {}


def restore_refits(folder: Path, known: Mapping[str, Fingerprint]) -> None:
    """Writes the notes that a checkpoint knows and the file has lost; a warning says so."""
    noted = readable_refits(folder)
    if any(noted.get(refit) != one for refit, one in known.items()):
        warnings.warn(
            f"{folder / NAME} was lost or edited: it is restored from the checkpoint, and a refit after that may use "
            "answers that have come since",
            stacklevel=4,
        )
        files.put_aside(folder / NAME)
        write_refits(folder, known)
