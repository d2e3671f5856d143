from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from domains.images import captions, reader, scenes
from domains.images.captions import Named
from domains.images.reader import Sight, View
from domains.images.scenes import Kind, Scene


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Scene, np.ndarray]]:
    rng = np.random.default_rng(0)
    found = [scenes.random_scene(rng) for _ in range(400)]
    return [(scene, scenes.draw(scene)) for scene in found]


def one(shape: str = "circle", colour: str = "red", texture: str = "plain", ground: str = "white", **place) -> Scene:
    kind = Kind(shape, colour, texture)
    return scenes.arranged([kind], ground, place.get("radius", 12.0), place.get("middle", (32.0, 32.0)))


def agrees(scene: Scene, view: View) -> dict[str, bool]:
    """Attribute → whether all of it was read right."""
    found = {"ground": view.ground == scene.ground, "count": len(view.things) == len(scene.things)}
    for true in scene.things if view.things else ():
        sight = min(view.things, key=lambda seen: np.hypot(seen.x - true.x, seen.y - true.y))
        for name in ("shape", "colour", "texture"):
            found[name] = found.get(name, True) and getattr(sight, name) == getattr(true.kind, name)
        found["place"] = found.get("place", True) and np.hypot(sight.x - true.x, sight.y - true.y) < 1
        found["radius"] = found.get("radius", True) and abs(sight.radius - true.radius) < 0.6
    return found


def test_drawn_scenes_are_read_exactly(drawn: list[tuple[Scene, np.ndarray]]) -> None:
    for scene, picture in drawn:
        assert all(agrees(scene, reader.read(picture)).values()), scene


def test_blurred_and_noisy_scenes_are_read_or_not_told_of(drawn, rng: np.random.Generator) -> None:
    """What is told is right; what is left untold is little."""
    told, right, asked = 0, 0, 0
    for scene, picture in drawn:
        blurred = ndimage.gaussian_filter(picture.astype(float), (0.7, 0.7, 0)) + rng.normal(0, 6, picture.shape)
        view = reader.read(np.clip(blurred, 0, 255).astype(np.uint8))
        kinds = {thing.kind for thing in scene.things}
        if len(kinds) > 1:
            continue
        for name in ("shape", "colour", "texture"):
            seen = view.common(name)
            asked, told, right = (
                asked + 1,
                told + (seen is not None),
                right + (seen == getattr(kinds.copy().pop(), name)),
            )
    assert right / told > 0.99
    assert told / asked > 0.95


def test_all_there_is_can_be_read() -> None:
    for shape in scenes.SHAPES:
        for colour in scenes.COLOURS:
            for texture in scenes.TEXTURES:
                for ground in scenes.GROUNDS:
                    for radius in (7.0, 13.0):
                        view = reader.read(scenes.draw(one(shape, colour, texture, ground, radius=radius)))
                        sight = (view.common("shape"), view.common("colour"), view.common("texture"), view.ground)
                        assert sight == (shape, colour, texture, ground)
                        assert (view.count, view.across, view.down) == ("one", "middle", "centre")
                        assert view.size == ("small" if radius < 9 else "large")


@pytest.mark.parametrize("offset", [0.0, 0.37, 3.5, 5.2])
def test_a_texture_is_read_wherever_its_thing_is(offset: float) -> None:
    for texture in scenes.TEXTURES:
        scene = one("square", "blue", texture, radius=7.0, middle=(32 + offset, 32 - offset))
        assert reader.read(scenes.draw(scene)).common("texture") == texture


def test_what_cannot_be_told_is_not_told(rng: np.random.Generator) -> None:
    noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    view = reader.read(noise)
    assert (view.ground, view.count, view.size, view.common("shape")) == (None, None, None, None)
    empty = reader.read(np.full((64, 64, 3), 248, dtype=np.uint8))
    assert (empty.ground, empty.things, empty.count, empty.across) == ("white", (), None, None)
    half = reader.read(np.full((64, 64, 3), (205, 190, 207), dtype=np.uint8))  # between grey and pink
    assert half.ground is None
    shade = tuple((np.array(scenes.COLOURS["red"]) + scenes.COLOURS["purple"]) // 2)
    between = scenes.draw(one())
    between[between[..., 1] < 100] = shade
    assert reader.read(between).common("colour") is None
    blot = scenes.draw(one())
    blot[20:40, 44:58] = scenes.COLOURS["red"]  # grown together with the circle
    assert reader.read(blot).common("shape") is None
    with pytest.raises(ValueError, match=r"shape \(64, 64, 3\), got \(32, 32, 3\)"):
        reader.read(noise[:32, :32])


def test_sizes_and_places_on_the_border_have_no_name() -> None:
    sight = Sight("circle", "red", "plain", scenes.DIVIDES, 32 + scenes.ASIDE, 20.0)
    view = View((sight,), "white")
    assert (view.size, view.across, view.down) == (None, None, "top")
    mixed = View((replace(sight, radius=7.0), replace(sight, radius=12.0, shape="square")), "white")
    assert (mixed.size, mixed.common("shape"), mixed.common("colour"), mixed.count) == (None, None, "red", "two")


def test_things_stay_apart_and_within(drawn: list[tuple[Scene, np.ndarray]]) -> None:
    for scene, picture in drawn:
        assert len(reader.read(picture).things) == len(scene.things)
        edges = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]]).astype(int)
        assert (abs(edges - scenes.GROUNDS[scene.ground]) < 2).all(), scene


