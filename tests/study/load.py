"""Many people at once on the study page, and a server that is killed among them.

    python -m tests.study.load                       # SQLite, then PostgreSQL if it is installed
    python -m tests.study.load --databases sqlite --raters 50

Each simulated person joins and answers all their trials, as fast as the server lets them. In the middle the server is
killed with SIGKILL and started again on the same port; whoever lost a reply loads the page again and goes on. At the
end the store is held against what was acknowledged: nothing lost, nothing doubled, every quota met exactly.
"""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np

from domains.arm import Arm
from qdfeedback.bounds import Count, Positive, read_arguments
from qdfeedback.commands import run_main
from qdfeedback.feedback.store import Store, utc_now
from qdfeedback.feedback.study import Question, Study, write_study
from qdfeedback.feedback.tables import empty, items, trials
from qdfeedback.shown import Shown
from qdfeedback.study.register import Platform, Register
from qdfeedback.study.secrets import VARIABLE, key_from
from tests.postgres import free_port, postgres_programs, postgres_server, wait_for_port

STUDY = "load"
ITEMS = 60
KEY = "a key for the load test"
RETRY = 0.5  # seconds until a person who got no page tries again


@dataclass(frozen=True)
class Args:
    raters: Count = 200
    """People, all at once."""
    answers: Count = 20
    """Answers of each."""
    raters_per_trial: Count = 4
    """Answers of each trial; there are raters * answers / raters_per_trial trials."""
    databases: tuple[Literal["sqlite", "postgresql"], ...] = ("sqlite", "postgresql")
    """On which to run."""
    kill: bool = True
    """Kill the server in the middle, and start it again."""
    timeout: Positive = 300.0
    """Seconds after which a run counts as failed."""
    out: Path | None = None
    """File for the figures, as JSON."""


@dataclass
class Seen:
    """What the people saw: acknowledged answers, and how long each request took."""

    acknowledged: list[tuple[str, str]] = field(default_factory=list)  # platform id, sealed trial
    seconds: list[float] = field(default_factory=list)
    failures: int = 0


