from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from qdfeedback.models.calls import Call, Prices, Reply, read_prices
from qdfeedback.models.language import Sampling, Usage
from qdfeedback.models.ledger import Ledger, SpendCapError
from qdfeedback.models.opening import open_model
from qdfeedback.models.recorded import Patience, record, record_client
from qdfeedback.models.scripted import Scripted
from qdfeedback.models.served import Abilities, Served
from qdfeedback.sqlite_files import StoreError
from tests.contracts import check_language_model
from tests.models.faulty import Faulty, asked, serving
from tests.processes import context

SAMPLING = Sampling(max_tokens=20)


def counting() -> tuple[Scripted, list[str]]:
    asked_: list[str] = []

    def write(prompt: str, seed: int) -> str:
        asked_.append(prompt)
        return f"{prompt[:3]} {seed}\nmore"

    def judge(prompt: str, options) -> list[float]:
        asked_.append(prompt)
        return [len(one) / 100 for one in options]

    return Scripted(write, judge), asked_


def test_a_recorded_model_keeps_the_contract(tmp_path: Path) -> None:
    models = [record(counting()[0], Ledger(tmp_path / f"{name}.db"), batch_size=3) for name in ("one", "other")]
    check_language_model(*models)


def test_what_was_asked_once_is_never_computed_again(tmp_path: Path) -> None:
    script, said = counting()
    first = record(script, Ledger(tmp_path / "replies.db"))
    texts = first.complete(["a", "b", "a"], np.array([1, 2, 1]), SAMPLING)
    odds = first.choose(["a", "b"], [("yes", "no")] * 2)
    assert len(said) == 4  # "a" with seed 1 once
    again = record(script, Ledger(tmp_path / "replies.db"))  # as after a crash
    assert again.complete(["a", "b", "a"], np.array([1, 2, 1]), SAMPLING).texts == texts.texts
    np.testing.assert_array_equal(again.choose(["a", "b"], [("yes", "no")] * 2).logprobs, odds.logprobs)
    assert len(said) == 4
    for change in (
        lambda: again.complete(["a"], np.array([9]), SAMPLING),
        lambda: again.complete(["a"], np.array([1]), Sampling(max_tokens=21)),
        lambda: again.choose(["a"], [("no", "yes")]),
        lambda: record(Scripted(script.write, script.judge, "other"), again.ledger).choose(["a"], [("yes", "no")]),
    ):
        before = len(said)
        change()
        assert len(said) == before + 1  # all that an answer depends on is in its key


def test_usage_is_counted_to_the_token(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "replies.db", prices={"scripted": Prices(1e6, 2e6)})
    model = record(counting()[0], ledger)
    usage = model.complete(["one two", "three"], np.arange(2), SAMPLING).usage
    totals = ledger.totals()
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 6)
    assert (totals.prompt_tokens, totals.completion_tokens, totals.replies) == (3, 6, 2)
    assert totals.paid == 3 + 12
    assert totals.reserved == 0


def _spend(path: Path, n: int) -> None:
    ledger = Ledger(path, prices={"m": Prices(1e6, 0)}, cap=100)
    for i in range(n):
        try:
            intent = ledger.begin("m", f"{os.getpid()}-{i}", Usage(1, 10))
        except SpendCapError:
            return
        time.sleep(0.001)
        key = f"{os.getpid()}-{i}"
        ledger.keep("m", [(key, Call("p"), Reply("x", usage=Usage(1, 4)))], intent=int(intent))


