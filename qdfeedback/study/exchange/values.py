"""Values of answers as other tools and spreadsheets write them: each is read for what it is, or refused by itself."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from qdfeedback import csv_files
from qdfeedback.values import brief, storable

LONGEST_MS = 366 * 24 * 3_600_000
"""No answer takes longer, in milliseconds: a year."""
_LARGEST = 2**31  # what a column of whole numbers holds in every database


class RefusedError(ValueError):
    """One answer cannot be taken; its neighbours can."""


def number(value: Any) -> float | None:
    """Returns a finite number, or the one in a text; None for None.

    Raises:
        RefusedError: It is none.
    """
    if value is None:
        return None
    found = math.nan
    if isinstance(value, str):
        try:
            found = csv_files.number(value, "")
        except ValueError as error:
            raise RefusedError(f"{brief(value)} is not a number") from error
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            found = float(value)
        except OverflowError:
            found = math.inf
    if not math.isfinite(found):
        raise RefusedError(f"{brief(value)} is not a number")
    return found


def whole(value: Any) -> int | None:
    """Returns a whole number that a database can hold, or the one in a text; None for None.

    Raises:
        RefusedError: It is none.
    """
    found = number(value)
    if found is None:
        return None
    if not found.is_integer():
        raise RefusedError(f"{brief(value)} is not a whole number")
    if abs(found) >= _LARGEST:
        raise RefusedError(f"{brief(value)} is too large a number")
    return int(found)


def text(value: Any) -> str | None:
    """Returns a text that every database can hold; None for None.

    Raises:
        RefusedError: It is no text, or one with a NUL or half a character in it.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise RefusedError(f"{brief(value)} is not a text")
    if not storable(value):
        raise RefusedError(f"{brief(value)} has a character that is none")
    return value


def time(value: Any) -> str | None:
    """Returns a time as the store writes it, or a day as it is; None for None.

    Raises:
        RefusedError: It is none, or in no year of ours.
    """
    if (said := text(value)) is None:
        return None
    try:
        when = datetime.fromisoformat(said)
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise RefusedError(f"{brief(value)} is not a time") from error
    return said if said == when.date().isoformat() else when.isoformat(timespec="milliseconds")


def since_1970(seconds: Any) -> str | None:
    """Returns the time so many seconds after the beginning of 1970; None for None.

    Raises:
        RefusedError: It is no number, or in no year of ours.
    """
    if (after := number(seconds)) is None:
        return None
    try:
        return datetime.fromtimestamp(after, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError) as error:
        raise RefusedError(f"{brief(seconds)} is not a time") from error
