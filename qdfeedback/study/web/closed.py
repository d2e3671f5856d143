"""Whether somebody new can take part at this moment, and if not, why: in words that hold then."""

from __future__ import annotations

from dataclasses import dataclass

from qdfeedback.study.desk import Desk
from qdfeedback.study.place import Place, pace

LATER = "Please try again later."


@dataclass(frozen=True)
class Closed:
    """Why nobody new takes part just now."""

    heading: str
    text: str


FULL = Closed("The study is full", "Thank you for your interest: it has all its people.")
TAKEN = Closed("The study is full at this moment", f"Should somebody give up, a place comes free. {LATER}")
HELD = Closed(
    "No question is free at this moment", f"The last ones are before others; should one come free, it is yours. {LATER}"
)
OVER = Closed("The study is over", "Thank you for your interest: all its questions have their answers.")
ENDED = Closed("The study is over", "Thank you for your interest: the search that asked the questions has ended.")


def closed(place: Place, desk: Desk) -> Closed | None:
    """Returns why nobody new can take part, None where they can."""
    places = desk.register.places()
    if places != "free":
        return FULL if places == "full" else TAKEN
    if desk.allotment.has_room():
        return None
    search = pace(place)
    if search in ("at work", "paused"):
        return None  # there will be more questions
    if desk.allotment.can_come_free():
        return HELD
    return ENDED if search == "over" else OVER
