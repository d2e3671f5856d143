"""A server on loopback that sees: it reads the pictures of our small world that it is sent, exactly."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from domains.images.attributes import QUESTIONS, SceneReader, likeness, value
from domains.images.reader import read
from tests.models.faulty import Faulty

OTHERS = {"x": -7.0, "q": -7.5, "z": -8.0, "w": -8.5}


@dataclass
class Scene:
    """A picture as `SceneReader` takes it."""

    pixels: np.ndarray


def pictures_in(body: dict[str, Any]) -> list[np.ndarray]:
    parts = body["messages"][0]["content"]
    urls = (
        [part["image_url"]["url"] for part in parts if part["type"] == "image_url"] if isinstance(parts, list) else []
    )
    files = [base64.b64decode(url.removeprefix("data:image/png;base64,"), validate=True) for url in urls]
    return [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]


@dataclass
class Seeing(Faulty):
    """Answers which of two pictures is more like a third, of a prompt, and what an attribute of a picture is.

    `leans` is how much likelier the first of two places is than it should be, as log-odds.
    """

    prompt: str = "any number of circles"
    leans: float = 0.0

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        pictures = pictures_in(body)
        if not pictures:
            return super().answer(path, body)
        said = self.compared(pictures) if len(pictures) == 3 else self.named(pictures[0], self.question(body))
        with self.lock:
            always, self.logprobs = self.logprobs, said | OTHERS
            try:
                return super().answer(path, body)
            finally:
                self.logprobs = always

    @staticmethod
    def question(body: dict[str, Any]) -> str:
        return str(body["messages"][0]["content"][-1]["text"])

    def compared(self, pictures: list[np.ndarray]) -> dict[str, float]:
        places = likeness(SceneReader().encode([Scene(one) for one in pictures]), self.prompt)
        apart = np.square(places[1:] - places[0]).sum(axis=1)
        if not np.isfinite(apart).all():
            return {"neither": -0.1}
        odds = np.clip(10 * (apart[1] - apart[0]), -5, 5) + self.leans
        return {"2": -np.log1p(np.exp(-odds)), "3": -np.log1p(np.exp(odds))}

    def named(self, picture: np.ndarray, question: str) -> dict[str, float]:
        (name,) = [name for name, one in QUESTIONS.items() if one.question in question]
        seen = value(read(picture), name)
        return {seen: -0.1} if seen else {"unclear": -0.1}
