from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from domains.stories import STORIES
from qdfeedback.bounds import Bounds
from qdfeedback.diversity.columns import columns
from qdfeedback.generators.language import Seeds
from qdfeedback.generators.pools import Everything, FromPool
from qdfeedback.generators.similar import Words
from qdfeedback.models.frames import ask, few_shot
from qdfeedback.models.language import same_number
from qdfeedback.quality.alignment import alignment
from qdfeedback.quality.columns import column
from qdfeedback.values import a_number, a_record, a_text, texts


def test_values_of_the_kind_that_is_wanted_come_back() -> None:
    assert a_text(" x ", "name") == " x "
    assert texts(["a", "b"], "names", least=2) == ("a", "b")
    assert texts((), "names") == ()
    assert a_number(3, "price", Bounds(0)) == 3.0
    assert a_record({"a": 1}, "one", known=("a", "b"), needed=("a",)) == {"a": 1}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("ab", r"names must be a list of strings, got the string 'ab': write \[\"ab\"\]"),
        ("a, b", r"write \[\"a\", \"b\"\]"),
        (3, "names must be a list of strings, got a number, 3"),
        (None, "names must be a list of strings, got nothing"),
        ({"a": 1}, "names must be a list of strings, got an object"),
        ({"a"}, "names must be a list of strings, got set"),
        ([["a"]], "names, number 1, must be a string, got a list"),
        (["a", 1.5], "names, number 2, must be a string, got a number, 1.5"),
        (["a", True], "names, number 2, must be a string, got true or false"),
        (["a", ""], "names, number 2, must not be empty"),
        (["a b", "A  b"], "names must differ, got 'a b' and 'A  b'"),
        (["".join("yes"), "yes"], "names must differ"),
        (["a"], "names must be 2 or more, got 1"),
    ],
)
def test_what_passes_for_a_list_of_texts_is_told_apart(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        texts(value, "names", least=2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Seeds("A story:", "Once upon a time."),
        lambda: FromPool("A story:", "Once upon a time.", Everything(), "all"),
        lambda: Words("Once upon a time."),
        lambda: few_shot("A story:", "Once upon a time."),
        lambda: ask("Is it good?", "yes,no"),
        lambda: same_number(["yes,no"], 1),
        lambda: same_number(["ab", "cd"], 2),
        lambda: column("quality", "qual"),
        lambda: columns("genre", "gen"),
        lambda: alignment(["a"], "a", np.ones(1)),
        lambda: alignment("abc", ["a"], np.ones(1)),
        lambda: replace(STORIES, seeds="Once upon a time."),
    ],
)
def test_functions_that_take_a_list_refuse_a_string(call) -> None:
    with pytest.raises(ValueError, match="must be a list of strings, got the string"):
        call()


def test_what_is_no_text_no_number_and_no_object_is_named() -> None:
    for value, said in (([], "got a list"), (0, "got a number, 0"), ("\n", "must not be empty"), (b"x", "got bytes")):
        with pytest.raises(ValueError, match=f"name must .*{said}|name {said}"):
            a_text(value, "name")
    for value in ("1", True, None, [1], float("nan")):
        with pytest.raises(ValueError, match="price must be "):
            a_number(value, "price", Bounds(0))
    with pytest.raises(ValueError, match="one must be an object with a, got a list"):
        a_record([1], "one", known=("a", "b"), needed=("a",))
    with pytest.raises(ValueError, match="one has an unknown field 'answrs': is 'answers' meant"):
        a_record({"answrs": 1}, "one", known=("answers", "kind"))
    with pytest.raises(ValueError, match=r"unknown field 'x+\.\.\.x+': known are a"):
        a_record({"x" * 1000: 1}, "one", known=("a",))
    with pytest.raises(ValueError, match="one has no 'a'"):
        a_record({"b": 1}, "one", known=("a", "b"), needed=("a",))
    with pytest.raises(ValueError, match="got a string, '" + "x" * 39 + "…"):
        a_record("x" * 1000, "one", known=("a",))
