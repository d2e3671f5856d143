"""What a request costs and how long a server is left in peace: on a clock of the tests' own."""

from __future__ import annotations

import email.utils
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qdfeedback.models import recorded, served
from qdfeedback.models.calls import Call, Prices, Reply, UnansweredError
from qdfeedback.models.language import Sampling, Usage
from qdfeedback.models.ledger import Ledger, SpendCapError
from qdfeedback.models.recorded import Patience, record_client
from qdfeedback.models.served import Served
from tests.models.faulty import Faulty, serving, status

PRICES = {"m": Prices(1e6, 1e6)}  # one for each token
WORST = Usage(1, 100, 20)
CALL = Call("p", 0, Sampling(20))


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def wait(self, seconds: float) -> bool:
        self.now += max(seconds, 0.0)
        return False

    def is_set(self) -> bool:
        return False


class Client:
    """Says what it is told to, one thing after the other, and remembers when it was asked."""

    model, name = "m", "m"

    def __init__(self, clock: Clock, *says: Reply | BaseException) -> None:
        self.clock, self.says, self.asked_at = clock, list(says), []

    def how(self, options) -> str:
        return "plain"

    def worst(self, call: Call) -> Usage:
        return WORST

    def ask(self, call: Call) -> Reply:
        self.asked_at.append(self.clock.now)
        said = self.says.pop(0)
        if isinstance(said, BaseException):
            raise said
        return said


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(recorded, "time", SimpleNamespace(monotonic=lambda: made.now))
    monkeypatch.setattr(served, "time", SimpleNamespace(time=lambda: made.now))
    return made


def asking(client: Client, folder: Path, patience: Patience, **ledger):
    made = recorded._Asked(client, Ledger(folder / "r.db", **ledger), patience)
    return lambda key="k": made._ask(key, CALL, client.clock)


def busy(wait: float | None = None) -> UnansweredError:
    return UnansweredError("HTTP 429", wait=wait)


# --- waiting


def test_nobody_asks_before_the_server_wants_it(clock: Clock, tmp_path: Path) -> None:
    client = Client(clock, busy(30), Reply("yes"), busy(40), Reply("no"))
    ask = asking(client, tmp_path, Patience(attempts=2, first_wait=0.01))
    ask("one")
    assert client.asked_at[1] - client.asked_at[0] >= 30
    alone = Patience(attempts=1, first_wait=0.01)
    ask = asking(client, tmp_path, alone)
    ask("two")
    ask("three")  # another call waits too
    assert client.asked_at[3] - client.asked_at[2] >= 40


def test_without_a_wish_the_pause_grows_until_it_is_long_enough(clock: Clock, tmp_path: Path) -> None:
    client = Client(clock, *[busy()] * 6)
    asking(client, tmp_path, Patience(attempts=6, first_wait=1.0, longest_wait=6.0))()
    for attempt, pause in enumerate(np.diff(client.asked_at)):
        longest = min(2.0**attempt, 6.0)
        assert longest / 2 <= pause <= longest
    assert clock.now == client.asked_at[-1]  # after the last attempt there is nothing to wait for


def test_a_wish_for_no_pause_is_no_reason_to_hurry(clock: Clock, tmp_path: Path) -> None:
    client = Client(clock, busy(0.0), busy(0.0), Reply("yes"))
    asking(client, tmp_path, Patience(attempts=3, first_wait=2.0))()
    assert (np.diff(client.asked_at) >= 1.0).all()


def test_a_pause_that_is_too_long_ends_the_run(clock: Clock, tmp_path: Path) -> None:
    client = Client(clock, busy(121.0))
    with pytest.raises(RuntimeError, match="m asks to wait 121 s: resume then"):
        asking(client, tmp_path, Patience(longest_wait=120.0))()
    assert clock.now == 1000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "0.7"}, 0.7),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": email.utils.formatdate(1090, usegmt=True)}, 90.0),
        ({"retry-after": email.utils.formatdate(10, usegmt=True)}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, None),
        ({}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 99999 07:28:00 GMT"}, None),
    ],
)
@pytest.mark.usefixtures("clock")
def test_how_long_a_server_wants_to_be_left_in_peace(headers, seconds) -> None:
    found = served._retry_after(headers)
    assert found == (seconds if seconds is None else pytest.approx(seconds))


def test_a_wish_is_read_of_whatever_failed() -> None:
    for code in (429, 503, 500, 400):
        faulty = Faulty(faults=[status(code, {"Retry-After": "7"})])
        with serving(faulty), pytest.raises(UnansweredError) as caught:
            Served(faulty.url, "m").ask(CALL)
        assert caught.value.wait == 7


