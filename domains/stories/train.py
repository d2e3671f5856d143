"""Trains the story model: a small Llama that writes lists of stories, judges them, and changes them on request.

    python -m domains.stories.train                     # writes domains/stories/model; 34 to 55 minutes on two cores
    python -m domains.stories.train --steps 20 --out /tmp/model

It checkpoints into the folder `--out`.part: started again, it goes on. What a step learns from is drawn from the seed
and the step's number, so that a training that was stopped learns what an unbroken one does.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn import functional
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from domains.stories.corpus import Document, document
from domains.stories.stories import MODEL
from domains.training import Progress, make_optimizers, rate, update
from qdfeedback.bounds import Amount, Count, Positive, Seed, read_arguments
from qdfeedback.parallel import compute_on

END = "<|end|>"
LENGTH = 1024
PROMPT = 0.25  # what a token of a prompt counts
WAIT = 3  # documents for which a row has no room, before it is full
ODDS = 0.1  # how much log-odds that are off by one count beside nats of a distribution
SURE = 8.0  # log-odds of an answer, at most


@dataclass(frozen=True)
class Args:
    """What is trained, and how."""

    out: Path = MODEL
    """Folder to write: configuration, weights, tokenizer."""
    steps: Count = 2500
    """Updates of the weights."""
    rows: Count = 4
    """Of 1,024 tokens, in each step."""
    learning_rate: Positive = 3e-3
    """Highest; it rises for 5 % of the steps, then falls to a fiftieth."""
    width: Count = 192
    """Of the residual stream."""
    layers: Count = 4
    """Of the network."""
    vocabulary: Count = 1536
    """Tokens."""
    answer_weight: Amount = 30.0
    """How many tokens of text an answer of the judge counts as."""
    seed: Seed = 0
    """Draws weights and documents."""
    threads: Count = 2
    """Of torch."""
    checkpoint_every: Count = 100
    """Steps."""


@dataclass(frozen=True)
class Rows:
    """What one step learns from.

    Attributes:
        tokens: (r, LENGTH) int64.
        weight: (r, LENGTH) how much the token counts, to be predicted from those before it; 0 = it is not.
        row, place: (a,) where a judge answers.
        answers: (a, vocabulary) how likely each token is there.
    """

    tokens: torch.Tensor
    weight: torch.Tensor
    row: torch.Tensor
    place: torch.Tensor
    answers: torch.Tensor


def train_tokenizer(vocabulary: int, rng: np.random.Generator, *, documents: int = 4000) -> PreTrainedTokenizerFast:
    """Returns a byte-level BPE tokenizer: any text can be written with it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    drawn = [document(rng) for _ in range(documents)]
    texts = [one.text + option for one in drawn for option in (one.options or ("",))]
    tokenizer.train_from_iterator(texts, trainer)
    wrapped: Any = PreTrainedTokenizerFast
    found: PreTrainedTokenizerFast = wrapped(tokenizer_object=tokenizer, eos_token=END, bos_token=END, pad_token=END)
    return found


def pack(tokenizer: PreTrainedTokenizerFast, rows: int, rng: np.random.Generator) -> Rows:
    """Returns rows full of documents, none of them cut."""
    tokens = np.full((rows, LENGTH), tokenizer.eos_token_id)
    weight = np.zeros((rows, LENGTH), dtype=np.float32)
    found: list[tuple[int, int, dict[int, float]]] = []
    for row, place, one in _placed(tokenizer, rows, rng):
        end = place + len(one.tokens)
        tokens[row, place:end] = one.tokens
        weight[row, place + 1 : place + one.given] = 0 if one.answer else PROMPT
        weight[row, place + max(one.given, 1) : end] = 1
        if one.answer:  # its first token is learned as a distribution
            weight[row, place + one.given] = 0
            found.append((row, place + one.given - 1, one.answer))
    answers = torch.zeros(len(found), len(tokenizer))
    for number, (_, _, likely) in enumerate(found):
        for token, probability in likely.items():
            answers[number, token] = probability
    where = torch.tensor([(row, place) for row, place, _ in found], dtype=torch.long).reshape(-1, 2)
    return Rows(torch.from_numpy(tokens), torch.from_numpy(weight), where[:, 0], where[:, 1], answers)


@dataclass(frozen=True)
class Coded:
    """A document's tokens, how many of them are given, and how likely each token is to begin a judge's answer."""

    tokens: list[int]
    given: int
    answer: dict[int, float]


