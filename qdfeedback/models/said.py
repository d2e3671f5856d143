"""The words of a server, as a person reads them: on one line, shortened, without keys and what no screen should get."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from qdfeedback.values import brief

LONGEST = 160
_LOOKED_AT = 20_000  # characters of a page
_SEARCHED = 2_000  # for keys, on the way to the line's length
_MARKUP = re.compile(r"<(script|style|title)\b[^>]*>.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.DOTALL | re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>([^<]*)</title", re.IGNORECASE)
_IS_PAGE = re.compile(r"\s*(?:<!doctype html|<html|<\?xml|<head|<body)", re.IGNORECASE)
_KEYS = re.compile(
    r"(?i:bearer|basic)\s+[\w.~+/=-]{8,}|(?<![\w-])(?:(?:sk|pk|rk|gsk|hf|xai|nvapi|key)[-_.]|AIza)[\w*-]{8,}"
    r"|(?i:(?<=api_key=)|(?<=api-key:)|(?<=apikey=))\s*[\w.-]+|(?<=://)[^\s/@]+:[^\s/@]+(?=@)"
)

_PLACES = ("error", "errors", "message", "msg", "detail", "metadata", "raw")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def one_line(text: str, key: str | None = None, *, longest: int = LONGEST) -> str:
    """Returns a text on one line, shortened, without control characters and API keys.

    Args:
        text: whatever a server sent.
        key: the API key in use.
        longest: characters.
    """
    seen = "".join(
        one if unicodedata.category(one)[0] != "C" else " " if one.isspace() else ""
        for one in _COLOURS.sub("", text[:_LOOKED_AT])
    )
    line = " ".join(seen.split())[:_SEARCHED]
    if key and len(key) > 3:
        line = line.replace(key, "…")
    line = _KEYS.sub("…", line)
    return line if len(line) <= longest else f"{line[:longest].rstrip()}…"


def words_in(body: str, key: str | None = None) -> str:
    """Returns what a body says: its error message where it is JSON that has one, the text of a page, or what there is.

    Args:
        body: of a reply.
        key: the API key in use.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    said = message_in(found)
    if said is None and _IS_PAGE.match(body):
        page = body[:_LOOKED_AT]
        title = _TITLE.search(page)
        said = f"{title[1] if title else ''} {_MARKUP.sub(' ', page)}"
    return one_line(body if said is None else said, key) or "nothing"


def as_line(value: Any) -> str:
    """Returns a value as JSON on one line, shortened."""
    try:
        return one_line(json.dumps(value, ensure_ascii=False, default=str))
    except (RecursionError, ValueError):  # deeper than this process can follow
        return one_line(brief(value))


def message_in(found: Any, depth: int = 5) -> str | None:
    """Returns the message that JSON holds in one of the places where servers put it; None where there is none."""
    if isinstance(found, str):
        return found.strip() or None
    if isinstance(found, list):
        said = [message_in(one, depth - 1) for one in found[:3]] if depth else []
    elif isinstance(found, Mapping) and depth:
        said = [message_in(found[name], depth - 1) for name in _PLACES if found.get(name)]
        if any(said) and isinstance(found.get("loc"), list):  # as FastAPI names a field
            said = [".".join(map(str, found["loc"])), *said]
        if not any(said) and isinstance(found.get("code"), str):
            said = [found["code"]]
    else:
        said = []
    return ": ".join(dict.fromkeys(one for one in said if one)) or None
