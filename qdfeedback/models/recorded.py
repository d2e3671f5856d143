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

from qdfeedback.models.calls import Call, Client, Reply, UnansweredError
from qdfeedback.models.language import (
    DEFAULT,
    Choices,
    Completions,
    LanguageModel,
    Sampling,
    Usage,
    same_number,
)
from qdfeedback.models.ledger import Ledger
from qdfeedback.types import Floats, Ints

EXACT = "logprobs"  # one request gives the probability of every option
NO_REPLY = "no reply: "
HALF_AN_ANSWER = 0.5  # spread over all options where answers are counted: none is quite impossible

Answer = Callable[[Mapping[str, Call]], Iterator[tuple[str, Reply]]]
"""Calls by their keys → keys and replies, each kept before it is yielded."""


@dataclass(frozen=True)
class Patience:
    """How a client is treated.

    Attributes:
        concurrency: requests at the same time.
        attempts: of one call, the first included.
        first_wait: seconds before the second attempt; it doubles, and is drawn from the upper half.
        longest_wait: seconds; a server that asks for more is not asked again.
    """

    concurrency: int = 16
    attempts: int = 5
    first_wait: float = 1.0
    longest_wait: float = 120.0


@dataclass(frozen=True)
class Recorded:
    """A language model and the ledger of its replies; `record` and `record_client` make one.

    Attributes:
        name: of the model.
        ledger: where replies are kept.
        answer: brings those that are not.
        how: in what way options are asked for, as in `Call`.
        samples: how often, where answers are counted.
        answer_sampling: how counted answers are drawn.
    """

    name: str
    ledger: Ledger
    answer: Answer = field(repr=False)
    how: str = EXACT
    samples: int = 5
    answer_sampling: Sampling = Sampling(max_tokens=24, temperature=1.0, stop=("\n\n",))  # noqa: RUF009 - frozen

    def complete(self, prompts: Sequence[str], seeds: Ints, sampling: Sampling = DEFAULT) -> Completions:
        """Returns a text for each prompt; one that never came is "", with the reason."""
        calls = [Call(prompt, int(seed), sampling) for prompt, seed in zip(prompts, seeds, strict=True)]
        replies, usage = self._replies(calls)
        return Completions(tuple(one.text for one in replies), tuple(one.reason for one in replies), usage)

    def choose(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> Choices:
        """Returns how likely each option is, or how often it was the answer."""
        k = same_number(options, len(prompts))
        asked = zip(prompts, map(tuple, options), strict=True)
        if self.how == EXACT:
            replies, usage = self._replies([Call(prompt, 0, None, given, self.how) for prompt, given in asked])
            unknown = (float("nan"),) * k
            found = np.array([one.logprobs or unknown for one in replies]).reshape(len(prompts), k)
            return Choices(found, tuple(one.reason for one in replies), usage)
        replies, usage = self._replies(
            [
                Call(prompt, seed, self.answer_sampling, given, self.how)
                for prompt, given in asked
                for seed in range(self.samples)
            ]
        )
        counted = [
            count_answers(replies[row * self.samples : (row + 1) * self.samples], given)
            for row, given in enumerate(options)
        ]
        found = np.array([logs for logs, _ in counted]).reshape(len(prompts), k)
        return Choices(found, tuple(reason for _, reason in counted), usage)

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

    A reply that is no option takes from all of them: the probabilities sum to the share of replies that were. Half an
    answer is spread over the options, so that one that was never given is unlikely, not impossible.
    """
    came = [one for one in replies if not (one.reason or "").startswith(NO_REPLY)]
    counts = np.array([sum(one.text == option for one in came) for option in options], dtype=float)
    if not counts.sum():
        lost = next((one.reason for one in replies if one.reason), None)
        return np.full(len(options), np.nan), lost or "no reply was one of the answers"
    share = counts.sum() / len(came)
    likely = (counts + HALF_AN_ANSWER / len(options)) / (counts.sum() + HALF_AN_ANSWER)
    logs: Floats = np.log(likely * share)
    return logs, None


def record(model: LanguageModel, ledger: Ledger, *, batch_size: int = 256) -> Recorded:
    """Returns a model in this process whose replies are kept, after each batch of so many."""

    def answer(calls: Mapping[str, Call]) -> Iterator[tuple[str, Reply]]:
        keys = list(calls)
        for low in range(0, len(keys), batch_size):
            part = keys[low : low + batch_size]
            replies = list(zip(part, _ask_model(model, [calls[key] for key in part]), strict=True))
            ledger.keep(model.name, replies)
            yield from replies

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
    return Recorded(client.name, ledger, _Asked(client, ledger, patience), client.how, samples)


class _Asked:
    """Sends calls through a client."""

    def __init__(self, client: Client, ledger: Ledger, patience: Patience) -> None:
        self.client, self.ledger, self.patience = client, ledger, patience
        self.free_at = 0.0  # nobody sends before: the server asked for a pause
        self.jitter = random.Random(0)

    def __call__(self, calls: Mapping[str, Call]) -> Iterator[tuple[str, Reply]]:
        """Yields replies as they come; a call that never had one comes with its reason.

        Raises:
            SpendCapError: The cap allows no further request; those on their way were waited for and kept.
            RuntimeError: The server refuses all requests, or not one of several calls had a reply.
        """
        stop, waiting, answered, lost = threading.Event(), iter(calls.items()), 0, []
        with ThreadPoolExecutor(self.patience.concurrency, thread_name_prefix="asks") as pool:
            try:
                running: set[Future[tuple[str, Reply]]] = set()
                while True:
                    for key, call in islice(waiting, self.patience.concurrency - len(running)):
                        running.add(pool.submit(self._ask, key, call, stop))
                    if not running:
                        break
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for one in done:
                        key, reply = one.result()
                        answered += reply.usage.requests
                        lost += [] if reply.usage.requests else [reply.reason]
                        yield key, reply
            finally:
                stop.set()
        if len(lost) > 1 and not answered:
            raise RuntimeError(f"{self.client.name}: none of {len(lost)} requests was answered; the last: {lost[-1]}")

    def _ask(self, key: str, call: Call, stop: threading.Event) -> tuple[str, Reply]:
        """Returns the reply to one call, after as many attempts as it takes and patience has."""
        reason, patience = "stopped", self.patience
        for attempt in range(patience.attempts):
            if stop.wait(max(self.free_at - time.monotonic(), 0)):
                break
            intent = self.ledger.begin(self.client.model, key, self.client.worst(call))
            try:
                reply = self.client.ask(call)
            except UnansweredError as error:
                reason = error.reason
                self.ledger.fail(self.client.model, key, reason, intent=intent, paid=error.paid)
                if not error.again or (error.wait or 0) > patience.longest_wait:
                    break
                if error.wait is not None:
                    self.free_at = max(self.free_at, time.monotonic() + error.wait)
                if attempt + 1 < patience.attempts and error.wait is None:
                    longest = min(patience.first_wait * 2**attempt, patience.longest_wait)
                    stop.wait(longest * (0.5 + 0.5 * self.jitter.random()))
                continue
            except RuntimeError as error:  # no access, no such model: not paid, and no use in asking again
                self.ledger.fail(self.client.model, key, str(error), intent=intent, paid=Usage())
                raise
            self.ledger.keep(self.client.model, [(key, reply)], intent=intent)
            return key, reply
        return key, Reply(reason=f"{NO_REPLY}{reason}")
