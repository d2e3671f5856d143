"""How text is put before a language model: lists of similar texts, and instructions about one text.

What stands in an instruction's input is often written by evolution, which finds what fools a judge: it is fenced, and
what would look like a fence, like a new instruction or like the end of a message is taken apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from qdfeedback.values import no_string

SEPARATOR = "\n###\n"
STOPS = ("\n", "###", "@@@")
"""Where a continued list, one text to a line, ends (Bradley 2024, appendix)."""
_HASHES = re.compile(r"#(?=#)")
_UNSEEN = re.compile(  # of other categories than those that say so: fillers, blanks, joiners, variation selectors
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)
_LOOKALIKES = str.maketrans({"<": "‹", ">": "›", "[": "(", "]": ")", "｜": "¦"})
"""Marks of which chat templates make the ends of messages, as marks that a reader takes for the same."""


def few_shot(line: str, examples: Sequence[str]) -> str:
    """Returns a list of texts, each after the same line, that a base model continues with one more of their kind.

    Language model crossover (Meyerson 2023), laid out as in QDAIF (Bradley 2024), less the space at its end.
    """
    no_string(examples, "examples")
    line = line.rstrip()  # a space before the text belongs to the text's first token
    return SEPARATOR.join([*(f"{line} {example}" for example in examples), line])


def instruct(instruction: str, text: str | None = None) -> str:
    """Returns an instruction, and the text that it is about."""
    middle = "" if text is None else f"### Input:\n{fenced(text)}\n\n"
    return f"### Instruction:\n{instruction}\n\n{middle}### Response:\n"


def fenced(text: str) -> str:
    """Returns a text between marks that nothing inside it can close, nor end the message that it stands in.

    No angle or square bracket stays in it, no invisible character, and no two hashes side by side.
    """
    seen = (one for one in _UNSEEN.sub("", text) if one in "\n\t" or unicodedata.category(one)[0] != "C")
    shown = "".join(seen)
    return f"<text>\n{_HASHES.sub('# ', shown.translate(_LOOKALIKES))}\n</text>"


def ask(question: str, answers: Sequence[str], text: str | None = None) -> str:
    """Returns a question about a text, or what is shown beside it, to be answered with one of the answers."""
    no_string(answers, "answers")
    return instruct(f"{question} Answer with one of: {', '.join(answers)}.", text)


def rate(question: str, highest: int, text: str | None = None) -> str:
    """Returns a question about a text, or what is shown beside it, to be answered with a number from 1."""
    return instruct(f"{question} Answer with a number from 1 to {highest}.", text)


def compare(question: str, answers: Sequence[str], texts: Sequence[str]) -> str:
    """Returns a question about several texts, called text 1, text 2 and so on, with the answers that can be given."""
    no_string(answers, "answers")
    no_string(texts, "texts")
    shown = "\n\n".join(f"Text {i}:\n{fenced(text)}" for i, text in enumerate(texts, 1))
    asked = f"{question} Answer with one of: {', '.join(answers)}."
    return f"### Instruction:\n{asked}\n\n### Input:\n{shown}\n\n### Response:\n"
