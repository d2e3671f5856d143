"""Language models whose replies are kept on disk: nothing that was received is computed or paid twice.

ledger = Ledger(Path("runs/x/replies.db"), prices=read_prices(…), cap=5.0)
model = record(load_local("a/folder"), ledger)             # in this process, a batch at a time
model = record_client(Served(url, "my-model", …), ledger)  # on a server, requests side by side
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from qdfeedback.bounds import Amount, Count, check
from qdfeedback.models.calls import CANNOT_CONNECT, Call, Client, RefusedError, Reply, UnansweredError
from qdfeedback.models.language import (
    DEFAULT,
    NO_NUMBERS,
    NO_REPLY,
    Choices,
    Completions,
    LanguageModel,
    Sampling,
    Usage,
    same_number,
)
from qdfeedback.models.ledger import Ledger, SpendCapError
from qdfeedback.types import Floats, Ints

EXACT = "logprobs"  # one request gives the probability of every option
ROOM = 32  # tokens around an answer
FORBIDDEN = 403
MANY = 8  # calls in a row, in one batch or several, without a reply: it is not about the calls
HALF_AN_ANSWER = 0.5  # shared by two options whose answers are counted: neither is quite impossible
NEXT_TO_NOTHING = 0.001  # shared by more options, whose mean or most frequent one is wanted

Answer = Callable[[Mapping[str, Call]], Iterator[tuple[str, Reply]]]
"""Calls by their keys → keys and replies, each kept before it is yielded."""


@dataclass(frozen=True)
class Patience:
    """How a client is treated.

    Attributes:
        concurrency: requests at the same time.
        attempts: of one call, the first included.
        first_wait: seconds before the second attempt; it doubles, and is drawn from the upper half.
        longest_wait: seconds; a server that asks for more ends the run, which can be resumed.
    """

    concurrency: Count = 16
    attempts: Count = 5
    first_wait: Amount = 1.0
    longest_wait: Amount = 120.0

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")


@dataclass(frozen=True)
class Recorded:
    """A language model and the ledger of its replies; `record` and `record_client` make one.

    Attributes:
        name: of the model.
        ledger: where replies are kept.
        answer: brings those that are not.
        how: options → in what way they are asked for, as in `Call`.
        samples: how often, where answers are counted.
        sees: whether it can be shown pictures.
        not_kept: parameters that the server does not take and that change nothing, with what it said.
        refuses: sampling → why text cannot be drawn so; None = it can.
    """

    name: str
    ledger: Ledger
    answer: Answer = field(repr=False)
    how: Callable[[Sequence[str]], str] = field(default=lambda _: EXACT, repr=False)
    samples: int = 5
    sees: bool = False
    not_kept: tuple[str, ...] = ()
    refuses: Callable[[Sampling], str | None] = field(default=lambda _: None, repr=False)

    def check(self, sampling: Sampling) -> None:
        """Refuses to draw text in a way that the server does not keep to.

        Raises:
            ValueError: Says what it does not take, and what it said to that.
        """
        if why := self.refuses(sampling):
            raise ValueError(why)

    def complete(self, prompts: Sequence[str], seeds: Ints, sampling: Sampling = DEFAULT) -> Completions:
        """Returns a text for each prompt; one that never came is "", with the reason.

        Raises:
            ValueError: The server does not keep to such a sampling.
        """
        self.check(sampling)
        calls = [Call(prompt, int(seed), sampling) for prompt, seed in zip(prompts, seeds, strict=True)]
        replies, usage = self._replies(calls)
        return Completions(tuple(one.text for one in replies), tuple(one.reason for one in replies), usage)

    def choose(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> Choices:
        """Returns how likely each option is, or how often it was the answer."""
        return self._choose(prompts, options, [()] * len(prompts))

    def look(
        self, prompts: Sequence[str], options: Sequence[Sequence[str]], pictures: Sequence[Sequence[bytes]]
    ) -> Choices:
        """Returns how likely each option is, of prompts about pictures.

        Args:
            prompts: n.
            options: n times k.
            pictures: n times any number of PNG files; a prompt may call them picture 1, 2, and so on.

        Raises:
            ValueError: The model cannot be shown any.
        """
        if not self.sees:
            raise ValueError(f"{self.name} is shown no pictures: name one on a server, as model@http://host:port/v1")
        return self._choose(prompts, options, pictures)

    def _choose(
        self, prompts: Sequence[str], options: Sequence[Sequence[str]], pictures: Sequence[Sequence[bytes]]
    ) -> Choices:
        k = same_number(options, len(prompts))
        calls = [
            [replace(call, pictures=tuple(shown)) for call in self._asked(prompt, tuple(given))]
            for prompt, given, shown in zip(prompts, options, pictures, strict=True)
        ]
        replies, usage = self._replies([call for row in calls for call in row])
        found, reasons, begin = np.full((len(prompts), k), np.nan), [], 0
        for number, row in enumerate(calls):
            mine, begin = replies[begin : begin + len(row)], begin + len(row)
            if row[0].how == EXACT:
                found[number] = mine[0].logprobs or np.nan
                reasons.append(mine[0].reason)
            else:
                found[number], reason = count_answers(mine, row[0].options)
                reasons.append(reason)
        return Choices(found, tuple(reasons), usage)

    def _asked(self, prompt: str, options: tuple[str, ...]) -> list[Call]:
        """Returns the calls that tell about a prompt's options."""
        how = self.how(options)
        if how == EXACT:
            return [Call(prompt, 0, None, options, how)]
        room = max(len(one.encode()) for one in options) + ROOM  # a token is a byte at least
        sampling = Sampling(max_tokens=room, temperature=1.0)
        return [Call(prompt, seed, sampling, options, how) for seed in range(self.samples)]

    def _replies(self, calls: Sequence[Call]) -> tuple[list[Reply], Usage]:
        keys = [call.key(self.name) for call in calls]
        known = self.ledger.known(list(dict.fromkeys(keys)))
        missing = {key: call for key, call in zip(keys, calls, strict=True) if key not in known}
        usage = Usage(cached=len(keys) - len(missing))  # what is asked twice is sent once
        found = dict(known)
        for key, reply in self.answer(missing) if missing else ():
            found[key] = reply
            usage += reply.usage
        return [found[key] for key in keys], usage


