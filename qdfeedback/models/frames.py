"""How text is put before a language model: lists of similar texts, and instructions about one text.

What stands in an instruction's input is often written by evolution, which finds what fools a judge: it is fenced, and
what would look like a fence, like a new instruction or like the end of a message is taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SEPARATOR = "\n###\n"
STOPS = ("\n", "###", "@@@")
"""Where a continued list, one text to a line, ends (Bradley 2024, appendix)."""
_FENCE = re.compile(r"<\s*(/?)\s*text\s*>", re.IGNORECASE)
_HASHES = re.compile(r"#(?=#)")
_MARKS = re.compile(r"<(?=[|｜])|<(?=/?s>)|<(?=(?:start|end)_of_turn>)|<(?=<SYS|</SYS)|\[(?=/?INST\])", re.IGNORECASE)
"""Begins what chat models take for the end of a message, as text that looks the same to a reader."""


def few_shot(line: str, examples: Sequence[str]) -> str:
    """Returns a list of texts, each after the same line, that a base model continues with one more of their kind.

    Language model crossover (Meyerson 2023), with the layout of QDAIF (Bradley 2024).
    """
    line = line.rstrip()  # a space before the text belongs to the text's first token
    return SEPARATOR.join([*(f"{line} {example}" for example in examples), line])


def instruct(instruction: str, text: str | None = None) -> str:
    """Returns an instruction, and the text that it is about."""
    middle = "" if text is None else f"### Input:\n{fenced(text)}\n\n"
    return f"### Instruction:\n{instruction}\n\n{middle}### Response:\n"


def fenced(text: str) -> str:
    """Returns a text between marks that nothing inside it can close."""
    inside = _HASHES.sub("# ", _MARKS.sub("(", _FENCE.sub(r"(\1text)", text)))
    return f"<text>\n{inside}\n</text>"


def ask(question: str, answers: Sequence[str], text: str) -> str:
    """Returns a question about a text, to be answered with one of the answers, in the order given."""
    return instruct(f"{question} Answer with one of: {', '.join(answers)}.", text)


def rate(question: str, highest: int, text: str) -> str:
    """Returns a question about a text, to be answered with a number from 1."""
    return instruct(f"{question} Answer with a number from 1 to {highest}.", text)
