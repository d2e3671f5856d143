"""How a network in this process draws text: each row from its own seed, until a stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor
from transformers.generation.stopping_criteria import StoppingCriteria

from qdfeedback.models.language import Sampling
from qdfeedback.models.thoughts import without_thoughts


class Checked(LogitsProcessor):
    """Remembers which rows had numbers alone among their logits."""

    fine: torch.Tensor

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> Any:  # noqa: ARG002
        """Returns scores as they are."""
        fine = ~scores.isnan().any(dim=1)
        self.fine = self.fine & fine if hasattr(self, "fine") else fine
        return scores


class Drawn(LogitsProcessor):
    """Makes the greedy choice a draw: with Gumbel noise of each row's own on its logits (Gumbel-max trick)."""

    def __init__(self, seeds: Sequence[int], sampling: Sampling) -> None:
        self.draws = [np.random.default_rng(seed) for seed in seeds]
        self.sampling = sampling

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> Any:  # noqa: ARG002
        """Returns scores of which the highest is the token drawn."""
        logits = scores.float() / self.sampling.temperature
        if self.sampling.top_p < 1:
            ranked, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
            beyond = ranked.cumsum(dim=-1) - ranked >= self.sampling.top_p
            logits = logits.masked_fill(beyond.scatter(1, order, beyond), -torch.inf)
        drawn = np.stack([draw.random(logits.shape[1]) for draw in self.draws])
        noise = -np.log(-np.log1p(-np.maximum(drawn, 2.0**-53)))  # of all rows together, which is three times as fast
        return logits + torch.from_numpy(noise).to(logits)


class Stopped(StoppingCriteria):
    """Ends a row whose text holds a stop, and remembers after how many tokens; thoughts hold none."""

    def __init__(self, tokenizer: Any, begin: int, stop: Sequence[str], *, thinks: bool) -> None:
        self.tokenizer, self.begin, self.stop, self.thinks = tokenizer, begin, stop, thinks
        self.at: dict[int, int] = {}

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: Any) -> Any:  # noqa: ARG002
        """Returns which rows end."""
        if not self.stop:
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        reach = max(map(len, self.stop)) + 1  # a token has a character at least
        since = self.begin if self.thinks else max(self.begin, input_ids.shape[1] - reach)
        found = list(map(self._has_one, self.tokenizer.batch_decode(input_ids[:, since:])))
        for row in np.flatnonzero(found).tolist():
            self.at.setdefault(row, input_ids.shape[1] - self.begin)
        return torch.tensor(found, device=input_ids.device)

    def _has_one(self, text: str) -> bool:
        said, unfinished = without_thoughts(text) if self.thinks else (text, False)
        return not unfinished and any(one in said for one in self.stop)