def count_answers(replies: Sequence[Reply], options: Sequence[str]) -> tuple[Floats, str | None]:
    """Returns (k,) log-probabilities of options by how often each was the answer, and why there are none.

    A reply that is no option takes from all of them: the probabilities sum to the share of replies that were. Two
    options share half an answer, so that one that was never given is unlikely, not impossible; more of them share next
    to nothing. Where fewer than half of the replies came they say nothing.
    """
    came = [one for one in replies if not (one.reason or "").startswith(NO_REPLY)]
    counts = np.array([sum(one.text == option for one in came) for option in options], dtype=float)
    if not counts.sum() or 2 * len(came) < len(replies):
        lost = next((one.reason for one in replies if one.reason), None)
        return np.full(len(options), np.nan), lost or "no reply was one of the answers"
    share = counts.sum() / len(came)
    more = HALF_AN_ANSWER if len(options) == 2 else NEXT_TO_NOTHING
    likely = (counts + more / len(options)) / (counts.sum() + more)
    logs: Floats = np.log(likely * share)
    return logs, None


def record(model: LanguageModel, ledger: Ledger, *, batch_size: int = 256) -> Recorded:
    """Returns a model in this process whose replies are kept, after each batch of so many."""

    def answer(calls: Mapping[str, Call]) -> Iterator[tuple[str, Reply]]:
        keys = list(calls)
        for low in range(0, len(keys), batch_size):
            part = keys[low : low + batch_size]
            said = _ask_model(model, [calls[key] for key in part])
            kept = [one for one in zip(part, [calls[key] for key in part], said, strict=True)
                    if one[2].reason != NO_NUMBERS]  # fmt: skip
            ledger.keep(model.name, kept)
            yield from zip(part, said, strict=True)

    return Recorded(model.name, ledger, answer)


