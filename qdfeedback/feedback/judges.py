"""Models as annotators: one that says which of two pictures, or of two texts, is more like a third, or better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qdfeedback.feedback.people import can_be_shown
from qdfeedback.models.failing import Failing
from qdfeedback.models.frames import compare
from qdfeedback.models.language import LEAST_MASS, Choices, LanguageModel, SeeingModel
from qdfeedback.types import Answers, Bools, Floats, Ints, Queries

QUESTION = "Look at picture 1. Which of the other two is more like it: picture 2 or picture 3? Answer with 2 or 3."
PAIR_QUESTION = "Look at both pictures. Which of them is better: picture 1 or picture 2? Answer with 1 or 2."
ASKS = {"triplet": (QUESTION, ("2", "3")), "pair": (PAIR_QUESTION, ("1", "2"))}
"""Task → what is asked about pictures, and the answers: left, right."""
TEXTS = {
    "triplet": "Read text 1. Which of the other two is more like it: text 2 or text 3?",
    "pair": "Read both texts. Which of them is better: text 1 or text 2?",
}
"""Task → what is asked about texts."""
ASKED, UNCLEAR, TURNED = "questions", "no clear answer", "answers that go with the places"


@dataclass(frozen=True)
class Judge:
    """A model that looks at pictures, or reads texts, and compares them.

    Each question is asked twice, with left and right in either place, and the log-odds are averaged: models prefer a
    place.

    Attributes:
        model: answers; for pictures one that sees.
        show: candidate ids → the PNG file of each, or its text; what cannot be shown is left out, and not asked about.
        question: what is asked in place of the usual question: triplets are shown as picture or text 1, the anchor, and
            2 and 3, and answered with 2 or 3; pairs as 1 and 2.
        counts: of questions asked, of those with no clear answer, of those whose answer went with the places, and of
            each reason why a call had none.
        failing: questions that the model's server left without an answer, and why.
    """

    model: SeeingModel | LanguageModel
    show: Callable[[Ints], Mapping[int, bytes | str]]
    question: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    failing: Failing = field(default_factory=lambda: Failing("questions"), repr=False, compare=False)

    @property
    def kind(self) -> str:
        """`model`."""
        return "model"

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    @property
    def publishes(self) -> bool:
        """False: it answers at once."""
        return False

    def can_judge(self, ids: Ints) -> Bools:
        """Returns (n,) True: what can be shown, it can judge."""
        return np.ones(len(ids), dtype=bool)

    def answer(self, queries: Queries) -> Answers:
        """Returns an answer to each triplet or pair to which the model gave a clear one.

        Raises:
            ValueError: Ratings are asked for.
            MostFailError: More than half of all questions had no answer for one reason of the model's server.
        """
        if queries.task not in ASKS:
            raise ValueError(f"a judge compares only: task must be one of {tuple(ASKS)}, got {queries.task!r}")
        shown = self.show(np.unique(queries.items))
        asked = np.flatnonzero(can_be_shown(queries, shown))
        if not len(asked):
            return Answers(asked, np.empty(0, dtype=np.int8), np.empty(0))
        right = self._log_odds(queries.where(asked), shown)
        query = np.flatnonzero(np.isfinite(right))
        choice = np.where(right[query] == 0, -1, right[query] > 0).astype(np.int8)
        return Answers(asked[query], choice, 1 / (1 + np.exp(-right[query])))

    def state(self) -> dict[str, Any]:
        """Returns its counts, as JSON."""
        return dict(self.counts)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on counting from a state."""
        self.counts.clear()
        self.counts.update(state)

    def _log_odds(self, queries: Queries, shown: Mapping[int, bytes | str]) -> Floats:
        """Returns the (t,) mean log-odds of right over both orders, NaN where an answer was not clear."""
        turned = queries.items.copy()
        turned[:, -2:] = queries.items[:, :-3:-1]
        rows = np.stack([queries.items, turned], axis=1).reshape(-1, turned.shape[1]).tolist()
        said = self._said(queries.task, [[shown[one] for one in row] for row in rows])
        self.counts.update(reason for reason in said.reasons if reason is not None)
        self.failing.add(
            [one or other for one, other in zip(said.reasons[::2], said.reasons[1::2], strict=True)], self.name
        )
        unclear = np.exp(said.logprobs).sum(axis=1) < LEAST_MASS
        logs = np.where(unclear[:, None], np.nan, said.logprobs).reshape(-1, 2, 2)
        first, second = logs[:, 0, 1] - logs[:, 0, 0], logs[:, 1, 0] - logs[:, 1, 1]  # both: how much right is likelier
        self.counts[ASKED] += len(queries)
        self.counts[UNCLEAR] += int(np.isnan(first + second).sum())
        self.counts[TURNED] += int((first * second < 0).sum())
        found: Floats = (first + second) / 2
        return found

    def _said(self, task: str, rows: Sequence[Sequence[bytes | str]]) -> Choices:
        """Returns how likely each answer is, of rows of pictures or of texts."""
        question, sides = ASKS[task]
        model: Any = self.model
        if any(isinstance(one, str) for row in rows for one in row):
            texts = [[str(one) for one in row] for row in rows]
            asked: Choices = model.choose(
                [compare(self.question or TEXTS[task], sides, row) for row in texts], [sides] * len(rows)
            )
            return asked
        seen: Choices = model.look([self.question or question] * len(rows), [sides] * len(rows), rows)
        return seen
