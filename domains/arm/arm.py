"""A planar arm: reach every point of the plane, with joints bent as evenly as can be (Ding 2024, App. B).

Solutions are joint angles in radians, unbounded. The objective is (1 - variance of the angles) * 100; where the
hand ends is the true measure, known to the domain and hidden from what learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from qdfeedback.types import Artifacts, Floats, Ints, Solutions

JOINTS = 10
RANGES = np.array([[-10.0, 10.0], [-10.0, 10.0]])
"""(2, 2) where the hand can be: the arm has ten links of length 1."""

FEATURES = tuple(f"cos_{i}" for i in range(JOINTS)) + tuple(f"sin_{i}" for i in range(JOINTS))
"""What learned measures read: cosine and sine of each link's direction."""


@dataclass(frozen=True)
class Arm:
    """The arm. An artifact is one row: the directions of its links in radians, then the objective.

    Attributes:
        noise: standard deviation of a Gaussian added to the objective, drawn from the candidate's seed.
        frames: of what `present` gives; above 1 it is a video of the arm that bends from straight into its pose.
    """

    noise: float = 0.0
    frames: int = 1

    def initial(self, n: int, rng: np.random.Generator) -> Solutions:
        """Returns (n, 10) angles, uniform in [-pi, pi]."""
        return rng.uniform(-np.pi, np.pi, (n, JOINTS))

    def render(self, solutions: Solutions, seeds: Ints) -> tuple[Artifacts, Sequence[str | None]]:
        """Returns (n, 11) link directions and objectives; an angle that is not finite gives NaN."""
        angles = np.asarray(solutions, dtype=np.float64)
        objective = (1 - angles.var(axis=1)) * 100
        if self.noise:
            objective = objective + self.noise * np.array(
                [np.random.default_rng(seed).standard_normal() for seed in seeds]
            )
        return np.concatenate([np.cumsum(angles, axis=1), objective[:, None]], axis=1), [None] * len(angles)

    def present(self, artifact: Floats) -> str | NDArray[np.uint8]:
        """Returns a (128, 128, 3) image of the arm (base, links, hand), or a video of so many frames."""
        directions = artifact[:JOINTS]
        if self.frames == 1:
            return draw(directions)
        return np.stack([draw(share * directions) for share in np.linspace(0, 1, self.frames)])


class ArmEncoder:
    """Link directions → cosines and sines, the hand's place, the objective."""

    names = (*FEATURES, "x", "y", "straightness")

    def encode(self, artifacts: Artifacts) -> Floats:
        """Returns (n, 23) float32."""
        rows = np.asarray(artifacts, dtype=np.float64)
        cos, sin = np.cos(rows[:, :JOINTS]), np.sin(rows[:, :JOINTS])
        hand = np.stack([cos.sum(axis=1), sin.sum(axis=1), rows[:, JOINTS]], axis=1)
        return np.concatenate([cos, sin, hand], axis=1).astype(np.float32)


def draw(directions: Floats, size: int = 128) -> NDArray[np.uint8]:
    """Returns a (size, size, 3) picture of an arm with the given link directions in radians."""
    links = np.stack([np.cos(directions), np.sin(directions)], axis=1)
    joints = np.concatenate([[[0.0, 0.0]], np.cumsum(links, axis=0)])
    fine = 3 * size  # drawn three times as large, so that shrinking smooths the lines
    places = (joints * [1, -1] / 21 + 0.5) * fine
    image = Image.new("RGB", (fine, fine), "white")
    pen = ImageDraw.Draw(image)
    if np.isfinite(places).all():
        points = [(float(x), float(y)) for x, y in places]
        pen.line(points, fill=(60, 72, 88), width=fine // 45, joint="curve")
        for point in points:
            pen.circle(point, fine / 60, fill=(11, 110, 138))
        pen.circle(points[0], fine / 40, fill=(31, 41, 51))
        pen.circle(points[-1], fine / 36, fill=(200, 85, 61))
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))
