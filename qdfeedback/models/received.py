"""What a server sent for a call, read for what it is: whether it is whole, what is thought, what an answer is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from qdfeedback.models.calls import Call, Reply, UnansweredError
from qdfeedback.models.first_token import first_tokens, option_logprobs, plain
from qdfeedback.models.language import CUT_OFF, EMPTY, FILTERED, ONLY_THOUGHTS, REFUSED, Usage, end_at
from qdfeedback.models.said import as_line, message_in, one_line
from qdfeedback.models.thoughts import without_thoughts

FINISHED = ("stop", "eos", "eos_token", "end_turn", "stop_sequence")
"""Reasons for which a text is whole, as OpenAI's API, Together, TGI and Anthropic's call it."""
LENGTH = ("length", "max_tokens", "max_output_tokens", "model_length")
FILTER = ("content_filter",)
PASSING = (
    "error", "abort", "aborted", "cancelled", "canceled", "network_error", "timeout", "insufficient_system_resource",
    "server_error", "overloaded",
)  # fmt: skip
"""Reasons for which another attempt may bring a text. Any other is the text's or the model's own, and is not asked
again."""
NO_LOGPROBS = "no log-probabilities"
LEAST_LOGPROBS = 5  # fewer than so many alternatives say too little about those that are missing
CUT_OFF_ANSWER = "cut off before an answer: a model that thinks needs room for it"
THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details", "thinking", "thought")
"""Fields of a message that hold thoughts."""


def choice_in(found: Any) -> Mapping[str, Any]:
    """Returns the one choice of a reply.

    Raises:
        ValueError: It has none, several, or is no reply at all.
    """
    choices = found.get("choices") if isinstance(found, Mapping) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], Mapping):
        said = found if message_in(found) is None else message_in(found)
        raise ValueError(f"a reply with one choice was expected, got {as_line(said)}")
    return choices[0]


def ended(choice: Mapping[str, Any], usage: Usage) -> str:
    """Returns how a choice ended: "finished", "length" or "filter".

    Raises:
        UnansweredError: In any other way; its reason is the server's name for it.
    """
    finish = choice.get("finish_reason")
    name = str(finish).lower()
    wrong = choice.get("error")
    if name in FINISHED and not wrong:
        return "finished"
    if name in LENGTH and not wrong:
        return "length"
    if name in FILTER and not wrong:
        return "filter"
    said = f": {one_line(message_in(wrong) or str(wrong))}" if wrong else ""
    what = f"finish_reason {one_line(str(finish), longest=40)!r}" if finish else "no finish_reason"
    raise UnansweredError(f"{what}{said}", again=bool(wrong) or not finish or name in PASSING, paid=usage)


def text_in(choice: Mapping[str, Any], *, chat: bool) -> tuple[str, bool]:
    """Returns the text of a choice, thoughts that stand in it included, and whether thoughts stand beside it.

    Raises:
        ValueError: There is no text where the API has one.
    """
    if not chat:
        text = choice.get("text")
        if text is not None and not isinstance(text, str):
            raise ValueError(f"a text was expected, got {as_line(text)}")
        return _known(text or ""), False
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise ValueError(f"a message was expected, got {as_line(message)}")
    content, thought = message.get("content"), any(message.get(name) for name in THOUGHTS)
    if isinstance(content, list):  # of parts, as Mistral's API has it
        parts = [one for one in content if isinstance(one, Mapping)]
        texts = [one.get("text") for one in parts if one.get("type") in ("text", "output_text")]
        others = {str(one.get("type")) for one in parts} - {"text", "output_text"}
        fine = len(parts) == len(content) and all(isinstance(one, str) for one in texts)
        if not fine or others - {*THOUGHTS, "redacted_thinking"}:
            raise ValueError(f"content that is a text was expected, got {as_line(content)}")
        content, thought = "".join(map(str, texts)), thought or bool(others)
    if content is not None and not isinstance(content, str):
        raise ValueError(f"content that is a text was expected, got {as_line(content)}")
    return _known(content or ""), thought


def read_text(choice: Mapping[str, Any], call: Call, usage: Usage, *, chat: bool, thought: bool, room: int) -> Reply:
    """Returns the reply to a call for a text, or for an answer that is drawn.

    Args:
        choice: of the server's.
        call: what was asked.
        usage: of the request.
        chat: it was asked with messages.
        thought: the server counts tokens of thoughts.
        room: tokens that were for thoughts.

    Raises:
        UnansweredError: It did not end as it should.
        ValueError: It is not what the API says.
    """
    end = ended(choice, usage)
    raw, beside = text_in(choice, chat=chat)
    text, unfinished = without_thoughts(raw)
    thought = thought or beside or unfinished or text != raw
    text = text.lstrip() if beside else text
    message = choice.get("message")
    refusal = message.get("refusal") if isinstance(message, Mapping) else None
    if end == "filter":
        return Reply(reason=FILTERED, usage=usage)
    if refusal and isinstance(refusal, str) and not text.strip():
        return Reply(reason=f"{REFUSED}: {one_line(refusal)}", usage=usage)
    if call.options:
        answer = None if unfinished else answer_in(text, call.options, structured=call.how == "structured")
        reason = f"{CUT_OFF_ANSWER} (thoughts: {room} tokens)" if end == "length" else None
        reason = reason or (ONLY_THOUGHTS if unfinished else "not one of the answers")
        return Reply(answer or "", reason=None if answer else reason, usage=usage)
    kept, stopped = end_at(text, call.sampling.stop if call.sampling else ())
    cut = end == "length" and not stopped
    if unfinished or not kept.strip():
        return Reply(reason=_why_empty(cut=cut, thought=thought, unfinished=unfinished, room=room), usage=usage)
    return Reply(kept, reason=CUT_OFF if cut else None, usage=usage)


def _why_empty(*, cut: bool, thought: bool, unfinished: bool, room: int) -> str:
    """Returns why there is no text."""
    if cut and thought:
        return f"{EMPTY}: thinking used up the room (thoughts: {room} tokens)"
    if cut:
        return f"{EMPTY}: cut off before any text, as where a model thinks (thoughts: {room} tokens)"
    if unfinished:
        return ONLY_THOUGHTS
    return f"{EMPTY}: nothing came after the thoughts" if thought else EMPTY


def read_logprobs(choice: Mapping[str, Any], call: Call, usage: Usage) -> Reply:
    """Returns how likely the options are by the first token.

    Raises:
        UnansweredError: The server did not tell, or not enough.
        ValueError: What it told cannot be.
    """
    if ended(choice, usage) == "filter":
        return Reply(reason=FILTERED, usage=usage)
    seen = first_tokens(choice.get("logprobs"))
    if len(seen) < LEAST_LOGPROBS:
        raise UnansweredError(NO_LOGPROBS, again=False, paid=usage)
    return Reply(logprobs=option_logprobs(seen, call.options), usage=usage)


def answer_in(text: str, options: Sequence[str], *, structured: bool) -> str | None:
    """Returns the option that a text is, whole: nothing is looked for within it."""
    if structured:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return None
        said = found["answer"] if isinstance(found, dict) and set(found) == {"answer"} else ""
        return said if isinstance(said, str) and said in options else None
    said = plain(text.strip().strip("\"'*`").removesuffix("."))
    return next((one for one in options if one.casefold() == said), None)


def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns a JSON object; a name that stands in it several times has a tuple of all its values."""
    made: dict[str, Any] = dict(found)
    if len(made) < len(found):
        for name in made:
            values = tuple(value for one, value in found if one == name)
            made[name] = values if len(values) > 1 else values[0]
    return made


def _known(text: str) -> str:
    """Returns a text that can be kept: half of a character could be kept nowhere."""
    return text.encode("utf-8", "replace").decode()