@pytest.mark.xdist_group("processes")
def test_processes_share_a_cap(tmp_path: Path) -> None:
    workers = [context().Process(target=_spend, args=(tmp_path / "replies.db", 40)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    totals = Ledger(tmp_path / "replies.db", prices={"m": Prices(1e6, 0)}).totals()
    assert 84 <= totals.paid <= 100  # whoever stopped could not have sent another of at most 10
    assert totals.reserved == totals.possibly_paid == 0


def test_many_can_open_a_new_ledger_at_once(tmp_path: Path) -> None:
    for number in range(20):
        with ThreadPoolExecutor(4) as pool:
            opened = [pool.submit(Ledger, tmp_path / f"{number}.db") for _ in range(4)]
        assert all(one.result().totals().replies == 0 for one in opened)


def test_what_another_process_asks_is_waited_for_while_it_lives(tmp_path: Path) -> None:
    one, two = (Ledger(tmp_path / "r.db", run=run) for run in "ab")
    intent = one.begin("m", "same", Usage(1, 30))
    assert two.begin("m", "same", Usage(1, 30), fresh=60) is None
    assert isinstance(two.begin("m", "other", Usage(1, 30), fresh=60), int)
    one.keep("m", [("same", Call("p"), Reply("first"))], intent=intent)
    assert two.begin("m", "same", Usage(1, 30), fresh=60) == Reply("first")
    one.process = one.process.replace(str(os.getpid()), "99999999", 1)  # nobody has this number
    one.begin("m", "left", Usage(1, 30))
    assert isinstance(two.begin("m", "left", Usage(1, 30), fresh=60), int)


def test_what_two_processes_ask_at_once_is_paid_twice_and_counted_twice(tmp_path: Path) -> None:
    one, two = (Ledger(tmp_path / "r.db", prices={"m": Prices(1e6, 0)}, cap=100, run=run) for run in "ab")
    intents = [each.begin("m", "same", Usage(1, 30)) for each in (one, two)]
    for each, intent, text in zip((one, two), intents, ("first", "second"), strict=True):
        each.keep("m", [("same", Call("p"), Reply(text, usage=Usage(1, 10)))], intent=intent)
    assert one.known(["same"])["same"].text == "first"
    assert one.begin("m", "same", Usage(1, 30)) == Reply("first")  # a third is told
    totals = one.totals()
    assert (totals.paid, totals.reserved, totals.failures, totals.prompt_tokens) == (20, 0, 1, 20)
    assert (one.totals("a").paid, one.totals("b").paid) == (10, 10)
    with pytest.raises(SpendCapError, match="20 of 100"):
        one.begin("m", "other", Usage(1, 81))


def test_an_intent_that_a_process_leaves_open_is_possibly_paid(tmp_path: Path) -> None:
    path, prices = tmp_path / "replies.db", {"m": Prices(1e6, 0)}
    Ledger(path, prices=prices).begin("m", "key", Usage(1, 30))
    after = Ledger(path, prices=prices, cap=35)
    totals = after.totals()
    assert (totals.possibly_paid, totals.reserved, totals.paid) == (1, 30, 0)
    with pytest.raises(SpendCapError, match="30 of 35 are spent or reserved, and the next request can cost 6"):
        after.begin("m", "other", Usage(1, 6))
    assert after.begin("m", "other", Usage(1, 5))


def test_prices_are_read_from_a_table(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('["a/b-1.5"]\nprompt = 0.5\ncompletion = 2\n[c]\nprompt = 1\n')
    assert read_prices(file) == {"a/b-1.5": Prices(0.5, 2.0), "c": Prices(1.0, 0.0)}
    for bad in ("[a]\nprice = 1\n", "a = 3\n", "not toml", '[a]\nprompt = "much"\n'):
        file.write_text(bad)
        with pytest.raises(ValueError, match="must hold tables"):
            read_prices(file)
    with pytest.raises(ValueError, match="must be numbers that are not below 0"):
        Ledger(tmp_path / "x.db", prices={"a": Prices(-1.0)})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a]\nprice = 1\n", "'a' has an unknown field 'price': known are prompt, completion"),
        ("[a]\nprompt = 1\ncompletions = 2\n", "'a' has an unknown field 'completions': is 'completion' meant?"),
        ("[a]\ncompletion = 2\n", "'a' has no 'prompt'"),
        ("a = 3\n", "'a' must be an object with prompt, got a number, 3"),
        ('[a]\nprompt = "0.5"\n', "'a': prompt must be a number, got '0.5'"),
        ("[a]\nprompt = true\n", "'a': prompt must be a number, got True"),
        ("[a]\nprompt = [1]\n", r"'a': prompt must be a number, got \[1\]"),
        ("[a]\nprompt = -1\n", "'a': prompt must be at least 0, got -1"),
        ("[a]\nprompt = nan\n", "'a': prompt must be finite and at least 0, got nan"),
        ("[a]\nprompt = inf\n", "'a': prompt must be finite and at least 0, got inf"),
        ("[a]\nprompt = 0,5\n", "is not TOML: .*line 2"),
        ("[a-1.5]\nprompt = 1\n", "'a-1' holds a table of its own: put quotes around a name with dots"),
        (f"[{'a' * 5000}]\nprice = 1\n", "'aaa.*aaa' has an unknown field 'price': known are prompt, completion"),
        (f"[a]\nprompt = {'9' * 5000}\n", "is not TOML"),
    ],
)
def test_prices_that_cannot_be_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "prices.toml").write_bytes(text.encode())
    with pytest.raises(ValueError, match=rf"prices\.toml must hold tables like .*{said}") as caught:
        read_prices(tmp_path / "prices.toml")
    assert str(caught.value).count(str(tmp_path)) == 1
    assert len(str(caught.value).replace(str(tmp_path), "")) < 350


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_prices_from_an_editor_of_windows_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "prices.toml").write_bytes('["größe"]\r\nprompt = 1\r\n'.encode(encoding))
    assert read_prices(tmp_path / "prices.toml") == {"größe": Prices(1.0)}


