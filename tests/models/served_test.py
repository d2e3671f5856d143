from __future__ import annotations

import base64
import math
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from qdfeedback.models.calls import Call, Prices, Reply, UnansweredError
from qdfeedback.models.language import CUT_OFF, EMPTY, Sampling
from qdfeedback.models.ledger import Ledger, SpendCapError
from qdfeedback.models.probing import find_abilities
from qdfeedback.models.recorded import Patience, Recorded, count_answers, record, record_client
from qdfeedback.models.scripted import Scripted
from qdfeedback.models.served import Abilities, RefusedError, Served, option_logprobs
from qdfeedback.shown import encode
from tests.contracts import check_language_model
from tests.models.faulty import Faulty, asked, cut, garbage, hang, serving, status

QUICK = Patience(concurrency=4, attempts=3, first_wait=0.01, longest_wait=2.0)
SAMPLING = Sampling(max_tokens=20)


def recorded(faulty: Faulty, folder: Path, *, patience: Patience = QUICK, **ledger: object) -> Recorded:
    client = Served(faulty.url, "m", Abilities(logprobs=True), timeout=0.6)
    return record_client(client, Ledger(folder / "replies.db", **ledger), patience)


def complete(model: Recorded, n: int):
    return model.complete([f"prompt {i}" for i in range(n)], np.arange(n), SAMPLING)


@pytest.mark.parametrize(
    ("fault", "possibly_paid"),
    [
        (status(429, {"Retry-After": "0"}), 0),
        (status(500), 1),
        (status(503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), 1),
        (hang(5), 1),
        (cut, 1),
        (garbage(), 1),
        (garbage(b"{}"), 1),
        (garbage(b'{"choices": []}'), 1),
        (garbage(b'{"choices": [{"message": {"content": {"not": "text"}}}]}'), 1),
        (garbage(b"hello", "text/plain"), 1),
    ],
)
def test_what_goes_wrong_once_is_tried_again_and_counted_once(fault, possibly_paid: int, tmp_path: Path) -> None:
    with serving(Faulty(faults=[fault])) as faulty:
        model = recorded(faulty, tmp_path)
        found = complete(model, 4)
    assert found.reasons == (None,) * 4
    assert found.texts == tuple(f"about prompt {i}" for i in range(4))
    totals = model.ledger.totals()
    assert len(faulty.seen) == 5
    assert (totals.replies, totals.requests, totals.failures, totals.possibly_paid) == (4, 4, 1, possibly_paid)
    assert (found.usage.requests, found.usage.prompt_tokens, found.usage.completion_tokens) == (4, 40, 20)


@pytest.mark.parametrize("fault", [status(429, {"Retry-After": "0"}), status(500), hang(5), cut, garbage()])
def test_what_always_goes_wrong_ends_and_is_no_score(fault, tmp_path: Path) -> None:
    with serving(Faulty(faults=[fault] * 3)) as faulty:  # as many as one call has attempts
        model = recorded(faulty, tmp_path, patience=Patience(concurrency=1, attempts=3, first_wait=0.01))
        begun = time.monotonic()
        found = model.choose(["one", "two"], [("yes", "no")] * 2)
        assert time.monotonic() - begun < 10
        assert np.isnan(found.logprobs[0]).all()
        assert found.reasons[0].startswith("no reply: ")
        np.testing.assert_allclose(found.logprobs[1], (-0.2, -2.0))
        assert model.ledger.totals().replies == 1  # a failure is never kept: asked again, it is answered
        again = model.choose(["one", "two"], [("yes", "no")] * 2)
        assert np.isfinite(again.logprobs).all()
        assert (again.usage.cached, again.usage.requests) == (1, 1)


def test_a_refused_prompt_is_not_asked_again(tmp_path: Path) -> None:
    with serving(Faulty(faults=[status(400)])) as faulty:
        found = complete(recorded(faulty, tmp_path, patience=Patience(concurrency=1)), 2)
    assert found.reasons == ("no reply: HTTP 400: no", None)
    assert len(faulty.seen) == 2


