"""A run in which most of what is asked fails for one reason of the server's stops, and says which."""

from __future__ import annotations

import numpy as np
import pytest

from qdfeedback.encoders.attributes import Attribute, Attributes
from qdfeedback.feedback.judges import Judge
from qdfeedback.feedback.queries import ask
from qdfeedback.generators.language import NEAR_DUPLICATE, Written, ZeroShot, was_made
from qdfeedback.generators.prompts import ByModel
from qdfeedback.generators.similar import Words
from qdfeedback.models.failing import LEAST, Failing, MostFailError
from qdfeedback.models.language import (
    CUT_OFF,
    EMPTY,
    FILTERED,
    NO_NUMBERS,
    NO_REPLY,
    ONLY_THOUGHTS,
    REFUSED,
    TOO_LONG,
    Choices,
    Completions,
    Usage,
)
from qdfeedback.models.received import CUT_OFF_ANSWER

SERVERS = (
    f"{NO_REPLY}HTTP 400: no stop", FILTERED, f"{REFUSED}: no", ONLY_THOUGHTS, f"{CUT_OFF_ANSWER} (thoughts: 0 tokens)",
    f"{EMPTY}: thinking used up the room (thoughts: 0 tokens)",
)  # fmt: skip
OURS = (NEAR_DUPLICATE, CUT_OFF, EMPTY, "not one of the answers", "could not be measured: quality")


@pytest.mark.parametrize("reason", SERVERS)
def test_more_than_half_is_too_many(reason: str) -> None:
    half = Failing("texts")
    half.add([reason, None] * LEAST, "m")
    with pytest.raises(MostFailError) as caught:
        half.add([reason], "m")
    n = 2 * LEAST + 1
    assert str(caught.value) == f"{LEAST + 1} of {n} texts came to nothing for one reason, m: {reason}"


@pytest.mark.parametrize("reason", OURS)
def test_reasons_of_our_own_are_none_of_the_servers(reason: str) -> None:
    Failing("texts").add([reason] * 99, "m")


def test_a_few_say_nothing_and_different_reasons_are_several() -> None:
    few = Failing("texts")
    few.add([SERVERS[0]] * (LEAST - 1), "m")
    with pytest.raises(MostFailError):
        few.add([SERVERS[0]], "m")
    Failing("texts").add([f"{NO_REPLY}HTTP 400: a", f"{NO_REPLY}HTTP 400: b"] * LEAST, "m")


def test_requests_that_differ_in_numbers_alone_fail_for_one_reason() -> None:
    long = [f"{NO_REPLY}HTTP 400: the prompt 'p{i}' has {4000 + i} tokens" for i in range(LEAST)]
    with pytest.raises(MostFailError, match=f"has {4000 + LEAST - 1} tokens"):
        Failing("texts").add(long, "m")


class Model:
    """Fails every third time in any way that it is told to, or always."""

    name = "m"

    def __init__(self, reason: str, *, every: int = 1, about: str = "") -> None:
        self.reason, self.every, self.about, self.asked = reason, every, about, 0

    def why(self, prompt: str) -> str | None:
        self.asked += 1
        return self.reason if self.asked % self.every == 0 and self.about in prompt else None

    def complete(self, prompts, seeds, sampling=None) -> Completions:
        reasons = [self.why(prompt) for prompt in prompts]
        texts = ["" if reason else f"text {self.asked}" for reason in reasons]
        return Completions(tuple(texts), tuple(reasons), Usage())

    def choose(self, prompts, options) -> Choices:
        reasons = [self.why(prompt) for prompt in prompts]
        logs = np.array([[np.nan, np.nan] if reason else [-0.1, -3.0] for reason in reasons]).reshape(-1, 2)
        return Choices(logs, tuple(reasons), Usage())

    def look(self, prompts, options, pictures) -> Choices:
        return self.choose(prompts, options)


def test_a_writer_stops_a_run(rng: np.random.Generator) -> None:
    with pytest.raises(MostFailError, match=r"12 of 12 texts .*, m: no reply: HTTP 400: no stop"):
        Written(Model(SERVERS[0]), ZeroShot("A tale:")).ask(None, 12, rng)
    sometimes = Written(Model(SERVERS[0], every=3), ZeroShot("A tale:"), seen=Words())
    assert sum(error == SERVERS[0] for _ in range(5) for error in sometimes.ask(None, 12, rng).errors) == 20
    same = Written(Model(SERVERS[0], every=99), ZeroShot("A tale:"), seen=Words(["text 12."]))
    assert same.ask(None, 12, rng).errors == [NEAR_DUPLICATE] * 12


def test_a_writer_of_prompts_stops_a_run(rng: np.random.Generator) -> None:
    with pytest.raises(MostFailError, match="12 of 12 prompts"):
        ByModel(Model(FILTERED))(["red"] * 12, rng)


def test_a_judge_stops_a_run() -> None:
    questions = tuple(Attribute(name, f"Is it {name}?", ("yes", "no")) for name in ("sad", "long", "new"))
    with pytest.raises(MostFailError, match=r"12 of 12 candidates .*, m: no reply: HTTP 400: no stop"):
        Attributes(questions, (Model(SERVERS[0], about="new"),)).encode(["text"] * 12)  # one question of three
    rarely = Attributes(questions, (Model(SERVERS[0], every=18),))
    assert np.isnan(rarely.encode(["text"] * 12)).any(axis=1).sum() == 4
    mumbles = Attributes(questions, (Model("not one of the answers"),))
    assert np.isnan(mumbles.encode(["text"] * 12)).all()


def test_a_judge_of_pictures_stops_a_run() -> None:
    queries = ask(np.array([[0, 1, 2]] * 12), np.arange(3), np.zeros(12), batch="0", shown=np.zeros((12, 3)))
    judge = Judge(Model(ONLY_THOUGHTS, every=2), lambda ids: {int(one): b"" for one in ids})
    with pytest.raises(MostFailError, match="12 of 12 questions"):
        judge.answer(queries)


OF_TEXTS = (one for one in SERVERS if not one.startswith(CUT_OFF_ANSWER))


@pytest.mark.parametrize("reason", [*OF_TEXTS, NEAR_DUPLICATE, CUT_OFF, EMPTY, NO_NUMBERS, f"{TOO_LONG}: 512 tokens"])
def test_what_was_never_made_is_not_remembered(reason: str) -> None:
    """Else a resumed run would compare new texts with empty ones."""
    assert not was_made(reason)


def test_what_was_made_is_remembered_whatever_became_of_it() -> None:
    assert was_made(None)
    assert was_made("could not be measured: quality")