def _ask_model(model: LanguageModel, calls: Sequence[Call]) -> list[Reply]:
    prompts, sampling = [call.prompt for call in calls], calls[0].sampling
    if sampling is None:
        choices = model.choose(prompts, [call.options for call in calls])
        replies = [
            Reply(logprobs=tuple(row.tolist()), reason=reason)
            for row, reason in zip(choices.logprobs, choices.reasons, strict=True)
        ]
        usage = choices.usage
    else:
        texts = model.complete(prompts, np.array([call.seed for call in calls]), sampling)
        replies = [Reply(text=text, reason=reason) for text, reason in zip(texts.texts, texts.reasons, strict=True)]
        usage = texts.usage
    shares = _shared_out(usage, len(replies))
    return [replace(reply, usage=share) for reply, share in zip(replies, shares, strict=True)]


def _shared_out(usage: Usage, n: int) -> list[Usage]:
    """Returns n usages, as equal as can be, that sum to one."""
    columns = [
        np.diff(np.linspace(0, total, n + 1).round().astype(int)).tolist()
        for total in (usage.requests, usage.prompt_tokens, usage.completion_tokens)
    ]
    return [Usage(*row) for row in zip(*columns, strict=True)]


def record_client(client: Client, ledger: Ledger, patience: Patience = Patience(), *, samples: int = 5) -> Recorded:
    """Returns a model on a server: requests side by side, repeated where that may help, each noted before it goes out.

    Args:
        client: asks one thing at a time.
        ledger: where replies are kept; its cap holds.
        patience: how often and how long.
        samples: how often options are asked for where answers are counted.
    """
    return Recorded(
        client.name, ledger, _Asked(client, ledger, patience), client.how, samples, sees=True,
        not_kept=getattr(client, "not_kept", ()), refuses=getattr(client, "refuses", lambda _: None),
    )  # fmt: skip


