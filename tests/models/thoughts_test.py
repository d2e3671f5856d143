from __future__ import annotations

import pytest

from qdfeedback.models.thoughts import closes_thoughts, without_thoughts

HARMONY = "<|channel|>analysis<|message|>I weigh it.<|end|><|start|>assistant<|channel|>final<|message|>"
PAIRS = [
    ("<think>", "</think>"), ("<THINK>", "</THINK>"), ("<thinking>", "</thinking>"), ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"), ("<seed:think>", "</seed:think>"), ("<mm:think>", "</mm:think>"),
    ("<longcat_think>", "</longcat_think>"), ('<think time="3">', "</think>"), ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"), ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"), ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
]  # fmt: skip
"""The marks of models that think, as they open thoughts and close them."""


@pytest.mark.parametrize(("open_", "close"), PAIRS)
def test_thoughts_between_marks_are_no_text(open_: str, close: str) -> None:
    assert without_thoughts(f"{open_}\nThe user asks.\n{close}\n\nThe sea is wide.") == ("The sea is wide.", False)


@pytest.mark.parametrize(("open_", "close"), PAIRS)
def test_a_closing_mark_alone_ends_what_the_template_opened(open_: str, close: str) -> None:
    assert without_thoughts(f"The user asks.\n{close}\n\nThe sea\nis wide.") == ("The sea\nis wide.", False)
    assert without_thoughts(f"I may write {open_} or not. {close} The sea.") == ("The sea.", False)


@pytest.mark.parametrize(("open_", "close"), PAIRS)
def test_thoughts_that_do_not_end_are_no_text(open_: str, close: str) -> None:
    assert without_thoughts(f" {open_} The user asks") == ("", True)
    assert without_thoughts(f"{open_}a{close}{open_}b") == ("", True)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("<think></think>\n<think>b</think>c", "c"),
        ("<think>I quote </think> once</think>\nThe sea.", "The sea."),
        ("I quote </think> once.\n</think>\nThe sea.", "The sea."),
        ("<think>a <thinking>b</thinking> c</think>The sea.", "The sea."),
        ("<think>a</think>One,<think>b</think> two.", "One, two."),
        ("<think>a</think><answer>yes</answer>", "yes"),
        ("<think>a</think><response>\nyes\n</response>", "yes"),
        ("<|begin_of_thought|>a<|end_of_thought|><|begin_of_solution|>b<|end_of_solution|>", "b"),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>", "b"),
        (f"{HARMONY}The sea.<|return|>", "The sea."),
        ("<|start|>assistant<|channel|>final<|message|>The sea.<|return|>", "The sea."),
        ("analysisWe must write.assistantfinalThe sea.", "The sea."),
        ("Here is my thought process: a. Here's my response: The sea.", "The sea."),
        ("<think>a</think>", ""),
    ],
)
def test_what_stands_around_thoughts_and_answers(said: str, text: str) -> None:
    assert without_thoughts(said) == (text, False)


def test_an_answer_before_thoughts_that_do_not_end() -> None:
    assert without_thoughts("The sea. <think>Was that") == ("The sea.", True)
    assert without_thoughts("analysisWe must") == ("", True)
    assert without_thoughts("Here is my thought process: hm") == ("", True)


@pytest.mark.parametrize(
    "text",
    [
        "", " \n", "  a\n b ", "I think, and thought", "<b>& no rhyme</b>", "1 < 2 > 0", "[thinking] aloud", "[1]",
        "an analysis: The sea", "analysis is a word", "Here is my response: no", "</thinker>", "<answer>yes</answer>",
    ],
)  # fmt: skip
def test_text_without_marks_stays_as_it_is(text: str) -> None:
    assert without_thoughts(text) == (text, False)


@pytest.mark.parametrize(("open_", "close"), PAIRS)
def test_what_a_prompt_opens_can_be_closed(open_: str, close: str) -> None:
    assert closes_thoughts(f"<|im_start|>assistant\n{open_}\n") == close
    assert closes_thoughts(f"{open_} a {close}\n") is None


def test_a_prompt_that_opens_nothing() -> None:
    assert closes_thoughts("<|im_start|>assistant\n") is None
    assert closes_thoughts("") is None
    assert closes_thoughts("…<|start|>assistant") == "<|channel|>final<|message|>"
