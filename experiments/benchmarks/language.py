"""How much faster a local language model is in batches than one call at a time, in one process.

    python -m experiments.benchmarks.language                                     # the story model, 256 texts
    python -m experiments.benchmarks.language --random-weights --device cuda --dtype bfloat16

`choose`: 256 texts, three questions with two answers each; one by one, each answer is read after its prompt by a call
of its own, as a script would do it, and the log-probabilities must agree. `complete`: 256 stories, one by one with
`generate` and batch by batch. Times alternate between the two ways; the ratio is taken within each round.
With --random-weights the network has about half a billion parameters, and generation is held against the limit that
memory bandwidth sets: every weight is read once for each token of a batch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from domains.stories import MODEL, STORIES, grammar
from qdfeedback.bounds import Count, Positive, read_arguments
from qdfeedback.commands import run_main
from qdfeedback.encoders.attributes import Attribute
from qdfeedback.models.frames import few_shot
from qdfeedback.models.language import Sampling
from qdfeedback.models.local import LocalModel, load_local
from qdfeedback.parallel import compute_on, threads
from qdfeedback.types import Floats


@dataclass(frozen=True)
class Args:
    model: Path = MODEL
    """Folder or hub id."""
    texts: Count = 256
    """How many."""
    rounds: Count = 3
    """How often both ways are timed."""
    at_once: Count = 64
    """Prompts at once."""
    tokens: Count = 64
    """Tokens of each text that is written."""
    device: str | None = None
    """cpu or cuda."""
    dtype: str = "auto"
    """float32, bfloat16 …"""
    random_weights: bool = False
    """A network of half a billion parameters, never trained, with the story model's tokenizer."""
    bandwidth: Positive = 3350.0
    """Of the accelerator's memory, GB/s (an H100 SXM: 3350)."""
    out: Path | None = None
    """JSON file for the figures."""


def half_a_billion(args: Args) -> LocalModel:
    """Returns a Llama of about 0.5 billion parameters with random weights."""
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=1536, intermediate_size=4096, num_hidden_layers=18,
        num_attention_heads=12, num_key_value_heads=4, max_position_embeddings=2048, tie_word_embeddings=True,
        bos_token_id=tokenizer.eos_token_id, eos_token_id=None, pad_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    where = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    kind = torch.float32 if args.dtype == "auto" else getattr(torch, args.dtype)
    network: Any = LlamaForCausalLM(config)
    return LocalModel(network.to(where, kind).eval(), tokenizer, "random", batch_size=args.at_once)


@torch.inference_mode()
def choose_one_by_one(model: LocalModel, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> Floats:
    """Returns (n, k) log-probabilities, each answer read after its prompt in a call of its own."""
    found = np.empty((len(prompts), len(options[0])))
    for row, (prompt, answers) in enumerate(zip(prompts, options, strict=True)):
        head = model.tokenizer.encode(prompt)
        for column, answer in enumerate(answers):
            tail = model.tokenizer.encode(answer, add_special_tokens=False)
            tokens = torch.tensor([head + tail], device=model.network.device)
            said = model.network(tokens).logits[0, len(head) - 1 : -1].float().log_softmax(dim=-1)
            found[row, column] = float(said.gather(1, tokens[0, len(head) :, None]).sum())
    return found


@torch.inference_mode()
def write_one_by_one(model: LocalModel, prompts: Sequence[str], tokens: int) -> int:
    """Returns how many tokens were written, a prompt at a time."""
    written = 0
    for prompt in prompts:
        coded = model.tokenizer(prompt, return_tensors="pt").to(model.network.device)
        out = model.network.generate(
            coded["input_ids"], attention_mask=coded["attention_mask"], do_sample=True, temperature=0.8, top_k=0,
            max_new_tokens=tokens, min_new_tokens=tokens, pad_token_id=model.tokenizer.eos_token_id,
        )  # fmt: skip
        written += out.shape[1] - coded["input_ids"].shape[1]
    return written


def timed(model: LocalModel, work: Callable[[], Any]) -> tuple[float, Any]:
    """Returns the seconds that something took, and its result."""
    begun = time.perf_counter()
    found = work()
    if model.network.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun, found


def measure(model: LocalModel, args: Args) -> dict[str, Any]:
    """Returns the figures."""
    rng = np.random.default_rng(0)
    texts = [grammar.write(grammar.random_plan(rng), grammar.cast(rng), rng) for _ in range(args.texts)]
    asked: list[Attribute] = [STORIES.quality, *STORIES.axes]
    prompts = [attribute.prompts(text)[0] for attribute in asked for text in texts]
    options = [attribute.answers for attribute in asked for _ in texts]
    lists = [few_shot(STORIES.line, [texts[i] for i in rng.choice(len(texts), 3)]) for _ in texts]
    sampling = Sampling(max_tokens=args.tokens, temperature=0.8)  # no stop: both ways write as many tokens
    choosing, writing = [], []
    apart, rates = 0.0, []
    model.choose(prompts, options), choose_one_by_one(model, prompts[:2], options[:2])  # warm: the memory is there
    for _ in range(args.rounds):
        slow, one = timed(model, lambda: choose_one_by_one(model, prompts, options))
        fast, all_ = timed(model, lambda: model.choose(prompts, options).logprobs)
        choosing.append(slow / fast)
        apart = max(apart, float(np.abs(one - all_).max()))
        slow, count = timed(model, lambda: write_one_by_one(model, lists, args.tokens))
        fast, found = timed(model, lambda: model.complete(lists, np.arange(len(lists)), sampling))
        rates.append(found.usage.completion_tokens / fast)
        writing.append((slow / count) / (fast / found.usage.completion_tokens))  # by token: a list may end early
    return {
        "device": str(model.network.device), "parameters": sum(p.numel() for p in model.network.parameters()),
        "texts": args.texts, "choose_times_faster": sorted(choosing), "choose_largest_difference": apart,
        "write_times_faster": sorted(writing), "tokens_per_second": max(rates),
    }  # fmt: skip


def share_of_bandwidth(model: LocalModel, args: Args, tokens_per_second: float) -> float:
    """Returns which share of the memory's bandwidth it takes to read every weight for each token of a batch."""
    bytes_ = sum(value.numel() * value.element_size() for value in model.network.parameters())
    return float(tokens_per_second / min(args.at_once, args.texts) * bytes_ / (args.bandwidth * 1e9))


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    args = read_arguments(Args, argv, __doc__)
    compute_on(threads())
    model = half_a_billion(args) if args.random_weights else load_local(
        args.model, device=args.device, dtype=args.dtype, batch_size=args.at_once
    )  # fmt: skip
    figures = measure(model, args)
    middle = args.rounds // 2
    print(
        f"{figures['parameters'] / 1e6:,.1f} million parameters on {figures['device']}, {args.texts} texts\n"
        f"choose, {3 * args.texts:,} prompts with two answers: {figures['choose_times_faster'][middle]:.1f} times "
        f"faster than one by one, largest difference {figures['choose_largest_difference']:.1e} nats\n"
        f"complete: {figures['write_times_faster'][middle]:.1f} times faster, "
        f"{figures['tokens_per_second']:,.0f} tokens/s"
    )
    if figures["device"] != "cpu":
        figures["share_of_bandwidth_limit"] = share_of_bandwidth(model, args, figures["tokens_per_second"])
        print(f"{figures['share_of_bandwidth_limit']:.0%} of what {args.bandwidth:g} GB/s allow")
    if args.out is not None:
        args.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    run_main(main)
