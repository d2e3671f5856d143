"""What a server can do with a model: it is tried once, and remembered.

client = find_abilities("http://localhost:8000/v1", "my-model", ledger)    # a few small requests, the first time
model = record_client(client, ledger)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from qdfeedback.models.calls import Call, RefusedError, Reply, UnansweredError
from qdfeedback.models.language import NO_REPLY, Sampling, Usage
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.recorded import Patience, record_client
from qdfeedback.models.served import CUT_OFF_ANSWER, NO_LOGPROBS, Abilities, Served, Way

LACKS = (400, 404, 405, 422, 501)  # a server has no such path, or takes no such field


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

    What is remembered is what a server does, takes or ignores; that it did not answer is not.

    Args:
        url: of the API.
        model: the server's name for it.
        ledger: where the probes are kept and counted.
        chat: True or False to say whether it takes messages; None = it is tried first.
        patience: with the server.
        settings: of `Served`: revision, timeout, key_variable, thoughts.

    Raises:
        RuntimeError: The server takes neither messages nor text, or is not ready.
    """
    client = Served(url, model, **settings)
    why: list[str] = []

    def can(abilities: Abilities, how: Way | Literal[""] = "", *, known_to_work: bool = True) -> bool:
        probe = _Probe(replace(client, abilities=abilities), known_to_work)
        call = Call(f"Is water wet? Answer yes or no. ({abilities})", 0, Sampling(40, 0.0), ("yes", "no"), how)
        key = call.key(probe.name)
        known = ledger.known([key])
        reply = known.get(key) or dict(record_client(probe, ledger, patience).answer({key: call}))[key]
        if reply.text in ("yes", "no"):
            return reply.text == "yes"
        why.append(str(reply.reason))
        if not any(said in why[-1] for said in (CUT_OFF_ANSWER, *(f"HTTP {status}" for status in (*LACKS, 500)))):
            raise RuntimeError(f"{url} is not ready: {why[-1].removeprefix(NO_REPLY)}")
        return False

    tries = [Abilities(chat=False, seed=False)] if chat is not True else []
    if chat is not False:
        limits: tuple[tuple[Any, bool], ...] = (
            ("max_tokens", True), ("max_completion_tokens", True), ("max_completion_tokens", False),
        )  # fmt: skip
        tries = [Abilities(seed=False, limit=limit, temperature=warm) for limit, warm in limits] + tries
    plain = next((one for one in tries if can(one, known_to_work=False)), None)
    if plain is None:
        raise RuntimeError(f"{url} takes neither messages nor text for {model!r}: {why[-1].removeprefix(NO_REPLY)}")
    plain = replace(plain, seed=can(replace(plain, seed=True)))
    logprobs = can(replace(plain, logprobs=True), "logprobs")
    structured = plain.chat and can(replace(plain, structured=True), "structured")
    return replace(client, abilities=replace(plain, logprobs=logprobs, structured=structured))


@dataclass(frozen=True)
class _Probe:
    """A client that says "yes" where the server does what it is asked for, and "no" where it refuses or ignores it.

    That it lacks the plain thing is not kept: a model may be put there later.
    """

    served: Served
    is_kept: bool

    @property
    def model(self) -> str:
        return self.served.model

    @property
    def name(self) -> str:
        return f"probe of {self.served.name}"

    def how(self, options: Sequence[str]) -> Way:  # noqa: ARG002 - as its protocol has it
        return "plain"

    def worst(self, call: Call) -> Usage:
        return self.served.worst(call)

    def ask(self, call: Call) -> Reply:
        exact = replace(call, sampling=None) if call.how == "logprobs" else call
        try:
            reply = self.served.ask(exact if call.how else replace(call, options=()))
        except RefusedError as error:
            if error.status != 404:  # a server may lack one of the paths
                raise
            raise UnansweredError(f"HTTP 404: {error}", again=False) from error
        except UnansweredError as error:
            if self.is_kept and any(error.reason.startswith(f"HTTP {status}") for status in LACKS):
                return Reply("no", usage=Usage(1))
            if self.is_kept and error.reason.startswith(NO_LOGPROBS):
                return Reply("no", usage=error.paid or Usage(1))
            raise
        if reply.reason == CUT_OFF_ANSWER:
            raise UnansweredError(CUT_OFF_ANSWER, again=False, paid=reply.usage)  # what it can do is not known
        mass = sum(map(math.exp, reply.logprobs))
        keeps = {"logprobs": mass > 0.5 or not self.served.abilities.chat, "structured": reply.text in call.options}
        return Reply("yes" if keeps.get(call.how, True) else "no", usage=reply.usage)
