"""Trains the models of the world of shapes: a diffusion pipeline, and a contrastive model of pictures and texts.

    python -m domains.images.train                        # writes domains/images/model and clip
    python -m domains.images.train --steps 2 2 2 --scenes 64 --out /tmp/images

Three trainings, one after the other: the autoencoder, which makes latents of pictures; a CLIP; and the U-Net, which
makes latents of noise and a caption, together with its text encoder, which begins as CLIP's. It checkpoints into the
folder `--out`/training: started again, it goes on. What a step learns from is drawn from the seed and the step's
number, so that a training that was stopped learns what an unbroken one does.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch.nn import functional
from tqdm import tqdm
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTextModel, CLIPTokenizer

from domains.images.captions import describe
from domains.images.images import CLIP, MODEL
from domains.images.scenes import SIZE, Scene, draw, random_scene
from domains.training import Progress, make_optimizers, rate, update
from qdfeedback.bounds import Count, Positive, Seed, read_arguments
from qdfeedback.parallel import can_compile, compute_on, cores

CROP = 32  # pixels of the pictures that the autoencoder learns from; what it does is local
LENGTH = 32  # tokens of a prompt
STEPS_OF_NOISE = 1000
OF_THIS_CALL = ("out", "threads", "compiled", "checkpoint_every")


@dataclass(frozen=True)
class Args:
    """What is trained, and how."""

    out: Path = MODEL.parent
    """Folder in which `model` and `clip` are written."""
    steps: tuple[Count, Count, Count] = (4000, 1800, 3600)
    """Updates of the autoencoder, of CLIP, of the U-Net."""
    rows: tuple[Count, Count, Count] = (16, 128, 64)
    """Pictures in each step."""
    learning_rates: tuple[Positive, Positive, Positive] = (2e-3, 2e-3, 3e-3)
    """Highest."""
    channels: tuple[Count, ...] = (32, 64, 128)
    """Of the U-Net, from the outside in."""
    scenes: Count = 20000
    """Pictures to learn from."""
    seed: Seed = 0
    """Draws weights, scenes and captions."""
    device: str = "cpu"
    """Where: "cpu" or "cuda"."""
    threads: Count = field(default_factory=cores)
    """Of torch."""
    compiled: bool = True
    """Compile the U-Net, where there is a C++ compiler (minutes at first): forward and back take a third less."""
    checkpoint_every: Count = 200
    """Steps."""


@dataclass(frozen=True)
class World:
    """What there is to learn from.

    Attributes:
        scenes: n.
        pictures: (n, 3, SIZE, SIZE) uint8.
    """

    scenes: Sequence[Scene]
    pictures: torch.Tensor

    def some(self, rows: NDArray[np.int64], device: str) -> torch.Tensor:
        """Returns the pictures of some rows, from -1 to 1."""
        return self.pictures[torch.from_numpy(rows)].to(device).float() / 127.5 - 1

    def captions(self, rows: NDArray[np.int64], rng: np.random.Generator) -> list[str]:
        """Returns a caption for each of some rows, of one to nine tenths of what could be said."""
        return [describe(self.scenes[row], rng, named=float(rng.uniform(0.1, 0.9))) for row in rows]


def make_world(n: int, seed: int) -> World:
    """Returns n scenes with their pictures."""
    rng = np.random.default_rng([seed, 0])
    scenes = [random_scene(rng) for _ in range(n)]
    return World(scenes, torch.from_numpy(np.stack([draw(scene) for scene in scenes])).permute(0, 3, 1, 2).contiguous())


def train_tokenizer(captions: Sequence[str]) -> CLIPTokenizer:
    """Returns a tokenizer that knows the words of the captions; others are spelled."""
    special = ["<|startoftext|>", "<|endoftext|>"]
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        special_tokens=[*special, *letters, *(f"{one}</w>" for one in letters)], vocab_size=1000, min_frequency=2,
        end_of_word_suffix="</w>", show_progress=False,
    )  # fmt: skip
    bpe.train_from_iterator(captions, trainer)
    found = json.loads(bpe.to_str())["model"]
    merges: Any = [tuple(pair) for pair in found["merges"]]
    return CLIPTokenizer(vocab=found["vocab"], merges=merges, model_max_length=LENGTH)


class Trainer:
    """What the three trainings share: the world, the tokenizer, and the loop."""

    def __init__(self, args: Args) -> None:
        self.args = args
        self.world = make_world(args.scenes, args.seed)
        every = np.arange(min(args.scenes, 2000))
        self.tokenizer = train_tokenizer(self.world.captions(every, np.random.default_rng([args.seed, 1])))

    def run(
        self,
        stage: int,
        networks: Mapping[str, torch.nn.Module],
        loss: Callable[[NDArray[np.int64], np.random.Generator, torch.Generator], torch.Tensor],
        after: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Lowers a loss, from the beginning or the last checkpoint; `after` each update something may be done.

        Args:
            stage: which of the three.
            networks: name → network; all but `average` learn.
            loss: rows of the world and random numbers → what is lowered.
            after: called with the step's number.
        """
        args, name = self.args, STAGES[stage]
        steps, rows = args.steps[stage], args.rows[stage]
        learning = [network for which, network in networks.items() if which != "average"]
        optimizers = make_optimizers(*learning, filters=name == "unet")
        of = {key: value for key, value in asdict(args).items() if key not in OF_THIS_CALL}
        progress = Progress(args.out / "training" / name, networks, optimizers, json.loads(json.dumps(of)))
        begin = progress.load()
        bar = tqdm(range(begin, steps), desc=name, initial=begin, total=steps, unit="step", mininterval=5)
        for step in bar:
            rng = np.random.default_rng([args.seed, 2, stage, step])
            chance = torch.Generator().manual_seed(int(rng.integers(2**63)))
            lowered = loss(rng.integers(args.scenes, size=rows), rng, chance)
            update(lowered, learning, optimizers, rate(step, steps, args.learning_rates[stage]))
            after(step)
            if step % 10 == 0:
                bar.set_postfix(loss=f"{float(lowered.detach()):.4f}", refresh=False)
            if (step + 1) % args.checkpoint_every == 0 or step + 1 == steps:
                progress.save(step + 1)

    def tokens(self, captions: Sequence[str]) -> torch.Tensor:
        """Returns (n, LENGTH) tokens."""
        coded = self.tokenizer(
            list(captions), padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
        )
        found: torch.Tensor = coded.input_ids.to(self.args.device)
        return found


