"""Causal language models of Hugging Face transformers, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LogitsProcessorList
from transformers.generation.stopping_criteria import StoppingCriteriaList
from transformers.utils.hub import cached_file

from qdfeedback.bounds import Bounds, check_number
from qdfeedback.files import read_json
from qdfeedback.models.drawing import Checked, Drawn, Stopped
from qdfeedback.models.language import (
    CUT_OFF,
    DEFAULT,
    EMPTY,
    NO_NUMBERS,
    ONLY_THOUGHTS,
    TOO_LONG,
    Choices,
    Completions,
    Sampling,
    Usage,
    end_at,
    same_number,
)
from qdfeedback.models.naming import exact_name
from qdfeedback.models.reading import Reader, Spelled, in_batches, left_padded
from qdfeedback.models.said import one_line
from qdfeedback.models.thoughts import closes_thoughts, without_thoughts
from qdfeedback.types import Ints

_ROOM_AT_ONCE: dict[str, Any] = {"cache_implementation": "static", "disable_compile": True}
"""A cache that grows is copied for every token, which costs more than to compute it where models are small."""


def load_local(
    model: str | Path,
    *,
    device: str | None = None,
    dtype: str = "auto",
    chat: bool | None = None,
    batch_size: int = 64,
    revision: str | None = None,
    thoughts: int = 0,
) -> LocalModel:
    """Returns the model of a hub id or a folder.

    Of what its maker found fit for drawing text (`generation_config`) the tokens that end a text are taken, no more.

    Args:
        model: id or folder.
        device: "cpu", "cuda" …; the first GPU where there is one if None.
        dtype: "auto" as it was saved, or "float32", "bfloat16", "float16"; on a CPU "auto" is float32.
        chat: prompts are put into the model's chat template; None = where it has one.
        batch_size: prompts at once.
        revision: of the hub's repository.
        thoughts: tokens in which it may think before each text; 0 = thoughts that its template opens are closed.

    Raises:
        OSError: There is no such model.
        ValueError: `chat` is asked of a model without a template, or its template fails; its weights are no
            safetensors, broken or not all there; it needs code of its maker's.
    """
    check_number(batch_size, "batch_size", Bounds(1), kind=int)
    check_number(thoughts, "thoughts", Bounds(0), kind=int)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    kind: Any = torch.float32 if dtype == "auto" and where == "cpu" else dtype
    tokenizer = _read(model, lambda: AutoTokenizer.from_pretrained(model, revision=revision, trust_remote_code=False))
    network = _load(model, revision, kind).to(where).eval()
    if chat and not tokenizer.chat_template:
        raise ValueError(f"{model} has no chat template")
    talks = bool(tokenizer.chat_template if chat is None else chat)
    made = LocalModel(network, tokenizer, exact_name(str(model), revision), talks, batch_size, thoughts)
    try:
        thinks = talks and made.template_thinks
    except Exception as error:  # whatever a template can raise
        said = one_line(f"{type(error).__name__}: {error}")
        raise ValueError(f"{model} has a chat template that takes no single message, give it text: {said}") from error
    how = [str(network.dtype).removeprefix("torch."), "messages" if talks else "text"]
    how += [f"{thoughts} tokens to think"] if thoughts else ["thoughts closed"] if thinks else []
    return replace(made, name=f"{made.name} ({', '.join(how)})")


def _load(model: str | Path, revision: str | None, dtype: Any) -> Any:
    """Returns the network, with all its weights.

    Raises:
        ValueError: Some are not there, broken, or no safetensors.
    """
    _refuse_pickle(Path(model))
    plain: Any = GenerationConfig
    try:
        ends = plain(eos_token_id=_ends(model, revision))
        found: Any = _read(model, lambda: AutoModelForCausalLM.from_pretrained(
            model, revision=revision, dtype=dtype, trust_remote_code=False, use_safetensors=True,
            output_loading_info=True, generation_config=ends,
        ))  # fmt: skip
    except SafetensorError as error:
        raise ValueError(f"the weights of {model} are broken: {one_line(str(error))}") from error
    network, loaded = found
    if lacking := sorted(loaded["missing_keys"]):  # they would be drawn at random
        raise ValueError(
            f"{model} lacks {len(lacking)} weights of a {type(network).__name__}, {lacking[0]} among them: "
            "it is no whole causal language model"
        )
    return network


def _read(model: str | Path, load: Callable[[], Any]) -> Any:
    """Returns what `load` makes of a model's files.

    Raises:
        OSError: There is no such model.
        ValueError: A file of it holds something else.
    """
    try:
        return load()
    except (OSError, ImportError, SafetensorError, MemoryError):
        raise
    except Exception as error:  # whatever damaged JSON leads the library to
        said = one_line(f"{type(error).__name__}: {error}")
        raise ValueError(f"{model} cannot be loaded, are its files whole? {said}") from error


def _ends(model: str | Path, revision: str | None) -> Any:
    """Returns the tokens that end a text, as the model's maker has it; the rest is not even read: some of it fails."""
    file = cached_file(
        str(model), "generation_config.json", revision=revision, _raise_exceptions_for_missing_entries=False
    )
    return None if file is None else read_json(Path(file), dict).get("eos_token_id")


