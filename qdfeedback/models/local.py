"""Causal language models of Hugging Face transformers, in this process."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessor, LogitsProcessorList
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList

from qdfeedback.models.language import (
    CUT_OFF,
    DEFAULT,
    EMPTY,
    NO_NUMBERS,
    Choices,
    Completions,
    Sampling,
    Usage,
    end_at,
    same_number,
)
from qdfeedback.models.naming import exact_name
from qdfeedback.models.reading import Reader, Spelled, in_batches, left_padded
from qdfeedback.types import Ints

_ROOM_AT_ONCE: dict[str, Any] = {"cache_implementation": "static", "disable_compile": True}
"""A cache that grows is copied for every token, which costs more than to compute it where models are small."""
TOO_LONG = "the prompt is too long"


def load_local(
    model: str | Path,
    *,
    device: str | None = None,
    dtype: str = "auto",
    chat: bool | None = None,
    batch_size: int = 64,
    revision: str | None = None,
) -> LocalModel:
    """Returns the model of a hub id or a folder.

    Args:
        model: id or folder.
        device: "cpu", "cuda" …; the first GPU where there is one if None.
        dtype: "auto" as it was saved, or "float32", "bfloat16", "float16"; on a CPU "auto" is float32.
        chat: prompts are put into the model's chat template; None = where it has one.
        batch_size: prompts at once.
        revision: of the hub's repository.

    Raises:
        OSError: There is no such model.
        ValueError: `chat` is asked of a model without a template.
    """
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    kind: Any = torch.float32 if dtype == "auto" and where == "cpu" else dtype
    tokenizer = AutoTokenizer.from_pretrained(model, revision=revision)
    network: Any = AutoModelForCausalLM.from_pretrained(model, revision=revision, dtype=kind)
    network = network.to(where).eval()
    if chat and not tokenizer.chat_template:
        raise ValueError(f"{model} has no chat template")
    talks = bool(tokenizer.chat_template if chat is None else chat)
    kind = f"{str(network.dtype).removeprefix('torch.')}, {'messages' if talks else 'text'}"
    return LocalModel(network, tokenizer, f"{exact_name(str(model), revision)} ({kind})", talks, batch_size)


@dataclass(frozen=True)
class LocalModel:
    """A network and its tokenizer.

    Attributes:
        network: a causal language model.
        tokenizer: its own.
        name: which.
        chat: prompts are put into the chat template, as a user's message.
        batch_size: prompts at once.
    """

    network: Any
    tokenizer: Any
    name: str
    chat: bool = False
    batch_size: int = 64

    def complete(self, prompts: Sequence[str], seeds: Ints, sampling: Sampling = DEFAULT) -> Completions:
        """Returns a text for each prompt; each row draws from its own seed."""
        coded, reasons = self._encode(prompts, room=sampling.max_tokens)
        texts, written = [""] * len(prompts), 0
        for batch in in_batches(coded, _readable(reasons), self.batch_size):
            found = self._write([coded[i] for i in batch], [int(seeds[i]) for i in batch], sampling)
            for i, (tokens, ended, numbers) in zip(batch, found, strict=True):
                text, stopped = end_at(self.tokenizer.decode(tokens, skip_special_tokens=True), sampling.stop)
                texts[i], written = text if numbers else "", written + len(tokens)
                reasons[i] = EMPTY if not text.strip() else None if ended or stopped else CUT_OFF
                reasons[i] = reasons[i] if numbers else NO_NUMBERS
        return Completions(tuple(texts), tuple(reasons), replace(_read_of(coded, reasons), completion_tokens=written))

    def choose(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> Choices:
        """Returns how likely each option is; what prompts begin with in common is read once, and each prompt once."""
        k = same_number(options, len(prompts))
        framed = self._framed(prompts)
        given = {(one, prompt[-1:]) for prompt, row in zip(framed, options, strict=True) for one in row}
        spelled = {one: self._spelled(*one) for one in given}  # the same few for all
        wanted = [[spelled[one, prompt[-1:]] for one in row] for prompt, row in zip(framed, options, strict=True)]
        room = max((len(way) for row in wanted for ways in row for way in ways), default=1)
        coded, reasons = self._encode(prompts, room=room)
        usage = _read_of(coded, reasons)
        found = np.full((len(prompts), k), np.nan)
        reader = Reader(self.network, self._pad, self.batch_size)
        for batch, logs in reader.likely(coded, _readable(reasons), wanted):
            found[batch] = logs
        for i in np.flatnonzero(np.isnan(found).any(axis=1)).tolist():
            found[i], reasons[i] = np.nan, reasons[i] or NO_NUMBERS
        return Choices(found, tuple(reasons), usage)

    # --- within

    def _spelled(self, option: str, after: str) -> Spelled:
        """Returns the tokens of an option behind a text's last character; a chat model may begin it with a capital too.

        Alone, some tokenizers would put a blank before it.
        """
        ways = [option, option[:1].upper() + option[1:]] if self.chat else [option]
        return [self._continued(one, after) for one in dict.fromkeys(ways)]

    def _continued(self, text: str, after: str) -> list[int]:
        before, whole = (self.tokenizer.encode(one, add_special_tokens=False) for one in (after, after + text))
        goes_on = len(whole) > len(before) and whole[: len(before)] == before
        return list(whole[len(before) :] if goes_on else self.tokenizer.encode(text, add_special_tokens=False))

    def _framed(self, prompts: Sequence[str]) -> Sequence[str]:
        """Returns prompts as the model reads them."""
        if not self.chat:
            return prompts
        messages = [[{"role": "user", "content": prompt}] for prompt in prompts]
        return [self.tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True) for one in messages]

    def _encode(self, prompts: Sequence[str], *, room: int) -> tuple[list[list[int]], list[str | None]]:
        """Returns the tokens of prompts, and why some cannot be read: what is too long is a fault of its own."""
        begin = [] if self.chat else self._begin
        framed = list(self._framed(prompts))
        coded = self.tokenizer(framed, add_special_tokens=False, return_attention_mask=False) if framed else {}
        found = [begin + list(row) for row in coded.get("input_ids", ())]
        longest = getattr(self.network.config, "max_position_embeddings", None) or sys.maxsize
        why = f"{TOO_LONG}: the model reads {longest} tokens at most"
        return found, [why if len(row) + room > longest or not row else None for row in found]

    @torch.inference_mode()
    def _write(
        self, coded: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> Iterator[tuple[list[int], bool, bool]]:
        """Yields for each prompt the tokens written, if the model ended there itself, if its logits were numbers."""
        tokens, mask = left_padded(coded, self._pad, self.network.device)
        ends = self.network.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends]) - {None}
        checked, drawn = _Checked(), [_Drawn(seeds, sampling)] if sampling.temperature else []
        out = self.network.generate(
            input_ids=tokens,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=sampling.max_tokens,
            pad_token_id=self._pad,
            repetition_penalty=1.0,  # whatever its maker found fit
            **(_ROOM_AT_ONCE if getattr(self.network, "_can_compile_fullgraph", False) else {}),
            logits_processor=LogitsProcessorList([checked, *drawn]),
            stopping_criteria=StoppingCriteriaList([_Stopped(self.tokenizer, tokens.shape[1], sampling.stop)]),
        )
        for row, numbers in zip(out[:, tokens.shape[1] :].tolist(), checked.fine.tolist(), strict=True):
            place = next((i for i, token in enumerate(row) if token in ends), None)
            while place is None and row and row[-1] == self._pad:  # it ended earlier, at a stop
                row.pop()
            yield (row, False, numbers) if place is None else (row[:place], True, numbers)

    @cached_property
    def _begin(self) -> list[int]:
        """What the tokenizer puts before every text."""
        whole, bare = (self.tokenizer.encode("a", add_special_tokens=special) for special in (True, False))
        return list(whole[: whole.index(bare[0])])

    @property
    def _pad(self) -> int:
        pad = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id if pad is None else pad)


class _Checked(LogitsProcessor):
    """Remembers which rows had numbers alone among their logits."""

    fine: torch.Tensor

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> Any:  # noqa: ARG002
        fine = ~scores.isnan().any(dim=1)
        self.fine = self.fine & fine if hasattr(self, "fine") else fine
        return scores


class _Drawn(LogitsProcessor):
    """Makes the greedy choice a draw: with Gumbel noise of each row's own on its logits (Gumbel-max trick)."""

    def __init__(self, seeds: Sequence[int], sampling: Sampling) -> None:
        self.draws = [np.random.default_rng(seed) for seed in seeds]
        self.sampling = sampling

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> Any:  # noqa: ARG002
        logits = scores.float() / self.sampling.temperature
        if self.sampling.top_p < 1:
            ranked, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
            beyond = ranked.cumsum(dim=-1) - ranked >= self.sampling.top_p
            logits = logits.masked_fill(beyond.scatter(1, order, beyond), -torch.inf)
        drawn = np.stack([draw.random(logits.shape[1]) for draw in self.draws])
        noise = -np.log(-np.log1p(-np.maximum(drawn, 2.0**-53)))  # of all rows together, which is three times as fast
        return logits + torch.from_numpy(noise).to(logits)


class _Stopped(StoppingCriteria):
    """Ends a row whose text holds a stop."""

    def __init__(self, tokenizer: Any, begin: int, stop: Sequence[str]) -> None:
        self.tokenizer, self.begin, self.stop = tokenizer, begin, stop

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: Any) -> Any:  # noqa: ARG002
        if not self.stop:
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        reach = max(map(len, self.stop)) + 1  # a token has a character at least
        texts = self.tokenizer.batch_decode(input_ids[:, max(self.begin, input_ids.shape[1] - reach) :])
        found = [any(one in text for one in self.stop) for text in texts]
        return torch.tensor(found, device=input_ids.device)


def _read_of(coded: Sequence[Sequence[int]], reasons: Sequence[str | None]) -> Usage:
    """Returns what it is to read the prompts that can be read."""
    lengths = [len(row) for row, reason in zip(coded, reasons, strict=True) if not (reason or "").startswith(TOO_LONG)]
    return Usage(len(lengths), sum(lengths))


def _readable(reasons: Sequence[str | None]) -> list[int]:
    """Returns the rows without a reason not to be read."""
    return [i for i, reason in enumerate(reasons) if reason is None]