def test_calls_in_vain_end_a_run_only_where_none_between_them_is_answered(clock: Clock, tmp_path: Path) -> None:
    def complete(name: str, *says: Reply | BaseException):
        client = Client(clock, *says)
        model = record_client(client, Ledger(tmp_path / name), Patience(concurrency=1, attempts=1))
        return lambda: model.complete([f"{i}" for i in range(len(says))], np.arange(len(says)), Sampling(20))

    few = [busy()] * (recorded.MANY - 1)
    found = complete("now and then", *few, Reply("yes"), *few, Reply("yes"), *few)()
    assert [text for text in found.texts if text] == ["yes", "yes"]
    assert set(found.reasons) == {None, "no reply: HTTP 429"}
    with pytest.raises(RuntimeError, match=r"8 in a row; the last: no reply: HTTP 429"):
        complete("never", Reply("yes"), *few, busy(), Reply("yes"))()


# --- money


def test_the_worst_is_counted_in_bytes_as_servers_count() -> None:
    """A token is a byte at least, not a character: one can be four of them."""
    client = Served("http://x/v1", "m", thoughts=50)
    for letter in ("a", "é", "密", "🌊"):
        plain, none = (client.worst(Call(letter * n, 0, Sampling(20))) for n in (100, 0))
        assert plain.prompt_tokens - none.prompt_tokens == len(letter.encode()) * 100
        assert plain.completion_tokens == 70
        asked = client.worst(Call(letter * 100, 0, Sampling(20), (letter * 30, "b"), "structured"))
        assert asked.prompt_tokens >= plain.prompt_tokens + len(letter.encode()) * 30
    assert client.worst(Call("\ud800" * 100, 0, Sampling(20))).prompt_tokens >= 100


@pytest.mark.parametrize(
    ("failure", "paid", "reserved"),
    [
        (UnansweredError("HTTP 400", again=False, paid=Usage()), 0, 0),
        (UnansweredError("no log-probabilities", again=False, paid=Usage(1, 7, 3)), 10, 0),
        (UnansweredError("time-out", again=False, paid=None), 0, 120),
        (KeyError("a bug"), 0, 120),
        (KeyboardInterrupt(), 0, 120),
    ],
)
def test_what_a_failure_may_have_cost_is_booked(failure, paid, reserved, clock: Clock, tmp_path: Path) -> None:
    ask = asking(Client(clock, failure), tmp_path, Patience(attempts=1), prices=PRICES)
    with suppress(KeyError, KeyboardInterrupt):
        ask()
    totals = Ledger(tmp_path / "r.db", prices=PRICES).totals()
    assert (totals.paid, totals.reserved, totals.possibly_paid) == (paid, reserved, int(reserved > 0))


def test_each_attempt_that_may_have_cost_is_booked(clock: Clock, tmp_path: Path) -> None:
    lost = [UnansweredError("time-out", paid=None)] * 2
    ask = asking(
        Client(clock, *lost, Reply("yes", usage=Usage(1, 5, 1))), tmp_path, Patience(attempts=3), prices=PRICES
    )
    assert ask()[1].text == "yes"
    totals = Ledger(tmp_path / "r.db", prices=PRICES).totals()
    assert (totals.paid, totals.reserved) == (6, 240)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -1000, "completion_tokens": -1000, "total_tokens": -2000},
        {"prompt_tokens": 10, "completion_tokens": -(10**9)},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 10, "completion_tokens": True},
        {"prompt_tokens": "10", "completion_tokens": 5},
        {"prompt_tokens": 10, "completion_tokens": 10**30},
        {"total_tokens": 3},
        {},
        None,
        [],
    ],
)
def test_the_cap_holds_whatever_a_server_counts(usage, tmp_path: Path) -> None:
    worst = 8 + served.TEMPLATE + 20
    cap = 3.0 * worst
    with serving(Faulty(usage=usage)) as faulty:
        ledger = Ledger(tmp_path / "r.db", prices=PRICES, cap=cap)
        model = record_client(Served(faulty.url, "m"), ledger, Patience(2, 2, 0.001))
        with pytest.raises(SpendCapError):
            model.complete([f"prompt {i}" for i in range(9)], np.arange(9), Sampling(20))
    assert len(faulty.seen) == 3
    totals = ledger.totals()
    assert totals.paid + totals.reserved == cap


def test_usage_below_nothing_cannot_be_booked() -> None:
    with pytest.raises(ValueError, match="must not be below 0"):
        Usage(1, -5, 3)
