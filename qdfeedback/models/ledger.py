"""What was asked of models, what came back, and what it cost: one SQLite file beside a run.

Every reply is kept under a key of all that it depends on, the moment that it comes, and is never asked for again.
Before a request goes out its intent is written with the most that it can cost; the sum of what was paid and of open
intents never passes the cap. What a killed process leaves open counts as possibly paid.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from qdfeedback.files import is_alive
from qdfeedback.models.calls import NOTHING, Call, Prices, Reply
from qdfeedback.models.language import Usage
from qdfeedback.models.ledger_file import LedgerFile
from qdfeedback.sqlite_files import StoreError

TWICE = "asked twice at the same time"
_AT_ONCE = 500  # keys in one query


class SpendCapError(RuntimeError):
    """The next request could cost more than what is left; all that was received is saved."""


@dataclass(frozen=True)
class Totals:
    """What was used.

    Attributes:
        replies: kept.
        requests: that brought a reply.
        prompt_tokens: read, as far as is known.
        completion_tokens: written.
        failures: requests that brought none, or one that was there already.
        possibly_paid: of these, and of requests that other processes have not finished, those that may have cost.
        paid: what is certain, in the currency of the prices.
        reserved: the most that `possibly_paid` requests, and those on their way, can have cost.
    """

    replies: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    failures: int
    possibly_paid: int
    paid: float
    reserved: float


class Ledger:
    """The file, for any number of threads and processes.

    Args:
        path: of the SQLite file; made where there is none.
        prices: model → what it costs; a model that is not in it costs nothing.
        cap: what may be spent in all, by every process and run that shares the file; None = anything.
        run: who uses it now, to tell apart what several runs used.

    Raises:
        ValueError: A price or the cap is below 0, or no number; or the file is something else, or damaged.
        StoreError: The file cannot be used; later too, where it is deleted or replaced meanwhile.
    """

    def __init__(
        self, path: Path, *, prices: Mapping[str, Prices] | None = None, cap: float | None = None, run: str = ""
    ) -> None:
        self.path, self.cap, self.run = Path(path), cap, run
        self.prices = dict(prices or {})
        self.process = f"{os.getpid()} {socket.gethostname()} {uuid.uuid4().hex}"
        prices_ = [price for one in self.prices.values() for price in (one.prompt, one.completion)]
        if not all(value >= 0 for value in (cap or 0, *prices_)):
            raise ValueError("prices and the cap must be numbers that are not below 0")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = LedgerFile(self.path)

    def known(self, keys: Sequence[str]) -> dict[str, Reply]:
        """Returns the replies that are there, by their keys; they cost nothing now."""
        found: dict[str, Reply] = {}
        with self._file.reading() as connection:
            for low in range(0, len(keys), _AT_ONCE):
                part = keys[low : low + _AT_ONCE]
                marks = ",".join("?" * len(part))
                rows = connection.execute(f"SELECT key, reply FROM replies WHERE key IN ({marks})", part)
                found |= {key: _reply(reply, self._file.path) for key, reply in rows}
        return found

    def begin(self, model: str, key: str, worst: Usage, *, fresh: float = 0.0) -> int | Reply | None:
        """Notes that a request is about to go out; returns the number of the intent, or a reply that came meanwhile.

        None: another process that still lives, as far as can be told, began to ask the same within the last seconds.

        Args:
            model: whose price holds.
            key: of the call.
            worst: the most that the request can use.
            fresh: how many seconds.

        Raises:
            SpendCapError: Together with what was paid and what is open it could cost more than the cap; nothing is
                noted, and nothing must be sent.
            ValueError: There is a cap, and the model has no price.
        """
        cost = self.cost(model, worst)
        if self.cap is not None and model not in self.prices:
            raise ValueError(f"a spend cap needs the price of {model!r}: name it in the table of prices")
        with self._file.writing() as connection:
            row = connection.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
            if row is not None:
                return _reply(row[0], self._file.path)
            now = time.time()
            others = "SELECT process FROM intents WHERE key = ? AND process != ? AND utc > ?"
            if any(map(_may_live, connection.execute(others, (key, self.process, now - fresh)).fetchall())):
                return None
            (spent,) = connection.execute("SELECT paid + reserved FROM spent").fetchone()
            if self.cap is not None and spent + cost > self.cap:
                raise SpendCapError(
                    f"{spent:.6g} of {self.cap:g} are spent or reserved, and the next request can cost "
                    f"{cost:.6g}: all that came is saved; raise the cap and resume to go on"
                )
            connection.execute("UPDATE spent SET reserved = reserved + ?", (cost,))
            intent = (key, cost, self.process, self.run, now)
            insert = "INSERT INTO intents (key, worst, process, run, utc) VALUES (?, ?, ?, ?, ?)"
            return int(connection.execute(insert, intent).lastrowid or 0)

    def keep(self, model: str, replies: Iterable[tuple[str, Call, Reply]], *, intent: int | None = None) -> None:
        """Keeps replies by their keys, and closes the intent of the request that brought them.

        Where another process brought one at the same time the first stays, and both are paid.
        """
        now = time.time()
        with self._file.writing() as connection:
            for key, call, reply in replies:
                used, cost = reply.usage, self.cost(model, reply.usage)
                said = json.dumps(asdict(replace(reply, usage=NOTHING)))
                row = (key, model, json.dumps(call.note()), said, self.run, used.requests, used.prompt_tokens,
                       used.completion_tokens, cost, now)  # fmt: skip
                insert = "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                if not connection.execute(insert, row).rowcount:
                    self._note_failure(connection, model, key, TWICE, cost, used)
                connection.execute("UPDATE spent SET paid = paid + ?", (cost,))
            if intent is not None:
                _close(connection, intent)

    def fail(self, model: str, key: str, reason: str, *, intent: int, paid: Usage | None) -> None:
        """Closes the intent of a request that brought no reply; nothing is kept that could be taken for one.

        Args:
            model: which.
            key: of the call.
            reason: what happened.
            intent: its number.
            paid: what was certainly used; None = not known: the worst stays reserved, as possibly paid.
        """
        with self._file.writing() as connection:
            worst = _close(connection, intent)
            cost = worst if paid is None else self.cost(model, paid)
            self._note_failure(connection, model, key, reason, cost, paid)
            where = "reserved" if paid is None else "paid"
            connection.execute(f"UPDATE spent SET {where} = {where} + ?", (cost,))

    def totals(self, run: str | None = None) -> Totals:
        """Returns what one run used, or all that share the file; what a run found there already is not its own."""
        where, of = ("", ()) if run is None else (" WHERE run = ?", (run,))
        with self._file.reading() as connection:
            connection.execute("BEGIN")  # one moment for all counts
            kept = connection.execute(
                "SELECT count(*), total(requests), total(prompt_tokens), total(completion_tokens), total(cost)"
                f" FROM replies{where}", of,
            ).fetchone()  # fmt: skip
            counts = (
                "SELECT count(*), total(possibly_paid), total(prompt_tokens), total(completion_tokens), "
                "total(cost * possibly_paid), total(cost * (1 - possibly_paid))"
            )
            failed = connection.execute(f"{counts} FROM failures{where}", of).fetchone()
            intents = f"FROM intents{where}"
            (open_,) = connection.execute(f"SELECT total(worst) {intents}", of).fetchone()
            others = f"SELECT count(*) {intents}{' AND' if where else ' WHERE'} process != ?"
            (left,) = connection.execute(others, (*of, self.process)).fetchone()
        if not all(map(math.isfinite, (*kept, *failed, open_))):
            raise StoreError(f"{self.path} counts tokens or costs that are no numbers: it is damaged")
        replies, requests, read, written = map(int, kept[:4])
        return Totals(
            replies,
            requests,
            read + int(failed[2]),
            written + int(failed[3]),
            failed[0],
            int(failed[1]) + left,
            float(kept[4]) + failed[5],
            failed[4] + open_,
        )

    def has_replies_of(self, model: str) -> bool:
        """Returns whether a model has ever brought a reply."""
        with self._file.reading() as connection:
            return connection.execute("SELECT 1 FROM replies WHERE model = ? LIMIT 1", (model,)).fetchone() is not None

    def reasons(self, run: str | None = None) -> dict[str, int]:
        """Returns how many requests failed for which reason, of one run or of all that share the file."""
        where, of = ("", ()) if run is None else ("WHERE run = ?", (run,))
        counts = f"SELECT reason, count(*) FROM failures {where} GROUP BY reason ORDER BY count(*) DESC"
        with self._file.reading() as connection:
            return dict(connection.execute(counts, of).fetchall())

    def cost(self, model: str, usage: Usage) -> float:
        """Returns what a model's usage costs."""
        return self.prices.get(model, Prices()).of(usage)

    def _note_failure(
        self, connection: sqlite3.Connection, model: str, key: str, reason: str, cost: float, paid: Usage | None
    ) -> None:
        used = paid or NOTHING
        tokens = (used.prompt_tokens, used.completion_tokens)
        row = (key, model, reason, self.run, cost, paid is None, time.time(), *tokens)
        columns = "key, model, reason, run, cost, possibly_paid, utc, prompt_tokens, completion_tokens"
        connection.execute(f"INSERT INTO failures ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def _close(connection: sqlite3.Connection, intent: int) -> float:
    """Removes an intent and what was reserved for it; returns how much that was."""
    (worst,) = connection.execute("SELECT worst FROM intents WHERE number = ?", (intent,)).fetchone()
    connection.execute("DELETE FROM intents WHERE number = ?", (intent,))
    connection.execute("UPDATE spent SET reserved = reserved - ?", (worst,))
    return float(worst)


def _may_live(row: tuple[str]) -> bool:
    """Whether a process may live: one of this machine that is gone does not."""
    number, host, _ = row[0].split(" ")
    return host != socket.gethostname() or is_alive(int(number))


def _reply(text: Any, path: Path) -> Reply:
    """Returns a reply that was kept.

    Raises:
        StoreError: It is none.
    """
    try:
        found = json.loads(text)
        reply = Reply(found["text"], tuple(map(float, found["logprobs"])), found["reason"])
        if not isinstance(reply.text, str) or not isinstance(reply.reason, str | None):
            raise TypeError
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} holds a reply that is none: it is damaged, or another program wrote it") from error
    return reply
