"""What a server says that a request used: read under the names that servers have for it, and never below what it was.

What is missing is taken at its worst; what cannot be, a count below 0 say, is no usage at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qdfeedback.models.language import Usage
from qdfeedback.values import brief

MOST = 10**9  # tokens: no request uses so many
READ = ("prompt_tokens", "input_tokens", "prompt_eval_count", "promptTokenCount", "tokens_evaluated")
WRITTEN = (
    "completion_tokens", "output_tokens", "eval_count", "candidatesTokenCount", "generated_tokens", "tokens_predicted",
)  # fmt: skip
TOTAL = ("total_tokens", "totalTokenCount")
THOUGHT = ("reasoning_tokens", "thoughtsTokenCount")
_DETAILS = ("completion_tokens_details", "output_tokens_details")


def used_by(counted: Any, worst: Usage, *, wrote: bool = True) -> Usage:
    """Returns what a request used.

    Some servers count what a model thought in the total alone, some beside what it wrote. A prompt of no token cannot
    be, nor a text of none: such a count is a missing one.

    Args:
        counted: the reply's `usage`, or the reply itself of servers that count there; None = nothing is counted.
        worst: the most that the request can have used.
        wrote: whether there is any text.

    Raises:
        ValueError: A count is none.
    """
    if counted is None:
        return worst
    if not isinstance(counted, Mapping):
        raise ValueError(f"usage is no object: {brief(counted):.80}")
    read, written, total = (_count(counted, names) for names in (READ, WRITTEN, TOTAL))
    if total is not None:
        read = total - written if read is None and written else read
        written = total - read if written is None and read else written
    if written is not None and read:
        written = max(written, (total or 0) - read)
    thought = thought_in(counted)
    if written is not None and thought > written:
        written += thought
    if written is None or written < 0 or (wrote and not written):
        written = worst.completion_tokens
    return Usage(1, read if read and read > 0 else worst.prompt_tokens, written)


def thought_in(counted: Any) -> int:
    """Returns how many of the tokens were thoughts, as far as the server says so."""
    if not isinstance(counted, Mapping):
        return 0
    places = [counted, *(counted[name] for name in _DETAILS if isinstance(counted.get(name), Mapping))]
    return max(_count(place, THOUGHT) or 0 for place in places)


def counts(found: Mapping[str, Any]) -> Any:
    """Returns where a reply counts: in its `usage`, or as some servers do in itself; None where nowhere."""
    if found.get("usage") is not None:
        return found["usage"]
    return found if any(found.get(name) is not None for name in (*READ, *WRITTEN)) else None


def _count(counted: Mapping[str, Any], names: Sequence[str]) -> int | None:
    values = [(name, counted[name]) for name in names if counted.get(name) is not None]
    for name, value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST or value % 1:
            raise ValueError(f"usage: {name} is {brief(value):.40}")
    return max((int(value) for _, value in values), default=None)