STAGES = ("autoencoder", "clip", "unet")


def train_autoencoder(trainer: Trainer) -> Any:
    """Returns an autoencoder of 64×64 pictures and 16×16×4 latents whose spread is 1."""
    args, world = trainer.args, trainer.world
    torch.manual_seed(args.seed)
    network: Any = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 32), layers_per_block=1, latent_channels=4, norm_num_groups=8, sample_size=SIZE,
        mid_block_add_attention=False,
    ).to(args.device, memory_format=torch.channels_last)  # fmt: skip

    def loss(rows: NDArray[np.int64], rng: np.random.Generator, chance: torch.Generator) -> torch.Tensor:
        corners = rng.integers(SIZE - CROP + 1, size=(len(rows), 2))
        whole = world.some(rows, args.device)
        ground = whole.flatten(2).median(dim=2).values[:, :, None, None]
        x, plain = (
            torch.stack([one[:, a : a + CROP, b : b + CROP] for one, (a, b) in zip(of, corners, strict=True)])
            for of in (whole, (whole - ground).abs().sum(dim=1, keepdim=True) < 0.2)
        )
        found = network.encode(x).latent_dist
        again = network.decode(found.sample(chance)).sample
        wrong = (again - x).abs() + 2 * (again - x).square()
        lowered: torch.Tensor = (wrong * (3 - 2 * plain.float())).mean() / 2 + 1e-6 * found.kl().mean()
        return lowered

    trainer.run(0, {"weights": network}, loss)
    network.eval().requires_grad_(False)
    latents = encode(network, world, args.device, min(1000, args.scenes))
    network.register_to_config(scaling_factor=round(1 / float(latents.std()), 4))
    return network


