"""What was asked of models, what came back, and what it cost: one SQLite file beside a run.

Every reply is kept under a key of all that it depends on, the moment that it comes, and is never asked for again.
Before a request goes out its intent is written with the most that it can cost; the sum of what was paid and of open
intents never passes the cap. What a killed process leaves open counts as possibly paid.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from qdfeedback.models.calls import NOTHING, Prices, Reply
from qdfeedback.models.language import Usage

_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, reply TEXT NOT NULL, requests INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost REAL NOT NULL, utc REAL NOT NULL);
CREATE TABLE IF NOT EXISTS intents (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, worst REAL NOT NULL, process TEXT NOT NULL,
    utc REAL NOT NULL);
CREATE TABLE IF NOT EXISTS failures (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, model TEXT NOT NULL, reason TEXT NOT NULL,
    cost REAL NOT NULL, possibly_paid INTEGER NOT NULL, utc REAL NOT NULL);
"""
_AT_ONCE = 500  # keys in one query


class SpendCapError(RuntimeError):
    """The next request could cost more than what is left; all that was received is saved."""


@dataclass(frozen=True)
class Totals:
    """What all processes that share a ledger have used so far.

    Attributes:
        replies: kept.
        requests: that brought a reply.
        prompt_tokens: read.
        completion_tokens: written.
        failures: requests that brought none.
        possibly_paid: of these, and of requests that a process left open when it ended, those that may have cost.
        paid: for replies, in the currency of the prices.
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

    Raises:
        ValueError: A price or the cap is below 0.
    """

    def __init__(self, path: Path, *, prices: Mapping[str, Prices] | None = None, cap: float | None = None) -> None:
        self.path, self.cap = Path(path), cap
        self.prices = dict(prices or {})
        self.process = uuid.uuid4().hex
        if (cap is not None and cap < 0) or any(min(one.prompt, one.completion) < 0 for one in self.prices.values()):
            raise ValueError("prices and the cap must not be below 0")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._writing() as connection:
            for statement in _TABLES.split(";"):
                connection.execute(statement)

    def known(self, keys: Sequence[str]) -> dict[str, Reply]:
        """Returns the replies that are there, by their keys; they cost nothing now."""
        found: dict[str, Reply] = {}
        with self._connection() as connection:
            for low in range(0, len(keys), _AT_ONCE):
                part = keys[low : low + _AT_ONCE]
                marks = ",".join("?" * len(part))
                rows = connection.execute(f"SELECT key, reply FROM replies WHERE key IN ({marks})", part)
                found |= {key: _reply(reply) for key, reply in rows}
        return found

    def begin(self, model: str, key: str, worst: Usage) -> int:
        """Notes that a request is about to go out; returns the number of the intent.

        Args:
            model: whose price holds.
            key: of the call.
            worst: the most that the request can use.

        Raises:
            SpendCapError: Together with what was paid and what is open it could cost more than the cap; nothing is
                noted, and nothing must be sent.
            ValueError: There is a cap, and the model has no price.
        """
        cost = self.cost(model, worst)
        with self._writing() as connection:
            if self.cap is not None:
                if model not in self.prices:
                    raise ValueError(f"a spend cap needs the price of {model!r}: name it in the table of prices")
                spent = _spent(connection)
                if spent + cost > self.cap:
                    raise SpendCapError(
                        f"{spent:.6g} of {self.cap:g} are spent or reserved, and the next request can cost "
                        f"{cost:.6g}: all that came is saved; raise the cap and resume to go on"
                    )
            row = (key, cost, self.process, time.time())
            cursor = connection.execute("INSERT INTO intents (key, worst, process, utc) VALUES (?, ?, ?, ?)", row)
            return int(cursor.lastrowid or 0)

    def keep(self, model: str, replies: Iterable[tuple[str, Reply]], *, intent: int | None = None) -> None:
        """Keeps replies by their keys, and closes the intent of the request that brought them."""
        now = time.time()
        rows = [
            (key, model, json.dumps(asdict(replace(reply, usage=NOTHING))), reply.usage.requests,
             reply.usage.prompt_tokens, reply.usage.completion_tokens, self.cost(model, reply.usage), now)
            for key, reply in replies
        ]  # fmt: skip
        with self._writing() as connection:
            connection.executemany("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            if intent is not None:
                connection.execute("DELETE FROM intents WHERE number = ?", (intent,))

    def fail(self, model: str, key: str, reason: str, *, intent: int, paid: Usage | None) -> None:
        """Closes the intent of a request that brought no reply; nothing is kept that could be taken for one.

        Args:
            model: which.
            key: of the call.
            reason: what happened.
            intent: its number.
            paid: what was certainly used; None = not known: the worst is counted, as possibly paid.
        """
        with self._writing() as connection:
            (worst,) = connection.execute("SELECT worst FROM intents WHERE number = ?", (intent,)).fetchone()
            cost = worst if paid is None else self.cost(model, paid)
            row = (key, model, reason, cost, paid is None, time.time())
            connection.execute(
                "INSERT INTO failures (key, model, reason, cost, possibly_paid, utc) VALUES (?, ?, ?, ?, ?, ?)", row
            )
            connection.execute("DELETE FROM intents WHERE number = ?", (intent,))

    def totals(self) -> Totals:
        """Returns what was used and spent in all."""
        with self._connection() as connection:
            connection.execute("BEGIN")  # one moment for all counts
            kept = connection.execute(
                "SELECT count(*), total(requests), total(prompt_tokens), total(completion_tokens), total(cost)"
                " FROM replies"
            ).fetchone()
            failed = connection.execute("SELECT count(*), total(possibly_paid), total(cost) FROM failures").fetchone()
            left = connection.execute("SELECT count(*) FROM intents WHERE process != ?", (self.process,)).fetchone()
            (open_,) = connection.execute("SELECT total(worst) FROM intents").fetchone()
        replies, requests, read, written = map(int, kept[:4])
        possibly = int(failed[1]) + left[0]
        return Totals(replies, requests, read, written, failed[0], possibly, kept[4], failed[2] + open_)

    def reasons(self) -> dict[str, int]:
        """Returns how many requests failed for which reason."""
        with self._connection() as connection:
            rows = connection.execute("SELECT reason, count(*) FROM failures GROUP BY reason ORDER BY count(*) DESC")
            return dict(rows.fetchall())

    def cost(self, model: str, usage: Usage) -> float:
        """Returns what a model's usage costs."""
        return self.prices.get(model, Prices()).of(usage)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def _spent(connection: sqlite3.Connection) -> float:
    """Returns what was paid, or may have been, or is reserved."""
    (total,) = connection.execute(
        "SELECT (SELECT total(cost) FROM replies) + (SELECT total(cost) FROM failures)"
        " + (SELECT total(worst) FROM intents)"
    ).fetchone()
    return float(total)


def _reply(text: str) -> Reply:
    found: dict[str, Any] = json.loads(text)
    return Reply(found["text"], tuple(found["logprobs"]), found["reason"])
