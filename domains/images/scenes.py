"""Scenes of coloured things: what there is to know about one, how likely it is, and how it is drawn.

scene = random_scene(rng)
picture, caption = draw(scene), captions.describe(scene, rng)      # of what is open the caption says nothing

What captions leave open is not spread evenly, as it is not in the pictures that large models learned from: most circles
are red, most grounds white, most things plain, large and alone. A model that has learned this world repeats itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdfeedback.types import Bools, Floats

SIZE = 64  # pixels
SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = {
    "red": (215, 40, 45), "yellow": (245, 200, 20), "green": (35, 150, 65), "blue": (35, 85, 215),
    "purple": (140, 50, 170),
}  # fmt: skip
GROUNDS = {
    "white": (248, 248, 248), "grey": (165, 165, 170), "cyan": (165, 215, 245), "beige": (232, 212, 165),
    "pink": (250, 200, 215),
}  # fmt: skip
TEXTURES = ("plain", "striped", "dotted")
COUNTS = ("one", "two", "three")
SIZES = ("small", "large")
ACROSS = ("left", "middle", "right")
DOWN = ("top", "centre", "bottom")
RADII = {"small": (7.0, 8.6), "large": (10.4, 13.0)}
"""Pixels; all shapes of one radius have about one area."""
DIVIDES = 9.5
"""Pixels: the radius between small and large."""
ASIDE = 6.0
"""Pixels from the middle of the picture at which a place has a name."""
GRID = 8
"""Pixels from stripe to stripe, and from dot to dot."""
DARK = 0.35
"""Of a colour, in stripes and dots."""
TYPICAL = {"circle": "red", "square": "blue", "triangle": "yellow", "cross": "green"}
PAIRS = 0.2  # of all scenes hold two things of two kinds
_AREA = {"circle": np.pi, "square": 3.14, "triangle": 2.923, "cross": 3.057}


@dataclass(frozen=True)
class Kind:
    """What a thing looks like."""

    shape: str
    colour: str
    texture: str


@dataclass(frozen=True)
class Thing:
    """A thing and where it is: radius and middle in pixels, x to the right and y down."""

    kind: Kind
    radius: float
    x: float
    y: float


@dataclass(frozen=True)
class Scene:
    """One to three things of one kind, or two of two kinds, on a ground of one colour."""

    things: tuple[Thing, ...]
    ground: str


def random_scene(rng: np.random.Generator) -> Scene:
    """Returns a scene as they are found in this world."""
    ground = _drawn(rng, tuple(GROUNDS), 0.6)
    radius = float(rng.uniform(*RADII["large" if rng.random() < 0.75 else "small"]))
    kinds: tuple[Kind, ...]
    if rng.random() < PAIRS:
        kinds = (random_kind(rng), random_kind(rng))
        while kinds[0].shape == kinds[1].shape or kinds[0].colour == kinds[1].colour:
            kinds = (kinds[0], random_kind(rng))
    else:
        kinds = (random_kind(rng),) * int(rng.choice([1, 2, 3], p=(0.7, 0.2, 0.1)))
    middle = rng.normal(SIZE / 2, 9.0, 2)
    return arranged(kinds, ground, radius, (float(middle[0]), float(middle[1])))


def random_kind(rng: np.random.Generator) -> Kind:
    """Returns a kind of thing: each shape has a colour that is its own most of the time."""
    shape = SHAPES[rng.integers(len(SHAPES))]
    colours = (TYPICAL[shape], *(one for one in COLOURS if one != TYPICAL[shape]))
    return Kind(shape, _drawn(rng, colours, 0.6), _drawn(rng, TEXTURES, 0.7))


def _drawn(rng: np.random.Generator, names: Sequence[str], first: float) -> str:
    """Returns a name: the first with that probability, the others with equal parts of the rest."""
    rest = (1 - first) / (len(names) - 1)
    return names[rng.choice(len(names), p=[first, *[rest] * (len(names) - 1)])]


def arranged(kinds: Sequence[Kind], ground: str, radius: float, middle: tuple[float, float]) -> Scene:
    """Returns things of these kinds side by side (three: in a triangle) round a place, all within the picture.

    Args:
        kinds: one, two or three.
        ground: its colour.
        radius: of each, pixels; 11.7 at most where there are several, 10.4 with triangles.
        middle: of all, x and y in pixels; moved as far as they need to be within.
    """
    offsets = np.array([[(0, 0)], [(-1.35, 0), (1.35, 0)], [(-1.35, 0.9), (1.35, 0.9), (0, -1.45)]][len(kinds) - 1])
    triangles = any(kind.shape == "triangle" for kind in kinds)
    wide = 1.12 if triangles else 1.0
    radius = radius if len(kinds) == 1 else min(radius, 11.7 / wide)
    offsets = offsets * radius * wide + np.sign(offsets)
    aside, above, below = (1.3, 1.5, 1.12) if triangles else (1.12, 1.12, 1.12)  # how far a thing reaches, in radii
    low = np.array([aside, above]) * radius + 1.5 - offsets.min(axis=0)
    high = SIZE - 1.5 - np.array([aside, below]) * radius - offsets.max(axis=0)
    places = np.clip(middle, low, high) + offsets
    return Scene(
        tuple(Thing(kind, radius, float(x), float(y)) for kind, (x, y) in zip(kinds, places, strict=True)), ground
    )


# --- pictures


def draw(scene: Scene) -> NDArray[np.uint8]:
    """Returns the (64, 64, 3) picture of a scene."""
    picture = np.empty((SIZE, SIZE, 3), dtype=np.float32)
    picture[:] = GROUNDS[scene.ground]
    for thing in scene.things:
        rows, columns, covered, light = covering(thing.kind.shape, thing.kind.texture, thing.radius, thing.x, thing.y)
        colour = np.array(COLOURS[thing.kind.colour], dtype=np.float32)
        picture[rows, columns] = picture[rows, columns] * (1 - covered[..., None]) + light[..., None] * colour
    return picture.round().astype(np.uint8)


def covering(
    shape: str, texture: str, radius: float, x: float, y: float, *, points: int = 4
) -> tuple[slice, slice, Floats, Floats]:
    """Returns how a thing covers the pixels round it.

    Args:
        shape: of the thing.
        texture: of the thing.
        radius: pixels.
        x: of its middle, pixels.
        y: of its middle, pixels.
        points: along a pixel at which it is looked at.

    Returns:
        Rows and columns of a part of the picture; (h, w) share of each pixel there that is covered; the same less what
        stripes and dots darken.
    """
    rows, columns, across, down = around(radius, x, y, points)
    seen = inside(shape, across, down, radius)
    light = seen * np.where(pattern(texture, across, down), DARK, 1.0)
    return rows, columns, in_pixels(seen, points), in_pixels(light, points)


def around(radius: float, x: float, y: float, points: int) -> tuple[slice, slice, Floats, Floats]:
    """Returns the pixels round a thing: rows, columns, and where so many points along each lie from its middle.

    Args:
        radius: of the thing, pixels.
        x: of its middle, pixels.
        y: of its middle, pixels.
        points: along a pixel.

    Returns:
        Rows and columns of a part of the picture of (h, w) pixels; (1, w · points) and (h · points, 1) distances.
    """
    reach = 1.6 * radius
    (left, right), (top, bottom) = ((max(int(at - reach), 0), min(int(at + reach), SIZE)) for at in (x, y))
    across = (np.arange(left * points, right * points)[None] + 0.5) / points - x
    down = (np.arange(top * points, bottom * points)[:, None] + 0.5) / points - y
    return slice(top, bottom), slice(left, right), across, down


def in_pixels(seen: Bools | Floats, points: int) -> Floats:
    """Returns the (h, w) mean in each pixel of what is seen at (h · points, w · points) points."""
    total = np.zeros((seen.shape[0] // points, seen.shape[1] // points))
    for down in range(points):
        for across in range(points):
            total += seen[down::points, across::points]
    return np.asarray(total / points**2)


def inside(shape: str, x: Floats, y: Floats, radius: float) -> Bools:
    """Returns where points, in pixels from a thing's middle, lie within it."""
    if shape == "circle":
        return np.asarray(x**2 + y**2 < radius**2)
    if shape == "square":
        return np.asarray(np.maximum(abs(x), abs(y)) < 0.886 * radius)
    if shape == "triangle":
        return np.asarray(np.maximum(y, 0.866 * abs(x) - 0.5 * y) < 0.75 * radius)
    long, short = 1.12 * radius, 0.42 * radius
    return np.asarray((np.maximum(abs(x), abs(y)) < long) & (np.minimum(abs(x), abs(y)) < short))


def area(shape: str, radius: float) -> float:
    """Returns how many pixels a thing covers."""
    return _AREA[shape] * radius**2


def pattern(texture: str, x: Floats, y: Floats) -> Bools:
    """Returns which points, in pixels from a thing's middle, are dark: stripes that lie, dots in rows."""
    if texture == "striped":
        return np.broadcast_to((y + GRID / 4) % GRID < GRID / 2, np.broadcast_shapes(x.shape, y.shape))
    if texture == "dotted":
        across, down = ((at + GRID / 2) % GRID - GRID / 2 for at in (x, y))
        return np.asarray(across**2 + down**2 < 2.3**2)
    return np.zeros(np.broadcast_shapes(x.shape, y.shape), dtype=bool)
