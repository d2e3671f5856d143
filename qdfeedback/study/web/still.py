"""A picture in place of an animation."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

from PIL import Image

from qdfeedback.shown import pixels_of


@lru_cache(maxsize=256)
def still(path: Path) -> bytes:
    """Returns the last frame of an animation as a PNG.

    Raises:
        ValueError: It is damaged.
    """
    file = io.BytesIO()
    Image.fromarray(pixels_of(path.read_bytes(), str(path))).save(file, "png")
    return file.getvalue()