def test_one_bad_text_ends_no_run_even_where_its_neighbours_are_known(tmp_path: Path) -> None:
    """Refused as too long, or as flagged (403, once the server has answered): a row, in this run and when resumed."""
    for code in (400, 403):
        with serving(Faulty()) as faulty:
            model = recorded(faulty, tmp_path / str(code))
            complete(model, 4)
            faulty.faults = [status(code)] * 10
            for one in (model, recorded(faulty, tmp_path / str(code))):
                found = one.choose(["bad"], [("yes", "no")])
                assert f"HTTP {code}" in found.reasons[0]
                assert np.isnan(found.logprobs).all()


def test_a_model_that_comes_later_is_found(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "replies.db")
    with serving(Faulty(lacks=("model",))) as faulty:  # refuses all, then the model is there
        with pytest.raises(RuntimeError, match="takes neither"):
            find_abilities(faulty.url, "m", ledger, patience=QUICK)
        faulty.lacks = ()
        assert find_abilities(faulty.url, "m", ledger, patience=QUICK).abilities.logprobs


def test_a_server_that_is_still_loading_is_not_taken_for_one_that_lacks_something(tmp_path: Path) -> None:
    for after in range(3):  # while the plain thing, the seed, log-probabilities are probed
        with serving(Faulty(faults=[None] * after + [status(503)] * 9)) as faulty:
            ledger = Ledger(tmp_path / f"{after}.db")
            with pytest.raises(RuntimeError, match="is not ready: HTTP 503"):
                find_abilities(faulty.url, "m", ledger, patience=QUICK)
            faulty.faults = []
            found = find_abilities(faulty.url, "m", ledger, patience=QUICK).abilities
            assert found == Abilities(logprobs=True, structured=True)


def test_what_a_server_does_not_count_is_taken_at_its_worst(tmp_path: Path) -> None:
    with serving(Faulty(usage=None)) as faulty:
        model = recorded(faulty, tmp_path, prices={"m": Prices(1e6, 1e6)})
        complete(model, 1)
    assert model.ledger.totals().paid == len("prompt 0") + 1024 + SAMPLING.max_tokens


@pytest.mark.parametrize("logprobs", [{"a": math.nan}, {"a": 0.5}, {"a": 1000.0}])
def test_impossible_log_probabilities_are_no_score(logprobs, tmp_path: Path) -> None:
    with serving(Faulty(logprobs={f"{i}": -1.0 for i in range(9)} | logprobs)) as faulty:
        model = recorded(faulty, tmp_path)
        found = model.choose(["p"], [("yes", "no")])
    assert np.isnan(found.logprobs).all()
    assert found.reasons[0].startswith("no reply: garbled reply")
    assert model.ledger.totals().replies == 0


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a": "\xff"}'])
def test_nothing_that_a_server_sends_breaks_a_run(content: bytes, tmp_path: Path) -> None:
    with serving(Faulty(faults=[garbage(content)] * 3)) as faulty:
        model = recorded(faulty, tmp_path, patience=Patience(concurrency=1, attempts=3, first_wait=0.01))
        assert complete(model, 2).reasons[1] is None
        assert model.complete(["\ud800"], np.zeros(1, dtype=int), SAMPLING).reasons == (
            "no reply: the prompt is no text",
        )
    assert model.ledger.totals().possibly_paid == 3


