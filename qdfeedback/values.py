"""Values that came from a file that people write: of the kind that is wanted, or an error that names the field.

A string passes for a list of its letters, a number for a text, true for 1: each of these is told apart here.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from qdfeedback.bounds import Bounds, check_number
from qdfeedback.files import called
from qdfeedback.text_files import beginning

_LONGEST = 120  # characters of a value in a message
_CANDIDATE = re.compile(r"[0-9]{1,18}")
_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 100


def check_json(record: Mapping[str, Any], what: str) -> None:
    """Refuses a record with a value that JSON cannot hold.

    Args:
        record: name → value.
        what: it is called in the message.

    Raises:
        ValueError: Names the first such value.
    """
    for name, value in record.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{what} must be JSON values, {name} is {type(value).__name__}: {brief(value)}") from error


def a_text(value: Any, name: str) -> str:
    """Returns a text that is not blank.

    Args:
        value: anything.
        name: of the field, for the message.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string, got {_shown(value)}")
    if not value.strip():
        raise ValueError(f"{name} must not be empty")
    return value


def texts(value: Any, name: str, *, least: int = 0) -> tuple[str, ...]:
    """Returns the texts of a list; no two of them are alike but for case and the space around them.

    Args:
        value: anything.
        name: of the field, for the message.
        least: how many there must be.

    Raises:
        ValueError: It is no list, holds something else, an empty text, two that are alike, or too few.
    """
    no_string(value, name)
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} must be a list of strings, got {_shown(value)}")
    for number, one in enumerate(value, 1):
        a_text(one, f"{name}, number {number},")
    known: dict[str, str] = {}
    for one in value:
        if (plain := " ".join(one.split()).casefold()) in known:
            raise ValueError(f"{name} must differ, got {brief(known[plain])} and {brief(one)}")
        known[plain] = one
    if len(value) < least:
        raise ValueError(f"{name} must be {least} or more, got {len(value)}")
    return tuple(value)


def no_string(value: Any, name: str) -> None:
    """Refuses a string where a list of strings belongs: Python would take it for a list of its letters.

    Raises:
        ValueError: It is one.
    """
    if isinstance(value, str):
        text = value if len(value) <= 60 else f"{value[:60]}…"
        parts = [part.strip() for part in text.split(",")]
        remedy = f": write [{', '.join(json.dumps(part, ensure_ascii=False) for part in parts)}]" if all(parts) else ""
        raise ValueError(f"{name} must be a list of strings, got the string {text!r}{remedy}")


def a_number(value: Any, name: str, bounds: Bounds) -> float:
    """Returns a number in its bounds.

    Raises:
        ValueError: It is none.
    """
    check_number(value, name, bounds)
    return float(value)


def a_record(value: Any, name: str, *, known: Collection[str], needed: Collection[str] = ()) -> dict[str, Any]:
    """Returns an object that has the fields that are needed, and no unknown ones.

    Args:
        value: anything.
        name: of the object, for the message.
        known: fields that it may have.
        needed: those that it must have.

    Raises:
        ValueError: It is no object, lacks a field, or has one that is not known; the message says which may be meant.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object with {', '.join(needed or known)}, got {_shown(value)}")
    for field in value:
        if field not in known:
            meant = get_close_matches(str(field), known, 1)
            hint = f"is {meant[0]!r} meant?" if meant else f"known are {beginning(', '.join(known), 200)}"
            raise ValueError(f"{name} has an unknown field {brief(field)}: {hint}")
    if missing := [field for field in needed if field not in value]:
        raise ValueError(f"{name} has no {missing[0]!r}")
    return value


def candidate_in(text: str) -> int | None:
    """Returns the candidate id that a text is, which an int64 holds; None where it is none."""
    return int(text) if _CANDIDATE.fullmatch(text) else None


def storable(text: str) -> bool:
    """True for a text that every file and database can hold: without NUL, and without half a character."""
    return "\0" not in text and not any("\ud800" <= one <= "\udfff" for one in text)


def brief(value: Any) -> str:
    """Returns a value as a message may show it, however long or deep it is."""
    text = _BRIEF.repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _shown(value: Any) -> str:
    """Returns a value as a message shows it: what JSON calls its type, and the beginning of it."""
    text = brief(value)
    return f"{called(type(value))}{f', {text[:40]}' if value is not None else ''}{'…' if len(text) > 40 else ''}"