@torch.inference_mode()
def encode(autoencoder: Any, world: World, device: str, n: int) -> torch.Tensor:
    """Returns (n, 4, 16, 16) latents of the first n pictures, not scaled."""
    parts = np.array_split(np.arange(n), max(n // 100, 1))
    return torch.cat([autoencoder.encode(world.some(part, device)).latent_dist.mean for part in parts])


def train_clip(trainer: Trainer) -> Any:
    """Returns a contrastive model of pictures and captions."""
    args, world = trainer.args, trainer.world
    torch.manual_seed(args.seed)
    both = {"hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 3, "num_attention_heads": 4}
    ends = {"bos_token_id": trainer.tokenizer.bos_token_id, "eos_token_id": trainer.tokenizer.eos_token_id}
    text = {"vocab_size": len(trainer.tokenizer), "max_position_embeddings": LENGTH, "projection_dim": 64}
    network: Any = CLIPModel(
        CLIPConfig(
            text_config=both | ends | text,
            vision_config=both | {"image_size": SIZE, "patch_size": 8, "projection_dim": 64},
            projection_dim=64,
        )
    )
    network.to(args.device)

    def loss(rows: NDArray[np.int64], rng: np.random.Generator, chance: torch.Generator) -> torch.Tensor:  # noqa: ARG001
        tokens = trainer.tokens(world.captions(rows, rng))
        found = network(input_ids=tokens, pixel_values=world.some(rows, args.device), return_loss=True)
        lowered: torch.Tensor = found.loss
        return lowered

    trainer.run(1, {"weights": network}, loss)
    return network.eval()


def train_unet(trainer: Trainer, autoencoder: Any, clip: Any) -> Any:
    """Returns the pipeline: its U-Net is the average of those of the last steps."""
    args, world = trainer.args, trainer.world
    scheduler: Any = DDIMScheduler(
        num_train_timesteps=STEPS_OF_NOISE, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
        prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True, clip_sample=False,
        set_alpha_to_one=True, steps_offset=1,
    )  # fmt: skip
    torch.manual_seed(args.seed)
    deep = len(args.channels) - 1
    unet: Any = UNet2DConditionModel(
        sample_size=SIZE // 4, block_out_channels=args.channels, layers_per_block=1,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * deep),
        up_block_types=(*("CrossAttnUpBlock2D",) * deep, "UpBlock2D"),
        cross_attention_dim=96, attention_head_dim=4, norm_num_groups=8,
    ).to(args.device, memory_format=torch.channels_last)  # fmt: skip
    text: Any = CLIPTextModel(clip.config.text_config)
    text.to(args.device)
    text.load_state_dict(clip.text_model.state_dict())
    learning = torch.nn.ModuleDict({"unet": unet, "text": text})
    average = copy.deepcopy(learning).requires_grad_(False)
    scale = float(autoencoder.config["scaling_factor"])
    latents = (encode(autoencoder, world, args.device, args.scenes) * scale).clone()
    forward: Any = torch.compile(unet) if args.compiled and can_compile() else unet

    def loss(rows: NDArray[np.int64], rng: np.random.Generator, chance: torch.Generator) -> torch.Tensor:
        captions = [caption if rng.random() < 0.9 else "" for caption in world.captions(rows, rng)]
        x = latents[torch.from_numpy(rows)]
        noise = torch.randn(x.shape, generator=chance).to(args.device)
        times = torch.randint(STEPS_OF_NOISE, (len(rows),), generator=chance).to(args.device)
        said = text(trainer.tokens(captions)).last_hidden_state
        found = forward(scheduler.add_noise(x, noise, times), times, said).sample
        return functional.mse_loss(found, scheduler.get_velocity(x, noise, times))

    def after(step: int) -> None:
        kept = min(0.999, (step + 1) / (step + 10))
        with torch.no_grad():
            for old, new in zip(average.parameters(), learning.parameters(), strict=True):
                old.lerp_(new, 1 - kept)

    trainer.run(2, {"weights": learning, "average": average}, loss, after)
    return StableDiffusionPipeline(
        autoencoder, average["text"].eval(), trainer.tokenizer, average["unet"].eval(), scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Trains, or goes on training."""
    args = read_arguments(Args, argv, __doc__)
    compute_on(args.threads)
    trainer = Trainer(args)
    autoencoder = train_autoencoder(trainer)
    clip = train_clip(trainer)
    write(args.out, train_unet(trainer, autoencoder, clip), clip, {"steps": args.steps, "seed": args.seed})
    shutil.rmtree(args.out / "training", ignore_errors=True)


def write(out: Path, pipeline: Any, clip: Any, about: dict[str, Any]) -> None:
    """Writes the folders that `from_pretrained` reads; weights in half precision."""
    networks: list[Any] = [pipeline.unet, pipeline.text_encoder, pipeline.vae, clip]
    millions = [sum(value.numel() for value in network.parameters()) / 1e6 for network in networks]
    for network in networks:
        network.to("cpu", torch.float16)
    pipeline.save_pretrained(out / MODEL.name)
    clip.save_pretrained(out / CLIP.name)
    mean = [0.5, 0.5, 0.5]
    images = CLIPImageProcessorPil(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}, image_mean=mean, image_std=mean
    )
    processor: Any = CLIPProcessor
    processor(images, pipeline.tokenizer).save_pretrained(out / CLIP.name)
    (out / MODEL.name / "training.json").write_text(json.dumps(about, indent=2) + "\n")
    told = zip(("U-Net", "text encoder", "autoencoder", "CLIP"), millions, strict=True)
    print(", ".join(f"{name} {n:.2f}" for name, n in told), f"million parameters in {out}")  # noqa: T201


if __name__ == "__main__":
    main()