def test_where_one_answer_begins_another_the_first_token_is_not_asked(tmp_path: Path) -> None:
    """Tokenizers split 10 into 1 and 0: the best text would have the worst mark."""
    client = Served("http://x/v1", "m", Abilities(logprobs=True, structured=True))
    assert client.how(("yes", "no")) == "logprobs"
    assert client.how([str(i) for i in range(1, 10)]) == "logprobs"
    assert client.how(("the hero", "the villain")) == "structured"
    assert client.how([str(i) for i in range(1, 11)]) == client.how(("no", "not sure")) == "structured"
    with serving(Faulty(text=lambda _: "10")) as faulty:
        model = record_client(Served(faulty.url, "m", Abilities(logprobs=True)), Ledger(tmp_path / "r.db"), QUICK)
        found = model.choose(["p"], [[str(i) for i in range(1, 11)]])
    assert found.logprobs[0].argmax() == 9


def test_names_tell_servers_and_ways_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        Served(url, "m", Abilities(chat=chat), revision).name
        for url in ("http://a:1/v1", "http://b:1/v1") for chat in (True, False) for revision in ("", "2")
    }  # fmt: skip
    assert len(names) == 8
    assert "secret" not in Served("http://me:secret@a:1/v1", "m").name
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("MY_KEY", "mine")
    assert Served("http://a/v1", "m")._client.api_key == "none"  # not in clear to anybody
    assert Served("https://a/v1", "m")._client.api_key == "secret"
    assert Served("http://a/v1", "m", key_variable="MY_KEY")._client.api_key == "mine"


@pytest.mark.parametrize(
    ("said", "text", "reason"),
    [
        ("<think>\nhm\n</think>\n\nA tale.", "A tale.", None),
        ("<think>\nI should", "", "thinking in place of an answer"),
    ],
)
def test_thinking_is_no_text(said: str, text: str, reason: str | None, tmp_path: Path) -> None:
    with serving(Faulty(text=lambda _: said)) as faulty:
        found = recorded(faulty, tmp_path).complete(["p"], np.zeros(1, dtype=int), Sampling(max_tokens=50))
    assert (found.texts[0], found.reasons[0]) == (text, reason)


@pytest.mark.parametrize("code", [401, 403, 404])
def test_no_access_is_an_error_at_once(code: int, tmp_path: Path) -> None:
    with serving(Faulty(faults=[status(code)] * 99)) as faulty:
        model = recorded(faulty, tmp_path)
        with pytest.raises(RefusedError, match=f"refuses 'm': HTTP {code}"):
            complete(model, 50)
    assert len(faulty.seen) <= 2 * QUICK.concurrency  # not fifty times
    assert model.ledger.totals().reserved == 0


def test_a_dead_server_is_an_error(tmp_path: Path) -> None:
    with serving(Faulty()) as faulty:
        pass
    model = recorded(faulty, tmp_path)
    with pytest.raises(RuntimeError, match=r"leaves calls without a reply, 1 in a row; the last: .*cannot connect"):
        complete(model, 3)
    assert model.ledger.totals().possibly_paid == 0


def test_a_server_that_fails_for_good_is_an_error_however_few_are_asked_at_once(tmp_path: Path) -> None:
    """Else an outage would turn into candidates that failed, and a run that is finished."""
    with serving(Faulty(faults=[None] * 3 + [status(502)] * 999)) as faulty:
        model = recorded(faulty, tmp_path, patience=Patience(concurrency=2, attempts=2, first_wait=0.01))
        reasons = [complete(model, 3).reasons, *(complete(model, 3 + i).reasons[3:] for i in range(1, 4))]
        assert reasons[0] == (None,) * 3
        assert [one for row in reasons[1:] for one in row] == ["no reply: HTTP 502: no"] * 6
        with pytest.raises(RuntimeError, match=r"8 in a row; the last: no reply: HTTP 502"):
            complete(model, 9)
        faulty.faults = []
        assert complete(model, 9).reasons == (None,) * 9


