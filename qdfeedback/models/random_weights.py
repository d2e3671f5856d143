"""Networks of well-known architectures that were never trained: what a machine can do is measured on them."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers


def stable_diffusion(like: Any, *, size: int) -> Any:
    """Returns a pipeline of diffusers with the architecture of Stable Diffusion 1.5 and random weights.

    Args:
        like: a pipeline that lends its tokenizer and its scheduler.
        size: pixels of a side.
    """
    words = like.tokenizer
    words.model_max_length = 77
    torch.manual_seed(0)
    text = transformers.CLIPTextConfig(
        vocab_size=len(words), hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        max_position_embeddings=77, bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        sample_size=size // 8, cross_attention_dim=768, attention_head_dim=8, block_out_channels=(320, 640, 1280, 1280)
    )
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=size,
    )  # fmt: skip
    return diffusers.StableDiffusionPipeline(
        vae, transformers.CLIPTextModel(text), words, unet, like.scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
