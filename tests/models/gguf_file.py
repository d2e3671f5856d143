"""A small Llama in Hugging Face format, written as a GGUF file for llama.cpp."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

PARTS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def write_gguf(folder: Path, path: Path) -> None:
    """Writes float32 weights, and the byte-level BPE tokenizer as llama.cpp knows it."""
    import gguf

    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    writer = gguf.GGUFWriter(str(path), "llama")
    heads = config["num_attention_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(float(_rope(config)))
    _add_tokens(writer, tokenizer, config, gguf)
    for name, value in load_file(folder / "model.safetensors").items():
        writer.add_tensor(_name(name), _turned(name, value.float().numpy(), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _rope(config: dict[str, Any]) -> float:
    return config.get("rope_theta") or config.get("rope_parameters", {}).get("rope_theta", 10000.0)


def _add_tokens(writer: Any, tokenizer: dict[str, Any], config: dict[str, Any], gguf: Any) -> None:
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda one: one[1])
    special = {one["content"] for one in tokenizer["added_tokens"]}
    merges = [one if isinstance(one, str) else " ".join(one) for one in tokenizer["model"]["merges"]]
    kinds = [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token, _ in vocabulary]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(True)


def _name(name: str) -> str:
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    if name == "lm_head.weight":
        return "output.weight"
    _, _, layer, *rest = name.split(".")
    return f"blk.{layer}.{PARTS['.'.join(rest).removesuffix('.weight')]}.weight"


def _turned(name: str, value: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """Rotary halves lie side by side in one format, and apart in the other."""
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(name.split(".")[-2], "")
    if not heads:
        return value
    count = config[heads]
    parts = value.reshape(count, 2, value.shape[0] // count // 2, value.shape[1])
    return np.ascontiguousarray(parts.swapaxes(1, 2).reshape(value.shape))