def test_a_server_that_uses_more_than_it_may_ends_a_run_with_a_cap(tmp_path: Path) -> None:
    with serving(Faulty(total=9000)) as faulty:
        prices = {"m": Prices(1e6, 1e6)}
        model = recorded(faulty, tmp_path, patience=Patience(concurrency=1), prices=prices, cap=20_000.0)
        with pytest.raises(RuntimeError, match=r"used 10 and 8990 tokens where \d+ and 20 were allowed"):
            complete(model, 5)
        assert len(faulty.seen) == 1
        assert model.ledger.totals().paid == 9000
        with pytest.raises(ValueError, match="must be numbers"):
            Ledger(tmp_path / "nan.db", cap=math.nan)


def test_answers_that_are_counted() -> None:
    def replies(*texts: str) -> list[Reply]:
        return [Reply(text, reason=None if text else "no reply: HTTP 500") for text in texts]

    two, _ = count_answers(replies("yes", "yes", "yes"), ("yes", "no"))
    np.testing.assert_allclose(np.exp(two), (3.25 / 3.5, 0.25 / 3.5))
    marks, _ = count_answers(replies("10", "10", "10"), [str(i) for i in range(1, 11)])
    assert np.exp(marks) @ np.arange(1, 11) > 9.99
    few, reason = count_answers(replies("yes", "", "", "", "yes"), ("yes", "no"))
    assert np.isnan(few).all()
    assert reason == "no reply: HTTP 500"


def test_a_refusal_comes_back_from_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(RefusedError("refuses 'm': HTTP 401", 401)))
    assert (str(error), error.status) == ("refuses 'm': HTTP 401", 401)


def test_so_many_at_once_and_the_same_thing_once(tmp_path: Path) -> None:
    def slowly(body) -> str:
        time.sleep(0.05)
        return asked(body)

    with serving(Faulty(faults=[status(500)], text=slowly)) as faulty:
        model = recorded(faulty, tmp_path)
        found = model.complete(["same"] * 10 + [f"{i}" for i in range(20)], np.zeros(30, dtype=int), SAMPLING)
    assert len(set(found.texts[:10])) == 1
    assert len(faulty.seen) == 22
    assert 2 <= faulty.most_together <= QUICK.concurrency


@pytest.mark.parametrize("together", [1, 4])
def test_the_cap_holds_to_the_request(together: int, tmp_path: Path) -> None:
    """Each request can cost its prompt's bytes, a template's allowance, and all tokens that it may write.

    One that finds no room waits for those on their way, which cost less than was reserved.
    """
    prices = {"m": Prices(prompt=1e6, completion=1e6)}  # one for each token
    worst = len("prompt 0") + 1024 + SAMPLING.max_tokens
    real = 15
    with serving(Faulty()) as faulty:
        patience = Patience(concurrency=together)
        model = recorded(faulty, tmp_path, patience=patience, prices=prices, cap=float(worst + 3 * real))
        with pytest.raises(SpendCapError, match="raise the cap and resume"):
            complete(model, 10)
        assert len(faulty.seen) == 4  # before the fifth 60 are paid: with its worst cost it would pass the cap
        totals = model.ledger.totals()
        assert (totals.replies, totals.paid, totals.reserved) == (4, 4 * real, 0)
        higher = recorded(faulty, tmp_path, prices=prices, cap=1e6)
        assert complete(higher, 10).usage.cached == 4
    assert len(faulty.seen) == 10
    if together == 1:
        assert [asked(one) for one in faulty.seen[:4]] == [f"prompt {i}" for i in range(4)]
    assert len({asked(one) for one in faulty.seen}) == 10


def test_the_cap_counts_what_is_on_its_way_and_what_may_have_been_paid(tmp_path: Path) -> None:
    prices = {"m": Prices(prompt=1e6, completion=1e6)}
    worst = len("prompt 0") + 1024 + SAMPLING.max_tokens
    with serving(Faulty(faults=[hang(5), hang(5), hang(5)])) as faulty:
        model = recorded(faulty, tmp_path, prices=prices, cap=2.5 * worst)
        with pytest.raises(SpendCapError):
            complete(model, 8)
    assert len(faulty.seen) == 2
    totals = model.ledger.totals()
    assert (totals.replies, totals.possibly_paid, totals.reserved) == (0, 2, 2 * worst)


