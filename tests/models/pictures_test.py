from __future__ import annotations

import errno
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qdfeedback.models.diffusion import Drawn
from qdfeedback.models.pictures import Pictures
from qdfeedback.shown import Shown

PROMPTS = ["red", "blue", "red"]
SEEDS = np.array([2**63 + 5, 1, 2], dtype=np.uint64)
NOISE = np.random.default_rng(0).random((3, 2, 2)).astype(np.float32)


class Painted:
    """Draws the noise itself."""

    batch_size, latent_shape = 2, (2, 2)

    def __init__(self, model: str = "painter") -> None:
        self.asked: list[int] = []
        self.about = {"model": model, "steps": 3}

    def draw(self, prompts, latents, seeds) -> Drawn:
        self.asked += seeds.tolist()
        pixels = [np.repeat((255 * one).astype(np.uint8)[..., None], 3, axis=2) for one in latents]
        bad = [prompt == "bad" for prompt in prompts]
        return Drawn(
            tuple(None if no else one for one, no in zip(pixels, bad, strict=True)),
            tuple("no" if no else None for no in bad),
        )


def pictures(folder: Path, model: str = "painter") -> tuple[Pictures, Painted]:
    painter = Painted(model)
    return Pictures(painter, Shown(folder)), painter


def test_what_was_drawn_once_is_read(tmp_path) -> None:
    first, painter = pictures(tmp_path)
    found, reasons = first.draw(PROMPTS, NOISE, SEEDS)
    assert reasons == [None] * 3
    assert painter.asked == SEEDS.tolist()
    second, other = pictures(tmp_path)
    again, _ = second.draw(PROMPTS, NOISE, SEEDS)
    assert other.asked == []
    assert [one.png for one in again] == [one.png for one in found]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(again, found, strict=True))


@pytest.mark.parametrize("change", ["prompt", "noise", "seed", "model"])
def test_anything_else_is_another_picture(tmp_path, change: str) -> None:
    pictures(tmp_path)[0].draw(PROMPTS[:1], NOISE[:1], SEEDS[:1])
    other, painter = pictures(tmp_path, "another" if change == "model" else "painter")
    other.draw(
        ["blue" if change == "prompt" else "red"], NOISE[:1] + (0.1 if change == "noise" else 0),
        SEEDS[1:2] if change == "seed" else SEEDS[:1],
    )  # fmt: skip
    assert len(painter.asked) == 1


def test_files_are_named_by_content_and_say_what_made_them(tmp_path) -> None:
    found, _ = pictures(tmp_path)[0].draw(PROMPTS, NOISE, SEEDS)
    assert {path.read_bytes() for path in tmp_path.glob("*.png")} == {one.png for one in found}
    image = Image.open(io.BytesIO(found[0].png))
    assert image.text["prompt"] == "red"
    assert image.text["seed"] == str(2**63 + 5)
    assert json.loads(image.text["settings"]) == {"model": "painter", "steps": 3}
    assert Shown(tmp_path).add(found[0].png) in {path.name for path in tmp_path.glob("*.png")}
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_a_bad_picture_is_a_row_with_a_reason_and_no_file(tmp_path) -> None:
    found, reasons = pictures(tmp_path)[0].draw(["red", "bad", "blue"], NOISE, SEEDS)
    assert reasons == [None, "no", None]
    assert found[1] is None
    assert len(list(tmp_path.glob("*.png"))) == 2


@pytest.mark.parametrize("harm", ["cut", "swapped", "gone", "empty"])
def test_a_broken_file_is_drawn_again(tmp_path, harm: str) -> None:
    found, _ = pictures(tmp_path)[0].draw(PROMPTS, NOISE, SEEDS)
    name = Shown(tmp_path).add(found[0].png)
    other = Shown(tmp_path).add(found[1].png)
    path = tmp_path / name
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": found[0].png[:40], "swapped": (tmp_path / other).read_bytes(), "empty": b""}[harm])
    again, painter = pictures(tmp_path)
    with pytest.warns(UserWarning, match="is broken and drawn again"):
        once_more, reasons = again.draw(PROMPTS, NOISE, SEEDS)
    assert painter.asked == SEEDS[:1].tolist()
    assert reasons == [None] * 3
    assert once_more[0].png == found[0].png == path.read_bytes()


def test_a_torn_line_of_the_index_costs_one_picture(tmp_path) -> None:
    pictures(tmp_path)[0].draw(PROMPTS, NOISE, SEEDS)
    index = tmp_path / "drawn.csv"
    index.write_bytes(index.read_bytes()[:-20])
    again, painter = pictures(tmp_path)
    again.draw(PROMPTS, NOISE, SEEDS)
    assert len(painter.asked) == 1
    last, painter = pictures(tmp_path)
    last.draw(PROMPTS, NOISE, SEEDS)
    assert painter.asked == []


def test_a_full_disk_is_an_error_and_keeps_what_was_there(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(tmp_path)[0].draw(PROMPTS[:1], NOISE[:1], SEEDS[:1])

    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            pictures(tmp_path)[0].draw(PROMPTS, NOISE, SEEDS)
    again, painter = pictures(tmp_path)
    again.draw(PROMPTS, NOISE, SEEDS)
    assert len(painter.asked) == 2
