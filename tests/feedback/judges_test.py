from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from qdfeedback.feedback.judges import ASKED, PAIR_QUESTION, QUESTION, TURNED, UNCLEAR, Judge
from qdfeedback.feedback.queries import ask
from qdfeedback.models.language import Choices, Usage
from qdfeedback.types import Queries
from tests.contracts import check_annotator

PICTURES = {i: bytes([i]) for i in range(6)}
OWN = "Which is rounder?"
asked: list[str] = []


@dataclass(frozen=True)
class Looks:
    """Finds the picture nearer whose number is, of two the higher one better, and prefers the first place."""

    leans: float = 0.0
    mass: float = 1.0
    name: str = "looks"

    def look(self, prompts, options, pictures) -> Choices:
        asked.append(prompts[0])
        assert all("picture 2" in prompt or prompt == OWN for prompt in prompts)
        numbers = np.array([[float(one[0]) for one in shown] for shown in pictures])
        if numbers.shape[1] == 2:
            assert set(options) == {("1", "2")}
            odds = numbers[:, 0] - numbers[:, 1] + self.leans
        else:
            assert set(options) == {("2", "3")}
            odds = np.abs(numbers[:, 2] - numbers[:, 0]) - np.abs(numbers[:, 1] - numbers[:, 0]) + self.leans
        logs = np.log(self.mass) - np.logaddexp(0, np.stack([-odds, odds], axis=1))
        return Choices(logs, (None,) * len(prompts), Usage(len(prompts)))


def queries(*items: tuple[int, ...], task: str = "triplet") -> Queries:
    rows, purpose = np.array(items), np.full(len(items), "random")
    return ask(rows, np.arange(6), purpose, batch="b", shown=rows[..., None].astype(float), task=task)


def judge(question: str = "", **looks: float) -> Judge:
    shown = lambda ids: {int(one): PICTURES[int(one)] for one in ids if int(one) in PICTURES}  # noqa: E731
    return Judge(Looks(**looks), shown, question)


def test_the_record_tells_that_a_model_answered() -> None:
    assert (judge().kind, judge().name) == ("model", "looks")


@pytest.mark.parametrize("leans", [0.0, 3.0, -3.0])
def test_the_nearer_one_wins_whatever_place_the_model_prefers(leans: float) -> None:
    one = judge(leans=leans)
    found = one.answer(queries((0, 1, 5), (0, 5, 1), (3, 2, 4)))
    assert found.query.tolist() == [0, 1, 2]
    assert dict(+one.counts) == {ASKED: 3} | ({} if abs(leans) < 1 else {TURNED: 1})
    assert found.choice.tolist() == [0, 1, -1]
    np.testing.assert_allclose(found.probability, 1 / (1 + np.exp([4.0, -4.0, 0.0])))


def test_a_model_that_does_not_understand_answers_nothing() -> None:
    one = judge(mass=0.3)
    assert len(one.answer(queries((0, 1, 5)))) == 0
    assert one.counts[UNCLEAR] == 1


@pytest.mark.parametrize("leans", [0.0, 3.0, -3.0])
def test_the_better_of_two_wins_whatever_place_the_model_prefers(leans: float) -> None:
    one = judge(leans=leans)
    found = one.answer(queries((5, 1), (1, 5), (2, 2), task="pair"))
    assert found.choice.tolist() == [0, 1, -1]
    np.testing.assert_allclose(found.probability, 1 / (1 + np.exp([4.0, -4.0, 0.0])))
    assert dict(+one.counts) == {ASKED: 3} | ({} if abs(leans) < 1 else {TURNED: 1})


@pytest.mark.parametrize(("task", "items"), [("triplet", (0, 1, 5)), ("pair", (1, 5))])
def test_each_task_has_its_question_in_place_of_which_another_may_stand(task: str, items: tuple[int, ...]) -> None:
    asked.clear()
    for question in ("", OWN):
        judge(question).answer(queries(items, task=task))
    assert asked == [{"triplet": QUESTION, "pair": PAIR_QUESTION}[task], OWN]


def test_a_judge_gives_no_ratings() -> None:
    with pytest.raises(ValueError, match=r"a judge compares only: task must be one of .*, got 'rating'"):
        judge().answer(queries((1,), task="rating"))


@pytest.mark.parametrize(
    ("task", "items"), [("triplet", [(0, 1, 5), (0, 5, 1), (3, 2, 4)]), ("pair", [(5, 1), (1, 2), (2, 2)])]
)
def test_a_judge_keeps_the_contract(task: str, items: list[tuple[int, ...]]) -> None:
    check_annotator(judge(leans=1.0), queries(*items, task=task), unknown=77)


def test_counts_go_on_from_a_state() -> None:
    one, again = judge(mass=0.3), judge()
    one.answer(queries((0, 1, 5)))
    again.answer(queries((0, 1, 5), (0, 1, 4)))
    again.restore(json.loads(json.dumps(one.state())))
    assert +again.counts == +one.counts == {ASKED: 1, UNCLEAR: 1}
