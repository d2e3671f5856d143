from __future__ import annotations

import numpy as np
import pytest

from qdfeedback.models.language import Usage
from qdfeedback.models.usage import MOST, READ, TOTAL, WRITTEN, counts, used_by

WORST = Usage(1, 1000, 60)


@pytest.mark.parametrize(
    ("counted", "read", "written"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}, 5, 7),
        ({"prompt_tokens": 5, "completion_tokens": 7}, 5, 7),
        ({"prompt_tokens": 5.0, "completion_tokens": 7.0}, 5, 7),
        ({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 90}, 5, 85),  # thoughts in the total alone
        ({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 3}, 5, 7),
        ({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 0}, 5, 7),
        ({"prompt_tokens": 5, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 9}}, 5, 16),
        ({"prompt_tokens": 5, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}}, 5, 9),
        ({"prompt_tokens": 5, "completion_tokens": None, "total_tokens": 12}, 5, 7),
        ({"completion_tokens": 7, "total_tokens": 12}, 5, 7),
        ({"input_tokens": 5, "output_tokens": 7}, 5, 7),
        ({"promptTokenCount": 5, "candidatesTokenCount": 7, "totalTokenCount": 20}, 5, 15),
        ({"prompt_eval_count": 5, "eval_count": 7}, 5, 7),
        ({"prompt_tokens": 0, "input_tokens": 5, "completion_tokens": 0, "output_tokens": 7}, 5, 7),
    ],
)
def test_what_is_counted_is_read_by_any_name(counted, read: int, written: int) -> None:
    assert used_by(counted, WORST) == Usage(1, read, written)


@pytest.mark.parametrize(
    ("counted", "read", "written"),
    [
        (None, 1000, 60),
        ({}, 1000, 60),
        ({"total_tokens": 30}, 1000, 60),
        ({"prompt_tokens": 5, "total_tokens": 5}, 5, 60),
        ({"prompt_tokens": 5, "completion_tokens": None}, 5, 60),
        ({"completion_tokens": 7}, 1000, 7),
        ({"completion_tokens": 7, "total_tokens": 3}, 1000, 7),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, 1000, 60),
    ],
)
def test_what_is_missing_is_booked_at_its_worst(counted, read: int, written: int) -> None:
    assert used_by(counted, WORST) == Usage(1, read, written)


def test_a_reply_without_text_may_have_written_nothing() -> None:
    assert used_by({"prompt_tokens": 5, "completion_tokens": 0}, WORST, wrote=False) == Usage(1, 5, 0)


@pytest.mark.parametrize("wrong", [-1, -(10**9), True, "5", 5.5, float("nan"), float("inf"), MOST + 1, [5], {"a": 5}])
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens", "total_tokens", "output_tokens"])
def test_what_cannot_be_is_no_usage(name: str, wrong) -> None:
    with pytest.raises(ValueError, match=f"usage: {name} is "):
        used_by({"prompt_tokens": 5, "completion_tokens": 7} | {name: wrong}, WORST)


@pytest.mark.parametrize("counted", [[], [5], "5", 5, True])
def test_usage_that_is_no_object_is_none(counted) -> None:
    with pytest.raises(ValueError, match="usage is no object"):
        used_by(counted, WORST)


def test_no_usage_is_ever_below_what_was_counted(rng: np.random.Generator) -> None:
    names = (*READ, *WRITTEN, *TOTAL, "reasoning_tokens")
    values = [None, -3, 0, 1, 7, 40, 10**6, 2.0, "7", True, [1]]
    for _ in range(3000):
        counted = {str(name): values[rng.integers(len(values))] for name in rng.choice(names, rng.integers(6))}
        try:
            found = used_by(counted, WORST)
        except ValueError:
            continue
        for given, of in ((found.prompt_tokens, READ), (found.completion_tokens, WRITTEN)):
            assert given >= max((int(counted.get(name) or 0) for name in of), default=0)
            assert given > 0


def test_a_reply_can_count_beside_its_text() -> None:
    assert counts({"prompt_eval_count": 5, "eval_count": 7})["eval_count"] == 7
    assert counts({"usage": {"prompt_tokens": 5}, "eval_count": 7}) == {"prompt_tokens": 5}
    assert counts({"usage": None, "id": "x"}) is None


def test_usage_of_any_depth_is_refused_in_one_line() -> None:
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    for counted in (deep, {"prompt_tokens": deep}):
        with pytest.raises(ValueError, match=r"^usage.{,120}$"):
            used_by(counted, Usage(1, 10, 10))
