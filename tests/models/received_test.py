"""What servers say that is no whole text: each kind of call reads it for what it is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from qdfeedback.models.calls import Call, RefusedError, Reply, UnansweredError
from qdfeedback.models.language import CUT_OFF, EMPTY, FILTERED, ONLY_THOUGHTS, REFUSED, Sampling, Usage
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.received import FINISHED, LENGTH, PASSING
from qdfeedback.models.recorded import Patience, record_client
from qdfeedback.models.served import Abilities, Served
from qdfeedback.shown import encode
from tests.models.faulty import LEFT_OUT, Faulty, garbage, stage, status

PNG = encode(np.zeros((8, 8, 3), dtype=np.uint8))[0]
CALLS = {
    "text": Call("p", 0, Sampling(max_tokens=20)),
    "plain": Call("p", 0, Sampling(40, 1.0), ("yes", "no"), "plain"),
    "structured": Call("p", 0, Sampling(40, 1.0), ("yes", "no"), "structured"),
    "logprobs": Call("p", 0, None, ("yes", "no"), "logprobs"),
    "pictures": Call("p", 0, Sampling(40, 1.0), ("yes", "no"), "plain", (PNG,)),
}
PATHS = [(name, True) for name in CALLS] + [(name, False) for name in ("text", "plain", "logprobs")]
UNKNOWN = ("abort", "network_error", "insufficient_system_resource", "sensitive", "SAFETY", "tool_calls", "x\x1b[1m")
PLAY: list[Callable[[Faulty], AbstractContextManager[Faulty]]] = []


@pytest.fixture(scope="module", autouse=True)
def _one_server() -> Iterator[None]:
    with stage() as play:
        PLAY.append(play)
        yield


def serving(faulty: Faulty) -> AbstractContextManager[Faulty]:
    return PLAY[-1](faulty)


def ask(faulty: Faulty, name: str = "text", *, chat: bool = True, thoughts: int = 0) -> Reply:
    return client(faulty.url, chat, thoughts).ask(CALLS[name])


@cache
def client(url: str, chat: bool, thoughts: int) -> Served:
    """A client, which takes longer to make than to ask."""
    return Served(url, "m", Abilities(chat=chat), timeout=5, thoughts=thoughts)


def lost(faulty: Faulty, name: str = "text", *, chat: bool = True) -> UnansweredError:
    with serving(faulty), pytest.raises(UnansweredError) as caught:
        ask(faulty, name, chat=chat)
    return caught.value


# --- how it ended


@pytest.mark.parametrize(("name", "chat"), PATHS)
def test_only_what_is_finished_is_whole(name: str, chat: bool) -> None:
    faulty = Faulty(text=lambda _: "yes")
    with serving(faulty):
        for finish in (*FINISHED, "STOP", *LENGTH, "MAX_TOKENS"):
            faulty.choice = {"finish_reason": finish}
            reply = ask(faulty, name, chat=chat)
            cut = finish.lower() in LENGTH and name == "text"
            assert reply.reason == (CUT_OFF if cut else None), finish
        for finish in UNKNOWN:
            faulty.choice = {"finish_reason": finish}
            with pytest.raises(UnansweredError, match="finish_reason") as caught:
                ask(faulty, name, chat=chat)
            assert caught.value.reason == f"finish_reason {finish.removesuffix(chr(27) + '[1m')!r}"
            assert caught.value.again == (finish in PASSING)  # the text's own fault is not paid again
            assert caught.value.paid == Usage(1, 10, 5)
        for finish in (None, "", LEFT_OUT):
            faulty.choice = {"finish_reason": finish} if finish is not LEFT_OUT else {}
            faulty.ends = lambda _: None
            with pytest.raises(UnansweredError, match=r"^no finish_reason$") as caught:
                ask(faulty, name, chat=chat)
            assert caught.value.again  # as OpenAI's API did for a while


@pytest.mark.parametrize(("name", "chat"), PATHS)
def test_an_error_in_a_reply_is_no_reply(name: str, chat: bool) -> None:
    error = {"code": 502, "message": "Upstream idle timeout"}
    in_choice = lost(Faulty(choice={"finish_reason": "error", "error": error}), name, chat=chat)
    assert (in_choice.reason, in_choice.again) == ("finish_reason 'error': Upstream idle timeout", True)
    beside = lost(Faulty(choice={"error": error}), name, chat=chat)
    assert beside.reason == "finish_reason 'stop': Upstream idle timeout"
    in_body = lost(Faulty(whole={"error": error}), name, chat=chat)
    assert (in_body.reason, in_body.paid) == ("error in place of a reply: Upstream idle timeout", None)
    alone = lost(Faulty(faults=[garbage(json.dumps({"error": "out of memory"}).encode())]), name, chat=chat)
    assert alone.reason == "error in place of a reply: out of memory"
    with serving(Faulty(whole={"error": None}, choice={"error": None}, text=lambda _: "yes")) as fine:
        assert ask(fine, name, chat=chat).reason is None


def test_the_status_in_an_errors_body_counts() -> None:
    for code, again in ((429, True), (503, True), (400, False), ("busy", True)):
        error = lost(Faulty(whole={"error": {"code": code, "message": "no"}}))
        assert (error.again, error.paid) == (again, None)  # nobody knows what it cost
    broke = Faulty(whole={"error": {"code": 402, "message": "no credits"}})
    with serving(broke), pytest.raises(RefusedError, match="refuses 'm': no credits"):
        ask(broke)


def test_half_a_text_is_never_kept(tmp_path: Path) -> None:
    with serving(Faulty(text=lambda _: "The sea is wi", ends=lambda _: "error")) as faulty:
        model = record_client(Served(faulty.url, "m"), Ledger(tmp_path / "r.db"), Patience(1, 2, 0.01))
        found = model.complete(["p"], np.arange(1))
        assert (found.texts, found.reasons) == (("",), ("no reply: finish_reason 'error'",))
        assert len(faulty.seen) == 2
        assert model.ledger.totals().replies == 0
        faulty.ends = lambda _: "stop"
        assert model.complete(["p"], np.arange(1)).reasons == (None,)


def test_what_is_filtered_or_refused_says_so() -> None:
    with serving(Faulty(ends=lambda _: "content_filter")) as faulty:
        assert {ask(faulty, name).reason for name in CALLS} == {FILTERED}
        assert ask(faulty).text == ""
    refusal = {"content": None, "refusal": "I cannot\nhelp with that."}
    with serving(Faulty(message=refusal)) as faulty:
        assert ask(faulty).reason == f"{REFUSED}: I cannot help with that."


# --- thoughts


@pytest.mark.parametrize(
    ("name", "said"), [("text", "The sea."), ("plain", "yes"), ("structured", '{"answer": "yes"}')]
)
@pytest.mark.parametrize("mark", ["<think>hm</think>", "hm\n</think>", "[THINK]hm[/THINK]", "hm ◁/think▷"])
def test_thoughts_are_neither_text_nor_answer(name: str, said: str, mark: str) -> None:
    with serving(Faulty(text=lambda _: f"{mark}\n\n{said}", ignores=("response_format",))) as faulty:
        assert ask(faulty, name) == Reply(said if name == "text" else "yes", usage=Usage(1, 10, 5))
        assert name == "structured" or ask(faulty, name, chat=False).reason is None


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_beside_a_text_are_not_read(name: str) -> None:
    said = Call("p", 0, Sampling(20, stop=("\n",)))
    with serving(Faulty(text=lambda _: "\n\nThe sea.", message={name: "The user asks."})) as faulty:
        assert client(faulty.url, chat=True, thoughts=100).ask(said).text == "The sea."  # though it begins with a stop
        assert "stop" not in faulty.seen[0]  # which would end the thoughts


def test_content_in_parts_is_read() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "The sea."}]
    with serving(Faulty(message={"content": parts})) as faulty:
        assert ask(faulty).text == "The sea."
    for wrong in (
        ["The sea."],
        [{"type": "image", "url": "x"}],
        [{"type": "text", "text": 5}],
        {"not": "text"},
        5,
        True,
    ):
        error = lost(Faulty(message={"content": wrong}))
        assert error.reason.startswith("garbled reply: content that is a text was expected, got ")
        assert json.dumps(wrong) in error.reason


@pytest.mark.parametrize(
    ("faulty", "reason"),
    [
        (Faulty(text=lambda _: ""), EMPTY),
        (Faulty(text=lambda _: "<think>I should"), ONLY_THOUGHTS),
        (Faulty(text=lambda _: "<think>hm</think>"), f"{EMPTY}: nothing came after the thoughts"),
        (Faulty(message={"content": None, "reasoning_content": "hm"}), f"{EMPTY}: nothing came after the thoughts"),
    ],
)
def test_a_reply_without_text_says_why(faulty: Faulty, reason: str) -> None:
    with serving(faulty):
        assert ask(faulty) == Reply(reason=reason, usage=Usage(1, 10, 5))


@pytest.mark.parametrize(
    "faulty",
    [
        Faulty(text=lambda _: "<think>I should"),
        Faulty(message={"content": None, "reasoning_content": "I should"}),
        Faulty(message={"content": "", "reasoning": "I should"}),
        Faulty(text=lambda _: "", usage={"prompt_tokens": 1, "completion_tokens": 9, "reasoning_tokens": 9}),
    ],
)
def test_room_that_thinking_used_up_is_named(faulty: Faulty) -> None:
    faulty.ends = lambda _: "length"
    with serving(faulty):
        assert ask(faulty, thoughts=64).reason == f"{EMPTY}: thinking used up the room (thoughts: 64 tokens)"
        assert ask(faulty, "plain").reason.endswith("a model that thinks needs room for it (thoughts: 0 tokens)")


def test_room_that_something_used_up_is_named() -> None:
    with serving(Faulty(text=lambda _: "", ends=lambda _: "length")) as faulty:
        assert ask(faulty).reason == f"{EMPTY}: cut off before any text, as where a model thinks (thoughts: 0 tokens)"


# --- the server's own words


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html><head><title>Log in</title></head><body>Who are you?</body></html>", "Log in Who are you?"),
        (b"no healthy upstream", "no healthy upstream"),
        (b'{"choices": [{"mess', '{"choices": [{"mess'),
        (b'data: {"choices": [{"delta": {"content": "The"}}]}\n\ndata: [DONE]', 'data: {"choices"'),
        (b'{"choices": [], "message": "try later"}', "try later"),
        (b'{"message": "Unauthorized"}', "Unauthorized"),
        (b'{"choices": [1]}', '{"choices": [1]}'),
        (b'["a", "list"]', "a: list"),
        (b"null", "null"),
        (b'{"choices": [{"index": 0, "finish_reason": "stop"}]}', "a message was expected, got null"),
        (b"", "nothing"),
    ],
)
def test_what_is_no_reply_is_shown_in_its_own_words(content: bytes, words: str) -> None:
    for name in ("text", "plain"):
        error = lost(Faulty(faults=[garbage(content)]), name)
        assert error.reason.startswith("garbled reply: ")
        assert words in error.reason
        assert (error.again, error.paid) == (True, None)


@pytest.mark.parametrize("code", [400, 422, 429, 500, 503])
def test_a_refusal_is_shown_in_the_servers_words(code: int) -> None:
    assert lost(Faulty(faults=[status(code, said={"error": "the model\nis busy"})])).reason == (
        f"HTTP {code}: the model is busy"
    )
    page = "<html><title>Bad gateway</title></html>"
    assert lost(Faulty(faults=[status(code, said=page)])).reason == f"HTTP {code}: Bad gateway"


def test_a_key_is_not_shown_though_a_server_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "a-secret-of-mine")
    for fault in (status(400, said="bad a-secret-of-mine"), garbage(b"bad a-secret-of-mine")):
        with serving(Faulty(faults=[fault])) as faulty, pytest.raises(UnansweredError) as caught:
            Served(faulty.url, "m", key_variable="MINE").ask(CALLS["text"])
        assert "secret" not in caught.value.reason
    with serving(Faulty(faults=[status(401, said="bad a-secret-of-mine")])) as faulty:
        with pytest.raises(RefusedError) as refused:
            Served(faulty.url.replace("//", "//me:password@"), "m", key_variable="MINE").ask(CALLS["text"])
        assert "secret" not in str(refused.value)
        assert "password" not in str(refused.value)


# --- log-probabilities and counts


def test_impossible_log_probabilities_are_garbled() -> None:
    for value in (math.nan, 0.5, "-0.5"):
        error = lost(Faulty(logprobs={f"{i}": -1.0 for i in range(9)} | {"a": value}), "logprobs")
        assert error.reason.startswith("garbled reply: log-probabilities are numbers not above 0")


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": 5, "total_tokens": 5}, {"total_tokens": 30}, None, LEFT_OUT])
def test_a_server_that_counts_badly_is_booked_at_its_worst(usage) -> None:
    with serving(Faulty(usage=usage)) as faulty:
        for name, call in CALLS.items():
            found, worst = ask(faulty, name).usage, Served("http://x/v1", "m").worst(call)
            assert found.completion_tokens == worst.completion_tokens
            assert found.prompt_tokens in (5, worst.prompt_tokens)


@pytest.mark.parametrize("usage", [{"prompt_tokens": -1000, "completion_tokens": -1000}, {"prompt_tokens": "5"}, []])
def test_counts_that_cannot_be_are_garbled(usage) -> None:
    for name in CALLS:
        error = lost(Faulty(usage=usage), name)
        assert error.reason.startswith("garbled reply: usage")
        assert error.paid is None
