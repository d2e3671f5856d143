"""What is said of scenes: captions that leave some of it open, and what a prompt names, read back.

"an image of two small striped red circles on the left on a grey ground"
"any number of circles"                          # how many is open too
"a red circle and a dotted blue square"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from domains.images.reader import Sight, View
from domains.images.scenes import COLOURS, COUNTS, GROUNDS, SHAPES, SIZES, TEXTURES, Scene, Thing

ANY = "any number of"
PLURALS = {shape: f"{shape}es" if shape.endswith("s") else f"{shape}s" for shape in (*SHAPES, "thing")}
PLACES = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
KIND = ("shape", "colour", "texture")
"""What belongs to a kind of thing; all else to the whole picture."""
VALUES: Mapping[str, tuple[str, ...]] = {
    "shape": SHAPES, "colour": tuple(COLOURS), "texture": TEXTURES, "count": COUNTS, "size": SIZES,
    "ground": tuple(GROUNDS), "across": ("left", "right"), "down": ("top", "bottom"),
}  # fmt: skip
"""What a prompt can say of each attribute."""
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Named:
    """What a prompt names; what it leaves open is not there.

    Attributes:
        kinds: for each kind of thing its shape, colour, texture.
        whole: count, size, ground, across, down.
    """

    kinds: tuple[Mapping[str, str], ...]
    whole: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self.kinds)) + len(self.whole)


def describe(scene: Scene, rng: np.random.Generator, *, named: float = 0.5) -> str:
    """Returns a caption that names about such a share of what there is to know."""

    def says() -> bool:
        return bool(rng.random() < named)

    def noun(thing: Thing, *, many: bool) -> str:
        kind = thing.kind
        shape = kind.shape if rng.random() < (1 + named) / 2 else "thing"
        told = [kind.texture] if says() else []
        told += [kind.colour] if says() else []
        return " ".join([*told, PLURALS[shape] if many else shape])

    n, pair = len(scene.things), len({thing.kind for thing in scene.things}) > 1
    view = View(tuple(Sight(None, None, None, one.radius, one.x, one.y) for one in scene.things), scene.ground)
    size = f"{view.size} " if says() and view.size else ""
    if pair:
        told = " and ".join(f"a {size}{noun(thing, many=False)}" for thing in scene.things)
    elif not says():
        told = f"{ANY} {size}{noun(scene.things[0], many=True)}"
    else:
        told = f"{'a' if n == 1 else COUNTS[n - 1]} {size}{noun(scene.things[0], many=n > 1)}"
    places = [PLACES[place] for place in (view.across, view.down) if place in PLACES]
    told += f" {places[rng.integers(len(places))]}" if places and says() else ""
    told += f" on a {scene.ground} ground" if says() else ""
    return f"an image of {told}" if rng.random() < 0.5 else told


def names(prompt: str) -> Named:
    """Returns what a prompt names, in the words of `describe`; other words are passed over.

    Raises:
        ValueError: It names no thing.
    """
    text = prompt.lower()
    ground = next((one for one in GROUNDS if re.search(rf"\b{one} ground\b", text)), None)
    text = re.sub(rf"\bon an? ({'|'.join(GROUNDS)}) ground\b", " ", text)
    whole = {"ground": ground} if ground else {}
    for place, words in PLACES.items():
        if words in text:
            whole["across" if place in ("left", "right") else "down"] = place
    kinds = []
    singular = {plural: one for one, plural in PLURALS.items()}
    for part in re.split(r"\band\b", text):
        kind: dict[str, str] = {}
        for word in _WORD.findall(part):
            noun = singular.get(word, word)
            if noun in SHAPES or noun == "thing":
                kinds.append(kind | ({} if noun == "thing" else {"shape": noun}))
                if word not in singular:
                    whole["count"] = "one"
                break
            whole |= {"count": word} if word in COUNTS else {}
            kind |= {"colour": word} if word in COLOURS else {"texture": word} if word in TEXTURES else {}
            whole |= {"size": word} if word in SIZES else {}
    if not kinds:
        raise ValueError(f"the prompt names no thing that this world has ({', '.join((*SHAPES, 'thing'))}): {prompt!r}")
    if len(kinds) > 1:
        whole["count"] = COUNTS[min(len(kinds), len(COUNTS)) - 1]
    return Named(tuple(kinds), whole)


def say(named: Named) -> str:
    """Returns a prompt that names this and nothing else, as `describe` would put it."""
    size, count = named.whole.get("size"), named.whole.get("count")

    def noun(kind: Mapping[str, str], *, many: bool) -> str:
        shape = kind.get("shape", "thing")
        words = [size, kind.get("texture"), kind.get("colour"), PLURALS[shape] if many else shape]
        return " ".join(word for word in words if word)

    if len(named.kinds) > 1:
        told = " and ".join(f"a {noun(kind, many=False)}" for kind in named.kinds)
    else:
        number = ANY if count is None else "a" if count == "one" else count
        told = f"{number} {noun(named.kinds[0], many=count != 'one')}"
    for place in (named.whole.get("across"), named.whole.get("down")):
        told += f" {PLACES[place]}" if place in PLACES else ""
    return f"{told} on a {named.whole['ground']} ground" if "ground" in named.whole else told


def vary(prompt: str, rng: np.random.Generator, *, keep: Named) -> str:
    """Returns a prompt that differs in one thing named, more or less or otherwise: mutation by grammar.

    Args:
        prompt: as `names` reads it.
        rng: what draws.
        keep: what must stay, in as many kinds of things as the prompt has.
    """
    named = names(prompt)
    kinds, whole = [dict(kind) for kind in named.kinds], dict(named.whole)
    free = [(whole, name) for name in VALUES if name not in (*KIND, *keep.whole)]
    free += [(kind, name) for kind, kept in zip(kinds, keep.kinds, strict=True) for name in KIND if name not in kept]
    free = [(part, name) for part, name in free if not (name == "count" and len(kinds) > 1)]
    if not free:
        return say(named)
    part, name = free[rng.integers(len(free))]
    values = [one for one in (*VALUES[name], None) if one != part.get(name)]
    new = values[rng.integers(len(values))]
    part.pop(name, None)
    if new is not None:
        part[name] = new
    if name in ("across", "down") and new is not None:  # one place is named at a time
        whole.pop("down" if name == "across" else "across", None)
    return say(Named(tuple(kinds), whole))


def kept(named: Named, view: View) -> dict[str, bool | None]:
    """Returns for all that a prompt names whether it is in the picture; None = cannot be told.

    Of two kinds of things the two that were seen are matched as they fit best.
    """
    if view.ground is None and not view.things:
        return dict.fromkeys([*named.whole, *(f"{name} {i}" for i, kind in enumerate(named.kinds) for name in kind)])
    found: dict[str, bool | None] = {}
    for name, value in named.whole.items():
        seen = getattr(view, name)
        found[name] = None if seen is None else seen == value
    if len(named.kinds) == 1:
        for name, value in named.kinds[0].items():
            seen = [getattr(one, name) for one in view.things]
            wrong = any(one not in (None, value) for one in seen) or not seen
            found[name] = False if wrong else None if None in seen else True
        return found
    orders = [list(view.things), list(view.things)[::-1]]
    told = [_pairwise(named, order) for order in orders]
    return found | max(told, key=lambda one: sum(map(bool, one.values())))


def _pairwise(named: Named, things: list[Sight]) -> dict[str, bool | None]:
    found: dict[str, bool | None] = {}
    for number, kind in enumerate(named.kinds):
        for name, value in kind.items():
            seen = getattr(things[number], name) if number < len(things) else "nothing"
            found[f"{name} {number}"] = None if seen is None else seen == value
    return found
