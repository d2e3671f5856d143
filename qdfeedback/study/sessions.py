"""With which sessions of a recruiting platform a person came: Prolific's id of a submission, MTurk's of an assignment.

A platform has one submission of a person in force. Who returned it, and was let in there again, comes with a new
session; they are the same person, whose answers stay theirs. A platform's id of a person is no secret, though, and a
session can be made up. Whoever has the person's cookie, or the session with which they began, is that person; of others
nobody can tell whether they have another device or know an id. So the first session is kept before the newest one.
"""

from __future__ import annotations


class NoSessionError(Exception):
    """A person who began with a session of their platform comes back without one: it may be who knows their id."""


def after(noted: str | None, came: str, *, known: bool) -> str:
    """Returns what is noted of a person's sessions once they have come with another one, or the same.

    Args:
        noted: before, as this function returned it; None or "" where they began without one.
        came: the session that the address names; "" = none.
        known: they have the person's cookie.

    Raises:
        NoSessionError: No session came, and nothing else says that it is the person.
    """
    sessions = (noted or "").split(" ")
    if not came and sessions[0]:
        if known:
            return " ".join(sessions)
        raise NoSessionError
    if came == sessions[0] or (known and len(sessions) == 1):
        return came
    return f"{sessions[0]} {came}"


def is_new(noted: str | None, came: str) -> bool:
    """True where a person has not come with this session before."""
    return bool(came) and came not in (noted or "").split(" ")


def is_proven(noted: str | None) -> bool:
    """False for who came with another session than the first, and not with the person's cookie."""
    return " " not in (noted or "")


def newest(noted: str | None) -> str:
    """Returns the session that is in force, "" where there is none."""
    return (noted or "").split(" ")[-1]
