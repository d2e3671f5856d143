"""Twisted curves of the superformula (Gielis 2003): smooth ones are good, and people say what makes them different.

Nothing here knows of archives, questions or runs: this is what somebody writes who brings a problem of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from qdfeedback.types import Artifacts, Floats, Ints, Solutions

ANGLES = np.linspace(0, 2 * np.pi, 200, endpoint=False)
LOW = np.array([1.0, 0.3, 0.3, 0.3, -1.5, 0.3])  # symmetry, three exponents, twist, height
HIGH = np.array([9.0, 6.0, 6.0, 6.0, 1.5, 1.0])


class Curves:
    """Six unbounded numbers each, which a sigmoid takes to the parameters; an artifact is (200, 2) points."""

    def initial(self, n: int, rng: np.random.Generator) -> Solutions:
        """Returns (n, 6) numbers, standard normal."""
        return rng.normal(size=(n, 6))

    def render(self, solutions: Solutions, seeds: Ints) -> tuple[Artifacts, Sequence[str | None]]:  # noqa: ARG002
        """Returns (n, 200, 2) points on each curve."""
        unit = 1 / (1 + np.exp(-np.asarray(solutions, dtype=np.float64)))
        symmetry, n1, n2, n3, twist, height = (LOW + (HIGH - LOW) * unit).T[..., None]
        bend = np.round(symmetry) * ANGLES / 4
        radius = (np.abs(np.cos(bend)) ** n2 + np.abs(np.sin(bend)) ** n3) ** (-1 / n1)
        radius /= radius.max(axis=1, keepdims=True)
        angle = ANGLES + twist * radius
        points = np.stack([radius * np.cos(angle), height * radius * np.sin(angle)], axis=2)
        return points, [None if np.isfinite(one).all() else "a point is not finite" for one in points]

    def present(self, artifact: Floats) -> NDArray[np.uint8]:
        """Returns a (128, 128, 3) image."""
        fine = 384  # drawn three times as large, so that shrinking smooths the line
        image = Image.new("RGB", (fine, fine), "white")
        points = [(float(x), float(y)) for x, y in (artifact * [1, -1] / 2.2 + 0.5) * fine]
        ImageDraw.Draw(image).line([*points, points[0]], fill=(11, 110, 138), width=8, joint="curve")
        return np.asarray(image.resize((128, 128), Image.Resampling.BOX))


class Descriptors:
    """What can be measured on a curve.

    Sizes of its low frequencies, quantiles of its distance from the middle and of its turns; then how round it is and
    how elongated (1 = a circle, both), and how smooth (100 = it never turns).
    """

    names = (
        *(f"frequency_{i}" for i in range(14)),
        *(f"radius_{i}" for i in range(8)),
        *(f"turn_{i}" for i in range(8)),
        "roundness", "elongation", "smoothness",
    )  # fmt: skip

    def encode(self, artifacts: Artifacts) -> Floats:
        """Returns (n, 33) float64."""
        points = np.asarray(artifacts, dtype=np.float64)
        z = points[..., 0] + 1j * points[..., 1]
        z -= z.mean(axis=1, keepdims=True)
        spectrum = np.abs(np.fft.fft(z, axis=1)) / z.shape[1]
        radii = np.quantile(np.abs(z), np.linspace(0.05, 0.95, 8), axis=1).T
        steps = np.roll(z, -1, axis=1) - z
        turns = np.abs(np.angle(np.roll(steps, -1, axis=1) * steps.conj()))
        area = np.abs((z.conj() * np.roll(z, -1, axis=1)).imag.sum(axis=1)) / 2
        roundness = 4 * np.pi * area / np.abs(steps).sum(axis=1) ** 2
        plane = np.stack([z.real, z.imag], axis=1)
        spread = np.linalg.eigvalsh(plane @ plane.transpose(0, 2, 1))
        smoothness = 100 * np.exp(-turns.sum(axis=1) / (20 * np.pi))
        return np.column_stack(
            [
                spectrum[:, 1:8],
                spectrum[:, -7:],
                radii,
                np.quantile(turns, np.linspace(0.1, 0.99, 8), axis=1).T,
                roundness,
                np.sqrt(spread[:, 0] / spread[:, 1]),
                smoothness,
            ]
        )
