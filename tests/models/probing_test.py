"""Which parameters a server takes: what is harmless is left out and named, what changes the experiment is refused."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from qdfeedback.models.abilities import Abilities
from qdfeedback.models.calls import Call
from qdfeedback.models.language import Sampling
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.opening import Opening, open_model
from qdfeedback.models.probing import find_abilities
from qdfeedback.models.recorded import Patience, record_client
from qdfeedback.models.served import Served
from tests.models.faulty import Faulty, serving

QUICK = Patience(concurrency=2, attempts=2, first_wait=0.01, longest_wait=1.0)
WHOLE = Abilities(logprobs=True, structured=True)


def in_words(words: dict[str, str], status: int = 400):
    """Refuses parameters, each in the words of a server that is known for it."""

    def refuse(body: dict):
        found = [said for name, said in words.items() if all(part in body for part in name.split("+"))]
        return (status, {"error": found[0]}) if found else None

    return refuse


def probed(faulty: Faulty, folder: Path, **settings) -> tuple[Served, int]:
    with serving(faulty):
        found = find_abilities(faulty.url, "m", Ledger(folder / "r.db"), patience=QUICK, **settings)
    return found, len(faulty.seen)


@pytest.mark.parametrize(
    ("words", "lacking", "not_kept"),
    [
        (
            {"stop": "Argument not supported on this model: stop"},
            {"stop": False},
            "stop (HTTP 400: Argument not supported on this model: stop)",
        ),
        (
            {"stop": "Unsupported parameter: 'stop' is not supported", "seed": "Extra inputs: seed"},
            {"stop": False, "seed": False},
            "stop (HTTP 400: Unsupported parameter: 'stop' is not supported), seed (HTTP 400: Extra inputs: seed)",
        ),
        (
            {"temperature+top_p": "`temperature` and `top_p` cannot both be specified for this model"},
            {"together": False},
            "top_p (HTTP 400: `temperature` and `top_p` cannot both be specified for this model)",
        ),
        ({"top_p": "top_p: not permitted"}, {"top_p": False}, "top_p (HTTP 400: top_p: not permitted)"),
        (
            {"temperature": "'temperature' does not support 0.8, only the default (1)"},
            {"temperature": False},
            "temperature (HTTP 400: 'temperature' does not support 0.8, only the default (1))",
        ),
        (
            {"temperature+top_p": "temperature and top_p: one of them", "top_p": "top_p is not taken"},
            {"top_p": False},
            "top_p (HTTP 400: top_p is not taken)",
        ),
        ({"max_tokens": "Use 'max_completion_tokens' instead of 'max_tokens'"}, {"limit": "max_completion_tokens"}, ""),
        ({"stop": "Bad request"}, {"stop": False}, "stop (HTTP 400: Bad request)"),
        ({"seed": "Bad request"}, {"seed": False}, "seed (HTTP 400: Bad request)"),
        ({"temperature+top_p": "Bad request"}, {"together": False}, "top_p (HTTP 400: Bad request)"),
    ],
)
def test_each_parameter_is_tried_and_what_is_not_taken_is_named(words, lacking, not_kept: str, tmp_path: Path) -> None:
    found, requests = probed(Faulty(refuses=in_words(words)), tmp_path)
    expected = Abilities(**{"logprobs": True, "structured": True} | lacking)
    assert found.abilities == expected
    assert ", ".join(found.not_kept) == not_kept
    assert requests <= 10


def test_a_server_that_takes_everything_is_asked_three_times(tmp_path: Path) -> None:
    faulty = Faulty()
    found, requests = probed(faulty, tmp_path)
    assert (found.abilities, found.not_kept, requests) == (WHOLE, (), 3)
    assert {"temperature", "top_p", "stop", "seed", "max_tokens"} <= set(faulty.seen[0])


def test_what_was_found_is_remembered_with_the_servers_words(tmp_path: Path) -> None:
    with serving(Faulty(refuses=in_words({"stop": "no stop"}))) as faulty:
        ledger = Ledger(tmp_path / "r.db")
        first = find_abilities(faulty.url, "m", ledger, patience=QUICK)
        requests, faulty.refuses = len(faulty.seen), lambda _: None  # whatever it would say now
        again = find_abilities(faulty.url, "m", ledger, patience=QUICK)
    assert first.not_kept == again.not_kept == ("stop (HTTP 400: no stop)",)
    assert first == again
    assert len(faulty.seen) == requests


def test_a_stop_that_is_not_taken_is_cut_here(tmp_path: Path) -> None:
    faulty = Faulty(text=lambda _: "The sea. ### more", refuses=in_words({"stop": "no stop"}))
    with serving(faulty):
        with pytest.warns(UserWarning, match=r"does not take stop \(HTTP 400: no stop\)"):
            model = open_model(f"m@{faulty.url}", Ledger(tmp_path / "r.db"), Opening(patience=QUICK))
        found = model.complete(["p"] * 3, np.arange(3), Sampling(60, stop=("###",)))
    assert set(found.texts) == {"The sea. "}
    assert found.reasons == (None,) * 3
    assert model.not_kept == ("stop (HTTP 400: no stop)",)


def test_more_stops_than_servers_take_are_cut_here() -> None:
    with serving(Faulty(text=lambda _: "a e b")) as faulty:
        call = Call("p", 0, Sampling(9, stop=("x", "y", "z", "w", "e")))
        assert Served(faulty.url, "m").ask(call).text == "a "
        assert faulty.seen[0]["stop"] == ["x", "y", "z", "w"]


@pytest.mark.parametrize(
    ("can", "wished", "sent"),
    [
        (Abilities(), Sampling(9, 0.8, 0.9), {"temperature": 0.8, "top_p": 0.9}),
        (Abilities(), Sampling(9, 1.0, 1.0), {"temperature": 1.0, "top_p": 1.0}),
        (Abilities(together=False), Sampling(9, 0.8, 1.0), {"temperature": 0.8}),
        (Abilities(together=False), Sampling(9, 1.0, 0.9), {"top_p": 0.9}),
        (Abilities(together=False), Sampling(9, 0.8, 0.9), None),
        (Abilities(top_p=False), Sampling(9, 0.0, 1.0), {"temperature": 0.0}),
        (Abilities(top_p=False), Sampling(9, 1.0, 0.9), None),
        (Abilities(temperature=False), Sampling(9, 1.0, 0.9), {"top_p": 0.9}),
        (Abilities(temperature=False), Sampling(9, 0.8, 1.0), None),
        (Abilities(temperature=False, top_p=False), Sampling(9, 1.0, 1.0), {}),
        (Abilities(temperature=False, top_p=False), Sampling(9, 1.0, 0.9), None),
    ],
)
def test_text_is_drawn_as_wished_or_not_at_all(can: Abilities, wished: Sampling, sent, tmp_path: Path) -> None:
    with serving(Faulty()) as faulty:
        client = Served(faulty.url, "m", can, said=dict.fromkeys(("temperature", "top_p"), "HTTP 400: not here"))
        model = record_client(client, Ledger(tmp_path / "r.db"), QUICK)
        if sent is None:
            with pytest.raises(ValueError, match=r"cannot draw at temperature .* \(HTTP 400: not here\)") as caught:
                model.complete(["p"], np.arange(1), wished)
            assert "\n" not in str(caught.value)
            assert not faulty.seen
            assert model.ledger.totals().reserved == 0
        else:
            model.complete(["p"], np.arange(1), wished)
            body = faulty.seen[0]
            assert {name: body[name] for name in ("temperature", "top_p") if name in body} == sent
        assert model.choose(["p"], [("yes", "no")]).logprobs.shape == (1, 2)  # answers are drawn at 1


def test_a_server_that_takes_no_limit_is_refused_in_its_words(tmp_path: Path) -> None:
    refuse = in_words({"max_tokens": "no max_tokens", "max_completion_tokens": "no max_completion_tokens"})
    with pytest.raises(RuntimeError, match=r"takes neither messages nor text for 'm': HTTP 400: no max_completion_tok"):
        probed(Faulty(refuses=refuse), tmp_path)


def test_fewer_alternatives_are_asked_for_where_a_server_says_so(tmp_path: Path) -> None:
    def refuse(body: dict):
        fine = body.get("top_logprobs", 0) <= 5
        return None if fine else (400, {"error": "Value for logprobs must be between 0 and 5"})

    faulty = Faulty(refuses=refuse)
    found, _ = probed(faulty, tmp_path)
    assert (found.abilities.logprobs, found.abilities.alternatives) == (True, 5)
    with serving(faulty):
        found = find_abilities(faulty.url, "m", Ledger(tmp_path / "2.db"), patience=QUICK)
        record_client(found, Ledger(tmp_path / "2.db"), QUICK).choose(["p"], [("yes", "no")])
    assert faulty.seen[-1]["top_logprobs"] == 5


def test_a_server_of_text_alone_is_found_by_its_path_and_by_its_words(tmp_path: Path) -> None:
    found, requests = probed(Faulty(chat=False), tmp_path)
    assert (found.abilities, requests) == (Abilities(chat=False, logprobs=True), 3)
    no_template = in_words({"messages": "the tokenizer has no chat template"})
    other, _ = probed(Faulty(refuses=no_template), tmp_path / "2")
    assert other.abilities == Abilities(chat=False, logprobs=True)


@pytest.mark.parametrize("finish", ["error", "abort", None, "sensitive"])
def test_a_server_that_does_not_end_as_it_should_is_not_ready(finish, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"is not ready: (no )?finish_reason"):
        probed(Faulty(ends=lambda _: finish), tmp_path)


def test_what_is_unknown_is_asked_again(tmp_path: Path) -> None:
    """An answer that is cut off tells nothing about what a server can do."""
    faulty = Faulty(text=lambda _: "", ignores=("logprobs",), ends=lambda _: "length")
    faulty.cut_answers = lambda _: True
    with serving(faulty):
        ledger = Ledger(tmp_path / "r.db")
        assert not find_abilities(faulty.url, "m", ledger, patience=QUICK).abilities.structured
        faulty.cut_answers, faulty.ends = lambda _: False, lambda _: "stop"
        assert find_abilities(faulty.url, "m", ledger, patience=QUICK).abilities.structured


def test_replies_of_a_ledger_of_before_are_found(tmp_path: Path) -> None:
    """Names and keys are those of the first version: what was paid then is not paid again."""
    name = Served("http://me:pw@127.0.0.1:8000/v1/", "m", Abilities(logprobs=True)).name
    assert name == "m at 127.0.0.1:8000/v1 (messages)"
    text, exact = Call("p", 3, Sampling(20, stop=("\n",))), Call("q", 0, None, ("yes", "no"), "logprobs")
    assert text.key(name) == "015e81387c21c7e4217f83dcbff7f290efe39a2987c253f1d08886b1794d0588"
    assert exact.key(name) == "b1a28f5e2da2e10dc22434c3f47afe9807e2112c3700cf2caaed3a1c5ab726fe"
    thinks = Served("http://127.0.0.1:8000/v1", "m", Abilities(chat=False), "2", thoughts=9).name
    assert thinks == "m@2 at 127.0.0.1:8000/v1 (text, 9 tokens to think)"
    ledger = Ledger(tmp_path / "r.db")
    said = {"text": "<think>a", "logprobs": [], "reason": "thinking in place of an answer", "usage": {}}
    with closing(sqlite3.connect(ledger.path)) as connection, connection:  # as it was written then
        row = (text.key(name), "m", "{}", json.dumps(said), "", 1, 10, 5, 0.0, 0.0)
        connection.execute("INSERT INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    client = Served("http://127.0.0.1:8000/v1", "m", Abilities(logprobs=True))
    found = record_client(client, ledger, QUICK).complete(["p"], np.array([3]), Sampling(20, stop=("\n",)))
    assert (found.reasons, found.usage.cached) == (("thinking in place of an answer",), 1)