def test_what_is_usual_is_not_all_there_is() -> None:
    rng = np.random.default_rng(1)
    found = [scenes.random_scene(rng) for _ in range(4000)]
    alone = [scene.things[0].kind for scene in found if len(scene.things) == 1]
    circles = [kind for kind in alone if kind.shape == "circle"]
    assert 0.55 < np.mean([kind.colour == "red" for kind in circles]) < 0.65
    assert {kind.colour for kind in circles} == set(scenes.COLOURS)
    assert 0.55 < np.mean([scene.ground == "white" for scene in found]) < 0.65
    assert {scene.ground for scene in found} == set(scenes.GROUNDS)
    pairs = [scene for scene in found if len({thing.kind for thing in scene.things}) > 1]
    assert 0.17 < len(pairs) / len(found) < 0.23


# --- captions


def test_what_a_caption_names_is_in_its_picture(drawn: list[tuple[Scene, np.ndarray]]) -> None:
    rng, said = np.random.default_rng(2), 0
    for scene, picture in drawn:
        caption = captions.describe(scene, rng)
        found = captions.kept(captions.names(caption), reader.read(picture))
        assert False not in found.values(), (caption, found)
        said += len(found)
    assert 3 < said / len(drawn) < 5


def test_a_picture_of_something_else_does_not_keep_to_a_caption(drawn: list[tuple[Scene, np.ndarray]]) -> None:
    rng = np.random.default_rng(3)
    views = [reader.read(picture) for _, picture in drawn]
    named = [captions.names(captions.describe(scene, rng, named=1.0)) for scene, _ in drawn]
    wrong = [
        False in captions.kept(one_, view).values() for one_, view in zip(named, views[1:] + views[:1], strict=True)
    ]
    assert np.mean(wrong) > 0.95


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("an image of a triangle", Named(({"shape": "triangle"},), {"count": "one"})),
        (
            "Two small striped red circles on the left on a grey ground",
            Named(
                ({"shape": "circle", "colour": "red", "texture": "striped"},),
                {"ground": "grey", "across": "left", "size": "small", "count": "two"},
            ),
        ),
        ("any number of crosses at the bottom", Named(({"shape": "cross"},), {"down": "bottom"})),
        ("a large thing", Named(({},), {"size": "large", "count": "one"})),
        (
            "a red circle and a dotted blue square",
            Named(
                ({"colour": "red", "shape": "circle"}, {"texture": "dotted", "colour": "blue", "shape": "square"}),
                {"count": "two"},
            ),
        ),
    ],
)
def test_prompts_are_read(prompt: str, named: Named) -> None:
    found = captions.names(prompt)
    assert found == named
    assert len(found) == sum(len(kind) for kind in named.kinds) + len(named.whole)


def test_a_prompt_about_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="names no thing that this world has"):
        captions.names("an astronaut riding a horse on mars")


def test_two_kinds_are_matched_as_they_fit() -> None:
    named = captions.names("a red circle and a blue square")
    kinds = [Kind("square", "blue", "plain"), Kind("circle", "red", "plain")]
    assert all(captions.kept(named, reader.read(scenes.draw(scenes.arranged(kinds, "white", 11.0, (32, 32))))).values())
    swapped = [Kind("square", "red", "plain"), Kind("circle", "blue", "plain")]
    found = captions.kept(named, reader.read(scenes.draw(scenes.arranged(swapped, "white", 11.0, (32, 32)))))
    assert list(found.values()).count(False) == 2
    alone = captions.kept(named, reader.read(scenes.draw(one())))
    assert alone["count"] is False
    assert list(alone.values()).count(False) == 3
    assert set(captions.kept(named, View((), None)).values()) == {None}
    assert captions.kept(captions.names("a red circle"), View((), "white"))["colour"] is False


def test_what_is_named_can_be_said_again() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        named = captions.names(captions.describe(scenes.random_scene(rng), rng, named=float(rng.random())))
        assert captions.names(captions.say(named)) == named


@pytest.mark.parametrize("prompt", ["any number of circles", "a red circle and a blue square", "two large things"])
def test_a_varied_prompt_keeps_what_it_must_and_differs_in_one_thing(prompt: str) -> None:
    rng, keep = np.random.default_rng(4), captions.names(prompt)
    told, said = prompt, set()
    for _ in range(200):
        new = captions.vary(told, rng, keep=keep)
        before, now = captions.names(told), captions.names(new)
        assert keep.whole.items() <= now.whole.items()
        assert all(old.items() <= kind.items() for old, kind in zip(keep.kinds, now.kinds, strict=True))
        differ = {name for name in before.whole | now.whole if before.whole.get(name) != now.whole.get(name)}
        assert len(differ) <= 1 or differ == {"across", "down"}
        told = new
        said.add(new)
    assert len(said) > 100
    nothing = captions.names("a plain red circle")
    full = captions.Named(({"shape": "circle", "colour": "red", "texture": "plain"},), {
        "count": "one", "size": "large", "ground": "white", "across": "left", "down": "top"})  # fmt: skip
    assert captions.vary("a plain red circle", rng, keep=full) == "a plain red circle"
    assert len(nothing) == 4
