"""A picture in place of an animation."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

from PIL import Image


@lru_cache(maxsize=256)
def still(path: Path) -> bytes:
    """Returns the last frame of an animation as a PNG."""
    with Image.open(path) as image:
        image.seek(getattr(image, "n_frames", 1) - 1)
        file = io.BytesIO()
        image.convert("RGB").save(file, "png")
        return file.getvalue()