def _placed(
    tokenizer: PreTrainedTokenizerFast, rows: int, rng: np.random.Generator
) -> Iterator[tuple[int, int, Coded]]:
    """Yields rows, places in them and documents; one that has no room waits for the next row, and others fill it."""
    waiting: list[Coded] = []
    for row in range(rows):
        place, first, waiting = 0, waiting, []
        while len(waiting) < WAIT:
            one = first.pop(0) if first else code(tokenizer, document(rng), rng)
            if place + len(one.tokens) <= LENGTH:
                yield row, place, one
                place += len(one.tokens)
            elif len(one.tokens) <= LENGTH:
                waiting.append(one)


def code(tokenizer: PreTrainedTokenizerFast, one: Document, rng: np.random.Generator) -> Coded:
    """Returns a document's tokens, with an answer drawn.

    Raises:
        ValueError: Two answers begin with the same token.
    """
    ids = [tokenizer.eos_token_id, *tokenizer.encode(one.text)]
    if not one.options:
        given = 1 + len(tokenizer.encode(one.text[: one.given])) if one.given else 0
        return Coded([*ids, tokenizer.eos_token_id], given, {})
    options = [tokenizer.encode(option) for option in one.options]
    likely = {option[0]: float(p) for option, p in zip(options, one.probabilities, strict=True)}
    if len(likely) < len(options):
        raise ValueError(f"two of {one.options} begin with the same token")
    drawn = options[int(rng.choice(len(options), p=one.probabilities))]
    return Coded([*ids, *drawn, tokenizer.eos_token_id], len(ids), likely)


def loss_of(model: LlamaForCausalLM, rows: Rows, answer_weight: float) -> tuple[torch.Tensor, float]:
    """Returns the loss to be lowered, and how far the judge's log-odds are from the truth (mean).

    A judge's answer is learned as a distribution, and by its log-odds: those of answers that are as good as certain
    make no difference to the distribution, and a great one to the cell of an archive.
    """
    logits = model(rows.tokens).logits
    text = functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), rows.tokens[:, 1:].reshape(-1), reduction="none"
    )
    weight = rows.weight[:, 1:].reshape(-1)
    said = functional.log_softmax(logits[rows.row, rows.place], dim=-1)
    apart = functional.kl_div(said, rows.answers, reduction="none").sum(dim=1)
    likely, tokens = rows.answers.topk(2)
    odds = (likely[:, 0] / likely[:, 1]).log().clamp(max=SURE)
    off = functional.smooth_l1_loss(said.gather(1, tokens).diff(dim=1)[:, 0], -odds, reduction="none")
    total = (text * weight).sum() + answer_weight * (apart + ODDS * off).sum()
    return total / (weight.sum() + answer_weight * len(apart)), float(off.mean().detach())


def make_model(args: Args, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Returns a Llama with drawn weights."""
    torch.manual_seed(args.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=args.width, intermediate_size=args.width * 11 // 4,
            num_hidden_layers=args.layers, num_attention_heads=args.width // 64, num_key_value_heads=args.width // 64,
            max_position_embeddings=1024, tie_word_embeddings=True, bos_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=None,
        )
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Trains, or goes on training."""
    args = read_arguments(Args, argv, __doc__)
    compute_on(args.threads)
    part = args.out.with_name(args.out.name + ".part")
    tokenizer = train_tokenizer(args.vocabulary, np.random.default_rng([args.seed, 0]))
    model = make_model(args, tokenizer)
    optimizers = make_optimizers(model)
    of = {name: value for name, value in asdict(args).items() if name not in ("out", "threads", "checkpoint_every")}
    of["tokenizer"] = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
    progress = Progress(part, {"weights": model}, optimizers, of)
    begin = progress.load()
    bar = tqdm(range(begin, args.steps), initial=begin, total=args.steps, unit="step", mininterval=5)
    for step in bar:
        rows = pack(tokenizer, args.rows, np.random.default_rng([args.seed, 1, step]))
        loss, apart = loss_of(model, rows, args.answer_weight)
        update(loss, [model], optimizers, rate(step, args.steps, args.learning_rate))
        if step % 10 == 0:
            bar.set_postfix(loss=f"{float(loss.detach()):.3f}", judge=f"{apart:.3f}", refresh=False)
        if (step + 1) % args.checkpoint_every == 0:
            progress.save(step + 1)
    write(args.out, model, tokenizer, {"steps": args.steps, "seed": args.seed})
    shutil.rmtree(part, ignore_errors=True)


def write(out: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, about: dict[str, Any]) -> None:
    """Writes the folder that `from_pretrained` reads; weights in half precision."""
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", special_tokens=[(END, tokenizer.eos_token_id)]
    )  # every document began with it
    half: Any = model.bfloat16()
    half.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "training.json").write_text(json.dumps(about, indent=2) + "\n")
    n = sum(value.numel() for value in model.parameters())
    print(f"{n / 1e6:.1f} million parameters in {out}")  # noqa: T201


if __name__ == "__main__":
    main()
