"""What a model writes before its answer: the marks by which thoughts are known, and how they are taken out or closed.

The marks are those of the models and reasoning parsers of 2024 to 2026:

    <think>, <thinking>, <thought>, <seed:think>, <mm:think> …    DeepSeek, Qwen, GLM, EXAONE, Seed, MiniMax
    [THINK]                                                        Magistral
    ◁think▷                                                        Kimi
    <|START_THINKING|>, <|begin_of_thought|>                       Command, Sky-T1
    <|open|>think<|sep|>                                           Kimi K3
    <|channel|>analysis<|message|> … <|channel|>final<|message|>   gpt-oss (harmony)
    <|channel>thought … <channel|>                                 Gemma 4
    Here is my thought process: … Here is my response:             Granite 3.2
"""

from __future__ import annotations

import re

_WORDS = r"(?!end_)(?:\w+[:_])?(?:think|thinking|thoughts?|reason|reasoning|scratchpad)"
_OPENS = re.compile(
    rf"<{_WORDS}(?:\s[^<>]*)?>|<\|(?:{_WORDS}|begin_of_thought|start_thinking|thinking_start)\|>"
    r"|<\|open\|>think<\|sep\|>|<\|channel>\s*thought|<\|channel\|>\s*(?:analysis|commentary)[^<]{0,80}<\|message\|>"
    r"|◁think▷|(?-i:\[THINK\])",
    re.IGNORECASE,
)
_CLOSES = re.compile(
    rf"</{_WORDS}\s*>|<\|(?:/{_WORDS}|end_of_thought|end_thinking|thinking_end)\|>"
    r"|<\|close\|>think<\|sep\|>|<channel\|>|<\|channel\|>\s*final[^<]{0,80}<\|message\|>"
    r"|◁/think▷|(?-i:\[/THINK\])|(?-i:assistantfinal)",
    re.IGNORECASE,
)
_BEGINS = re.compile(r"\s*(?:<\|start\|>assistant)?\s*")
_PROSE_OPENS = re.compile(r"(?:Here is|Here's) my thought process:|analysis(?=[A-Z])")
"""Marks that are words, which count at the beginning alone: Granite's, and harmony's without its special tokens."""
_PROSE_CLOSES = re.compile(r"(?:Here is|Here's) my response:|assistantfinal")
_WRAPS = re.compile(
    r"\s*(?:<(?:answer|response)>|<\|begin_of_solution\|>|<\|start_(?:response|text)\|>|<\|open\|>response<\|sep\|>"
    r"|<\|content\|>)",
    re.IGNORECASE,
)
_UNWRAPS = re.compile(
    r"(?:</(?:answer|response)>|<\|end_of_solution\|>|<\|end_(?:response|text)\|>|<\|close\|>response<\|sep\|>"
    r"|<\|(?:return|end|im_end|eot_id)\|>)\s*\Z",
    re.IGNORECASE,
)
"""What stands around an answer, and only where there were thoughts before it is taken away."""

_FINAL = "<|channel|>final<|message|>"
_NAME = re.compile(r"([<\[◁]\|?)([\w:]+).*?(\|?[>\]▷])")
_OF_THEIR_OWN = {
    "<|start_thinking|>": "<|END_THINKING|>", "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|thinking_start|>": "<|thinking_end|>", "<|open|>think<|sep|>": "<|close|>think<|sep|>",
}  # fmt: skip
"""Closing marks that are not the opening one with a slash."""


def without_thoughts(text: str) -> tuple[str, bool]:
    """Returns what a reply says beside its thoughts, and whether the thoughts did not come to an end.

    A closing mark alone ends thoughts too: the template has opened them. Text without a mark comes back as it is.

    Args:
        text: a whole reply, or one that was cut off.
    """
    begin = _BEGINS.match(text)
    at = begin.end() if begin else 0
    if prose := _PROSE_OPENS.match(text, at):
        end = _PROSE_CLOSES.search(text, prose.end())
        return (_bare(text[end.end() :]), False) if end else ("", True)
    kept, rest = "", text
    if opened := _OPENS.match(text, at):  # pairs can be told apart: what stands between them is text
        kept, rest, unfinished = _outside(text, opened)
        if unfinished:
            return kept.strip(), True
    closes = list(_CLOSES.finditer(rest))
    if closes:
        kept, rest = "", rest[closes[-1].end() :]
    if opened is None and not closes and _OPENS.search(rest) is None:
        return text, False
    open_ = _OPENS.search(rest)
    said = _bare(kept + (rest[: open_.start()] if open_ else rest))
    return said, open_ is not None


def _outside(text: str, opened: re.Match[str]) -> tuple[str, str, bool]:
    """Returns what stands between pairs of marks, what follows the last pair, and whether one is left open."""
    kept: list[str] = []
    place = 0
    mark: re.Match[str] | None = opened
    while mark is not None:
        kept.append(text[place : mark.start()])
        end = _CLOSES.search(text, mark.end())
        if end is None:
            return "".join(kept), "", True
        place = end.end()
        mark = _OPENS.search(text, place)
    return "".join(kept), text[place:], False


def _bare(text: str) -> str:
    """Returns an answer without what models put around it behind their thoughts."""
    begin = _WRAPS.match(text)
    return _UNWRAPS.sub("", text[begin.end() :] if begin else text).strip()


def closes_thoughts(prompt: str) -> str | None:
    """Returns what closes the thoughts that the last words of a prompt open; None where they open none."""
    text = prompt.rstrip()
    if text.endswith("<|start|>assistant"):  # harmony names a channel in any case
        return _FINAL
    mark = next((one[0] for one in _OPENS.finditer(text, max(len(text) - 100, 0)) if one.end() == len(text)), None)
    if mark is None:
        return None
    if mark.startswith("<|channel"):
        return "<channel|>" if mark.startswith("<|channel>") else f"<|end|><|start|>assistant{_FINAL}"
    return _OF_THEIR_OWN.get(mark.lower()) or _NAME.sub(r"\1/\2\3", mark)
