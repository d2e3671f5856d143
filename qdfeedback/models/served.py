"""Models behind an OpenAI-compatible server: vLLM, Ollama, llama.cpp, transformers serve, OpenAI.

`probing.find_abilities` makes one that knows what its server can do.
"""

from __future__ import annotations

import asyncio
import base64
import email.utils
import itertools
import json
import math
import os
import re
import threading
import time
import weakref
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

import openai

from qdfeedback.models.calls import CANNOT_CONNECT, Call, RefusedError, Reply, UnansweredError
from qdfeedback.models.language import CUT_OFF, EMPTY, Sampling, Usage, end_at

MOST_LOGPROBS = 20  # that servers give for a token
LEAST_LOGPROBS = 5  # fewer than so many alternatives say too little about those that are missing
TEMPLATE = 1024  # tokens that a chat template with its system prompt may add
TILE = 512  # pixels of a side: services count a picture by parts of this size
PER_PICTURE, PER_TILE = 3000, 6000  # tokens, by the dearest way of counting that is known
NOT_SENT = ("ConnectError", "ConnectTimeout")  # of whichever HTTP library the client stands on
NEVER = (401, 402, 403, 404)
NOT_PAID = (400, 408, 409, 413, 422, 429)
AGAIN = (408, 409, 425, 429)
LEAST_SEEN = 1e-12
THOUGHTS = 2048  # tokens for a model that takes no temperature: it thinks before it answers
CUT_OFF_ANSWER = "cut off before an answer: a model that thinks needs room for it (thoughts)"
NO_LOGPROBS = "no log-probabilities"
THINKING = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)

Way = Literal["logprobs", "structured", "plain"]


@dataclass(frozen=True)
class Abilities:
    """What a server can do with a model.

    Attributes:
        chat: it takes messages; else it continues text.
        logprobs: it tells how likely the first tokens are.
        structured: it keeps to a JSON schema.
        seed: it takes one.
        limit: the name of its token limit.
        temperature: it takes one, and stops; models that think before they answer do not.
    """

    chat: bool = True
    logprobs: bool = False
    structured: bool = False
    seed: bool = True
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True