def _refuse_pickle(folder: Path) -> None:
    """Refuses a folder whose weights could run code.

    Raises:
        ValueError: It has no others.
    """
    if not folder.is_dir() or any(folder.glob("*.safetensors")):
        return
    if pickled := [one for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt") for one in sorted(folder.glob(kind))]:
        raise ValueError(
            f"{pickled[0]} holds pickled weights, which can run code and are not loaded: write them anew as "
            "safetensors (save_pretrained, where they are trusted)"
        )


@dataclass(frozen=True)
class LocalModel:
    """A network and its tokenizer.

    Attributes:
        network: a causal language model; of its `generation_config` only the tokens that end a text stay.
        tokenizer: its own.
        name: which.
        chat: prompts are put into the chat template, as a user's message.
        batch_size: prompts at once.
        thoughts: tokens in which it may think before each text. Answers are read without thoughts.
    """

    network: Any
    tokenizer: Any
    name: str
    chat: bool = False
    batch_size: int = 64
    thoughts: int = 0

    def __post_init__(self) -> None:
        """Leaves out what a model's maker found fit for drawing text: beams, bans, penalties, other outputs."""
        known_to = (self.network.generation_config, self.network.config, self.tokenizer)
        ends = sorted(self._known([getattr(one, "eos_token_id", None) for one in known_to]))
        plain: Any = GenerationConfig
        self.network.generation_config = plain(eos_token_id=ends or None, pad_token_id=self._pad)

    def complete(self, prompts: Sequence[str], seeds: Ints, sampling: Sampling = DEFAULT) -> Completions:
        """Returns a text for each prompt; each row draws from its own seed."""
        coded, reasons = self._encode(prompts, room=sampling.max_tokens + self.thoughts, thinks=self.thoughts > 0)
        texts, written = [""] * len(prompts), 0
        for batch in in_batches(coded, _readable(reasons), self.batch_size):
            found = self._write([coded[i] for i in batch], [int(seeds[i]) for i in batch], sampling)
            for i, (tokens, ended, numbers) in zip(batch, found, strict=True):
                texts[i], reasons[i] = self._text(tokens, ended, sampling) if numbers else ("", NO_NUMBERS)
                written += len(tokens)
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

    def _text(self, tokens: Sequence[int], ended: bool, sampling: Sampling) -> tuple[str, str | None]:
        """Returns what tokens say beside thoughts, and why that is no whole text."""
        marked = self.tokenizer.decode(tokens)  # marks can be special tokens
        said, unfinished = without_thoughts(marked)
        thought = unfinished or said != marked
        if thought:
            for special in self.tokenizer.all_special_tokens:
                said = said.replace(special, "")
        else:
            said = self.tokenizer.decode(tokens, skip_special_tokens=True)
        text, stopped = end_at(said, sampling.stop)
        if unfinished or not text.strip():
            cut = thought and not ended and len(tokens) >= sampling.max_tokens + self.thoughts
            used_up = f"{EMPTY}: thinking used up the room (thoughts: {self.thoughts} tokens)"
            return "", used_up if cut else ONLY_THOUGHTS if unfinished else EMPTY
        return text, None if ended or stopped else CUT_OFF

    @cached_property
    def template_thinks(self) -> bool:
        """Whether the chat template lets the model think, unless it is told not to."""
        return self._messages("a", thinks=True) != self._messages("a", thinks=False)

    def _framed(self, prompts: Sequence[str], *, thinks: bool = False) -> Sequence[str]:
        """Returns prompts as the model reads them."""
        return [self._messages(prompt, thinks=thinks) for prompt in prompts] if self.chat else prompts

    def _messages(self, prompt: str, *, thinks: bool) -> str:
        """Returns a prompt in the chat template, with thoughts closed unless the model is to think."""
        messages = [{"role": "user", "content": prompt}]
        frame = partial(self.tokenizer.apply_chat_template, messages, tokenize=False, add_generation_prompt=True)
        if thinks:
            return str(frame())
        try:
            text = str(frame(enable_thinking=False, thinking=False))  # Qwen's switch, DeepSeek's
        except (TypeError, ValueError):  # some tokenizers take no switch
            text = str(frame())
        close = closes_thoughts(text)
        return text if close is None else f"{text.rstrip()}{close}" if "<|m" in close else f"{text}\n{close}\n\n"

    def _encode(
        self, prompts: Sequence[str], *, room: int, thinks: bool = False
    ) -> tuple[list[list[int]], list[str | None]]:
        """Returns the tokens of prompts, and why some cannot be read: what is too long is a fault of its own."""
        begin = [] if self.chat else self._begin
        framed = list(self._framed(prompts, thinks=thinks))
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
        ends = set(self.network.generation_config.eos_token_id or ())
        checked, drawn = Checked(), [Drawn(seeds, sampling)] if sampling.temperature else []
        stopped = Stopped(self.tokenizer, tokens.shape[1], sampling.stop, thinks=self.thoughts > 0)
        out = self.network.generate(
            input_ids=tokens,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=sampling.max_tokens + self.thoughts,
            **(_ROOM_AT_ONCE if getattr(self.network, "_can_compile_fullgraph", False) else {}),
            logits_processor=LogitsProcessorList([checked, *drawn]),
            stopping_criteria=StoppingCriteriaList([stopped]),
        )
        rows = out[:, tokens.shape[1] :].tolist()
        for i, (row, numbers) in enumerate(zip(rows, checked.fine.tolist(), strict=True)):
            written = row[: stopped.at.get(i)]
            place = next((j for j, token in enumerate(written) if token in ends), None)
            yield (written, False, numbers) if place is None else (written[:place], True, numbers)

    @cached_property
    def _begin(self) -> list[int]:
        """What the tokenizer puts before every text."""
        whole, bare = (self.tokenizer.encode("a", add_special_tokens=special) for special in (True, False))
        return list(whole[: whole.index(bare[0])] if bare else whole)

    def _known(self, tokens: Sequence[Any]) -> set[int]:
        """Returns those tokens that the network knows; some can be lists of tokens, and some None."""
        flat: list[Any] = [one for some in tokens for one in (some if isinstance(some, list | tuple) else [some])]
        size = self.network.get_input_embeddings().num_embeddings
        return {one for one in flat if isinstance(one, int) and 0 <= one < size}

    @property
    def _pad(self) -> int:
        """A token for places that nothing looks at."""
        given = [self.tokenizer.pad_token_id, self.tokenizer.eos_token_id]
        return next((one for token in given for one in self._known([token])), 0)


def _read_of(coded: Sequence[Sequence[int]], reasons: Sequence[str | None]) -> Usage:
    """Returns what it is to read the prompts that can be read."""
    lengths = [len(row) for row, reason in zip(coded, reasons, strict=True) if not (reason or "").startswith(TOO_LONG)]
    return Usage(len(lengths), sum(lengths))


def _readable(reasons: Sequence[str | None]) -> list[int]:
    """Returns the rows without a reason not to be read."""
    return [i for i, reason in enumerate(reasons) if reason is None]
