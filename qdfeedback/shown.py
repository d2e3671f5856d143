"""What people and judges look at, kept in the run folder as files named by their content.

shown/<sha256>.txt     text
shown/<sha256>.png     an image
shown/<sha256>.apng    a short animation
shown/index.csv        candidate id, file name: one line per candidate, appended

The study page, the reports and the explorer read only this; they need no domain code.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qdfeedback.files import append_lines
from qdfeedback.text_files import why
from qdfeedback.values import candidate_in

if TYPE_CHECKING:
    from PIL.Image import Image

FRAME_MS = 80
PNG = b"\x89PNG\r\n\x1a\n"
LAST_MS = 1200  # the last frame of an animation stays so long, before it begins again
MEDIA = {".txt": "text/plain; charset=utf-8", ".png": "image/png", ".apng": "image/apng"}
"""Suffix → media type of all that can be shown."""

_EMPTY = f"{hashlib.sha256(b'').hexdigest()}.txt"
_NAME = re.compile(r"[0-9a-f]{64}\.(txt|png|apng)")


class Shown:
    """The folder of what can be looked at.

    Args:
        folder: `shown/` in a run or study folder; made by the first `add`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: dict[int, str] = {}
        self._read = 0  # bytes of the index

    def add(self, presented: str | bytes | NDArray[np.uint8]) -> str:
        """Keeps what a domain presented; returns its file name.

        Args:
            presented: text, an image (h, w, 3) or a video (frames, h, w, 3), uint8; or a PNG file's bytes, kept as
                they are.

        Raises:
            ValueError: It is something else.
            OSError: The disk is full.
        """
        content, suffix = encode(presented)
        name = hashlib.sha256(content).hexdigest() + suffix
        path = self.folder / name
        if not self.is_whole(name):  # a power cut can leave it empty
            self.folder.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}.part")
            part.write_bytes(content)
            part.replace(path)  # never half a file under its name
        return name

    def note(self, names: Iterable[tuple[int, str]]) -> None:
        """Notes which candidate each file shows; a candidate noted again is shown by the newer file."""
        append_lines(self.folder / "index.csv", "".join(f"{candidate},{name}\n" for candidate, name in names))

    def names(self) -> dict[int, str]:
        """Returns candidate id → file name; a last line that a crash tore is left out."""
        path = self.folder / "index.csv"
        if path.exists():
            with path.open("rb") as file:
                file.seek(self._read)
                whole, _, _ = file.read().rpartition(b"\n")
            for line in whole.decode(errors="replace").splitlines():  # what was damaged names no file
                number, _, name = line.partition(",")
                if (candidate := candidate_in(number)) is not None and is_name(name):
                    self._names[candidate] = name
            self._read += len(whole) + bool(whole)
        return dict(self._names)

    def path(self, name: str) -> Path:
        """Returns the file of that name.

        Raises:
            ValueError: There is none, or it is no name that `add` gives: no path leads out of the folder.
        """
        path = self.folder / name
        if not is_name(name) or path.is_symlink() or not path.is_file():
            raise ValueError(f"{name!r} is not shown in {self.folder}")
        return path

    def is_there(self, name: str) -> bool:
        """True where there is a file of that name with something in it."""
        path = self.folder / name
        return is_name(name) and path.is_file() and (path.stat().st_size > 0 or name == _EMPTY)

    def is_whole(self, name: str) -> bool:
        """True where the file's content is what its name says."""
        path = self.folder / name
        return self.is_there(name) and hashlib.sha256(path.read_bytes()).hexdigest() == path.stem

    def text(self, name: str) -> str:
        """Returns the text of a `.txt` file."""
        return self.path(name).read_bytes().decode("utf-8")

    def pixels(self, name: str) -> NDArray[np.uint8]:
        """Returns the (h, w, 3) uint8 pixels of a picture, as `pixels_of`."""
        path = self.path(name)
        return pixels_of(path.read_bytes(), str(path))


def is_name(name: str) -> bool:
    """True for what `Shown.add` could have named a file."""
    return _NAME.fullmatch(name) is not None


def pixels_of(content: bytes, name: str) -> NDArray[np.uint8]:
    """Returns the (h, w, 3) uint8 pixels of a picture's file, of an animation those of its last frame.

    Args:
        content: of the file.
        name: what to call it in an error.

    Raises:
        ValueError: It is no picture, a damaged one, or one too large.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise ValueError(f"it has {image.width} × {image.height} pixels")
            image.seek(getattr(image, "n_frames", 1) - 1)
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # readers of pictures raise whatever a damaged byte leads them to
        raise ValueError(f"{name} is no picture that can be read: {why(error)}") from error


def encode(presented: str | bytes | NDArray[np.uint8]) -> tuple[bytes, str]:
    """Returns the bytes of a file and its suffix; the same content gives the same bytes.

    Raises:
        ValueError: It is neither text, nor an image, nor a video.
    """
    if isinstance(presented, bytes) and presented.startswith(PNG):
        return presented, ".png"
    if isinstance(presented, str):
        return presented.encode("utf-8", "replace"), ".txt"
    frames = np.asarray(presented)
    if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or frames.shape[-1] != 3 or not frames.size:
        raise ValueError(
            "present must return text, an image (h, w, 3) or a video (frames, h, w, 3) of uint8, "
            f"got {frames.dtype} {frames.shape}"
        )
    if frames.ndim == 3:
        return _save(_image(frames)), ".png"
    first, *others = (_image(frame) for frame in frames)
    durations = [FRAME_MS] * len(others) + [LAST_MS]
    return _save(first, save_all=True, append_images=others, duration=durations, loop=0), ".apng"


def _image(pixels: NDArray[np.uint8]) -> Image:
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(pixels))


def _save(image: Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "png", **options)
    return file.getvalue()
