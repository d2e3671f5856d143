"""What a run on pictures sees them by: CLIP, other models, heads, and that by whose distances a simulation answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from domains.images.attributes import SceneReader, likeness
from domains.images.images import pixels
from experiments.images.arguments import Args, is_ours
from qdfeedback.encoders.join import Join
from qdfeedback.models.naming import exact_name
from qdfeedback.seen_by import exactly, open_compared, open_embedder, quality_of
from qdfeedback.types import Encoder, Floats, Quality


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


def open_encoders(args: Args) -> Seeing:
    """Returns the encoders and the qualities on top of them.

    Raises:
        OSError: A model or a file is not there.
        ValueError: One cannot do what is asked of it.
    """
    from qdfeedback.encoders.image import ImageEmbeddings  # transformers takes seconds to load

    clip = ImageEmbeddings(args.clip, pixels=pixels)
    known = known_truth(args)
    specs = (args.quality, *args.report)
    compared = open_compared(specs, pixels=pixels)
    encoder = Join((clip, *known, *compared.values()))
    learned = tuple(range(len(clip.names)))
    true = slice(len(learned), len(learned) + sum(len(one.names) for one in known))
    truth: Callable[[Floats], Floats] = lambda features: features[..., true]  # noqa: E731
    if args.truth is None and known:
        truth = partial(_likeness, true, args.prompt)
    qualities = {spec: quality_of(spec, args.prompt, clip, compared, encoder.names) for spec in specs}
    used = {"clip": exact_name(args.clip), "truth": exactly(args.truth) if args.truth else "what is in the pictures"}
    return Seeing(
        encoder, qualities, truth, learned, true, used | {spec: exactly(spec) for spec in specs if spec != "clip"}
    )


def known_truth(args: Args) -> tuple[Encoder, ...]:
    """Returns what encodes that by which a simulation answers, if anything is known."""
    if args.truth is None:
        return (SceneReader(),) if is_ours(args.model) else ()
    return (open_embedder(args.truth, name="truth", pixels=pixels),)


def _likeness(true: slice, prompt: str, features: Floats) -> Floats:
    return likeness(features[..., true], prompt)
