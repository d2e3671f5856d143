"""Models behind an OpenAI-compatible server: vLLM, Ollama, llama.cpp, transformers serve, OpenAI.

client = find_abilities("http://localhost:8000/v1", "my-model", ledger)    # a few small requests, the first time
model = record_client(client, ledger)
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import os
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import openai

from qdfeedback.models.calls import Call, Reply, UnansweredError
from qdfeedback.models.language import CUT_OFF, EMPTY, Sampling, Usage, end_at
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.recorded import Patience, record_client

MOST_LOGPROBS = 20  # that servers give for a token
TEMPLATE = 256  # tokens that a chat template may add
NOT_SENT = ("ConnectError", "ConnectTimeout")  # of whichever HTTP library the client stands on
CANNOT_CONNECT = "cannot connect"
NEVER = (401, 402, 403, 404)
NOT_PAID = (400, 408, 409, 413, 422, 429)
AGAIN = (408, 409, 425, 429)
LEAST_SEEN = 1e-12

Way = Literal["logprobs", "structured", "plain"]


class RefusedError(RuntimeError):
    """A server knows no such model, or does not take the key.

    Args:
        text: says so.
        status: of HTTP.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Abilities:
    """What a server can do with a model.

    Attributes:
        chat: it takes messages; else it continues text.
        way: how it answers with one of several options: by log-probabilities, by JSON that it keeps to, or by text.
        seed: it takes one.
        limit: the name of its token limit.
    """

    chat: bool = True
    way: Way = "plain"
    seed: bool = True
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


@dataclass(frozen=True)
class Served:
    """A model on a server, asked one thing at a time.

    Attributes:
        url: of the API, as "http://localhost:8000/v1".
        model: the server's name for it.
        abilities: what it can do (`find_abilities` asks).
        revision: tells apart what the server calls by the same name.
        timeout: seconds in which a request ends, whatever the server does.
        key_variable: of the environment, holds the API key; a server that needs none takes anything.
    """

    url: str
    model: str
    abilities: Abilities = Abilities()
    revision: str = ""
    timeout: float = 120.0
    key_variable: str = "OPENAI_API_KEY"

    @property
    def name(self) -> str:
        """The model and its revision."""
        return f"{self.model}@{self.revision}" if self.revision else self.model

    @property
    def how(self) -> str:
        """In what way options are asked for."""
        return self.abilities.way

    def worst(self, call: Call) -> Usage:
        """Returns the most that a request can use: a token is a byte at least."""
        written = call.sampling.max_tokens if call.sampling else 1
        options = sum(len(one.encode()) + 8 for one in call.options)  # part of the schema
        return Usage(1, len(call.prompt.encode("utf-8", "replace")) + TEMPLATE + options, written)

    def ask(self, call: Call) -> Reply:
        """Returns the reply.

        Raises:
            UnansweredError: There is none; says whether to ask again.
            RuntimeError: The server does not know the model, or refuses the key.
        """
        found = self._send(self._request(call))
        try:
            return _read(found, call, self.abilities)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise UnansweredError(f"garbled reply: {type(error).__name__}", paid=None) from error

    def _request(self, call: Call) -> dict[str, Any]:
        """Returns the arguments of the API."""
        can, sampling = self.abilities, call.sampling or Sampling(max_tokens=1, temperature=0.0)
        body: dict[str, Any] = {"model": self.model, can.limit: sampling.max_tokens}
        body |= {"messages": [{"role": "user", "content": call.prompt}]} if can.chat else {"prompt": call.prompt}
        body |= {"temperature": sampling.temperature}
        body |= {"top_p": sampling.top_p} if sampling.top_p < 1 else {}
        body |= {"seed": call.seed % 2**31} if can.seed else {}
        body |= {"stop": list(sampling.stop)} if sampling.stop and call.how != "structured" else {}
        if call.how == "logprobs":
            body |= {"logprobs": True, "top_logprobs": MOST_LOGPROBS} if can.chat else {"logprobs": MOST_LOGPROBS}
        if call.how == "structured":
            body["response_format"] = _one_of(call.options)
        return body

    def _send(self, body: Mapping[str, Any]) -> Any:
        """Returns what the server said, or raises what `ask` raises."""

        async def post() -> Any:
            to = self._client.chat.completions if "messages" in body else self._client.completions
            return await asyncio.wait_for(to.create(**body), self.timeout)

        try:
            return _run(post())
        except TimeoutError as error:
            raise UnansweredError("time-out", paid=None) from error
        except openai.APIStatusError as error:
            raise _refused(error, self.url, self.model) from error
        except openai.APIConnectionError as error:
            never_sent = type(error.__cause__).__name__ in NOT_SENT
            reason = CANNOT_CONNECT if never_sent else "connection cut"
            raise UnansweredError(reason, paid=Usage() if never_sent else None) from error
        except (openai.OpenAIError, json.JSONDecodeError) as error:
            raise UnansweredError(f"garbled reply: {type(error).__name__}", paid=None) from error

    @cached_property
    def _client(self) -> openai.AsyncOpenAI:
        key = os.environ.get(self.key_variable) or "none"
        return openai.AsyncOpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=self.timeout)


