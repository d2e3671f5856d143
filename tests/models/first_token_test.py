from __future__ import annotations

import json
import math

import pytest

from qdfeedback.models.first_token import first_tokens, option_logprobs
from qdfeedback.models.received import pairs


def told(*tokens) -> dict:
    """A server's word about the first token: names, log-probabilities and maybe bytes."""
    tops = [{"token": one[0], "logprob": one[1], "bytes": one[2] if len(one) > 2 else None} for one in tokens]
    return {"content": [{"token": tokens[0][0], "top_logprobs": tops}]}


def test_tokens_that_differ_and_read_the_same_are_likely_together() -> None:
    """The last one, the unlikeliest, does not stand for both."""
    found = first_tokens(told(("no", math.log(0.5)), ("yes", math.log(0.45)), ("yes", math.log(0.001))))
    assert math.exp(found["yes"]) == pytest.approx(0.451)
    share = option_logprobs(found, ("yes", "no"))
    assert math.exp(share[0]) / sum(map(math.exp, share)) == pytest.approx(0.451 / 0.951)


def test_a_token_that_is_given_twice_counts_once() -> None:
    assert first_tokens(told(("yes", -0.7), ("no", -1.2), ("yes", -0.7)))["yes"] == -0.7
    pieces = told(("\ufffd", -1.0, [240, 159]), ("\ufffd", -1.0, [226, 128]), ("\ufffd", -1.0, [240, 159]))
    assert math.exp(first_tokens(pieces)["\ufffd"]) == pytest.approx(2 * math.exp(-1))
    assert first_tokens(told(("yes", -0.1), ("yes", -0.1001)))["yes"] == 0.0  # no likelier than sure


def test_blanks_and_capitals_are_other_tokens_of_the_same_answer() -> None:
    found = first_tokens(told((" yes", math.log(0.3)), ("Yes", math.log(0.2)), ("no", math.log(0.4))))
    assert option_logprobs(found, ("yes", "no")) == pytest.approx((math.log(0.5), math.log(0.4)))


def test_no_log_probability_is_minus_infinity() -> None:
    found = first_tokens(told(("yes", -0.1), ("no", None), ("no", -9.0), ("x", -math.inf)))
    assert found == {"yes": -0.1, "no": -9.0, "x": -math.inf}
    assert option_logprobs({"yes": -0.1, "no": -math.inf}, ("yes", "no"))[1] == math.log(1e-12)
    only_null = first_tokens(told(("no", None), ("no", None)))
    assert only_null == {"no": -math.inf}


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 0.5, "-0.5", True, False, [-1.0]])
def test_what_is_no_log_probability_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match="log-probabilities are numbers not above 0"):
        first_tokens(told(("yes", -0.1), ("no", wrong)))
    with pytest.raises(ValueError, match="log-probabilities are numbers not above 0"):
        first_tokens({"top_logprobs": [{"yes": -0.1, "no": wrong}]})


def test_a_name_that_stands_twice_in_an_object_is_several_tokens() -> None:
    body = '{"top_logprobs": [{"yes": -0.7985, "no": -0.69, "yes": -6.9}]}'
    found = first_tokens(json.loads(body, object_pairs_hook=pairs))
    assert math.exp(found["yes"]) == pytest.approx(math.exp(-0.7985) + math.exp(-6.9))
    same = json.loads(body.replace("-6.9", "-0.7985"), object_pairs_hook=pairs)
    assert first_tokens(same)["yes"] == -0.7985


def test_text_can_be_told_about_as_messages_are() -> None:
    assert first_tokens(told(("yes", -0.1), ("no", -3.0))) == {"yes": -0.1, "no": -3.0}
    assert first_tokens({"tokens": ["yes"], "top_logprobs": [{"yes": -0.1, "no": -3.0}]}) == {"yes": -0.1, "no": -3.0}


@pytest.mark.parametrize("nothing", [None, {}, {"content": None}, {"content": []}, {"content": [{"token": "a"}]}])
def test_a_server_that_tells_nothing(nothing) -> None:
    assert first_tokens(nothing) == {}
    assert first_tokens({"top_logprobs": None}) == {}
    assert first_tokens({"top_logprobs": [None]}) == {}


@pytest.mark.parametrize(
    "odd", ["yes", [1], {"content": [5]}, {"content": [{"top_logprobs": ["yes"]}]}, {"top_logprobs": [["yes", -0.1]]},
            {"content": {"yes": -0.1}}, {"content": [{"top_logprobs": [{"logprob": -0.1}]}]}, {"top_logprobs": 5}],
)  # fmt: skip
def test_what_is_told_in_another_way_is_shown(odd) -> None:
    with pytest.raises(ValueError, match="log-probabilities were expected, got ") as caught:
        first_tokens(odd)
    assert json.dumps(odd) in str(caught.value)
    with pytest.raises(ValueError, match="a token was expected, got 5"):
        first_tokens(told((5, -0.1)))


def test_bytes_of_any_depth_tell_tokens_apart_or_not() -> None:
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    tops = [{"token": "a", "logprob": -1.0, "bytes": deep}, {"token": "b", "logprob": -2.0, "bytes": [98]}]
    assert first_tokens({"content": [{"top_logprobs": tops}]}) == {"a": -1.0, "b": -2.0}
    with pytest.raises(ValueError, match=r"^log-probabilities were expected, got .{,200}$"):
        first_tokens({"content": deep})


def test_no_answer_is_likelier_than_certain() -> None:
    seen = {"yes": -0.1, "Yes": -0.1, "no": -3.0}
    assert option_logprobs(seen, ("yes", "no"))[0] == 0.0
