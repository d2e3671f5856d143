"""A language model by its name: a folder, a hub id, or a server's address."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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
    """

    device: str | None = None
    dtype: str = "auto"
    batch_size: int = 64
    patience: Patience = field(default_factory=Patience)
    timeout: float = 120.0
    samples: int = 5


def open_model(where: str, ledger: Ledger, how: Opening = Opening()) -> Recorded:
    """Returns a language model whose replies are kept in the ledger.

    Args:
        where: a folder or hub id, loaded into this process; or "model@http://host:port/v1", a model on an
            OpenAI-compatible server, whose key is in the environment variable OPENAI_API_KEY.
        ledger: of the replies.
        how: settings.

    Raises:
        OSError: There is no such folder or id.
        RuntimeError: The server does not answer, or does not know the model.
        ImportError: The extra that it needs is not installed; says which.
    """
    model, at, url = where.rpartition("@")
    if at and url.startswith(("http://", "https://")):
        served: Any = _needs("openai", "servers")
        client = served.find_abilities(url, model, ledger, patience=how.patience, timeout=how.timeout)
        return record_client(client, ledger, how.patience, samples=how.samples)
    local: Any = _needs("transformers", "language")
    loaded = local.load_local(where, device=how.device, dtype=how.dtype, batch_size=how.batch_size)
    return record(loaded, ledger)


def _needs(library: str, extra: str) -> Any:
    """Returns our module on top of a library that may not be there."""
    try:
        if library == "openai":
            from qdfeedback.models import served as found
        else:
            from qdfeedback.models import local as found  # type: ignore[no-redef]
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise ImportError(f'this needs {library}: pip install "qdfeedback[{extra}]"') from error
    return found