def test_a_cap_needs_a_price(tmp_path: Path) -> None:
    with serving(Faulty()) as faulty, pytest.raises(ValueError, match="needs the price of 'm'"):
        complete(recorded(faulty, tmp_path, cap=1.0), 1)


def test_broken_texts_have_a_reason(tmp_path: Path) -> None:
    texts = {"a": "", "b": "one\ntwo", "c": "three"}
    with serving(Faulty(text=lambda body: texts[asked(body)])) as faulty:
        model = recorded(faulty, tmp_path)
        found = model.complete(list(texts), np.arange(3), Sampling(max_tokens=5, stop=("\n",)))
    assert found.texts == ("", "one", "three")
    assert found.reasons == (EMPTY, None, None)


def test_how_a_text_ended_is_heeded(tmp_path: Path) -> None:
    texts = {"a": ("and then", "length"), "b": ("one\ntwo", "length"), "c": ("some", "content_filter")}
    faulty = Faulty(text=lambda body: texts[asked(body)][0], ends=lambda body: texts[asked(body)][1])
    with serving(faulty):
        found = recorded(faulty, tmp_path).complete(list(texts), np.arange(3), Sampling(max_tokens=5, stop=("\n",)))
    assert found.texts == ("and then", "one", "")
    assert found.reasons == (CUT_OFF, None, "content filter")


def test_half_of_a_character_is_kept_as_one_that_nobody_knows(tmp_path: Path) -> None:
    with serving(Faulty(text=lambda _: "a \ud83d ghost")) as faulty:
        found = recorded(faulty, tmp_path).complete(["a"], np.arange(1), Sampling(max_tokens=5))
    assert found.texts == ("a ? ghost",)


def test_a_model_that_thinks_gets_room_for_it(tmp_path: Path) -> None:
    """Without, its answers are cut off, which is said, and no ability is denied for good."""

    def long(body: dict) -> bool:
        return body.get("max_tokens", 1) < 300

    def thinking(body: dict) -> str:
        return "" if long(body) else "<think>well</think>" * (not body.get("response_format")) + "yes"

    faulty = Faulty(text=thinking, ends=lambda body: "length" if long(body) else "stop", ignores=("logprobs",))
    faulty.cut_answers = long
    ledger = Ledger(tmp_path / "replies.db")
    with serving(faulty):
        narrow = record_client(find_abilities(faulty.url, "m", ledger, patience=QUICK), ledger, QUICK)
        found = narrow.choose(["Is it?"], [("yes", "no")])
        assert "a model that thinks needs room for it" in found.reasons[0]
        wide = find_abilities(faulty.url, "m", ledger, patience=QUICK, thoughts=400)
        assert wide.abilities.structured
        assert wide.name != narrow.name
        found = record_client(wide, ledger, QUICK).choose(["Is it?"], [("yes", "no")])
    assert np.isfinite(found.logprobs).all()


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (Faulty(), Abilities(logprobs=True, structured=True)),
        (Faulty(lacks=("logprobs",)), Abilities(structured=True)),
        (Faulty(ignores=("logprobs",)), Abilities(structured=True)),
        (Faulty(logprobs={"yes": -0.1}), Abilities(structured=True)),  # one alternative says too little
        (Faulty(logprobs={"<think>": -0.01} | {f"{i}": -9.0 for i in range(9)}), Abilities(structured=True)),
        (Faulty(lacks=("logprobs", "response_format", "seed")), Abilities(seed=False)),
        (Faulty(ignores=("logprobs", "response_format")), Abilities()),
        (
            Faulty(lacks=("max_tokens",)),
            Abilities(logprobs=True, structured=True, limit="max_completion_tokens"),
        ),
        (
            Faulty(lacks=("max_tokens", "temperature", "stop")),
            Abilities(logprobs=True, structured=True, limit="max_completion_tokens", temperature=False, stop=False),
        ),
        (Faulty(chat=False), Abilities(chat=False, logprobs=True)),
    ],
)
def test_a_server_is_asked_once_what_it_can_do(server: Faulty, expected: Abilities, tmp_path: Path) -> None:
    with serving(server) as faulty:
        ledger = Ledger(tmp_path / "replies.db")
        assert find_abilities(faulty.url, "m", ledger, patience=QUICK).abilities == expected
        asked_before = len(faulty.seen)
        assert find_abilities(faulty.url, "m", ledger, patience=QUICK).abilities == expected
        assert len(faulty.seen) == asked_before
        assert asked_before <= 7
        model = record_client(find_abilities(faulty.url, "m", ledger, patience=QUICK), ledger, QUICK)
        faulty.text = lambda body: "Yes." if "Yes or no" in asked(body) else f"{asked(body)[:3]}, said"
        found = model.choose(["Yes or no?"], [("yes", "no")])
    if expected.logprobs:
        np.testing.assert_allclose(found.logprobs[0], (-0.2, -2.0))
    else:
        assert 0.4 < math.exp(found.logprobs[0, 0]) <= 1


