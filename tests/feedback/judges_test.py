from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from qdfeedback.feedback.judges import ASKED, TURNED, UNCLEAR, Judge
from qdfeedback.feedback.queries import ask
from qdfeedback.models.language import Choices, Usage

PICTURES = {i: bytes([i]) for i in range(6)}


@dataclass(frozen=True)
class Looks:
    """Finds the picture nearer whose number is, and prefers the first place."""

    leans: float = 0.0
    mass: float = 1.0
    name: str = "looks"

    def look(self, prompts, options, pictures) -> Choices:
        assert all("picture 2" in prompt for prompt in prompts)
        numbers = np.array([[float(one[0]) for one in shown] for shown in pictures])
        odds = np.abs(numbers[:, 2] - numbers[:, 0]) - np.abs(numbers[:, 1] - numbers[:, 0]) + self.leans
        logs = np.log(self.mass) - np.logaddexp(0, np.stack([-odds, odds], axis=1))
        return Choices(logs, (None,) * len(prompts), Usage(len(prompts)))


def queries(*items: tuple[int, int, int]):
    rows = np.array(items)
    return ask(rows, np.arange(6), np.full(len(rows), "random"), batch="b", shown=rows[..., None].astype(float))


def judge(**looks: float) -> Judge:
    return Judge(Looks(**looks), lambda ids: {int(one): PICTURES[int(one)] for one in ids})


def test_the_record_tells_that_a_model_answered() -> None:
    assert (judge().kind, judge().name) == ("model", "looks")


@pytest.mark.parametrize("leans", [0.0, 3.0, -3.0])
def test_the_nearer_one_wins_whatever_place_the_model_prefers(leans: float) -> None:
    one = judge(leans=leans)
    found = one.answer(queries((0, 1, 5), (0, 5, 1), (3, 2, 4)), None)
    assert found.query.tolist() == [0, 1, 2]
    assert dict(+one.counts) == {ASKED: 3} | ({} if abs(leans) < 1 else {TURNED: 1})
    assert found.choice.tolist() == [0, 1, -1]
    np.testing.assert_allclose(found.probability, 1 / (1 + np.exp([4.0, -4.0, 0.0])))


def test_a_model_that_does_not_understand_answers_nothing() -> None:
    one = judge(mass=0.3)
    assert len(one.answer(queries((0, 1, 5)), None)) == 0
    assert one.counts[UNCLEAR] == 1
