"""What is in pictures, as columns: the truth about this world, for simulated people and for figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from domains.images import captions
from domains.images.captions import KIND, Named, kept, names
from domains.images.images import pixels
from domains.images.reader import View, read
from domains.images.scenes import COLOURS, COUNTS, GROUNDS, SIZE
from qdfeedback.encoders.attributes import Attribute
from qdfeedback.types import Artifacts, Floats

VALUES: Mapping[str, tuple[str, ...]] = {
    **captions.VALUES, "across": ("left", "middle", "right"), "down": ("top", "centre", "bottom"),
}  # fmt: skip
"""What each attribute can be."""
_ASKED = {
    "shape": "What shape do the things in the picture have?",
    "colour": "What colour do the things in the picture have?",
    "texture": "How are the things in the picture filled?",
    "count": "How many things are in the picture?",
    "size": "How large are the things in the picture?",
    "ground": "What colour does the background have?",
    "across": "Where are the things, from left to right?",
    "down": "Where are the things, from top to bottom?",
}
QUESTIONS: Mapping[str, Attribute] = {
    name: Attribute(name, question, VALUES[name], kind="category") for name, question in _ASKED.items()
}
"""What a judge that looks at a picture is asked about each."""
_MEASURED = {
    "size": (-3, 5 / SIZE),
    "across": (-2, 2.5 / SIZE),
    "down": (-1, 2.5 / SIZE),
}  # column, and what a pixel counts


def value(view: View, attribute: str) -> str | None:
    """Returns what an attribute of a picture is; None = it cannot be told, or things differ in it."""
    found: str | None = view.common(attribute) if attribute in KIND else getattr(view, attribute)
    return found


def values_of(pictures: Sequence[Any], attribute: str) -> Floats:
    """Returns (n,) numbers of an attribute's values in pictures; NaN = it cannot be told."""
    seen = [value(read(picture), attribute) for picture in pictures]
    return np.array([np.nan if one is None else VALUES[attribute].index(one) for one in seen])


class SceneReader:
    """What is in each picture: a column for each attribute with the number of its value, and radius, x and y.

    Radius is the mean of all things', x and y the middle of them, in pixels. NaN = it cannot be told.
    """

    names = (*(f"true_{name}" for name in VALUES), "true_radius", "true_x", "true_y")

    def encode(self, artifacts: Artifacts) -> Floats:
        """Returns (n, 11) float32 of n pictures."""
        found = np.full((len(artifacts), len(self.names)), np.nan, dtype=np.float32)
        for row, picture in zip(found, pixels(artifacts), strict=True):
            view = read(picture)
            for column, (name, values) in enumerate(VALUES.items()):
                seen = value(view, name)
                row[column] = np.nan if seen is None else values.index(seen)
            if view.things:
                row[-3:] = np.mean([one.radius for one in view.things]), *view.middle
        return found


def open_attributes(prompt: str) -> tuple[str, ...]:
    """Returns the attributes that a prompt of one kind of thing leaves open; of two kinds: those of the whole."""
    named: Named = names(prompt)
    given = {*named.whole, *(name for kind in named.kinds for name in kind)}
    several = len(named.kinds) > 1
    return tuple(name for name in VALUES if name not in given and not (several and name in KIND))


def likeness(features: Floats, prompt: str) -> Floats:
    """Returns (…, k) places such that people's idea of likeness is the distance between them.

    Args:
        features: (…, 11) as `SceneReader` gives them.
        prompt: what it names is the same everywhere, and counts for nothing.

    Returns:
        For each open attribute one column or several: colours as light from 0 to 1, shapes and textures as 0 or 0.7,
        numbers of things in halves, radii in fifths of the picture, places in two fifths. NaN where it cannot be told.
    """
    colours, grounds = (np.array(list(of.values())) / 255 for of in (COLOURS, GROUNDS))
    places: list[Any] = []
    for attribute in open_attributes(prompt):
        if attribute in _MEASURED:
            last, worth = _MEASURED[attribute]
            places.append(features[..., last, None] * worth)
            continue
        column = features[..., list(VALUES).index(attribute), None]
        row = np.nan_to_num(column[..., 0]).astype(int)
        told = {"colour": colours, "ground": grounds, "count": 0.5 * np.arange(len(COUNTS))[:, None]}
        of = told.get(attribute, 0.7 * np.eye(len(VALUES[attribute])))
        places.append(np.where(np.isfinite(column), of[row], np.nan))
    return np.concatenate(places, axis=-1)


def alignment(views: Sequence[View], prompt: str) -> Floats:
    """Returns (n,) the share of what a prompt names that is in each picture; what cannot be told is not."""
    named = names(prompt)
    found = []
    for view in views:
        said = kept(named, view)
        found.append(np.mean([bool(one) for one in said.values()]) if said else 1.0)
    return np.array(found)
