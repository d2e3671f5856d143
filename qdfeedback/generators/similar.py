"""Which texts say nearly the same: what was seen is remembered, and found again by its words in order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from qdfeedback.types import Floats
from qdfeedback.values import no_string

_ALONE = (  # scripts that write no spaces: Thai to Lao, Burmese, Khmer, kana and bopomofo, Chinese, narrow kana
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u312f\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_ALONE}]|[^\W{_ALONE}]+")


class Words:
    """Texts, compared by ROUGE-L: the longest sequence of words that two have in common, in that order (Lin 2004).

    Words are compared in lower case and without stemming, where a script has no spaces letter by letter; the score is
    the F measure, 1 = the same words.

    Attributes:
        recalled: how many candidates of a history were remembered again.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        no_string(texts, "texts")
        self.recalled = 0
        self._letters: dict[str, str] = {}  # a word as one character, for a library that compares characters
        self._coded: list[str] = []
        self._lengths: list[int] = []
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._coded)

    def add(self, text: str) -> None:
        """Remembers a text."""
        coded = self._code(text)
        self._coded.append(coded)
        self._lengths.append(len(coded))

    def forget_first(self) -> None:
        """Forgets the text that was remembered first."""
        del self._coded[0], self._lengths[0]

    def likest(self, text: str) -> float:
        """Returns the highest ROUGE-L between a text and those remembered; 0 where there are none."""
        return float(self.rouge_l(text).max(initial=0.0))

    def rouge_l(self, text: str) -> Floats:
        """Returns (n,) ROUGE-L between a text and each one remembered."""
        if not self._coded:
            return np.empty(0)
        coded = self._code(text)
        common = process.cdist([coded], self._coded, scorer=LCSseq.similarity, dtype=np.int32)[0]
        lengths = np.array(self._lengths) + len(coded)
        found: Floats = np.where(lengths > 0, 2 * common / np.maximum(lengths, 1), 1.0)  # = 2PR / (P + R)
        return found

    def _code(self, text: str) -> str:
        letters = self._letters
        words = [
            word for word in _WORD.findall(text.lower()) if len(word) > 1 or unicodedata.category(word)[0] in "LMN"
        ]
        for word in words:
            if word not in letters:
                letters[word] = chr(_place(len(letters)))
        return "".join(letters[word] for word in words)


def _place(number: int) -> int:
    """Returns a code point for a word, past those that stand for no character of their own."""
    place = number + 0x100
    return place if place < 0xD800 else place + 0x800
