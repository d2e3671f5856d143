"""Causal language models of Hugging Face transformers, in this process."""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, LogitsProcessor, LogitsProcessorList
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList

from qdfeedback.models.language import (
    CUT_OFF,
    DEFAULT,
    EMPTY,
    Choices,
    Completions,
    Sampling,
    Usage,
    end_at,
    same_number,
)
from qdfeedback.types import Floats, Ints

_ROOM_AT_ONCE: dict[str, Any] = {"cache_implementation": "static", "disable_compile": True}
"""A cache that grows is copied for every token, which costs more than to compute it where models are small."""
ALIKE = 16  # prompts that begin with the same so many tokens are read after one reading of what they share
ON_A_CPU = 2048  # tokens that are read at once there: more of them push each other out of its cache


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
    found = revision or getattr(network.config, "_commit_hash", None) or _digest(Path(model))
    kind = f"{str(network.dtype).removeprefix('torch.')}, {'messages' if talks else 'text'}"
    return LocalModel(network, tokenizer, f"{Path(model).name}@{found} ({kind})", talks, batch_size)


def _digest(folder: Path) -> str:
    """Returns what tells one content of a folder from another."""
    found = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()} ".encode())
    return found.hexdigest()[:16]


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
        for batch in _batches(coded, _readable(reasons), self.batch_size):
            found = self._write([coded[i] for i in batch], [int(seeds[i]) for i in batch], sampling)
            for i, (tokens, ended) in zip(batch, found, strict=True):
                text, stopped = end_at(self.tokenizer.decode(tokens, skip_special_tokens=True), sampling.stop)
                texts[i], written = text, written + len(tokens)
                reasons[i] = EMPTY if not text.strip() else None if ended or stopped else CUT_OFF
        usage = Usage(len(prompts), sum(map(len, coded)), written)
        return Completions(tuple(texts), tuple(reasons), usage)

    def choose(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> Choices:
        """Returns how likely each option is; what prompts begin with in common is read once, and each prompt once."""
        k = same_number(options, len(prompts))
        wanted = [[self._spelled(one) for one in row] for row in options]
        room = max((len(way) for row in wanted for ways in row for way in ways), default=1)
        coded, reasons = self._encode(prompts, room=room)
        found = np.full((len(prompts), k), np.nan)
        tokens = ON_A_CPU if self.network.device.type == "cpu" else sys.maxsize
        for alike in _alike(coded, _readable(reasons)):
            begin = coded[alike[0]][: _common([coded[i] for i in alike])]
            read = self._read(begin)
            tails = {i: coded[i][len(begin) :] for i in alike}
            for batch in _batches(tails, alike, self.batch_size, tokens):
                rows = [wanted[i] for i in batch]
                ways = max(len(ways) for row in rows for ways in row)
                padded = [[way for ways_ in row for way in (ways_ + ways_[:1] * ways)[:ways]] for row in rows]
                logs = self._likely([tails[i] for i in batch], padded, copy.deepcopy(read), len(begin))
                logs = _exactly(logs, padded).reshape(len(batch), k, ways)
                first = np.arange(ways) < np.array([[len(ways_) for ways_ in row] for row in rows])[..., None]
                found[batch] = np.logaddexp.reduce(np.where(first, logs, -np.inf), axis=2)
        return Choices(found, tuple(reasons), Usage(len(prompts), sum(map(len, coded)), 0))

    # --- within

    def _spelled(self, option: str) -> list[list[int]]:
        """Returns the tokens of an option; a chat model may begin it with a capital letter as well."""
        ways = [option, option[:1].upper() + option[1:]] if self.chat else [option]
        return [list(self.tokenizer.encode(one, add_special_tokens=False)) for one in dict.fromkeys(ways)]

    def _encode(self, prompts: Sequence[str], *, room: int) -> tuple[list[list[int]], list[str | None]]:
        """Returns the tokens of prompts, and why some cannot be read: what is too long is a fault of its own."""
        if self.chat:
            messages = [[{"role": "user", "content": prompt}] for prompt in prompts]
            prompts = [
                self.tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True) for one in messages
            ]
        begin = [] if self.chat else self._begin
        found = [begin + self.tokenizer.encode(prompt, add_special_tokens=False) for prompt in prompts]
        longest = getattr(self.network.config, "max_position_embeddings", None) or sys.maxsize
        why = f"the prompt is too long: the model reads {longest} tokens at most"
        return found, [why if len(row) + room > longest or not row else None for row in found]

    @torch.inference_mode()
    def _write(
        self, coded: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> Iterator[tuple[list[int], bool]]:
        """Yields for each prompt the tokens that were written, and whether the model itself ended there."""
        tokens, mask = self._left_padded(coded)
        ends = self.network.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends]) - {None}
        out = self.network.generate(
            input_ids=tokens,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=sampling.max_tokens,
            pad_token_id=self._pad,
            repetition_penalty=1.0,  # whatever its maker found fit
            **(_ROOM_AT_ONCE if getattr(self.network, "_can_compile_fullgraph", False) else {}),
            logits_processor=LogitsProcessorList([_Drawn(seeds, sampling)]) if sampling.temperature else None,
            stopping_criteria=StoppingCriteriaList([_Stopped(self.tokenizer, tokens.shape[1], sampling.stop)]),
        )
        for row in out[:, tokens.shape[1] :].tolist():
            place = next((i for i, token in enumerate(row) if token in ends), None)
            while place is None and row and row[-1] == self._pad:  # it ended earlier, at a stop
                row.pop()
            yield (row, False) if place is None else (row[:place], True)

    @torch.inference_mode()
    def _read(self, begin: Sequence[int]) -> DynamicCache:
        """Returns the cache of what prompts begin with."""
        cache = DynamicCache()
        if begin:
            tokens = torch.tensor([begin], device=self.network.device)
            self.network(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return cache

    @torch.inference_mode()
    def _likely(
        self,
        tails: Sequence[Sequence[int]],
        options: Sequence[Sequence[Sequence[int]]],
        cache: DynamicCache,
        shared: int,
    ) -> Floats:
        """Returns (b, k) log-probabilities of the options after b prompts that go on from what the cache has read."""
        if shared:
            cache.batch_repeat_interleave(len(tails))
        tokens, mask = self._left_padded(tails)
        mask = torch.cat([mask.new_ones(len(tails), shared), mask], dim=1)
        places = (mask.cumsum(dim=1) - 1).clamp(min=0)
        out = self.network(
            input_ids=tokens, attention_mask=mask, position_ids=places[:, shared:], past_key_values=cache,
            use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        first = out.logits[:, -1].float().log_softmax(dim=-1)
        heads = torch.tensor([[one[0] for one in row] for row in options], device=first.device)
        found: Floats = first.gather(1, heads).double().cpu().numpy()
        longer = {
            option: rows
            for option in range(len(options[0]))
            if (rows := [i for i, row in enumerate(options) if len(row[option]) > 1])
        }
        for number, (option, rows) in enumerate(longer.items(), start=1):
            rest = [options[i][option] for i in rows]
            kept = _rows(cache, rows, may_change=number == len(longer))
            found[rows, option] += self._rest(rest, mask[rows], places[rows, -1], kept)
        return found

    def _rest(
        self, options: Sequence[Sequence[int]], mask: torch.Tensor, last: torch.Tensor, cache: DynamicCache
    ) -> Floats:
        """Returns (b,) log-probabilities of the options' tokens after their first."""
        width = max(map(len, options)) - 1
        tokens = torch.full((len(options), width), self._pad, device=mask.device)
        wanted, known = torch.zeros_like(tokens), torch.zeros_like(tokens)
        for i, option in enumerate(options):
            tokens[i, : len(option) - 1] = torch.tensor(option[:-1], device=mask.device)
            wanted[i, : len(option) - 1] = torch.tensor(option[1:], device=mask.device)
            known[i, : len(option) - 1] = 1
        places = last[:, None] + 1 + torch.arange(width, device=mask.device)
        out = self.network(
            input_ids=tokens, attention_mask=torch.cat([mask, known], dim=1), position_ids=places,
            past_key_values=cache, use_cache=True,
        )  # fmt: skip
        said = out.logits.float().log_softmax(dim=-1).gather(2, wanted[..., None])[..., 0]
        total: Floats = (said * known).sum(dim=1).double().cpu().numpy()
        return total

    @cached_property
    def _begin(self) -> list[int]:
        """What the tokenizer puts before every text."""
        whole, bare = (self.tokenizer.encode("a", add_special_tokens=special) for special in (True, False))
        return list(whole[: whole.index(bare[0])])

    @property
    def _pad(self) -> int:
        pad = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id if pad is None else pad)

    def _left_padded(self, coded: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(map(len, coded))
        tokens = torch.full((len(coded), width), self._pad)
        mask = torch.zeros_like(tokens)
        for i, row in enumerate(coded):
            tokens[i, width - len(row) :] = torch.tensor(row)
            mask[i, width - len(row) :] = 1
        return tokens.to(self.network.device), mask.to(self.network.device)


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
        noise = np.stack([draw.gumbel(size=logits.shape[1]) for draw in self.draws])
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


def _exactly(logs: Floats, options: Sequence[Sequence[Sequence[int]]]) -> Floats:
    """Returns (b, k) log-probabilities of options less those of longer options that they begin: 1 is not 10."""
    found = logs.copy()
    for row, given in enumerate(options):
        for i in sorted(range(len(given)), key=lambda i: -len(given[i])):  # what is longer is exact already
            one = list(given[i])
            longer = {tuple(other): j for j, other in enumerate(given) if len(other) > len(one)}
            begun = [j for other, j in longer.items() if list(other[: len(one)]) == one]
            if begun:
                more = np.logaddexp.reduce(found[row, begun]) - logs[row, i]
                found[row, i] += np.log1p(-np.exp(min(more, -1e-12)))
    return found


def _readable(reasons: Sequence[str | None]) -> list[int]:
    """Returns the rows without a reason not to be read."""
    return [i for i, reason in enumerate(reasons) if reason is None]


def _alike(coded: Sequence[Sequence[int]], rows: Sequence[int]) -> Iterator[list[int]]:
    """Yields rows that begin with the same tokens."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i in rows:
        groups.setdefault(tuple(coded[i][:ALIKE]), []).append(i)
    yield from groups.values()


def _batches(
    coded: Mapping[int, Sequence[int]] | Sequence[Sequence[int]],
    rows: Sequence[int],
    size: int,
    tokens: int = sys.maxsize,
) -> Iterator[list[int]]:
    """Yields rows that are about as long, so many at once at most, with so many tokens together where it is several."""
    batch: list[int] = []
    for i in sorted(rows, key=lambda i: len(coded[i])):
        if batch and (len(batch) == size or (len(batch) + 1) * len(coded[i]) > tokens):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _common(coded: Sequence[list[int]]) -> int:
    """Returns how many tokens all rows begin with in common; each keeps one of its own at least."""
    low, high = min(coded), max(coded)
    most = min(map(len, coded)) - 1
    return next((i for i in range(most) if low[i] != high[i]), most)


def _rows(cache: DynamicCache, rows: Sequence[int], *, may_change: bool) -> DynamicCache:
    """Returns some rows of a cache, which a further reading may lengthen; a copy unless the cache may change."""
    part = cache if may_change else copy.deepcopy(cache)
    part.batch_select_indices(torch.tensor(rows))
    return part
