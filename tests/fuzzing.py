"""What is tried on everything that reads what others wrote, and what must hold then."""

from __future__ import annotations

import copy
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

LONGEST = 400  # characters of a message
FRAMES = 960  # that a process has left, whoever runs the test


def holds(read: Callable[[Any], Any], value: Any, named: str) -> None:
    """A reader returns what it promises, or refuses in one short line that names what it read; it warns in one too.

    Args:
        read: takes the value, and checks what it makes of it.
        value: what others wrote.
        named: stands in every refusal; its own length does not count.
    """
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + FRAMES)  # hypothesis sets it higher
    refused: Exception | None = None
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            try:
                read(value)
            except (ValueError, OSError) as error:
                refused = error
    finally:
        sys.setrecursionlimit(limit)
    assert not isinstance(refused, UnicodeError), repr(refused)
    assert refused is None or named in str(refused), f"names no file: {refused!s:.300}"
    assert all(issubclass(one.category, UserWarning) for one in heard), [str(one.message) for one in heard]
    for one in (*([refused] if refused else []), *(one.message for one in heard)):
        line = str(one).replace(named, "")
        assert len(line.splitlines()) == 1, f"{len(line.splitlines())} lines: {line!r:.300}"
        assert len(line) < LONGEST, f"{len(line)} characters: {line:.300}"


_TEXTS = (
    "\0", "\ud800", "\ufeff", "\r\n", "\r", "\n", "\u2028", "\x85", "=1+1", "'", '"', "\\", ",", ";", "\t", "é", "🙂",
    " ", "", "../..", "a" * 5000, "nan", "1e999", "1_0", "٣", "9" * 30, "true", "null", "9999-12-31T23:59:59-14:00",
    "\x1b[31m", "<html>", "left", "skip",
)  # fmt: skip
_NUMBERS = (
    0, 1, -1, 2**31, 2**53, 2**63, -(2**63) - 1, 10**30, 10**400, 0.5, -0.0, 1e308, 5e-324, math.nan, math.inf,
    -math.inf, True, False, 253402300800, -62135596801,
)  # fmt: skip
_MARKS = {f"@{n}@": "[" * n + "]" * n for n in (100, 500, 800, 880, 940, 40_000)} | {"@digits@": "9" * 5000}
"""Texts in place of which JSON gets what cannot be made of Python's values."""

texts = st.one_of(
    st.sampled_from(_TEXTS), st.text(max_size=12), st.lists(st.sampled_from(_TEXTS), max_size=3).map("".join)
)
leaves = st.one_of(st.none(), st.sampled_from(_NUMBERS), st.floats(), texts, st.sampled_from([*_MARKS, "@digits@"]))
values = st.recursive(
    leaves, lambda one: st.one_of(st.lists(one, max_size=3), st.dictionaries(texts, one, max_size=3)), max_leaves=5
)


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from _places(value[key], (*place, key))


@st.composite
def changed(draw: st.DrawFn, seeds: Sequence[Any], most: int = 3) -> Any:
    """Draws JSON like one of these, some of its values replaced, left out, put into a list, or under another name."""
    value = copy.deepcopy(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, most))):
        place = draw(st.sampled_from(list(_places(value))))
        if not place:
            continue
        owner, last = value, place[-1]
        for key in place[:-1]:
            owner = owner[key]
        how = draw(st.sampled_from(["replaced", "replaced", "left out", "listed", "renamed", "none"]))
        if how == "left out":
            del owner[last]
        elif how == "renamed" and isinstance(owner, dict):
            owner[draw(texts)] = owner.pop(last)
        else:
            owner[last] = {"listed": [owner[last]], "none": None}.get(how, draw(values))
    return value


def as_json(value: Any) -> str:
    """Returns the JSON of a value, its marks replaced."""
    text = json.dumps(value)
    for mark, what in _MARKS.items():
        text = text.replace(f'"{mark}"', what)
    return text


@st.composite
def encoded(draw: st.DrawFn, of: st.SearchStrategy[str]) -> bytes:
    """Draws a text as editors and spreadsheets save it."""
    text = draw(of)
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    kind = draw(st.sampled_from(["utf-8"] * 5 + ["utf-8-sig", "utf-16", "utf-16-be"]))
    return text.replace("\n", end).encode(kind, "surrogatepass")


@st.composite
def broken(draw: st.DrawFn, of: st.SearchStrategy[bytes], most: int = 4) -> bytes:
    """Draws bytes that are flipped, cut, overwritten, moved."""
    content = bytearray(draw(of))
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        how = draw(st.sampled_from(["flip", "flip", "cut", "insert", "delete", "zero", "number"]))
        if how == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del content[at:]
        elif how == "insert":
            content[at:at] = draw(st.binary(max_size=12))
        elif how == "delete":
            del content[at : at + draw(st.integers(1, 64))]
        elif how == "zero":
            content[at : at + 32] = bytes(len(content[at : at + 32]))
        elif content:
            at -= at % 4
            content[at : at + 4] = draw(st.sampled_from([2**31 - 1, -1, 0, 2**30])).to_bytes(4, "little", signed=True)
    return bytes(content)


def json_files(seeds: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """Draws files like those that hold these values."""
    return st.one_of(
        encoded(changed(seeds).map(as_json)),
        broken(st.sampled_from([as_json(one).encode() for one in seeds])),
        encoded(values.map(as_json)),
        st.binary(max_size=60),
    )


def text_files(seeds: Sequence[str]) -> st.SearchStrategy[bytes]:
    """Draws files like those that hold these texts."""
    parts = st.one_of(st.sampled_from([*seeds, ",", ";", "\t", '"', "\n"]), texts)
    return st.one_of(
        broken(encoded(st.sampled_from(seeds))),
        encoded(st.lists(parts, max_size=6).map("".join)),
        st.binary(max_size=80),
    )
