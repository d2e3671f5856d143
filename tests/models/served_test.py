from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest

from qdfeedback.models.calls import Prices, UnansweredError
from qdfeedback.models.language import CUT_OFF, EMPTY, Sampling
from qdfeedback.models.ledger import Ledger, SpendCapError
from qdfeedback.models.recorded import Patience, Recorded, record_client
from qdfeedback.models.served import Abilities, RefusedError, Served, find_abilities, option_logprobs
from tests.contracts import check_language_model
from tests.models.faulty import Faulty, asked, cut, garbage, hang, serving, status

QUICK = Patience(concurrency=4, attempts=3, first_wait=0.01, longest_wait=2.0)
SAMPLING = Sampling(max_tokens=20)


def recorded(faulty: Faulty, folder: Path, *, patience: Patience = QUICK, **ledger: object) -> Recorded:
    client = Served(faulty.url, "m", Abilities(way="logprobs"), timeout=0.6)
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
    assert found.reasons == ("no reply: HTTP 400", None)
    assert len(faulty.seen) == 2


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
    with pytest.raises(RuntimeError, match=r"m: none of 3 requests was answered; the last: no reply: cannot connect"):
        complete(model, 3)
    assert model.ledger.totals().possibly_paid == 0


def test_retry_after_is_kept(tmp_path: Path) -> None:
    with serving(Faulty(faults=[status(429, {"Retry-After": "0.7"})])) as faulty:
        complete(recorded(faulty, tmp_path, patience=Patience(concurrency=1)), 2)
    assert faulty.times[1] - faulty.times[0] >= 0.69
    with serving(Faulty(faults=[status(429, {"Retry-After": "3600"})])) as faulty:  # longer than anybody waits
        found = complete(recorded(faulty, tmp_path / "2", patience=Patience(concurrency=1)), 2)
    assert found.reasons == ("no reply: HTTP 429", None)


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


def test_the_cap_holds_to_the_request(tmp_path: Path) -> None:
    """Each request can cost its prompt's bytes, a template's allowance, and all tokens that it may write."""
    prices = {"m": Prices(prompt=1e6, completion=1e6)}  # one for each token
    worst = len("prompt 0") + 256 + SAMPLING.max_tokens
    real = 15
    with serving(Faulty()) as faulty:
        model = recorded(faulty, tmp_path, patience=Patience(concurrency=1), prices=prices, cap=float(worst + 3 * real))
        with pytest.raises(SpendCapError, match="raise the cap and resume"):
            complete(model, 10)
        assert len(faulty.seen) == 4  # before the fifth 60 are paid: with its worst cost it would pass the cap
        totals = model.ledger.totals()
        assert (totals.replies, totals.paid, totals.reserved) == (4, 4 * real, 0)
        higher = recorded(faulty, tmp_path, prices=prices, cap=1e6)
        assert complete(higher, 10).usage.cached == 4
    assert len(faulty.seen) == 10
    assert [asked(one) for one in faulty.seen[:4]] == [f"prompt {i}" for i in range(4)]


def test_the_cap_counts_what_is_on_its_way_and_what_may_have_been_paid(tmp_path: Path) -> None:
    prices = {"m": Prices(prompt=1e6, completion=1e6)}
    worst = len("prompt 0") + 256 + SAMPLING.max_tokens
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
    assert CUT_OFF


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (Faulty(), Abilities(chat=True, way="logprobs", seed=True)),
        (Faulty(lacks=("logprobs",)), Abilities(chat=True, way="structured", seed=True)),
        (Faulty(ignores=("logprobs",)), Abilities(chat=True, way="structured", seed=True)),
        (Faulty(lacks=("logprobs", "response_format", "seed")), Abilities(chat=True, way="plain", seed=False)),
        (Faulty(ignores=("logprobs", "response_format")), Abilities(chat=True, way="plain", seed=True)),
        (Faulty(lacks=("max_tokens",)), Abilities(chat=True, way="logprobs", limit="max_completion_tokens")),
        (Faulty(chat=False), Abilities(chat=False, way="logprobs", seed=True)),
    ],
)
def test_a_server_is_asked_once_what_it_can_do(server: Faulty, expected: Abilities, tmp_path: Path) -> None:
    with serving(server) as faulty:
        ledger = Ledger(tmp_path / "replies.db")
        assert find_abilities(faulty.url, "m", ledger, patience=QUICK).abilities == expected
        asked_before = len(faulty.seen)
        assert find_abilities(faulty.url, "m", ledger, patience=QUICK).abilities == expected
        assert len(faulty.seen) == asked_before <= 6
        model = record_client(find_abilities(faulty.url, "m", ledger, patience=QUICK), ledger, QUICK)
        faulty.text = lambda body: "Yes." if "Yes or no" in asked(body) else f"{asked(body)[:3]}, said"
        found = model.choose(["Yes or no?"], [("yes", "no")])
    if expected.way == "logprobs":
        np.testing.assert_allclose(found.logprobs[0], (-0.2, -2.0))
    else:
        assert 0.4 < math.exp(found.logprobs[0, 0]) <= 1


def test_a_server_that_is_down_can_do_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "replies.db")
    down = "takes neither messages nor text for 'm': no reply: HTTP 500"
    with serving(Faulty(faults=[status(500)] * 9)) as faulty:
        with pytest.raises(RuntimeError, match=down):
            find_abilities(faulty.url, "m", ledger, patience=QUICK)
        assert find_abilities(faulty.url, "m", ledger, patience=QUICK).abilities.chat  # nothing wrong was remembered
    with serving(Faulty(lacks=("model",))) as faulty, pytest.raises(RuntimeError, match="takes neither"):
        find_abilities(faulty.url, "m", Ledger(tmp_path / "2.db"), patience=QUICK)
    with pytest.raises(RuntimeError, match="does not answer: cannot connect"):
        find_abilities(faulty.url, "m", Ledger(tmp_path / "3.db"), patience=QUICK)


def test_answers_are_counted_and_wrong_ones_are_none(tmp_path: Path) -> None:
    said = ["yes", "Yes.", "no", "yes, because the text says so", "perhaps"]
    with serving(Faulty(text=lambda body: said[body["seed"]])) as faulty:
        client = Served(faulty.url, "m", Abilities(way="plain"), timeout=2)
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
    both = np.exp(option_logprobs({"1": math.log(0.5), "10": math.log(0.2), "9": math.log(0.1)}, ("1", "10", "9")))
    np.testing.assert_allclose(both, (0.5, 0.2, 0.1))
    missing = np.exp(option_logprobs({"yes": math.log(0.9), "zebra": math.log(0.05)}, ("yes", "no")))
    np.testing.assert_allclose(missing, (0.9, 0.05))  # no likelier than the least likely token that was given
    assert sum(np.exp(option_logprobs({"zebra": -0.1}, ("yes", "no")))) < 1e-6


def test_a_served_model_keeps_the_contract(tmp_path: Path) -> None:
    def text(body) -> str:
        return f"{asked(body)[:3]} {body['seed']}\nmore"

    def make() -> Recorded:
        number[0] += 1
        client = Served(faulty.url, "m", Abilities(way="logprobs"), timeout=5)
        return record_client(client, Ledger(tmp_path / f"{number[0]}.db"), QUICK)

    number = [0]
    with serving(Faulty(text=text)) as faulty:
        check_language_model(make())


def test_a_client_says_what_may_be_tried_again() -> None:
    assert UnansweredError("time-out", paid=None).again
