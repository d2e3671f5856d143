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
import threading
import time
import weakref
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

import openai

from qdfeedback.bounds import Natural, Positive, check
from qdfeedback.models import received
from qdfeedback.models.abilities import Abilities
from qdfeedback.models.calls import CANNOT_CONNECT, Call, RefusedError, Reply, UnansweredError
from qdfeedback.models.first_token import option_logprobs, plain
from qdfeedback.models.language import Sampling, Usage
from qdfeedback.models.said import message_in, one_line, words_in
from qdfeedback.models.usage import counts, thought_in
from qdfeedback.models.usage import used_by as _used

TEMPLATE = 1024  # tokens that a chat template with its system prompt may add
TILE = 512  # pixels of a side: services count a picture by parts of this size
PER_PICTURE, PER_TILE = 3000, 6000  # tokens, by the dearest way of counting that is known
NOT_SENT = ("ConnectError", "ConnectTimeout")  # of whichever HTTP library the client stands on
NEVER = (401, 402, 403, 404)
NOT_PAID = (400, 408, 409, 413, 422, 429)
AGAIN = (408, 409, 425, 429)
THOUGHTS = 2048  # tokens for a model that takes no temperature: it thinks before it answers
MOST_STOPS = 4  # that OpenAI takes; what is beyond them is cut here alone

