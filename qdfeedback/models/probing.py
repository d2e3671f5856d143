"""What a server can do with a model: it is tried once, and remembered.

client = find_abilities("http://localhost:8000/v1", "my-model", ledger)    # a few small requests, the first time
model = record_client(client, ledger)
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from qdfeedback.models.abilities import LIMITS, MOST_LOGPROBS, Abilities
from qdfeedback.models.calls import Call, RefusedError, Reply, UnansweredError
from qdfeedback.models.language import NO_REPLY, Sampling, Usage
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.received import CUT_OFF_ANSWER, NO_LOGPROBS
from qdfeedback.models.recorded import Patience, record_client
from qdfeedback.models.served import Served, Way, place_of
from qdfeedback.values import a_record

LACKS = (400, 404, 405, 422, 501)  # a server has no such path, or takes no such field
NO_SUCH_PATH = (404, 405, 501)
PARAMETERS = ("temperature", "top_p", "stop", "seed")  # that a server may do without, in the order in which they matter
BARE: dict[str, Any] = dict.fromkeys(PARAMETERS, False)
_NAMED = {
    "temperature": r"\btemperature\b", "top_p": r"\btop[_-]?p\b", "stop": r"\bstop(?:_sequences?)?\b",
    "seed": r"\bseed\b", "limit": r"\bmax_(?:completion_)?tokens\b",
}  # fmt: skip
_FEWER = re.compile(r"\b(1\d|[5-9])\b")


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

    A first small request has every parameter that we use. Where it is refused those are left out that the server's
    words name, or else all that can be, and then each is tried. What is remembered is what a server does, takes or
    ignores; that it did not answer is not.

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
    note = Call(f"what can it do? (2, {chat})")
    key = note.key(f"abilities of {client.name}")
    if (known := ledger.known([key])) and (remembered := _remembered(known[key].text)):
        return replace(client, abilities=remembered[0], said=remembered[1])
    probing = _Probing(client, ledger, patience)
    tried = (probing.plain(chat=one) for one in ([chat] if chat is not None else [True, False]))
    plain = next((one for one in tried if one is not None), None)
    if plain is None:
        why = "; ".join(dict.fromkeys(probing.why))
        raise RuntimeError(f"{place_of(url)} takes neither messages nor text for {model!r}: {why}")
    abilities = probing.features(plain)
    if not probing.unknown:
        text = json.dumps({"abilities": asdict(abilities), "said": probing.said})
        ledger.keep(model, [(key, note, Reply(text))])
    return replace(client, abilities=abilities, said=probing.said)


def _remembered(text: str) -> tuple[Abilities, dict[str, str]] | None:
    """Returns abilities and what the server said of those it lacks, as a ledger holds them; None = it is damaged."""
    plain = asdict(Abilities())
    try:
        found = a_record(json.loads(text), "it", known=("abilities", "said"), needed=("abilities", "said"))
        given = a_record(found["abilities"], "abilities", known=plain)
        said = a_record(found["said"], "said", known=(*PARAMETERS, "limit"))
    except (ValueError, RecursionError):
        return None
    abilities = plain | given
    kept = all(type(value) is type(plain[name]) for name, value in abilities.items())
    if not kept or abilities["limit"] not in LIMITS or not 0 < abilities["alternatives"] <= MOST_LOGPROBS:
        return None
    return (Abilities(**abilities), said) if all(isinstance(why, str) for why in said.values()) else None


@dataclass
class _Probing:
    """Small requests, one after the other.

    Attributes:
        client: whose server.
        ledger: where they are kept.
        patience: with the server.
        said: parameter → what the server said when it refused it.
        why: the last refusal of messages, and of text.
        unknown: an answer was cut off: what the server can do is not known.
    """

    client: Served
    ledger: Ledger
    patience: Patience
    said: dict[str, str] = field(default_factory=dict)
    why: list[str] = field(default_factory=list)
    unknown: bool = False

    def plain(self, *, chat: bool) -> Abilities | None:
        """Returns what a server takes of messages, or of text; None where it takes none."""
        full = Abilities(chat=chat)
        refused = self.refusal(full)
        while refused is not None and (less := self.without_named(full, refused)) is not None:
            full = less
            refused = self.refusal(full)
        if refused is None:
            return self.with_top_p_alone(full)
        if not any(refused.startswith(f"HTTP {status}") for status in NO_SUCH_PATH):
            limits: list[Any] = ["max_tokens"]
            limits += ["max_completion_tokens"] if chat and not refused.startswith("HTTP 500") else []
            for limit in limits:
                bare = Abilities(chat=chat, limit=limit, **BARE)
                refused = self.refusal(bare)
                if refused is None:
                    return self.with_each(bare)
        self.why.append(refused)
        return None

    def without_named(self, abilities: Abilities, refused: str) -> Abilities | None:
        """Returns abilities less the parameters that a refusal names; None where it names none that are sent."""
        named = {name for name, word in _NAMED.items() if re.search(word, refused, re.IGNORECASE)}
        changes: dict[str, Any] = {}
        if "limit" in named and abilities.chat and abilities.limit == "max_tokens":
            changes["limit"] = "max_completion_tokens"
        both = {"temperature", "top_p"}
        if both <= named and abilities.temperature and abilities.top_p and abilities.together:
            changes["together"], named = False, named - both  # it may be that it takes either
            self.said["top_p"] = refused
        for name in PARAMETERS:
            if name in named and getattr(abilities, name):
                changes[name] = False
                self.said[name] = refused
        return replace(abilities, **changes) if changes else None

    def with_top_p_alone(self, abilities: Abilities) -> Abilities:
        """Returns abilities that say whether top_p is taken, where it is not together with a temperature."""
        if abilities.together or not abilities.temperature:
            return replace(abilities, together=True)
        refused = self.refusal(replace(abilities, temperature=False))
        if refused is None:
            return abilities
        self.said["top_p"] = refused
        return replace(abilities, top_p=False, together=True)

    def with_each(self, bare: Abilities) -> Abilities:
        """Returns abilities with each of the parameters that the server takes."""
        found = bare
        for name in PARAMETERS:
            more: dict[str, Any] = {name: True}
            refused = self.refusal(replace(found, **more))
            if refused is None:
                found = replace(found, **more)
                continue
            self.said[name] = refused
            if name == "top_p" and found.temperature:
                found = self.with_top_p_alone(replace(found, top_p=True, together=False))
        return found

    def features(self, plain: Abilities) -> Abilities:
        """Returns abilities with what a server tells, and keeps to."""
        with_logprobs = replace(plain, logprobs=True)
        reply = self.ask(with_logprobs, "logprobs")
        said = reply.reason or ""
        if "logprobs" in said and (fewer := _FEWER.search(said)):  # "at most 5"
            with_logprobs = replace(with_logprobs, alternatives=int(fewer[1]))
            reply = self.ask(with_logprobs, "logprobs")
        found = with_logprobs if reply.text == "yes" else plain
        structured = plain.chat and self.ask(replace(plain, structured=True), "structured").text == "yes"
        return replace(found, structured=structured)

    def refusal(self, abilities: Abilities) -> str | None:
        """Returns how a server refuses a plain request; None = it does not."""
        reply = self.ask(abilities, "")
        return None if reply.text else (reply.reason or "").removeprefix(NO_REPLY)

    def ask(self, abilities: Abilities, how: Way | Literal[""]) -> Reply:
        """Returns a reply that is "yes" or "no", or "" with the reason.

        Raises:
            RuntimeError: The server is not ready.
        """
        probe = _Probe(replace(self.client, abilities=abilities))
        call = Call(f"Is water wet? Answer yes or no. ({abilities})", 0, _drawn(abilities), ("yes", "no"), how)
        key = call.key(probe.name)
        known = self.ledger.known([key])
        reply = known.get(key) or dict(record_client(probe, self.ledger, self.patience).answer({key: call}))[key]
        if reply.text not in ("yes", "no"):
            why = str(reply.reason).removeprefix(NO_REPLY)
            self.unknown |= why.startswith(CUT_OFF_ANSWER)
            if not any(why.startswith(one) for one in (CUT_OFF_ANSWER, *_refusals(*LACKS, 500))):
                raise RuntimeError(f"{place_of(self.client.url)} is not ready: {why}")
            return replace(reply, text="")
        return reply


def _drawn(abilities: Abilities) -> Sampling:
    """Returns a sampling that makes a request hold all that a server may take, with values as they are used."""
    warm = abilities.temperature
    narrow = abilities.top_p and (abilities.together or not warm)
    return Sampling(40, 0.8 if warm else 1.0, 0.95 if narrow else 1.0, ("\n\n\n", "###"))


def _refusals(*statuses: int) -> Iterator[str]:
    yield from (f"HTTP {status}" for status in statuses)


@dataclass(frozen=True)
class _Probe:
    """A client that says "yes" where the server does what it is asked for, and "no" where it refuses or ignores it.

    That it lacks the plain thing is not kept: a model may be put there later.
    """

    served: Served

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
            if call.how and any(error.reason.startswith(one) for one in _refusals(*LACKS)):
                return Reply("no", reason=error.reason, usage=Usage(1))
            if call.how and error.reason.startswith(NO_LOGPROBS):
                return Reply("no", usage=error.paid or Usage(1))
            raise
        if (reply.reason or "").startswith(CUT_OFF_ANSWER):
            raise UnansweredError(str(reply.reason), again=False, paid=reply.usage)  # what it can do is not known
        mass = sum(map(math.exp, reply.logprobs))
        keeps = {"logprobs": mass > 0.5 or not self.served.abilities.chat, "structured": reply.text in call.options}
        return Reply("yes" if keeps.get(call.how, True) else "no", usage=reply.usage)