def test_a_server_that_is_down_can_do_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "replies.db")
    down = "takes neither messages nor text for 'm': HTTP 500"
    with serving(Faulty(faults=[status(500)] * 12)) as faulty:
        with pytest.raises(RuntimeError, match=down):
            find_abilities(faulty.url, "m", ledger, patience=QUICK)
        assert find_abilities(faulty.url, "m", ledger, patience=QUICK).abilities.chat  # nothing wrong was remembered
    with serving(Faulty(lacks=("model",))) as faulty, pytest.raises(RuntimeError, match="takes neither"):
        find_abilities(faulty.url, "m", Ledger(tmp_path / "2.db"), patience=QUICK)
    with pytest.raises(RuntimeError, match="cannot connect"):
        find_abilities(faulty.url, "m", Ledger(tmp_path / "3.db"), patience=QUICK)


def test_answers_are_counted_and_wrong_ones_are_none(tmp_path: Path) -> None:
    said = ["yes", "Yes.", "no", "yes, because the text says so", "perhaps"]
    with serving(Faulty(text=lambda body: said[body["seed"]])) as faulty:
        client = Served(faulty.url, "m", Abilities(), timeout=2)
        model = record_client(client, Ledger(tmp_path / "replies.db"), QUICK, samples=5)
        found = model.choose(["p"], [("yes", "no")])
        likely = np.exp(found.logprobs[0])
        assert likely.sum() == pytest.approx(3 / 5)  # two were no answer: not clear enough, below half it is NaN
        assert likely[0] / likely[1] == pytest.approx(2.25 / 1.25)
        faulty.text = lambda body: "no idea"
        lost = model.choose(["q"], [("yes", "no")])
    assert np.isnan(lost.logprobs).all()
    assert lost.reasons == ("not one of the answers",)


def test_tokens_count_for_the_option_that_they_begin() -> None:
    seen = {" Hor": math.log(0.4), "horror": math.log(0.1), "rom": math.log(0.3), "": math.log(0.1), "h": -9.0}
    found = np.exp(option_logprobs(seen, ("horror", "romance")))
    np.testing.assert_allclose(found, (0.5 + math.exp(-9), 0.3))
    missing = np.exp(option_logprobs({"yes": math.log(0.9), "zebra": math.log(0.01)}, ("yes", "no", "both")))
    np.testing.assert_allclose(missing, (0.9, 0.01, 0.01))  # no likelier than the least likely token that was given
    left = np.exp(option_logprobs({"yes": math.log(0.98)}, ("yes", "no", "both")))
    np.testing.assert_allclose(left, (0.98, 0.01, 0.01))  # nor than what is left
    assert sum(np.exp(option_logprobs({"zebra": -0.1, "x": -30}, ("yes", "no")))) < 1e-6


