"""Models as annotators: a vision-language model that says which of two pictures is more like a third."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from qdfeedback.feedback.people import can_be_shown
from qdfeedback.models.failing import Failing
from qdfeedback.models.language import LEAST_MASS, SeeingModel
from qdfeedback.types import Answers, Ints, Queries

QUESTION = "Look at picture 1. Which of the other two is more like it: picture 2 or picture 3? Answer with 2 or 3."
SIDES = ("2", "3")
ASKED, UNCLEAR, TURNED = "questions", "no clear answer", "answers that go with the places"


@dataclass(frozen=True)
class Judge:
    """A model that looks at pictures.

    Each question is asked twice, with left and right in either place, and the log-odds are averaged: models prefer a
    place.

    Attributes:
        model: answers.
        show: candidate ids → the PNG file of each; what cannot be shown is left out, and not asked about.
        question: about picture 1, to be answered with 2 or 3.
        counts: of questions asked, of those with no clear answer, of those whose answer went with the places, and of
            each reason why a call had none.
        failing: questions that the model's server left without an answer, and why.
    """

    model: SeeingModel
    show: Callable[[Ints], Mapping[int, bytes]]
    question: str = QUESTION
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

    def answer(self, queries: Queries, shown: object) -> Answers:  # noqa: ARG002 - it looks at what `show` gives
        """Returns an answer to each query to which the model gave a clear one.

        Args:
            queries: t questions about candidates.
            shown: is not looked at.

        Raises:
            MostFailError: More than half of all questions had no answer for one reason of the model's server.
        """
        pictures = self.show(np.unique(queries.items))
        asked = np.flatnonzero(can_be_shown(queries, pictures))
        queries = queries.where(asked)
        if not len(queries):
            return Answers(asked, np.empty(0, dtype=np.int8), np.empty(0))
        rows = [row for anchor, left, right in queries.items for row in ((anchor, left, right), (anchor, right, left))]
        said = self.model.look(
            [self.question] * len(rows), [SIDES] * len(rows), [[pictures[int(one)] for one in row] for row in rows]
        )
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
        right = (first + second) / 2
        query = np.flatnonzero(np.isfinite(right))
        choice = np.where(right[query] == 0, -1, right[query] > 0).astype(np.int8)
        return Answers(asked[query], choice, 1 / (1 + np.exp(-right[query])))
