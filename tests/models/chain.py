"""A causal language model of certain words: after each token comes always the one that a table says."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

MARKS = ("<unk>", "<pad>", "<eos>")


def make(
    folder: Path,
    chain: Sequence[str],
    *,
    template: str | None = None,
    words: Sequence[str] = (),
    eos: bool = True,
    pad: bool = True,
    special: Sequence[str] = (),
    generation: dict[str, Any] | None = None,
) -> Path:
    """Writes the folder of a model that goes on from a chain's first word along it; after any other word it ends.

    Args:
        folder: where.
        chain: words, each followed by the next; none stands in it twice.
        template: of a chat.
        words: that it knows besides.
        eos: the tokenizer has a token for the end.
        pad: the tokenizer has one for places that are left over.
        special: words of the chain that its tokenizer leaves out of a text.
        generation: what its maker found fit.
    """
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys((*MARKS, *words, *chain)))}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    named = ({"pad_token": "<pad>"} if pad else {}) | ({"eos_token": "<eos>"} if eos else {})
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", additional_special_tokens=list(special), **named
    )
    if template is not None:
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    width = -(-len(vocabulary) // 8) * 8
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=width, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=256, tie_word_embeddings=False,
        eos_token_id=2 if eos else None, pad_token_id=1 if pad else None, bos_token_id=None,
    )  # fmt: skip
    network = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weights in network.named_parameters():
            weights.fill_(1.0 if "norm" in name else 0.0)
        network.model.embed_tokens.weight[:, : len(vocabulary)] = torch.eye(len(vocabulary))
        follows = dict.fromkeys(vocabulary, MARKS[2]) | dict(pairwise(chain))
        for word, after in follows.items():
            network.lm_head.weight[vocabulary[after], vocabulary[word]] = 10.0
    for name, value in (generation or {}).items():
        setattr(network.generation_config, name, value)
    network.save_pretrained(folder)
    return folder