def test_a_served_model_keeps_the_contract(tmp_path: Path) -> None:
    def text(body) -> str:
        return f"{asked(body)[:3]} {body['seed']}\nmore"

    def make() -> Recorded:
        number[0] += 1
        client = Served(faulty.url, "m", Abilities(logprobs=True), timeout=5)
        return record_client(client, Ledger(tmp_path / f"{number[0]}.db"), QUICK)

    number = [0]
    with serving(Faulty(text=text)) as faulty:
        check_language_model(make(), make())


def test_a_client_says_what_may_be_tried_again() -> None:
    assert UnansweredError("time-out", paid=None).again


def test_a_model_is_shown_pictures_and_the_ledger_keeps_their_digests(tmp_path: Path) -> None:
    pictures = [png(8, 8, shade) for shade in (0, 100, 200)]
    with serving(Faulty()) as faulty:
        model = recorded(faulty, tmp_path)
        first = model.look(["Which?"], [("yes", "no")], [pictures])
        again = model.look(["Which?"], [("yes", "no")], [pictures])
        other = model.look(["Which?"], [("yes", "no")], [pictures[::-1]])
        plain = model.choose(["Which?"], [("yes", "no")])
    assert [one.usage.requests for one in (first, again, other, plain)] == [1, 0, 1, 1]
    np.testing.assert_allclose(again.logprobs, [[-0.2, -2.0]])
    parts = faulty.seen[0]["messages"][0]["content"]
    kinds = [part["type"] for part in parts]
    assert kinds == ["text", "image_url"] * 3 + ["text"]
    assert [part["text"] for part in parts if part["type"] == "text"] == [
        "Picture 1:",
        "Picture 2:",
        "Picture 3:",
        "Which?",
    ]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert [base64.b64decode(url.removeprefix("data:image/png;base64,")) for url in urls] == pictures
    assert faulty.seen[-1]["messages"][0]["content"] == "Which?"
    (tmp_path / "copy.db").write_bytes((tmp_path / "replies.db").read_bytes())
    assert base64.b64encode(pictures[0])[:20] not in (tmp_path / "copy.db").read_bytes()


def test_what_a_picture_can_cost_is_reserved_before_it_is_sent(tmp_path: Path) -> None:
    small, large = (Served("http://x/v1", "m").worst(Call("p", pictures=(png(side, side),))) for side in (64, 1024))
    none = Served("http://x/v1", "m").worst(Call("p"))
    assert none.prompt_tokens + 2000 < small.prompt_tokens < large.prompt_tokens
    with serving(Faulty()) as faulty:
        model = recorded(faulty, tmp_path, prices={"m": Prices(1e6, 0)}, cap=2000.0)
        model.choose(["Which?"], [("yes", "no")])
        with pytest.raises(SpendCapError):
            model.look(["Which?"], [("yes", "no")], [[png(8, 8)]])
    assert len(faulty.seen) == 1


def test_what_takes_no_pictures_says_so(tmp_path: Path) -> None:
    with serving(Faulty()) as faulty:
        client = Served(faulty.url, "m", Abilities(chat=False, logprobs=True))
        model = record_client(client, Ledger(tmp_path / "replies.db"), QUICK)
        found = model.look(["Which?"], [("yes", "no")], [[png(8, 8)]])
        assert found.reasons == ("no reply: a server that takes no messages takes no pictures",)
        assert not faulty.seen
    inside = record(Scripted(lambda *_: "", lambda *_: [0.5, 0.5]), Ledger(tmp_path / "other.db"))
    with pytest.raises(ValueError, match="is shown no pictures: name one on a server"):
        inside.look(["Which?"], [("yes", "no")], [[png(8, 8)]])


def png(width: int, height: int, shade: int = 0) -> bytes:
    return encode(np.full((height, width, 3), shade, dtype=np.uint8))[0]