def find_abilities(
    url: str,
    model: str,
    ledger: Ledger,
    *,
    chat: bool | None = None,
    patience: Patience = Patience(),  # noqa: B008 - frozen
    **settings: Any,
) -> Served:
    """Returns a client that knows what the server can do: it tries, and the ledger remembers.

    Args:
        url: of the API.
        model: the server's name for it.
        ledger: where the probes are kept and counted.
        chat: True or False to say whether it takes messages; None = it is tried first.
        patience: with the server.
        settings: of `Served`: revision, timeout, key_variable.

    Raises:
        RuntimeError: The server takes neither messages nor text.
    """
    tries = [
        Abilities(chat=kind, way="plain", seed=False, limit=limit)
        for kind in ((True, False) if chat is None else (chat,))
        for limit in (("max_tokens", "max_completion_tokens") if kind else ("max_tokens",))
    ]  # fmt: skip
    client = Served(url, model, tries[0], **settings)

    def can(abilities: Abilities, how: Way | Literal[""] = "") -> bool | None:
        """Returns whether it does; None where it does not answer, which is not remembered."""
        probe = _Probe(replace(client, abilities=abilities))
        options = ("yes", "no") if how else ()
        call = Call(f"Is water wet? Answer yes or no. ({abilities})", 0, Sampling(8, 0.0), options, how)
        key = call.key(probe.name)
        known = ledger.known([key])
        reply = known[key] if known else dict(record_client(probe, ledger, patience).answer({key: call}))[key]
        silent[abilities] = reply.reason or ""
        if silent[abilities].endswith(CANNOT_CONNECT):
            raise RuntimeError(f"{url} does not answer: {CANNOT_CONNECT}")
        return None if reply.text not in ("yes", "no") else reply.text == "yes"

    silent: dict[Abilities, str] = {}
    plain = next((one for one in tries if can(one)), None)
    if plain is None:
        raise RuntimeError(f"{url} takes neither messages nor text for {model!r}: {next(iter(silent.values()))}")
    plain = replace(plain, seed=bool(can(replace(plain, seed=True))))
    ways: tuple[Way, ...] = ("logprobs", "structured") if plain.chat else ("logprobs",)
    way: Way = next((one for one in ways if can(replace(plain, way=one), one)), "plain")
    return replace(client, abilities=replace(plain, way=way))


@dataclass(frozen=True)
class _Probe:
    """A client that says "yes" where the server does what it is asked for, and "no" where it refuses or ignores it."""

    served: Served

    @property
    def model(self) -> str:
        return self.served.model

    @property
    def name(self) -> str:
        return f"probe of {self.served.url} {self.served.name}"

    how = "plain"

    def worst(self, call: Call) -> Usage:
        return self.served.worst(call)

    def ask(self, call: Call) -> Reply:
        if call.how == "logprobs":
            call = replace(call, sampling=None)
        try:
            reply = self.served.ask(call)
        except RefusedError as error:
            if error.status != 404:  # a server may lack one of the ways
                raise
            return Reply("no", reason=str(error), usage=Usage(1))
        except UnansweredError as error:
            refused = error.paid is not None and not error.again
            broken = error.reason.startswith(("HTTP 5", "garbled")) and bool(call.how)  # plain requests went through
            if refused or broken:
                return Reply("no", reason=error.reason, usage=Usage(1))
            raise
        keeps = {"logprobs": bool(reply.logprobs), "structured": reply.text in call.options}
        return Reply("yes" if keeps.get(call.how, True) else "no", usage=reply.usage)