class _Asked:
    """Sends calls through a client."""

    def __init__(self, client: Client, ledger: Ledger, patience: Patience) -> None:
        self.client, self.ledger, self.patience = client, ledger, patience
        self.free_at = 0.0  # nobody sends before: the server asked for a pause
        self.in_vain = 0  # calls since one was answered
        self.jitter = random.Random(0)
        self.on_their_way = 0
        self.one_came = threading.Condition()

    def __call__(self, calls: Mapping[str, Call]) -> Iterator[tuple[str, Reply]]:
        """Yields replies as they come; a call that never had one comes with its reason.

        Raises:
            SpendCapError: The cap allows no further request; those on their way were waited for and kept.
            RuntimeError: The server refuses all requests, cannot be reached, asks for a longer pause than patience
                allows, left many calls in a row without a reply, or uses more than it was allowed to under a cap.
        """
        stop, waiting = threading.Event(), iter(calls.items())
        with ThreadPoolExecutor(self.patience.concurrency, thread_name_prefix="asks") as pool:
            try:
                running: set[Future[tuple[str, Reply, bool]]] = set()
                while True:
                    for key, call in islice(waiting, self.patience.concurrency - len(running)):
                        running.add(pool.submit(self._ask, key, call, stop))
                    if not running:
                        break
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for one in done:
                        key, reply, is_servers = one.result()
                        came = not (reply.reason or "").startswith(NO_REPLY)
                        self.in_vain = 0 if came else self.in_vain + is_servers
                        if self.in_vain >= MANY or (is_servers and CANNOT_CONNECT in str(reply.reason)):
                            raise RuntimeError(
                                f"{self.client.name} leaves calls without a reply, {self.in_vain} in a row; the last: "
                                f"{reply.reason}"
                            )
                        yield key, reply
            finally:
                stop.set()

    def _ask(self, key: str, call: Call, stop: threading.Event) -> tuple[str, Reply, bool]:
        """Returns the reply to one call, after as many attempts as it takes and patience has.

        The last value is True where there is none, and it was not about this call.
        """
        reason, patience, model = "stopped", self.patience, self.client.model
        for attempt in range(patience.attempts):
            if stop.wait(max(self.free_at - time.monotonic(), 0)):
                break
            intent = self._begin(key, call, stop)
            if isinstance(intent, Reply):
                return key, intent, False
            try:
                reply = self.client.ask(call)
            except UnansweredError as error:
                reason = error.reason
                self.ledger.fail(model, key, reason, intent=intent, paid=error.paid)
                if not error.again:
                    return key, Reply(reason=f"{NO_REPLY}{reason}"), False
                self._pause(attempt, error.wait, stop)
            except RefusedError as error:
                self.ledger.fail(model, key, str(error), intent=intent, paid=Usage())
                if error.status != FORBIDDEN or not self.ledger.has_replies_of(model):
                    raise
                return key, Reply(reason=f"{NO_REPLY}{error}"), False  # some services refuse a text so
            except BaseException as error:
                self.ledger.fail(model, key, f"{type(error).__name__}: {error}", intent=intent, paid=None)
                raise
            else:
                self.ledger.keep(model, [(key, call, reply)], intent=intent)
                self._check_cap(call, reply)
                return key, reply, False
            finally:
                with self.one_came:
                    self.on_their_way -= 1
                    self.one_came.notify_all()
        return key, Reply(reason=f"{NO_REPLY}{reason}"), True

    def _begin(self, key: str, call: Call, stop: threading.Event) -> int | Reply:
        """Notes an intent; where the cap has no room, those on their way may cost less than is reserved for them.

        What another process asks at this moment is waited for, unless it takes too long: it may have been killed.

        Raises:
            SpendCapError: There is no room, and none is on its way.
        """
        worst = self.client.worst(call)
        with self.one_came:
            while True:
                try:
                    intent = self.ledger.begin(self.client.model, key, worst, fresh=self.patience.longest_wait)
                except SpendCapError:
                    if self.on_their_way:
                        self.one_came.wait()
                        if not stop.is_set():
                            continue
                    raise
                else:
                    if intent is not None:
                        self.on_their_way += not isinstance(intent, Reply)
                        return intent
                    if stop.is_set():
                        raise RuntimeError("stopped")
                    self.one_came.wait(0.25)

    def _check_cap(self, call: Call, reply: Reply) -> None:
        if self.ledger.cap is None:
            return
        worst = self.client.worst(call)
        cost, most = (self.ledger.cost(self.client.model, usage) for usage in (reply.usage, worst))
        if cost > most:
            raise RuntimeError(
                f"{self.client.name} used {reply.usage.prompt_tokens} and {reply.usage.completion_tokens} tokens where "
                f"{worst.prompt_tokens} and {worst.completion_tokens} were allowed: no cap can hold, the run stops"
            )

    def _pause(self, attempt: int, asked_for: float | None, stop: threading.Event) -> None:
        """Waits as long as the server asks, and in any case a while that grows with each attempt.

        Raises:
            RuntimeError: It asks for too long.
        """
        patience = self.patience
        if (asked_for or 0) > patience.longest_wait:
            raise RuntimeError(f"{self.client.name} asks to wait {asked_for:.0f} s: resume then")
        if asked_for:
            self.free_at = max(self.free_at, time.monotonic() + asked_for)
        if attempt + 1 < patience.attempts:
            longest = min(patience.first_wait * 2**attempt, patience.longest_wait)
            stop.wait(longest * (0.5 + 0.5 * self.jitter.random()))
