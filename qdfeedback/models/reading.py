"""How likely a causal language model finds what may come after a prompt; what prompts share is read once."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from qdfeedback.types import Floats, Ints

Spelled = list[list[int]]  # the tokens of each spelling of an option
ALIKE = 16  # prompts that begin with the same so many tokens are read after one reading of what they share
ON_A_CPU = 1536  # tokens that are read at once there: more of them push each other out of its cache


@dataclass(frozen=True)
class Reader:
    """A network that reads prompts.

    Attributes:
        network: a causal language model of transformers.
        pad: token for places that are left over.
        batch_size: prompts at once.
    """

    network: Any
    pad: int
    batch_size: int = 64

    def likely(
        self, coded: Sequence[list[int]], rows: Sequence[int], wanted: Sequence[Sequence[Spelled]]
    ) -> Iterator[tuple[list[int], Floats]]:
        """Yields batches of rows with the log-probabilities of their options, until all rows are done.

        Args:
            coded: the tokens of all prompts.
            rows: which of them to read.
            wanted: for all prompts k options, each in one or several spellings.

        Yields:
            b rows; (b, k) log-probabilities, nats: of an option in any of its spellings.
        """
        return (self._with_what_is_shared if self._can_share else self._each_whole)(coded, rows, wanted)

    @property
    def _can_share(self) -> bool:
        """Whether a cache of what prompts begin with can be gone on from, with padding after it.

        Not where layers have a window, in which padding takes up room, or a state in place of a cache, or where places
        in the cache are counted with the padding.
        """
        config = self.network.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ())
        windowed = not kinds and bool(getattr(config, "sliding_window", None))
        windowed |= "local" in (getattr(config, "attention_layers", None) or ())  # GPT-Neo's name for it
        counts_padding = config.model_type == "mpt" or getattr(self.network, "_is_stateful", False)
        return kinds <= {"full_attention"} and not windowed and not counts_padding

    def _with_what_is_shared(
        self, coded: Sequence[list[int]], rows: Sequence[int], wanted: Sequence[Sequence[Spelled]]
    ) -> Iterator[tuple[list[int], Floats]]:
        """Yields the same; what prompts begin with in common is read once, and each prompt once."""
        tokens = ON_A_CPU if self.network.device.type == "cpu" else sys.maxsize
        for alike in _alike(coded, rows):
            begin = coded[alike[0]][: _common([coded[i] for i in alike])]
            read = self._read(begin)
            tails = {i: coded[i][len(begin) :] for i in alike}
            for batch in in_batches(tails, alike, self.batch_size, tokens):
                padded, counts = _as_many(wanted[i] for i in batch)
                cache = _as_often(read, len(batch))
                logs = self._go_on([tails[i] for i in batch], padded, cache, len(begin))
                yield batch, _together(logs, padded, counts)

    def _each_whole(
        self, coded: Sequence[list[int]], rows: Sequence[int], wanted: Sequence[Sequence[Spelled]]
    ) -> Iterator[tuple[list[int], Floats]]:
        """Yields the same, from each prompt with each option read as a whole: right for any causal model, and slower.

        What is padded stands behind everything, where no causal model looks.
        """
        for i in rows:
            padded, counts = _as_many([wanted[i]])
            yield [i], _together(self._after(coded[i], padded[0])[None], padded, counts)

    @torch.inference_mode()
    def _after(self, prompt: Sequence[int], options: Sequence[Sequence[int]]) -> Floats:
        """Returns (k,) log-probabilities of the options after a prompt."""
        tokens, mask = right_padded([[*prompt, *option[:-1]] for option in options], self.pad, self.network.device)
        wanted, known = right_padded(options, self.pad, mask.device)
        width = wanted.shape[1]
        out = self.network(input_ids=tokens, attention_mask=mask, use_cache=False, logits_to_keep=width)
        return _said(out.logits[:, -width:].float().log_softmax(dim=-1), wanted, known)

    @torch.inference_mode()
    def _read(self, begin: Sequence[int]) -> DynamicCache:
        """Returns the cache of what prompts begin with."""
        cache = DynamicCache()
        if begin:
            tokens = torch.tensor([begin], device=self.network.device)
            self.network(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return cache

    @torch.inference_mode()
    def _go_on(
        self,
        tails: Sequence[Sequence[int]],
        options: Sequence[Sequence[Sequence[int]]],
        cache: DynamicCache,
        shared: int,
    ) -> Floats:
        """Returns (b, k) log-probabilities of the options after b prompts that go on from what the cache has read.

        The longest option is read in one go with the prompt, others after it, if they have more than one token.
        """
        first = max(range(len(options[0])), key=lambda option: max(len(row[option]) for row in options))
        along = [row[first] for row in options]
        texts = [[*tail, *option[:-1]] for tail, option in zip(tails, along, strict=True)]
        tokens, mask = left_padded(texts, self.pad, self.network.device)
        mask = torch.cat([mask.new_ones(len(mask), shared), mask], dim=1)
        places = (mask.cumsum(dim=1) - 1).clamp(min=0)
        wanted, known = left_padded(along, self.pad, mask.device)
        width = wanted.shape[1]
        out = self.network(
            input_ids=tokens, attention_mask=mask, position_ids=places[:, shared:], past_key_values=cache,
            use_cache=True, logits_to_keep=width,
        )  # fmt: skip
        said = out.logits[:, -width:].float().log_softmax(dim=-1)
        lengths = known.sum(dim=1)
        heads = torch.tensor([[one[0] for one in row] for row in options], device=mask.device)
        found: Floats = said[torch.arange(len(said)), width - lengths].gather(1, heads).double().cpu().numpy()
        found[:, first] = _said(said, wanted, known)
        del out, said  # (b, width, vocabulary) each
        mask[:, mask.shape[1] - width + 1 :] -= known[:, :-1]  # of the prompts alone
        last = places[:, -1] - (lengths - 1)
        longer = {
            option: rows
            for option in range(len(options[0]))
            if option != first and (rows := [i for i, row in enumerate(options) if len(row[option]) > 1])
        }
        for number, (option, some) in enumerate(longer.items(), start=1):
            kept = _rows(cache, some, may_change=number == len(longer))
            found[some, option] += self._rest([options[i][option] for i in some], mask[some], last[some], kept)
        return found

    def _rest(
        self, options: Sequence[Sequence[int]], mask: torch.Tensor, last: torch.Tensor, cache: DynamicCache
    ) -> Floats:
        """Returns (b,) log-probabilities of the options' tokens after their first."""
        tokens, known = right_padded([option[:-1] for option in options], self.pad, mask.device)
        wanted, _ = right_padded([option[1:] for option in options], self.pad, mask.device)
        places = last[:, None] + 1 + torch.arange(tokens.shape[1], device=mask.device)
        out = self.network(
            input_ids=tokens, attention_mask=torch.cat([mask, known], dim=1), position_ids=places,
            past_key_values=cache, use_cache=True,
        )  # fmt: skip
        return _said(out.logits.float().log_softmax(dim=-1), wanted, known)


