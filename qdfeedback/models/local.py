"""Causal language models of Hugging Face transformers, in this process."""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, LogitsProcessor, LogitsProcessorList
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList
from transformers.utils.hub import cached_file, extract_commit_hash

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
from qdfeedback.types import Floats, Ints

_ROOM_AT_ONCE: dict[str, Any] = {"cache_implementation": "static", "disable_compile": True}
"""A cache that grows is copied for every token, which costs more than to compute it where models are small."""
Spelled = list[list[int]]  # the tokens of each spelling of an option
TOO_LONG = "the prompt is too long"
ALIKE = 16  # prompts that begin with the same so many tokens are read after one reading of what they share
ON_A_CPU = 1024  # tokens that are read at once there: more of them push each other out of its cache


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
    return LocalModel(network, tokenizer, f"{_exact_name(str(model), revision)} ({kind})", talks, batch_size)


def _exact_name(model: str, revision: str | None) -> str:
    """Returns a folder's name with a digest of what is in it, or a hub id with its commit."""
    if Path(model).is_dir():
        return f"{Path(model).name}@{_digest(Path(model))}"
    commit = extract_commit_hash(cached_file(model, "config.json", revision=revision), None)
    if not commit:
        raise OSError(f"which commit of {model} this is cannot be told: download it into a folder, and name that")
    return f"{model}@{commit}"


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
        ask = self._with_what_is_shared if self._can_share else self._each_whole
        for batch, logs in ask(coded, _readable(reasons), wanted):
            found[batch] = logs
        for i in np.flatnonzero(np.isnan(found).any(axis=1)).tolist():
            found[i], reasons[i] = np.nan, reasons[i] or NO_NUMBERS
        return Choices(found, tuple(reasons), usage)

    # --- within

    @cached_property
    def _can_share(self) -> bool:
        """Whether a cache of what prompts begin with can be gone on from, with padding after it.

        Not where layers have a window, in which padding takes up room, or a state in place of a cache.
        """
        config = self.network.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ())
        windowed = not kinds and bool(getattr(config, "sliding_window", None))
        return kinds <= {"full_attention"} and not windowed and not getattr(self.network, "_is_stateful", False)

    def _with_what_is_shared(
        self, coded: Sequence[list[int]], rows: Sequence[int], wanted: Sequence[Sequence[Spelled]]
    ) -> Iterator[tuple[list[int], Floats]]:
        """Yields prompts and (b, k) log-probabilities of their options; what they begin with is read once."""
        tokens = ON_A_CPU if self.network.device.type == "cpu" else sys.maxsize
        for alike in _alike(coded, rows):
            begin = coded[alike[0]][: _common([coded[i] for i in alike])]
            read = self._read(begin)
            tails = {i: coded[i][len(begin) :] for i in alike}
            for batch in _batches(tails, alike, self.batch_size, tokens):
                padded, counts = _as_many(wanted[i] for i in batch)
                logs = self._likely([tails[i] for i in batch], padded, copy.deepcopy(read), len(begin))
                yield batch, _together(logs, padded, counts)

    def _each_whole(
        self, coded: Sequence[list[int]], rows: Sequence[int], wanted: Sequence[Sequence[Spelled]]
    ) -> Iterator[tuple[list[int], Floats]]:
        """Yields the same, from each prompt with each option read as a whole: right for any causal model, and slower.

        What is padded stands behind everything, where no causal model looks.
        """
        for i in rows:
            padded, counts = _as_many([wanted[i]])
            logs = self._after(coded[i], padded[0])
            yield [i], _together(logs[None], padded, counts)

    @torch.inference_mode()
    def _after(self, prompt: Sequence[int], options: Sequence[Sequence[int]]) -> Floats:
        """Returns (k,) log-probabilities of the options after a prompt."""
        width = max(map(len, options))
        tokens = torch.full((len(options), len(prompt) + width - 1), self._pad)
        wanted = torch.zeros(len(options), width, dtype=torch.long)
        mask, known = torch.zeros_like(tokens), torch.zeros_like(wanted)
        for i, option in enumerate(options):
            row = [*prompt, *option[:-1]]
            tokens[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
            wanted[i, : len(option)], known[i, : len(option)] = torch.tensor(option), 1
        tokens, mask, wanted, known = (one.to(self.network.device) for one in (tokens, mask, wanted, known))
        out = self.network(input_ids=tokens, attention_mask=mask, use_cache=False, logits_to_keep=width)
        said = out.logits[:, -width:].float().log_softmax(dim=-1).gather(2, wanted[..., None])[..., 0]
        found: Floats = torch.where(known.bool(), said, 0.0).sum(dim=1).double().cpu().numpy()
        return found

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
        tokens, mask = self._left_padded(coded)
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


def _as_many(rows: Iterable[Sequence[Spelled]]) -> tuple[list[list[list[int]]], Ints]:
    """Returns options' spellings in rows of equal length, k times the most that one has, and how many each really has.

    Places that are left over hold an option's first spelling again.
    """
    given = list(rows)
    ways = max(len(spelled) for row in given for spelled in row)
    padded = [[way for spelled in row for way in (spelled + spelled[:1] * ways)[:ways]] for row in given]
    return padded, np.array([[len(spelled) for spelled in row] for row in given])


def _together(logs: Floats, padded: Sequence[Sequence[Sequence[int]]], counts: Ints) -> Floats:
    """Returns (b, k) log-probabilities of options, each in any of its spellings."""
    ways = logs.shape[1] // counts.shape[1]
    exact = _exactly(logs, padded).reshape(*counts.shape, ways)
    with np.errstate(invalid="ignore"):  # what is no number stays none
        found: Floats = np.logaddexp.reduce(np.where(np.arange(ways) < counts[..., None], exact, -np.inf), axis=2)
    return found


def _read_of(coded: Sequence[Sequence[int]], reasons: Sequence[str | None]) -> Usage:
    """Returns what it is to read the prompts that can be read."""
    lengths = [len(row) for row, reason in zip(coded, reasons, strict=True) if not (reason or "").startswith(TOO_LONG)]
    return Usage(len(lengths), sum(lengths))


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