def _read(found: Any, call: Call, can: Abilities) -> Reply:
    """Returns the reply in what the server sent.

    Raises:
        ValueError, TypeError, KeyError, IndexError, AttributeError: It is not what the API says.
    """
    (choice,) = found.choices
    written = choice.message.content if can.chat else choice.text
    text = written or ""
    if not isinstance(text, str):
        raise TypeError("text must be a string")
    used = found.usage
    usage = Usage(1, int(used.prompt_tokens), int(used.completion_tokens)) if used else Usage(1)
    if call.how == "logprobs":
        seen = _first_logprobs(choice.logprobs, chat=can.chat)
        logs = option_logprobs(seen, call.options) if seen else ()
        return Reply(logprobs=logs, reason=None if logs else "no log-probabilities", usage=usage)
    if call.how:
        answer = _answer(text, call.options, structured=call.how == "structured")
        return Reply(answer or "", reason=None if answer else "not one of the answers", usage=usage)
    assert call.sampling is not None, "a call without options is a text to be drawn"
    kept, stopped = end_at(text, call.sampling.stop)
    cut = choice.finish_reason == "length" and not stopped
    return Reply(kept, reason=EMPTY if not kept.strip() else CUT_OFF if cut else None, usage=usage)


def _first_logprobs(logprobs: Any, *, chat: bool) -> dict[str, float]:
    """Returns the likeliest first tokens; none where the server gave none."""
    if not logprobs:
        return {}
    if chat:
        return {one.token: float(one.logprob) for one in logprobs.content[0].top_logprobs} if logprobs.content else {}
    return {token: float(value) for token, value in logprobs.top_logprobs[0].items()} if logprobs.top_logprobs else {}


def option_logprobs(seen: Mapping[str, float], options: Sequence[str]) -> tuple[float, ...]:
    """Returns the log-probability of each option by the first tokens that a server gave.

    A token counts for the option that it is, or else that it alone begins, in upper or lower case, with or without a
    space before it. An option that none of them begins is as likely as the least likely of them: it is no likelier.

    Args:
        seen: token → log-probability.
        options: k answers.
    """
    total = [0.0] * len(options)
    lower = [one.strip().casefold() for one in options]
    for token, logprob in seen.items():
        mine = token.strip().casefold()
        is_it = [i for i, one in enumerate(lower) if mine == one]
        begins = is_it or [i for i, one in enumerate(lower) if mine and one.startswith(mine)]
        if len(begins) == 1:
            total[begins[0]] += math.exp(logprob)
    if not any(total):
        return (math.log(LEAST_SEEN),) * len(options)
    least = max(math.exp(min(seen.values())), LEAST_SEEN)
    return tuple(math.log(one or least) for one in total)


def _answer(text: str, options: Sequence[str], *, structured: bool) -> str | None:
    """Returns the option that a text is, whole: nothing is looked for within it."""
    if structured:
        try:
            found = json.loads(text)
        except ValueError:
            return None
        text = found["answer"] if isinstance(found, dict) and set(found) == {"answer"} else ""
        return text if text in options else None
    said = text.strip().strip("\"'*`").removesuffix(".").strip().casefold()
    return next((one for one in options if one.casefold() == said), None)


def _one_of(options: Sequence[str]) -> dict[str, Any]:
    answer = {"type": "string", "enum": list(options)}
    schema = {
        "type": "object", "properties": {"answer": answer}, "required": ["answer"], "additionalProperties": False,
    }  # fmt: skip
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def _refused(error: openai.APIStatusError, url: str, model: str) -> Exception:
    status, code = error.status_code, getattr(error, "code", None)
    if status in NEVER or code == "insufficient_quota":
        return RefusedError(f"{url} refuses {model!r}: HTTP {status} {_short(error.message)}", status)
    paid = Usage() if status in NOT_PAID else None
    return UnansweredError(
        f"HTTP {status}", again=status in AGAIN or status >= 500, wait=_retry_after(error.response.headers), paid=paid
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds that a server asks for, in numbers or as a date; None where it asks for none."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _short(text: str) -> str:
    return text if len(text) < 200 else f"{text[:200]}…"


_LOOP: list[asyncio.AbstractEventLoop] = []
_LOCK = threading.Lock()


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Returns what a coroutine returns, from the one event loop of this process, in a thread of its own.

    The client library ends a request that lasts too long only when it is cancelled, which needs a loop.
    """
    with _LOCK:
        if not _LOOP or _LOOP[0].is_closed():
            _LOOP[:] = [asyncio.new_event_loop()]
            threading.Thread(target=_LOOP[0].run_forever, name="requests", daemon=True).start()
    return asyncio.run_coroutine_threadsafe(work, _LOOP[0]).result()