Way = Literal["logprobs", "structured", "plain"]
__all__ = ["Abilities", "RefusedError", "Served", "option_logprobs"]


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
        said: parameter that it does not take → what it said to that.
    """

    url: str
    model: str
    abilities: Abilities = Abilities()  # noqa: RUF009 - frozen
    revision: str = ""
    timeout: Positive = 120.0
    key_variable: str | None = None
    thoughts: Natural = 0
    said: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")

    @property
    def name(self) -> str:
        """The model, its revision, where it is, whether it is given messages, and how long it may think."""
        revision = f"@{self.revision}" if self.revision else ""
        thinks = f", {self.room_to_think} tokens to think" if self.room_to_think else ""
        kind = "messages" if self.abilities.chat else "text"
        return f"{self.model}{revision} at {place_of(self.url)} ({kind}{thinks})"

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
        pairs = list(itertools.permutations(map(plain, options), 2))
        if can.logprobs and not any(b.startswith(a) or a.split()[:1] == b.split()[:1] for a, b in pairs):
            return "logprobs"
        return "structured" if can.structured else "plain"

    @property
    def not_kept(self) -> tuple[str, ...]:
        """What is not sent, since the server does not take it, with what it said."""
        can = self.abilities
        lacks = {
            "temperature": not can.temperature, "top_p": not can.top_p or not can.together, "stop": not can.stop,
            "seed": not can.seed,
        }  # fmt: skip
        return tuple(f"{name} ({self.said.get(name, 'not taken')})" for name, lacking in lacks.items() if lacking)

    def refuses(self, sampling: Sampling) -> str | None:
        """Returns why text cannot be drawn so, None where it can: another temperature is another experiment."""
        if self.abilities.draws(sampling) is not None:
            return None
        of_drawing = [one for one in self.not_kept if one.startswith(("temperature", "top_p"))]
        return (
            f"{self.name} cannot draw at temperature {sampling.temperature:g} and top_p {sampling.top_p:g}: it does "
            f"not take {', '.join(of_drawing)}; what is not taken must be 1"
        )

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
            return self._read(found, call)
        except (UnansweredError, RefusedError):
            raise
        except ValueError as error:
            raise UnansweredError(f"garbled reply: {one_line(str(error), self._key)}", paid=None) from error
        except Exception as error:  # whatever a server can send that is not what the API says
            said = words_in(json.dumps(found, default=str), self._key)
            raise UnansweredError(f"garbled reply: {said}", paid=None) from error

    def _read(self, found: Any, call: Call) -> Reply:
        """Returns the reply in what the server sent; raises anything where it is not what the API says."""
        if isinstance(found, Mapping) and found.get("error"):
            raise self._failure(found["error"])
        choice, chat = received.choice_in(found), self.abilities.chat
        counted = counts(found)
        if call.how == "logprobs":
            return received.read_logprobs(choice, call, _used(counted, self.worst(call)))
        wrote = any(received.text_in(choice, chat=chat))
        usage, thought = _used(counted, self.worst(call), wrote=wrote), thought_in(counted) > 0
        return received.read_text(choice, call, usage, chat=chat, thought=thought, room=self.room_to_think)

    def _failure(self, error: Any) -> Exception:
        """Returns what an error in a body that came as if it were a reply means."""
        code = error.get("code") if isinstance(error, Mapping) else None
        said = one_line(message_in(error) or str(error), self._key)
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        if status in NEVER or code == "insufficient_quota":
            return RefusedError(f"{place_of(self.url)} refuses {self.model!r}: {said}", status)
        again = status in AGAIN or status >= 500
        return UnansweredError(f"error in place of a reply: {said}", again=again, paid=None)

    def _room(self, call: Call) -> int:
        """Returns the tokens that may be written; probabilities need one."""
        return call.sampling.max_tokens + self.room_to_think if call.sampling else 1

    def _request(self, call: Call) -> dict[str, Any]:
        """Returns the arguments of the API."""
        can, sampling = self.abilities, call.sampling or Sampling(max_tokens=1, temperature=1.0)
        body: dict[str, Any] = {"model": self.model, can.limit: self._room(call)}
        body |= {"messages": [{"role": "user", "content": _content(call)}]} if can.chat else {"prompt": call.prompt}
        body |= can.draws(sampling) or {}  # top_p always: servers have defaults of their own
        if sampling.stop and can.stop and not call.options and not self.room_to_think:  # it would end thoughts too
            body["stop"] = list(sampling.stop[:MOST_STOPS])
        body |= {"seed": call.seed % 2**31} if can.seed else {}
        if call.how == "logprobs":
            most = can.alternatives
            body |= {"logprobs": True, "top_logprobs": most} if can.chat else {"logprobs": most}
        if call.how == "structured":
            body["response_format"] = _one_of(call.options)
        return body

    def _send(self, body: Mapping[str, Any]) -> Any:
        """Returns what the server said, or raises what `ask` raises."""

        async def post() -> Any:
            to = self._client.chat.completions if "messages" in body else self._client.completions
            return await asyncio.wait_for(to.with_raw_response.create(**body), self.timeout)

        try:
            text = _run(post()).content.decode("utf-8", "replace")
        except TimeoutError as error:
            raise UnansweredError("time-out", paid=None) from error
        except openai.APIStatusError as error:
            raise self._refused(error) from error
        except openai.APIConnectionError as error:
            never_sent = type(error.__cause__).__name__ in NOT_SENT
            reason = CANNOT_CONNECT if never_sent else "connection cut"
            raise UnansweredError(reason, paid=Usage() if never_sent else None) from error
        except Exception as error:  # whatever the library makes of a garbled reply
            said = one_line(str(error), self._key)
            raise UnansweredError(f"garbled reply: {type(error).__name__}: {said}", paid=None) from error
        try:
            return json.loads(text, object_pairs_hook=received.pairs)
        except (ValueError, RecursionError) as error:
            raise UnansweredError(f"garbled reply: {words_in(text, self._key)}", paid=None) from error

    def _refused(self, error: openai.APIStatusError) -> Exception:
        status, code = error.status_code, getattr(error, "code", None)
        said = words_in(error.response.text, self._key)
        if status in NEVER or code == "insufficient_quota":
            return RefusedError(f"{place_of(self.url)} refuses {self.model!r}: HTTP {status} {said}", status)
        return UnansweredError(
            f"HTTP {status}: {said}",
            again=status in AGAIN or status >= 500,
            wait=_retry_after(error.response.headers),
            paid=Usage() if status in NOT_PAID else None,
        )

    @property
    def _key(self) -> str | None:
        variable = self.key_variable or ("OPENAI_API_KEY" if self.url.startswith("https://") else "")
        return os.environ.get(variable) or None

    @cached_property
    def _client(self) -> openai.AsyncOpenAI:
        client = openai.AsyncOpenAI(
            base_url=self.url, api_key=self._key or "none", max_retries=0, timeout=self.timeout
        )  # fmt: skip
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


def place_of(url: str) -> str:
    """Returns where a server is, without what an address may hold of passwords and keys."""
    place = urlsplit(url)
    return f"{place.hostname}{f':{place.port}' if place.port else ''}{place.path.rstrip('/')}"


def _one_of(options: Sequence[str]) -> dict[str, Any]:
    answer = {"type": "string", "enum": list(options)}
    schema = {
        "type": "object", "properties": {"answer": answer}, "required": ["answer"], "additionalProperties": False,
    }  # fmt: skip
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds that a server asks for, in numbers or as a date; None where it asks for none."""
    value = headers.get("retry-after", "")
    try:
        exact = headers.get("retry-after-ms")
        seconds = float(value) if exact is None else float(exact) / 1000
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


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
