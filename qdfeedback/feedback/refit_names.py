"""What the refits of a search are called: "axes-000101" is the one of the axes before iteration 101, and its model."""

from __future__ import annotations

import re
from collections.abc import Iterable

from qdfeedback.values import brief

AXES = "axes"
"""The part of refits that are named by a number alone, as in files of earlier versions."""
_PART = re.compile(r"[A-Za-z0-9_-]+")
_NUMBER = re.compile(r"[0-9]{1,18}")


def refit_name(part: str, iteration: int) -> str:
    """Returns the name of a part's refit before an iteration, which is the name of a file too.

    Raises:
        ValueError: The part is not called by letters, digits, _ and - alone.
    """
    if not _PART.fullmatch(part):
        raise ValueError(f"part must be made of letters, digits, _ and -, got {brief(part)}")
    return f"{part}-{iteration:06d}"


def refit_of(name: str) -> tuple[str, int]:
    """Returns which part it is a refit of, and before which iteration.

    Raises:
        ValueError: It is no such name, nor a number.
    """
    part, dash, number = name.rpartition("-")
    known = _NUMBER.fullmatch(number) and (
        not dash or (_PART.fullmatch(part) and name == refit_name(part, int(number)))
    )
    if not known:
        raise ValueError(f"{brief(name)} is no name of a refit, as {refit_name(AXES, 101)!r} is one")
    return part if dash else AXES, int(number)


def earlier(name: str, names: Iterable[str]) -> list[str]:
    """Returns those names of refits that are of the same part as one and before it, oldest first."""
    part, iteration = refit_of(name)
    found = [one for one in names if refit_of(one)[0] == part and refit_of(one)[1] < iteration]
    return sorted(found, key=by_iteration)


def known_as(name: str) -> str:
    """Returns the name that a refit has now, which may be named by a number alone.

    Raises:
        ValueError: It is neither.
    """
    return refit_name(*refit_of(name))


def by_iteration(name: str) -> tuple[int, str]:
    """Returns what sorts refits by time."""
    part, iteration = refit_of(name)
    return iteration, part
