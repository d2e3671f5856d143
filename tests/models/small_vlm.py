"""A small vision-language model: it says how many things a picture of our world shows, and on what ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoProcessor,
    CLIPModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from domains.images import CLIP
from domains.images.attributes import QUESTIONS, value
from domains.images.reader import read
from domains.images.scenes import draw, random_scene
from domains.training import make_optimizers, rate, update

ASKED = ("ground", "count")
LAYERS, WIDTH, STEPS, BATCH, PICTURES = 2, 64, 300, 32, 1000
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ part['text'] }}{% endif %} {% endfor %}{% endfor %}:"
)


def message(prompt: str) -> list[dict[str, object]]:
    """Returns the messages that `Served` makes of a prompt about one picture."""
    parts = [{"type": "text", "text": "Picture 1:"}, {"type": "image"}, {"type": "text", "text": prompt}]
    return [{"role": "user", "content": parts}]


def make_processor() -> LlavaProcessor:
    """Returns a processor whose words are those of the questions."""
    split = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    said = [text for name in ASKED for text in (*QUESTIONS[name].prompts(None), *QUESTIONS[name].answers)]
    words = {word for text in (*said, "Picture 1 2 3:") for word, _ in split.pre_tokenize_str(text)}
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<pad>", "<end>", "<image>", *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="<end>",
        additional_special_tokens=["<image>"], padding_side="left",
    )  # fmt: skip
    images = AutoProcessor.from_pretrained(CLIP).image_processor
    return LlavaProcessor(
        images, fast, patch_size=8, vision_feature_select_strategy="full", num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )  # fmt: skip


def make_model(processor: LlavaProcessor) -> LlavaForConditionalGeneration:
    """Returns an untrained model with our CLIP's eyes."""
    clip, tokenizer = CLIPModel.from_pretrained(CLIP, dtype=torch.float32), processor.tokenizer
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=4, max_position_embeddings=512, eos_token_id=end, pad_token_id=pad, bos_token_id=None,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=clip.config.vision_config, text_config=text, image_token_index=processor.image_token_id,
            vision_feature_select_strategy="full", vision_feature_layer=-1,
        )
    )  # fmt: skip
    model.model.vision_tower.load_state_dict(clip.vision_model.state_dict())
    model.model.vision_tower.requires_grad_(False)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = end, pad
    return model


def train(folder: Path, *, seed: int = 0) -> None:
    """Trains one, and writes it."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    processor = make_processor()
    model = make_model(processor)
    optimizers = make_optimizers(model)
    scenes = [draw(random_scene(rng)) for _ in range(PICTURES)]
    seen = [{name: value(read(pixels), name) for name in ASKED} for pixels in scenes]
    for step in range(STEPS):
        rows = rng.integers(PICTURES, size=BATCH)
        names = [str(name) for name in rng.choice(ASKED, BATCH)]
        prompts = [str(rng.choice(QUESTIONS[name].prompts(None))) for name in names]
        asked = [processor.apply_chat_template(message(prompt)) for prompt in prompts]
        answers = [f" {seen[row][name]} <end>" for row, name in zip(rows, names, strict=True)]
        inputs = processor(
            images=[scenes[row] for row in rows], text=[q + a for q, a in zip(asked, answers, strict=True)],
            padding=True, return_tensors="pt",
        )  # fmt: skip
        labels = torch.full_like(inputs["input_ids"], -100)
        labels[:, -2:] = inputs["input_ids"][:, -2:]
        loss = model(**inputs, labels=labels).loss
        update(loss, [model], optimizers, rate(step, STEPS, 3e-3))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