def test_keys_do_not_depend_on_how_a_call_is_made() -> None:
    assert Call("a", 1, SAMPLING).key("m") == Call("a", 1, Sampling(max_tokens=20)).key("m")
    assert Call("\ud800").key("m")  # what no file can hold can still be asked


def test_a_model_is_opened_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        open_model(str(tmp_path / "nowhere"), Ledger(tmp_path / "replies.db"))
    with serving(Faulty()) as faulty:
        model = open_model(f"m@{faulty.url}", Ledger(tmp_path / "replies.db"))
        assert model.name.startswith("m at 127.0.0.1:")
        np.testing.assert_allclose(model.choose(["p"], [("yes", "no")]).logprobs[0], (-0.2, -2.0))


KILLED = """
import sys, numpy as np
from pathlib import Path
from qdfeedback.models.language import Sampling
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.recorded import Patience, record_client
from qdfeedback.models.served import Abilities, Served

model = record_client(
    Served(sys.argv[1], "m", Abilities()), Ledger(Path(sys.argv[2])), Patience(concurrency=6)
)
model.complete([f"prompt {i}" for i in range(120)], np.arange(120), Sampling(max_tokens=20))
"""


def test_kill_9_pays_for_no_reply_twice(tmp_path: Path) -> None:
    """What was received before the kill is not asked for again; at most the requests in flight are unresolved."""

    def slowly(body) -> str:
        time.sleep(0.03)
        return asked(body)

    with serving(Faulty(text=slowly)) as faulty:
        for _ in range(2):
            before = len(faulty.seen)
            process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(KILLED), faulty.url, str(tmp_path / "replies.db")]
            )
            while len(faulty.seen) < before + 25 and process.poll() is None:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
        ledger = Ledger(tmp_path / "replies.db")
        killed = ledger.totals()
        assert 0 < killed.replies < 120
        assert killed.possibly_paid <= 2 * 6  # an intent stood before each request
        assert len(faulty.seen) <= killed.replies + killed.possibly_paid
        kept = killed.replies
        model = record_client(Served(faulty.url, "m", Abilities()), ledger, Patience(concurrency=6))
        found = model.complete([f"prompt {i}" for i in range(120)], np.arange(120), SAMPLING)
    assert found.usage.cached == kept
    assert found.texts == tuple(f"prompt {i}" for i in range(120))
    assert len(faulty.seen) <= 120 + killed.possibly_paid
    assert ledger.totals().replies == 120


@pytest.mark.parametrize(
    "kept",
    [
        "", "0", "[]", "{}", "[" * 100_000, '{"text": 1, "logprobs": [], "reason": null}',
        '{"text": "a", "logprobs": ["x"], "reason": null}', '{"text": "a", "logprobs": [], "reason": 3}',
        '{"text": "a", "logprobs": null, "reason": null}',
    ],
)  # fmt: skip
def test_a_kept_reply_that_is_none_is_named(tmp_path: Path, kept: str) -> None:
    ledger = Ledger(tmp_path / "replies.db")
    ledger.keep("m", [("k", Call("p"), Reply("text"))])
    with sqlite3.connect(tmp_path / "replies.db") as connection:
        connection.execute("UPDATE replies SET reply = ?", (kept,))
    with pytest.raises(StoreError, match=r"replies\.db holds a reply that is none"):
        ledger.known(["k"])
