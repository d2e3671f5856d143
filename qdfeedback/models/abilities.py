"""What a server can do with a model: what it tells, and which parameters it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from qdfeedback.models.language import Sampling

MOST_LOGPROBS = 20  # that servers give for a token
Limit = Literal["max_tokens", "max_completion_tokens"]
LIMITS = get_args(Limit)


@dataclass(frozen=True)
class Abilities:
    """What a server can do with a model.

    Attributes:
        chat: it takes messages; else it continues text.
        logprobs: it tells how likely the first tokens are.
        structured: it keeps to a JSON schema.
        seed: it takes one.
        limit: the name of its token limit.
        temperature: it takes one; models that think before they answer do not.
        top_p: it takes one.
        together: it takes both at once.
        stop: it takes strings at which a text ends; they are looked for here in any case.
        alternatives: to the first token that it tells about.
    """

    chat: bool = True
    logprobs: bool = False
    structured: bool = False
    seed: bool = True
    limit: Limit = "max_tokens"
    temperature: bool = True
    top_p: bool = True
    together: bool = True
    stop: bool = True
    alternatives: int = MOST_LOGPROBS

    def draws(self, sampling: Sampling) -> dict[str, float] | None:
        """Returns the arguments by which text is drawn as is wished; None where the server cannot be told to.

        What it does not take is left out where it is 1, which is what servers do unasked.
        """
        wished = {"temperature": sampling.temperature, "top_p": sampling.top_p}
        taken = {"temperature": self.temperature, "top_p": self.top_p}
        needed = {name for name, value in wished.items() if value != 1}
        given = {name for name in wished if taken[name]}
        if len(given) == 2 and not self.together:
            given = {"top_p"} if needed == {"top_p"} else {"temperature"}
        return {name: wished[name] for name in wished if name in given} if needed <= given else None