def make_study(folder: Path, args: Args, database: str | None) -> Study:
    """Writes a study of drawn arms with exactly as many trials as the people will answer."""
    study = Study(
        STUDY, (Question("alike", "triplet", "Which is more like the reference?"),),
        raters_per_trial=args.raters_per_trial, trials_per_rater=args.answers, max_raters=args.raters,
        catch_per_rater=0, catch_pass=0, repeats=0.0, practice=0, skip=False,
    )  # fmt: skip
    write_study(folder, study)
    rng, arm, shown = np.random.default_rng(0), Arm(), Shown(folder / "shown")
    names = [shown.add(arm.present(pose)) for pose in np.cumsum(rng.normal(0, 0.5, (ITEMS, 10)), axis=1)]
    things = [empty(items) | {"study_id": STUDY, "item_id": str(i), "content": name} for i, name in enumerate(names)]
    rows = []
    for number in range(args.raters * args.answers // args.raters_per_trial):
        anchor, a, b = (str(item) for item in rng.choice(ITEMS, 3, replace=False))
        rows.append(
            empty(trials)
            | {
                "study_id": STUDY, "trial_id": f"t{number}", "question": "alike", "task": "triplet", "kind": "main",
                "purpose": "random", "anchor_id": anchor, "a_id": a, "b_id": b, "published_utc": utc_now(),
            }
        )  # fmt: skip
    store = Store(database or folder / "judgments.db")
    store.add_trials(things, rows)
    store.close()
    return study


class Server:
    """The study page in a process of its own."""

    def __init__(self, folder: Path, database: str | None) -> None:
        self.port = free_port()
        self.command = [sys.executable, "-m", "qdfeedback", "study", "serve", str(folder), "--port", str(self.port)]
        self.command += ["--database", database] if database else []
        self.environment = os.environ | {VARIABLE: KEY}
        self.start()

    def start(self) -> None:
        """Starts it, and returns when it listens."""
        self.process = subprocess.Popen(self.command, env=self.environment, stdout=subprocess.DEVNULL)
        wait_for_port(self.port)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stops it."""
        self.process.send_signal(how)
        self.process.wait(20)


class Person:
    """One simulated person."""

    def __init__(self, number: int, client: httpx.AsyncClient, seen: Seen) -> None:
        self.name = f"person{number}"
        self.link = f"/?PROLIFIC_PID={self.name}&STUDY_ID=load&SESSION_ID=s{number}"
        self.client = client
        self.seen = seen
        self.rng = np.random.default_rng(number)

    async def take_part(self) -> None:
        """Joins, and answers until the thanks come."""
        page = await self.get(self.link)
        while True:
            if 'action="consent"' in page:
                page = await self.post("/consent", page, agree="yes")
            elif "How it works" in page:
                page = await self.get("/task")
            elif 'action="answer"' in page:
                fields = hidden(page)
                page = await self.post("/answer", page, choice=str(self.rng.choice(["left", "right"])))
                if page:
                    self.seen.acknowledged.append((self.name, fields["trial"]))
            elif "Thank you" in page:
                return
            page = page or await self.get(self.link)

    async def get(self, path: str) -> str:
        """Returns a page, however often it has to be asked for."""
        while (page := await self.request("GET", path)) is None:
            await asyncio.sleep(RETRY)
        return page

    async def post(self, path: str, page: str, **fields: str) -> str:
        """Sends the page's form; returns the next page, "" where no reply came."""
        return await self.request("POST", path, data=hidden(page) | fields) or ""

    async def request(self, method: str, path: str, **more: Any) -> str | None:
        """Returns the page that a request leads to, None where no reply came or the server had trouble."""
        began = time.perf_counter()
        try:
            answer = await self.client.request(method, path, **more)
        except httpx.HTTPError:
            self.seen.failures += 1
            return None
        self.seen.seconds.append(time.perf_counter() - began)
        if answer.status_code >= 500 or answer.status_code == 429:
            self.seen.failures += 1
            return None
        return answer.text


def hidden(page: str) -> dict[str, str]:
    """Returns the hidden fields of a page's form."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page)
    return {name: html.unescape(value) for name, value in found}


async def visit(server: Server, args: Args) -> tuple[Seen, float]:
    """Lets all people take part, and kills the server half-way; returns what they saw, and the seconds it took."""
    seen, began = Seen(), time.perf_counter()
    limits = httpx.Limits(max_connections=args.raters, max_keepalive_connections=args.raters)
    transport = httpx.AsyncHTTPTransport(limits=limits)

    async def one(number: int) -> None:
        base = f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(
            base_url=base, transport=Shared(transport), timeout=60, follow_redirects=True
        ) as client:
            await Person(number, client, seen).take_part()

    people = [asyncio.create_task(one(number)) for number in range(args.raters)]
    if args.kill:
        while len(seen.acknowledged) < args.raters * args.answers // 2:
            await asyncio.sleep(0.01)
        server.stop(signal.SIGKILL)
        await asyncio.to_thread(server.start)
    await asyncio.wait_for(asyncio.gather(*people), args.timeout)
    await transport.aclose()
    return seen, time.perf_counter() - began


class Shared(httpx.AsyncBaseTransport):
    """Connections that many clients share; closing one client leaves them open."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request on one of them."""
        return await self.transport.handle_async_request(request)


def check(folder: Path, study: Study, database: str | None, args: Args, seen: Seen) -> dict[str, Any]:
    """Returns what the store holds, against what was acknowledged."""
    store = Store(database or folder / "judgments.db")
    records = store.records(STUDY)
    register = Register(store.database, study, key_from(KEY, STUDY))
    store.close()
    main = [row for row in records if row["kind"] == "main"]
    per_trial = Counter(row["trial_id"] for row in main)
    answered = Counter((row["annotator_id"], row["trial_id"]) for row in records)
    stored = {(row["annotator_id"], register.seal(row["trial_id"])) for row in records}
    told = {(register.pseudonym(Platform("prolific", name), ""), trial) for name, trial in seen.acknowledged}
    return {
        "stored": len(main),
        "surplus": len(records) - len(main),
        "acknowledged": len(seen.acknowledged),
        "lost": len(told - stored),
        "doubled": sum(n - 1 for n in answered.values()),
        "trials_over_quota": sum(n > args.raters_per_trial for n in per_trial.values()),
        "trials_under_quota": args.raters * args.answers // args.raters_per_trial
        - sum(n >= args.raters_per_trial for n in per_trial.values()),
    }


def run(args: Args, folder: Path, name: str, database: str | None) -> dict[str, Any]:
    """Returns the figures of one run."""
    study = make_study(folder, args, database)
    server = Server(folder, database)
    try:
        seen, seconds = asyncio.run(visit(server, args))
    finally:
        server.stop()
    found = check(folder, study, database, args, seen)
    p50, p95 = np.quantile(seen.seconds, [0.5, 0.95])
    return {
        "database": name,
        **found,
        "seconds": round(seconds, 1),
        "answers_per_second": round(found["stored"] / seconds, 1),
        "requests": len(seen.seconds),
        "requests_per_second": round(len(seen.seconds) / seconds, 1),
        "latency_p50_ms": round(1000 * float(p50)),
        "latency_p95_ms": round(1000 * float(p95)),
        "requests_without_reply": seen.failures,
    }


def sound(found: dict[str, Any], args: Args) -> bool:
    """True where nothing was lost or doubled, and all quotas are exact."""
    wrong = ("surplus", "lost", "doubled", "trials_over_quota", "trials_under_quota")
    return found["stored"] == args.raters * args.answers and not any(found[name] for name in wrong)


@contextmanager
def place(name: str) -> Any:
    """Gives a URL of a fresh database, None for a SQLite file in the study's folder."""
    if name == "sqlite":
        yield None
        return
    with postgres_server() as url:
        yield url


def main(argv: Sequence[str] | None = None) -> None:
    """Runs on each database; fails where an answer was lost or doubled, or a quota missed."""
    args = read_arguments(Args, argv, __doc__)
    if args.raters * args.answers % args.raters_per_trial:
        raise ValueError("raters * answers must be a multiple of raters_per_trial")
    results = []
    for name in args.databases:
        if name == "postgresql" and postgres_programs() is None:
            print("PostgreSQL is not installed: left out")
            continue
        with place(name) as database, tempfile.TemporaryDirectory() as folder:
            results.append(run(args, Path(folder), name, database))
        print("\n".join(f"{key:>24}  {value}" for key, value in results[-1].items()), end="\n\n")
    if args.out:
        args.out.write_text(json.dumps(results, indent=2))
    if not all(sound(found, args) for found in results):
        raise RuntimeError("answers were lost or doubled, or quotas missed")


if __name__ == "__main__":
    run_main(main)
