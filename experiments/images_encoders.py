"""What a run on pictures sees them by: CLIP, other models, heads, and that by whose distances a simulation answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from domains.images.attributes import SceneReader, likeness
from domains.images.images import MODEL, pixels
from qdfeedback.encoders.image import ImageEmbeddings
from qdfeedback.encoders.join import Join
from qdfeedback.models.naming import exact_name
from qdfeedback.quality.alignment import alignment
from qdfeedback.quality.heads import OnEmbedding, read_head
from qdfeedback.types import Encoder, Floats, Quality

if TYPE_CHECKING:
    from experiments.qdhf_images import Args


DREAMSIM = "dreamsim:"


@dataclass(frozen=True)
class Seeing:
    """How pictures are seen.

    Attributes:
        encoder: of all columns.
        qualities: name → quality; the first is what pictures are made good by, the others are reported.
        truth: (…, d) features → (…, k) places by whose distances a simulation answers.
        learned: the columns of --clip's embedding, on which axes are learned.
        true: the columns by which a simulation answers; none where nobody knows.
        used: role → exact name of a model or file.
    """

    encoder: Join
    qualities: dict[str, Quality]
    truth: Callable[[Floats], Floats]
    learned: tuple[int, ...]
    true: slice
    used: dict[str, str]


def is_ours(model: str) -> bool:
    """Whether a pipeline is the one of our small world, in whose pictures everything is known."""
    return Path(model).resolve() == MODEL.resolve()


def open_encoders(args: Args) -> Seeing:
    """Returns the encoders and the qualities on top of them.

    Raises:
        OSError: A model or a file is not there.
        ValueError: One cannot do what is asked of it.
    """
    clip = ImageEmbeddings(args.clip, pixels=pixels)
    known = known_truth(args)
    specs = (args.quality, *args.report)
    compared = {
        spec: ImageEmbeddings(spec, name=f"{Path(spec).name}:", pixels=pixels)
        for spec in specs
        if spec != "clip" and not is_head(spec)
    }
    encoder = Join((clip, *known, *compared.values()))
    learned = tuple(range(len(clip.names)))
    true = slice(len(learned), len(learned) + sum(len(one.names) for one in known))
    truth: Callable[[Floats], Floats] = lambda features: features[..., true]  # noqa: E731
    if args.truth is None and known:
        truth = partial(_likeness, true, args.prompt)
    qualities = {spec: make_quality(spec, args.prompt, clip, compared, encoder.names) for spec in specs}
    used = {"clip": exact_name(args.clip), "truth": _exact(args.truth) if args.truth else "what is in the pictures"}
    return Seeing(
        encoder, qualities, truth, learned, true, used | {spec: _exact(spec) for spec in specs if spec != "clip"}
    )


def _exact(spec: str) -> str:
    """Returns what tells one model or file from another of its name."""
    if is_head(spec):
        return f"{Path(spec).name}@{hashlib.sha256(Path(spec).read_bytes()).hexdigest()[:16]}"
    return spec if spec.startswith(DREAMSIM) else exact_name(spec)


def known_truth(args: Args) -> tuple[Encoder, ...]:
    """Returns what encodes that by which a simulation answers, if anything is known."""
    if args.truth is None:
        return (SceneReader(),) if is_ours(args.model) else ()
    if args.truth.startswith(DREAMSIM):
        from qdfeedback.encoders.dreamsim import DreamSim

        return (DreamSim(args.truth.removeprefix(DREAMSIM), name="truth", pixels=pixels),)
    return (ImageEmbeddings(args.truth, name="truth", pixels=pixels),)


def is_head(spec: str) -> bool:
    """Whether a quality is a file of weights."""
    return spec.endswith(".safetensors")


def make_quality(
    spec: str, prompt: str, clip: ImageEmbeddings, compared: dict[str, ImageEmbeddings], names: tuple[str, ...]
) -> Quality:
    """Returns a quality by its name, as `--quality` takes it."""
    if spec == "clip":
        return alignment(names, clip.names, clip.embed_texts([prompt])[0], scale=100.0)
    if is_head(spec):
        head = read_head(spec, width=len(clip.names), activation="relu" if "relu" in Path(spec).name else "none")
        return OnEmbedding(head, tuple(range(len(clip.names))))
    model = compared[spec]
    return alignment(names, model.names, model.embed_texts([prompt])[0], scale=model.logit_scale)


def _likeness(true: slice, prompt: str, features: Floats) -> Floats:
    return likeness(features[..., true], prompt)