@dataclass(frozen=True)
class Served:
    """A model on a server, asked one thing at a time.

    Attributes:
        url: of the API, as "http://localhost:8000/v1".
        model: the server's name for it.
        abilities: what it can do (`find_abilities` asks).
        revision: tells apart what the server calls by the same name.
        timeout: seconds in which a request ends, whatever the server does.
        key_variable: of the environment, holds the API key; None = OPENAI_API_KEY, and only where the address is https.
        thoughts: tokens in which it may think before each text or answer; a model that takes no temperature has 2,048
            at least.
    """

    url: str
    model: str
    abilities: Abilities = Abilities()
    revision: str = ""
    timeout: float = 120.0
    key_variable: str | None = None
    thoughts: int = 0

    @property
    def name(self) -> str:
        """The model, its revision, where it is, whether it is given messages, and how long it may think."""
        place = urlsplit(self.url)
        revision = f"@{self.revision}" if self.revision else ""
        where = f"{place.hostname}{f':{place.port}' if place.port else ''}{place.path.rstrip('/')}"
        thinks = f", {self.room_to_think} tokens to think" if self.room_to_think else ""
        return f"{self.model}{revision} at {where} ({'messages' if self.abilities.chat else 'text'}{thinks})"

    @property
    def room_to_think(self) -> int:
        """Tokens beyond those of a text or an answer."""
        return self.thoughts if self.abilities.temperature else max(self.thoughts, THOUGHTS)

    def how(self, options: Sequence[str]) -> Way:
        """Returns in what way options are asked for.

        By the first token where the server tells about it; not where one option begins another, as 1 does 10, or two
        have their first word in common: the first token would be that of both.
        """
        can = self.abilities
        pairs = list(itertools.permutations(map(_plain, options), 2))
        if can.logprobs and not any(b.startswith(a) or a.split()[:1] == b.split()[:1] for a, b in pairs):
            return "logprobs"
        return "structured" if can.structured else "plain"

    def worst(self, call: Call) -> Usage:
        """Returns the most that a request can use: a token is a byte at least."""
        options = sum(len(one.encode()) + 8 for one in call.options)  # part of the schema
        seen = sum(PER_PICTURE + PER_TILE * _tiles(one) for one in call.pictures)
        return Usage(1, len(call.prompt.encode("utf-8", "replace")) + TEMPLATE + options + seen, self._room(call))

    def ask(self, call: Call) -> Reply:
        """Returns the reply.

        Raises:
            UnansweredError: There is none; says whether to ask again.
            RefusedError: The server does not know the model, or refuses the key.
        """
        if call.pictures and not self.abilities.chat:
            raise UnansweredError("a server that takes no messages takes no pictures", again=False)
        try:
            call.prompt.encode()
        except UnicodeEncodeError as error:
            raise UnansweredError("the prompt is no text", again=False) from error
        found = self._send(self._request(call))
        try:
            return _read(found, call, self)
        except UnansweredError:
            raise
        except Exception as error:  # whatever a server can send that is not what the API says
            raise UnansweredError(f"garbled reply: {type(error).__name__}", paid=None) from error

    def _room(self, call: Call) -> int:
        """Returns the tokens that may be written; probabilities need one."""
        return call.sampling.max_tokens + self.room_to_think if call.sampling else 1

    def _request(self, call: Call) -> dict[str, Any]:
        """Returns the arguments of the API."""
        can, sampling = self.abilities, call.sampling or Sampling(max_tokens=1, temperature=0.0)
        body: dict[str, Any] = {"model": self.model, can.limit: self._room(call)}
        body |= {"messages": [{"role": "user", "content": _content(call)}]} if can.chat else {"prompt": call.prompt}
        if can.temperature:  # top_p always: servers have defaults of their own
            body |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
            body |= {"stop": list(sampling.stop)} if sampling.stop and not call.options else {}
        body |= {"seed": call.seed % 2**31} if can.seed else {}
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
        except Exception as error:  # whatever the library makes of a garbled reply
            raise UnansweredError(f"garbled reply: {type(error).__name__}", paid=None) from error

    @cached_property
    def _client(self) -> openai.AsyncOpenAI:
        variable = self.key_variable or ("OPENAI_API_KEY" if self.url.startswith("https://") else "")
        key = os.environ.get(variable) or "none"
        client = openai.AsyncOpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=self.timeout)
        weakref.finalize(self, _hang_up, client).atexit = False
        return client


def _content(call: Call) -> str | list[dict[str, Any]]:
    """Returns a message: text, or pictures with their numbers and then the text."""
    if not call.pictures:
        return call.prompt
    parts: list[dict[str, Any]] = []
    for number, png in enumerate(call.pictures, 1):
        url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        parts += [{"type": "text", "text": f"Picture {number}:"}, {"type": "image_url", "image_url": {"url": url}}]
    return [*parts, {"type": "text", "text": call.prompt}]


def _tiles(png: bytes) -> int:
    """Returns of how many parts a picture is; its width and height stand at the beginning of the file."""
    width, height = (int.from_bytes(png[at : at + 4]) for at in (16, 20))
    return math.ceil(width / TILE) * math.ceil(height / TILE)


def _read(found: Any, call: Call, served: Served) -> Reply:
    """Returns the reply in what the server sent; raises anything where it is not what the API says."""
    (choice,) = found.choices
    chat = served.abilities.chat
    text = (choice.message.content if chat else choice.text) or ""
    text = text.encode("utf-8", "replace").decode()  # half of a character could be kept nowhere
    usage = _used(found.usage, served.worst(call))
    if call.how == "logprobs":
        seen = _first_logprobs(choice.logprobs, chat=chat)
        if len(seen) < LEAST_LOGPROBS:
            raise UnansweredError(NO_LOGPROBS, again=False, paid=usage)
        if not all(-math.inf <= value <= 1e-3 for value in seen.values()):
            raise ValueError("log-probabilities above 0, or none")
        return Reply(logprobs=option_logprobs(seen, call.options), usage=usage)
    text = THINKING.sub("", text, count=1)
    broken = "thinking in place of an answer" if text.lstrip().startswith("<think>") else None
    broken = "content filter" if choice.finish_reason == "content_filter" else broken
    if call.how:
        answer = None if broken else _answer(text, call.options, structured=call.how == "structured")
        broken = broken or (CUT_OFF_ANSWER if choice.finish_reason == "length" else None)
        return Reply(answer or "", reason=None if answer else broken or "not one of the answers", usage=usage)
    kept, stopped = end_at(text, call.sampling.stop if call.sampling else ())
    cut = choice.finish_reason == "length" and not stopped
    broken = broken or (EMPTY if not kept.strip() else CUT_OFF if cut else None)
    return Reply("" if broken and broken != CUT_OFF else kept, reason=broken, usage=usage)


