"""What is in a picture of this world, exactly; where it cannot be told, that is said too.

The picture may be drawn or made by a model: blurred, noisy, with a thing half grown together with another. Each
attribute is read on its own, and None where two readings are too close.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from domains.images.scenes import (
    ASIDE,
    COLOURS,
    COUNTS,
    DIVIDES,
    GROUNDS,
    SHAPES,
    SIZE,
    area,
    around,
    in_pixels,
    inside,
    pattern,
)
from qdfeedback.types import Bools, Floats

RING = 2  # pixels round the picture that show the ground
APART = 60.0  # of red, green and blue (0 to 255): a pixel so far from the ground belongs to a thing
SPECK = 25  # pixels: less is no thing
POINTS = 2  # along a pixel at which a shape is looked at
_AT = np.arange(SIZE) + 0.5


@dataclass(frozen=True)
class Sight:
    """A thing as it is seen; None = cannot be told. Radius and middle in pixels."""

    shape: str | None
    colour: str | None
    texture: str | None
    radius: float
    x: float
    y: float


@dataclass(frozen=True)
class View:
    """All that is seen in a picture; no ground: nothing can be told."""

    things: tuple[Sight, ...]
    ground: str | None

    @property
    def count(self) -> str | None:
        """How many things, in words."""
        return COUNTS[len(self.things) - 1] if self.ground and 0 < len(self.things) <= len(COUNTS) else None

    @property
    def size(self) -> str | None:
        """Small or large, where all things are the same."""
        sizes = {"small" if one.radius < DIVIDES else "large" for one in self.things}
        sure = all(abs(one.radius - DIVIDES) > 0.3 for one in self.things)
        return sizes.pop() if self.ground and len(sizes) == 1 and sure else None

    @property
    def middle(self) -> tuple[float, float]:
        """Of all things, x and y in pixels; NaN where there are none."""
        if not self.things:
            return np.nan, np.nan
        return float(np.mean([one.x for one in self.things])), float(np.mean([one.y for one in self.things]))

    @property
    def across(self) -> str | None:
        """Left, middle or right."""
        return _place(self.middle[0], ("left", "middle", "right"))

    @property
    def down(self) -> str | None:
        """Top, centre or bottom."""
        return _place(self.middle[1], ("top", "centre", "bottom"))

    def common(self, attribute: str) -> str | None:
        """Returns the shape, colour or texture that all things have in common."""
        found = {getattr(one, attribute) for one in self.things}
        return found.pop() if self.ground and len(found) == 1 else None


def _place(at: float, names: tuple[str, str, str]) -> str | None:
    aside = at - SIZE / 2
    if not np.isfinite(aside) or abs(abs(aside) - ASIDE) < 0.3:
        return None
    return names[1] if abs(aside) < ASIDE else names[0] if aside < 0 else names[2]


def read(picture: NDArray[np.uint8]) -> View:
    """Returns what is in a (64, 64, 3) picture.

    Raises:
        ValueError: It has another shape.
    """
    if picture.shape != (SIZE, SIZE, 3):
        raise ValueError(f"picture must have shape {(SIZE, SIZE, 3)}, got {picture.shape}")
    seen = picture.astype(float)
    edge = np.ones((SIZE, SIZE), dtype=bool)
    edge[RING:-RING, RING:-RING] = False
    around = np.median(seen[edge], axis=0)
    apart = _distance(seen, around)
    if (apart[edge] < APART).mean() < 0.7:
        return View((), None)
    numbered, n = ndimage.label(apart > APART)
    parts = [numbered == i for i in range(1, n + 1)]
    things = tuple(_thing(seen, part, apart) for part in parts if part.sum() >= SPECK)
    return View(things, _nearest(around, GROUNDS, most=45.0))


def _thing(seen: Floats, part: Bools, apart: Floats) -> Sight:
    """Returns what the pixels of one thing say; those on its edge count as far as they are not ground."""
    cover = np.clip(apart / _quantile(apart[part], 0.3), 0, 1) * ndimage.binary_dilation(part)
    part = cover > 0.5
    rows, columns = np.nonzero(part)
    x, y, pixels = float(_AT[columns].mean()), float(_AT[rows].mean()), float(cover.sum())
    radii = {shape: float(np.sqrt(pixels / area(shape, 1.0))) for shape in SHAPES}
    fits = {shape: _overlap(cover, shape, radii[shape], x, y) for shape in SHAPES}
    second, best = sorted(SHAPES, key=lambda shape: fits[shape])[-2:]
    shape = best if fits[best] > 0.75 and fits[best] - fits[second] > 0.04 else None
    core = ndimage.binary_erosion(part)
    core = core if core.sum() >= 12 else part
    rows, columns = np.nonzero(core)
    light = seen[core].sum(axis=1)
    colour = _nearest(seen[core][light >= _quantile(light, 0.7)].mean(axis=0), COLOURS, most=60.0)
    texture = _texture(1 - light / _quantile(light, 0.85), _AT[columns] - x, _AT[rows] - y)
    return Sight(shape, colour, texture, radii[best], x, y)


def _quantile(values: Floats, share: float) -> float:
    """Returns what `np.quantile` does, which takes a tenth of a millisecond."""
    ordered, at = np.sort(values), share * (len(values) - 1)
    low, high = ordered[int(at)], ordered[min(int(at) + 1, len(ordered) - 1)]
    return float(low + (high - low) * (at - int(at)))


def _texture(darkness: Floats, x: Floats, y: Floats) -> str | None:
    """Returns the texture of n points that are so much darker than the lightest."""
    found = {"plain": 0.1}
    for texture in ("striped", "dotted"):
        dark = pattern(texture, x, y)
        mixed = 0 < dark.sum() < len(dark)
        found[texture] = float(darkness[dark].mean() - darkness[~dark].mean()) if mixed else 0.0
    best = max(found, key=lambda texture: found[texture])
    sure = darkness.std() < 0.12 if best == "plain" else found[best] > 0.2
    return best if sure else None


def _nearest(colour: Floats, names: Mapping[str, tuple[int, int, int]], *, most: float) -> str | None:
    """Returns the name of the nearest colour, where it is near, and much nearer than the second."""
    apart = _distance(np.array(list(names.values()), dtype=float), colour)
    first, second = np.argsort(apart)[:2]
    return list(names)[first] if apart[first] < most and apart[second] > 1.3 * apart[first] else None


def _distance(colours: Floats, colour: Floats) -> Floats:
    return np.asarray(np.sqrt(((colours - colour) ** 2).sum(axis=-1)))


def _overlap(cover: Floats, shape: str, radius: float, x: float, y: float) -> float:
    """Returns which share of what a thing or a shape covers both do."""
    rows, columns, across, down = around(radius, x, y, POINTS)
    like = in_pixels(inside(shape, across, down, radius), POINTS)
    both = np.minimum(cover[rows, columns], like).sum()
    return float(both / (cover.sum() + like.sum() - both))
