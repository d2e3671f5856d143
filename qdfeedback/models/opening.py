"""A language model by its name: a folder, a hub id, or a server's address."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdfeedback.bounds import Count, Natural, Positive, check
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.recorded import Patience, Recorded, record, record_client


@dataclass(frozen=True)
class Opening:
    """How models are opened.

    Attributes:
        device: of models in this process; None = the first GPU where there is one.
        dtype: of their weights.
        batch_size: prompts at once, in this process.
        patience: with servers.
        timeout: seconds in which a request to a server ends.
        samples: how often a server that gives no probabilities is asked for an answer.
        key_variable: of the environment, holds the servers' API key; None = OPENAI_API_KEY, for https alone.
        chat: prompts are given as messages: True, False, or None = where the model or the server takes them.
        thoughts: tokens in which a model may think before each text, and one on a server before each answer.
    """

    device: str | None = None
    dtype: str = "auto"
    batch_size: Count = 64
    patience: Patience = field(default_factory=Patience)
    timeout: Positive = 120.0
    samples: Count = 5
    key_variable: str | None = None
    chat: bool | None = None
    thoughts: Natural = 0

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")


def open_model(where: str, ledger: Ledger, how: Opening = Opening()) -> Recorded:
    """Returns a language model whose replies are kept in the ledger.

    Args:
        where: a folder or hub id ("id@revision" for one that is not the newest), loaded into this process; or
            "model@http://host:port/v1", a model on an OpenAI-compatible server.
        ledger: of the replies.
        how: settings.

    Raises:
        OSError: There is no such folder or id.
        RuntimeError: The server does not answer, or does not know the model.
        ImportError: The extra that it needs is not installed; says which.

    Warns:
        UserWarning: The server does not take all parameters; says which, and what it said.
    """
    model, at, url = where.partition("@http")
    if at:
        probing: Any = _needs("openai", "servers")
        settings = {"timeout": how.timeout, "key_variable": how.key_variable, "thoughts": how.thoughts}
        client = probing.find_abilities(f"http{url}", model, ledger, chat=how.chat, patience=how.patience, **settings)
        found = record_client(client, ledger, how.patience, samples=how.samples)
        if found.not_kept:
            warnings.warn(f"{found.name} does not take {', '.join(found.not_kept)}", stacklevel=2)
        return found
    local: Any = _needs("transformers", "language")
    name, _, revision = (where, "", "") if Path(where).exists() else where.partition("@")
    settings = {"device": how.device, "dtype": how.dtype, "chat": how.chat, "batch_size": how.batch_size,
                "thoughts": how.thoughts}  # fmt: skip
    return record(local.load_local(name, revision=revision or None, **settings), ledger)


def _needs(library: str, extra: str) -> Any:
    """Returns our module on top of a library that may not be there."""
    try:
        if library == "openai":
            from qdfeedback.models import probing as found
        else:
            from qdfeedback.models import local as found  # type: ignore[no-redef]
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise ImportError(f'this needs {library}: pip install "qdfeedback[{extra}]"') from error
    return found
