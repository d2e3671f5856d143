"""In which words a language model is asked to change a text."""

from __future__ import annotations

from collections.abc import Sequence

from qdfeedback.models.frames import instruct

DEGREES = ("clearly {a}", "rather {a}", "halfway between {a} and {b}", "rather {b}", "clearly {b}")
"""From what the first answer says to what the second says."""


def degree(place: float, a: str, b: str) -> str:
    """Returns in words where a text is to lie, from 1 (as the first answer says) to 0 (as the second says)."""
    return DEGREES[min(int((1 - place) * len(DEGREES)), len(DEGREES) - 1)].format(a=a, b=b)


def write(what: str, wishes: Sequence[str] = ()) -> str:
    """Returns the request for a text, at best one that is as wished."""
    wish = f" It is {' and '.join(wishes)}." if wishes else ""
    return instruct(f"Write a {what} of outstanding quality.{wish}")


def rewrite(what: str, text: str) -> str:
    """Returns the request for another text, inspired by this one."""
    return instruct(f"Write another {what}, inspired by this one.", text)


def rewrite_towards(what: str, wishes: Sequence[str], text: str) -> str:
    """Returns the request for a text that is as wished (`degree`)."""
    return instruct(f"Rewrite this {what} so that it is {' and '.join(wishes)}.", text)


def rewrite_in_direction(what: str, directions: Sequence[str], text: str) -> str:
    """Returns the request for a text that is more of each answer named."""
    return instruct(f"Rewrite this {what} so that it is {' and '.join(f'more {one}' for one in directions)}.", text)