def _used(counted: Any, worst: Usage) -> Usage:
    """Returns what a request used; what a server does not count is taken at its worst.

    Some count what a model thought in the total alone.
    """
    if counted is None:
        return worst
    read = int(counted.prompt_tokens)
    return Usage(1, read, max(int(counted.completion_tokens), int(counted.total_tokens or 0) - read))


def _first_logprobs(logprobs: Any, *, chat: bool) -> dict[str, float]:
    """Returns the likeliest first tokens; none where the server gave none."""
    if not logprobs:
        return {}
    if chat:
        return {one.token: float(one.logprob) for one in logprobs.content[0].top_logprobs} if logprobs.content else {}
    return {token: float(value) for token, value in logprobs.top_logprobs[0].items()} if logprobs.top_logprobs else {}


def option_logprobs(seen: Mapping[str, float], options: Sequence[str]) -> tuple[float, ...]:
    """Returns the log-probability of each option by the first tokens that a server gave.

    A token counts for the option that it alone begins, in upper or lower case, with or without a space before it. The
    options that none begins are as likely as the least likely token, or as an equal share of what is left, if that is
    less: they are no likelier.

    Args:
        seen: token → log-probability.
        options: k answers, none of which begins another.
    """
    total = [0.0] * len(options)
    lower = list(map(_plain, options))
    for token, logprob in seen.items():
        mine = _plain(token)
        begins = [i for i, one in enumerate(lower) if mine and one.startswith(mine)]
        if len(begins) == 1:
            total[begins[0]] += math.exp(logprob)
    missing = total.count(0.0)
    left = max(1 - sum(map(math.exp, seen.values())), 0.0) / max(missing, 1)
    least = max(min(math.exp(min(seen.values())), left), LEAST_SEEN)
    return tuple(math.log(one or least) for one in total)


def _plain(text: str) -> str:
    return text.strip().casefold()


def _answer(text: str, options: Sequence[str], *, structured: bool) -> str | None:
    """Returns the option that a text is, whole: nothing is looked for within it."""
    if structured:
        try:
            found = json.loads(text)
        except ValueError:
            return None
        text = found["answer"] if isinstance(found, dict) and set(found) == {"answer"} else ""
        return text if text in options else None
    said = _plain(text.strip().strip("\"'*`").removesuffix("."))
    return next((one for one in options if one.casefold() == said), None)


def _one_of(options: Sequence[str]) -> dict[str, Any]:
    answer = {"type": "string", "enum": list(options)}
    schema = {
        "type": "object", "properties": {"answer": answer}, "required": ["answer"], "additionalProperties": False,
    }  # fmt: skip
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def _refused(error: openai.APIStatusError, url: str, model: str) -> Exception:
    said = error.body.get("message") if isinstance(error.body, dict) else None
    status, code, said = error.status_code, getattr(error, "code", None), _short(str(said or error.message))
    if status in NEVER or code == "insufficient_quota":
        return RefusedError(f"{url} refuses {model!r}: HTTP {status} {said}", status)
    return UnansweredError(
        f"HTTP {status}" if status in AGAIN or status >= 500 else f"HTTP {status}: {said}",
        again=status in AGAIN or status >= 500,
        wait=_retry_after(error.response.headers),
        paid=Usage() if status in NOT_PAID else None,
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
    line = " ".join(text.split())
    return line if len(line) < 160 else f"{line[:160]}…"


def _hang_up(client: openai.AsyncOpenAI) -> None:
    """Closes what connections a client has, some time soon."""
    if _LOOP and _LOOP[0].is_running():
        asyncio.run_coroutine_threadsafe(client.close(), _LOOP[0])


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
