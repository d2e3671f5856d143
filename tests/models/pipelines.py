"""Pipelines of diffusers at tiny size, with random weights: real classes, real files."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

WORDS = ["<|startoftext|>", "<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz", *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz")]  # fmt: skip # noqa: E501


def clip_tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(WORDS)}, merges=[], model_max_length=16)


def clip_text(kind: Any = CLIPTextModel) -> Any:
    return kind(
        CLIPTextConfig(
            vocab_size=len(WORDS), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=16, bos_token_id=0, eos_token_id=1, projection_dim=32,
        )
    ).eval()  # fmt: skip


def autoencoder(channels: int = 4, **more: Any) -> Any:
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8), layers_per_block=1, latent_channels=channels, norm_num_groups=4, sample_size=16,
        **more,
    ).eval()  # fmt: skip


def unet(**more: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        **{
            "sample_size": 8, "block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 32, "attention_head_dim": 4,
        } | more
    ).eval()  # fmt: skip


def stable_diffusion(scheduler: Any = None, **more: Any) -> Any:
    torch.manual_seed(0)
    return diffusers.StableDiffusionPipeline(
        autoencoder(), clip_text(), clip_tokenizer(), unet(),
        scheduler or diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
        **{"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False} | more,
    )  # fmt: skip


def stable_diffusion_xl() -> Any:
    torch.manual_seed(0)
    network = unet(
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 32,
        cross_attention_dim=64,
    )  # fmt: skip
    return diffusers.StableDiffusionXLPipeline(
        autoencoder(), clip_text(), clip_text(CLIPTextModelWithProjection), clip_tokenizer(), clip_tokenizer(), network,
        diffusers.EulerDiscreteScheduler(),
    )  # fmt: skip


def flux() -> Any:
    torch.manual_seed(0)
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
    ).eval()  # fmt: skip
    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 2, "red": 3, "boat": 4}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    second = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    t5 = T5EncoderModel(T5Config(vocab_size=8, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=4)).eval()
    return diffusers.FluxPipeline(
        diffusers.FlowMatchEulerDiscreteScheduler(), autoencoder(shift_factor=0.0), clip_text(), clip_tokenizer(), t5,
        second, transformer,
    )  # fmt: skip


KINDS = {"sd": stable_diffusion, "sdxl": stable_diffusion_xl, "flux": flux}