def left_padded(coded: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (n, longest) tokens that end together, and where they are none that was put before them (1, else 0)."""
    width = max(map(len, coded))
    tokens = torch.full((len(coded), width), pad)
    mask = torch.zeros_like(tokens)
    for i, row in enumerate(coded):
        tokens[i, width - len(row) :] = torch.tensor(row)
        mask[i, width - len(row) :] = 1
    return tokens.to(device), mask.to(device)


def right_padded(coded: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (n, longest) tokens that begin together, and where they are none that was put behind them (1, else 0)."""
    tokens, mask = left_padded([row[::-1] for row in coded], pad, device)
    return tokens.flip(1), mask.flip(1)


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


def _alike(coded: Sequence[Sequence[int]], rows: Sequence[int]) -> Iterator[list[int]]:
    """Yields rows that begin with the same tokens."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i in rows:
        groups.setdefault(tuple(coded[i][:ALIKE]), []).append(i)
    yield from groups.values()


def in_batches(
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


def _said(said: torch.Tensor, wanted: torch.Tensor, known: torch.Tensor) -> Floats:
    """Returns (b,) log-probabilities of (b, w) tokens, as far as they are known; said: (b, w, v) of all tokens."""
    each = said.gather(2, wanted[..., None])[..., 0]
    found: Floats = torch.where(known.bool(), each, 0.0).sum(dim=1).double().cpu().numpy()
    return found


def _as_often(cache: DynamicCache, count: int) -> DynamicCache:
    """Returns a cache of so many rows, each of them the one that was read: views, copied by what is read on."""
    found = copy.copy(cache)
    layers: Any = [copy.copy(layer) for layer in cache.layers]
    found.layers = layers
    for layer in layers:
        layer.keys, layer.values = (one.expand(count, -1, -1, -1) for one in (layer.keys, layer.values))
    return found


def _rows(cache: DynamicCache, rows: Sequence[int], *, may_change: bool) -> DynamicCache:
    """Returns some rows of a cache, which a further reading may lengthen; a copy unless the cache may change."""
    part = cache if may_change else copy.deepcopy(cache)
    part.batch_select_indices(torch.tensor(rows))
    return part
