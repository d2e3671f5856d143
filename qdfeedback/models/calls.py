"""One thing asked of a model, and what came back: what the ledger keeps and a client sends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from qdfeedback.bounds import Bounds
from qdfeedback.models.language import Sampling, Usage
from qdfeedback.text_files import beginning, read_toml
from qdfeedback.values import a_number, a_record, brief

NOTHING = Usage()
CANNOT_CONNECT = "cannot connect"


@dataclass(frozen=True)
class Call:
    """One thing to ask of a model.

    Attributes:
        prompt: what is put before it.
        seed: for what is drawn.
        sampling: how it is drawn; None = nothing is, the probabilities of the options are wanted.
        options: the answers that are allowed; none = any text.
        how: in what way options are asked for: "logprobs", "structured" or "plain"; "" where there are none.
        pictures: PNG files that the prompt is about.
    """

    prompt: str
    seed: int = 0
    sampling: Sampling | None = None
    options: tuple[str, ...] = ()
    how: str = ""
    pictures: tuple[bytes, ...] = field(default=(), repr=False)

    def key(self, model: str) -> str:
        """Returns what stands for this call and all that its reply depends on."""
        text = json.dumps([model, self.note()], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def note(self) -> dict[str, Any]:
        """Returns what the ledger keeps of it: of pictures their SHA-256."""
        found = asdict(self)
        pictures = [hashlib.sha256(one).hexdigest() for one in found.pop("pictures")]
        return found | ({"pictures": pictures} if pictures else {})


@dataclass(frozen=True)
class Reply:
    """What came back for a call.

    Attributes:
        text: for what is drawn, "" where there is none.
        logprobs: of the options.
        reason: why it is not as it should be, None = it is.
        usage: of the request.
    """

    text: str = ""
    logprobs: tuple[float, ...] = ()
    reason: str | None = None
    usage: Usage = NOTHING


class UnansweredError(Exception):
    """A request brought no reply.

    Args:
        reason: what happened.
        again: another attempt may bring one: it is not about this call, but about the server.
        wait: seconds that the server asked for before the next request; None = it asked for none.
        paid: what was certainly used; None = not known.
    """

    def __init__(
        self, reason: str, *, again: bool = True, wait: float | None = None, paid: Usage | None = NOTHING
    ) -> None:
        super().__init__(reason)
        self.reason, self.again, self.wait, self.paid = reason, again, wait, paid


class RefusedError(RuntimeError):
    """A server knows no such model, or does not take the key.

    Args:
        text: says so.
        status: of HTTP.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text, status)  # both, or it could not come back from a worker process
        self.text, self.status = text, status

    def __str__(self) -> str:
        return self.text


class Client(Protocol):
    """What answers one call at a time, from any number of threads."""

    @property
    def model(self) -> str:
        """The name under which it has a price."""
        ...

    @property
    def name(self) -> str:
        """The model and its revision: another name where anything about its answers can differ."""
        ...

    def how(self, options: Sequence[str]) -> str:
        """Returns in what way these options are asked for, as in `Call`."""
        ...

    def ask(self, call: Call) -> Reply:
        """Returns the reply, within a bounded time.

        Raises:
            UnansweredError: There is none.
            RefusedError: There will never be one.
        """
        ...

    def worst(self, call: Call) -> Usage:
        """Returns the most that one request for the call can use."""
        ...


@dataclass(frozen=True)
class Prices:
    """What a model costs, for a million tokens, in any currency.

    Attributes:
        prompt: tokens read.
        completion: tokens written.
    """

    prompt: float = 0.0
    completion: float = 0.0

    def of(self, usage: Usage) -> float:
        """Returns what something costs."""
        return (self.prompt * usage.prompt_tokens + self.completion * usage.completion_tokens) / 1e6


def read_prices(path: Path) -> dict[str, Prices]:
    """Returns the prices of a TOML file: a table for each model, with `prompt` and `completion`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no such file; the message names it, and the model and price in question.
    """
    try:
        return {model: _prices(model, of) for model, of in read_toml(path).items()}
    except ValueError as error:
        said = beginning(str(error).removeprefix(str(path)).lstrip(" ,"), 250)
        raise ValueError(f'{path} must hold tables like ["my-model"] with prompt and completion: {said}') from error


def _prices(model: str, of: Any) -> Prices:
    if isinstance(of, dict) and any(isinstance(one, dict) for one in of.values()):
        raise ValueError(f"{brief(model)} holds a table of its own: put quotes around a name with dots")
    record = a_record(of, brief(model), known=("prompt", "completion"), needed=("prompt",))
    return Prices(**{name: a_number(price, f"{brief(model)}: {name}", Bounds(0)) for name, price in record.items()})
