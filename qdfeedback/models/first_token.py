"""How likely options are, by the likeliest first tokens that a server tells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from qdfeedback.models.said import as_line

LEAST_SEEN = 1e-12


def first_tokens(logprobs: Any) -> dict[str, float]:
    """Returns the likeliest first tokens by their text; none where the server gave none.

    Tokens that differ and read the same, as pieces of a character do, are likely together; one that is given twice
    counts once. `null` is minus infinity.

    Raises:
        ValueError: A log-probability is above 0, or no number; or they are told in another way.
    """
    if not logprobs:
        return {}
    try:
        rows = _rows(logprobs)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"log-probabilities were expected, got {as_line(logprobs)}") from error
    found: dict[str, float] = {}
    if odd := [token for token, *_ in rows if not isinstance(token, str)]:
        raise ValueError(f"a token was expected, got {as_line(odd[0])}")
    for token, value, _ in dict.fromkeys((token, _log(value), _hashable(of)) for token, value, of in rows):
        found[token] = min(_added(found[token], value), 0.0) if token in found else value
    return found


def _rows(logprobs: Any) -> list[tuple[Any, Any, Any]]:
    """Returns tokens, log-probabilities and bytes; raises anything where they are told in another way."""
    if "content" in logprobs:  # as of messages; llama.cpp tells of text so too
        content = logprobs["content"]
        tops = content[0].get("top_logprobs") or [] if content else []
        return [(one["token"], one.get("logprob"), one.get("bytes")) for one in tops]
    tops = logprobs.get("top_logprobs") or [None]
    return [
        (token, value, None)
        for token, given in (tops[0] or {}).items()
        for value in (given if isinstance(given, tuple) else (given,))  # a name that stood there several times
    ]


def _log(value: Any) -> float:
    if value is None:
        return -math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not -math.inf <= value <= 1e-3:
        raise ValueError(f"log-probabilities are numbers not above 0, got {as_line(value)}")
    return float(value)


def _hashable(of: Any) -> Any:
    return tuple(of) if isinstance(of, list) and all(isinstance(one, int) for one in of) else as_line(of)


def _added(one: float, other: float) -> float:
    """Returns the logarithm of the sum of two probabilities."""
    high, low = max(one, other), min(one, other)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def option_logprobs(seen: Mapping[str, float], options: Sequence[str]) -> tuple[float, ...]:
    """Returns the log-probability of each option by the first tokens that a server gave.

    A token counts for the option that it alone begins, in upper or lower case, with or without a space before it. The
    options that none begins are as likely as the least likely token, or as an equal share of what is left, if that is
    less: they are no likelier.

    Args:
        seen: token → log-probability.
        options: k answers, none of which begins another.
    """
    total = [0.0] * len(options)
    lower = list(map(plain, options))
    for token, logprob in seen.items():
        mine = plain(token)
        begins = [i for i, one in enumerate(lower) if mine and one.startswith(mine)]
        if len(begins) == 1:
            total[begins[0]] += math.exp(logprob)
    missing = total.count(0.0)
    left = max(1 - sum(map(math.exp, seen.values())), 0.0) / max(missing, 1)
    least = max(min(math.exp(min(seen.values())), left), LEAST_SEEN)
    return tuple(min(math.log(one or least), 0.0) for one in total)


def plain(text: str) -> str:
    """Returns an answer as it is compared with others."""
    return text.strip().casefold()
