from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from domains.arm import Arm, ArmEncoder
from qdfeedback import runs
from qdfeedback.search import Search, candidate_seeds, evaluate, measure, present, start
from qdfeedback.shown import FRAME_MS, LAST_MS, MEDIA, Shown, encode, is_name
from qdfeedback.types import first
from tests.arms import arm_search, on_the_arm

RED = np.full((4, 6, 3), (200, 10, 20), np.uint8)
FILM = np.stack([np.full((5, 4, 3), 60 * i, np.uint8) for i in range(3)])


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    return Shown(tmp_path / "shown")


def entries(shown: Shown) -> set[str]:
    return {path.name for path in shown.folder.iterdir()}


# --- content


@pytest.mark.parametrize(("presented", "suffix"), [("a text", ".txt"), (RED, ".png"), (FILM, ".apng")])
def test_a_file_is_named_by_its_content(shown: Shown, presented, suffix: str) -> None:
    name = shown.add(presented)
    content = shown.path(name).read_bytes()
    assert name == hashlib.sha256(content).hexdigest() + suffix
    assert is_name(name)
    assert Path(name).suffix in MEDIA
    assert encode(presented) == (content, suffix)


@pytest.mark.parametrize("presented", ["a text", "", RED, FILM], ids=["text", "nothing", "image", "video"])
def test_the_same_thing_is_kept_once(shown: Shown, presented) -> None:
    name = shown.add(presented)
    before = shown.path(name).stat()
    assert shown.add(presented if isinstance(presented, str) else presented.copy()) == name
    assert shown.path(name).stat() == before
    assert entries(shown) == {name}


def test_different_things_have_different_names(shown: Shown) -> None:
    things = ["a", "b", "a ", RED, RED[:, :5], FILM, FILM[::-1], FILM[:2], FILM[0]]
    assert len({shown.add(thing) for thing in things}) == len(things)
    assert not [name for name in entries(shown) if name.endswith(".part")]


@pytest.mark.parametrize("text", ["", "one line", "two\nlines\n", "é 🙂 \u2028 <b>", " spaces  ", "x" * 100_000])
def test_text_comes_back_as_it_was(shown: Shown, text: str) -> None:
    assert shown.text(shown.add(text)) == text


def test_line_ends_come_back_as_they_were(shown: Shown) -> None:
    assert shown.text(shown.add("one\r\ntwo\rthree\n")) == "one\r\ntwo\rthree\n"


def test_half_a_character_is_replaced(shown: Shown) -> None:
    assert shown.text(shown.add("a\ud800b")) == "a?b"


def test_an_image_comes_back_as_it_was(shown: Shown, rng) -> None:
    pixels = rng.integers(256, size=(7, 9, 3), dtype=np.uint8)
    for image in (pixels, pixels[::-1, ::2]):  # the second does not lie in one piece
        assert np.array_equal(np.asarray(Image.open(shown.path(shown.add(image)))), image)


def test_a_video_plays_frame_by_frame_and_rests_on_the_last(shown: Shown) -> None:
    with Image.open(shown.path(shown.add(FILM))) as film:
        assert (film.n_frames, film.info["loop"]) == (3, 0)
        for i, frame in enumerate(FILM):
            film.seek(i)
            assert np.array_equal(np.asarray(film.convert("RGB")), frame)
            assert film.info["duration"] == (LAST_MS if i == 2 else FRAME_MS)


@pytest.mark.parametrize("frames", [FILM[:1], FILM[[0, 0, 0]]], ids=["one frame", "nothing moves"])
def test_a_video_in_which_nothing_moves(shown: Shown, frames) -> None:
    name = shown.add(frames)
    assert name.endswith(".apng")
    assert np.array_equal(np.asarray(Image.open(shown.path(name)).convert("RGB")), frames[0])


@pytest.mark.parametrize(
    "presented",
    [
        None, 3, b"bytes", ["a", "b"], [1, 2, 3], RED[..., 0], RED[..., :2], RED / 255.0, RED.astype(np.int64),
        RED[:0], FILM[:0], FILM[None], np.uint8(3),
    ],
    ids=[
        "nothing", "number", "bytes", "texts", "numbers", "grey", "two colours", "floats", "integers", "no rows",
        "no frames", "five dimensions", "scalar",
    ],
)  # fmt: skip
def test_what_cannot_be_looked_at_is_refused(shown: Shown, presented) -> None:
    with pytest.raises(ValueError, match="present must return text, an image"):
        shown.add(presented)
    assert not shown.folder.exists()


def test_the_message_says_what_came(shown: Shown) -> None:
    with pytest.raises(ValueError, match=r"got float64 \(4, 6, 3\)"):
        shown.add(RED / 255.0)


# --- names


def test_names_of_candidates(shown: Shown) -> None:
    assert shown.names() == {}
    a, b, c = (shown.add(text) for text in "abc")
    shown.note([(7, a), (3, b)])
    assert shown.names() == {7: a, 3: b}
    shown.note([(3, c), (10**12, a)])
    assert shown.names() == Shown(shown.folder).names() == {7: a, 3: c, 10**12: a}
    shown.note([])
    assert shown.names() == {7: a, 3: c, 10**12: a}


def test_what_names_gives_is_ones_own(shown: Shown) -> None:
    shown.note([(1, shown.add("a"))])
    shown.names().clear()
    assert list(shown.names()) == [1]


def test_a_torn_line_is_left_out_wherever_it_is_torn(shown: Shown) -> None:
    a, b, c = (shown.add(thing) for thing in ("a", FILM, RED))
    index = shown.folder / "index.csv"
    shown.note([(1, a), (22, b)])
    whole = index.read_bytes()
    begin = whole.index(b"\n") + 1
    for end in range(begin, len(whole)):
        index.write_bytes(whole[:end])
        torn = Shown(shown.folder)
        assert torn.names() == {1: a}
        torn.note([(3, c)])
        complete = {22: b} if end == len(whole) - 1 else {}  # nothing but the line's end was missing
        assert torn.names() == Shown(shown.folder).names() == {1: a, 3: c} | complete


@pytest.mark.parametrize("line", ["x,{}", "-1,{}", "5", "5,", "5,../{}", "5,{}.part", ",{}", "", "5;{}"])
def test_a_line_that_names_nothing_is_left_out(shown: Shown, line: str) -> None:
    name = shown.add("a")
    (shown.folder / "index.csv").write_text(f"{line.format(name)}\n1,{name}\n")
    assert shown.names() == {1: name}


# --- paths


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "index.csv", "../secret.txt", "/etc/passwd", f"../{'a' * 64}.txt", f"{'a' * 64}.txt",
        f"{'A' * 64}.txt", f"{'a' * 63}.txt", f"{'a' * 64}.svg", f"{'a' * 64}.txt\n", f"{'a' * 64}.png/..", "a\0b",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_folder(shown: Shown, name: str) -> None:
    shown.note([(1, shown.add("a"))])
    for at in (shown.folder.parent, shown.folder):
        (at / "secret.txt").write_text("secret")
        (at / f"{'a' * 64}.svg").write_text("secret")
    (shown.folder.parent / f"{'a' * 64}.txt").write_text("secret")
    with pytest.raises(ValueError, match="is not shown in"):
        shown.path(name)
    with pytest.raises(ValueError, match="is not shown in"):
        shown.text(name)


def test_a_folder_is_no_file(shown: Shown) -> None:
    (shown.folder / f"{'a' * 64}.txt").mkdir(parents=True)
    with pytest.raises(ValueError, match="is not shown in"):
        shown.path(f"{'a' * 64}.txt")


# --- presenting candidates


class Said(Arm):
    """An arm whose candidates are told by their own seed, and that may break."""

    broken: tuple[int, ...] = ()

    def render(self, solutions, seeds):
        texts = [f"{solution[0]:.3f} under {seed}" for solution, seed in zip(solutions, seeds, strict=True)]
        return texts, ["bent" if seed in self.broken else None for seed in seeds.tolist()]

    def present(self, artifact):
        return artifact


def test_candidates_are_presented_under_their_own_seeds() -> None:
    search, ids = arm_search(3, domain=Said()), np.array([5, 2, 900])
    solutions = np.arange(30.0).reshape(3, 10)
    found = present(search, solutions, ids)
    assert found == [f"{10 * i:.3f} under {seed}" for i, seed in enumerate(candidate_seeds(3, ids).tolist())]
    assert present(search, solutions[1:2], ids[1:2]) == found[1:2]
    assert present(arm_search(4, domain=Said()), solutions, ids) != found
    assert present(search, solutions[:0], ids[:0]) == []


def test_the_arm_is_presented_as_it_was_evaluated(rng) -> None:
    search = arm_search(0, domain=Arm(noise=1.0, frames=2))
    batch = evaluate(
        search, first(Arm().initial(4, rng)), lambda rows: measure(on_the_arm(), rows), first_id=10, iteration=0
    )
    found = present(search, batch.proposal.solutions, batch.ids)
    for video, artifact in zip(found, batch.artifacts, strict=True):
        assert np.array_equal(video, search.domain.present(artifact))


def test_a_candidate_that_breaks_now_is_named() -> None:
    domain = Said()
    object.__setattr__(domain, "broken", (int(candidate_seeds(0, np.array([7]))[0]),))
    with pytest.raises(RuntimeError, match="candidates 7 cannot be rendered; the first: bent"):
        present(arm_search(domain=domain), np.zeros((3, 10)), np.array([6, 7, 8]))


class Counted(Arm):
    """Counts what is rendered."""

    def render(self, solutions, seeds):
        self.__dict__.setdefault("seen", []).append(len(solutions))
        return super().render(solutions, seeds)


@pytest.fixture
def run(tmp_path: Path) -> tuple[runs.Run, Search]:
    search = arm_search(domain=Counted())
    run = runs.create(tmp_path / "run", {}, ArmEncoder.names)
    run.history.append(start(search, on_the_arm().quality, 30, rng=np.random.default_rng(0)))
    search.domain.seen.clear()
    return run, search


def test_a_run_shows_candidates_and_renders_each_once(run: tuple[runs.Run, Search], tmp_path: Path) -> None:
    run, search = run
    found = run.show(search, np.array([4, 0, 29]))
    assert list(found) == [4, 0, 29]
    assert search.domain.seen == [3]
    for candidate, name in found.items():
        presented = present(arm_search(), run.history.take(np.array([candidate]), "solution"), np.array([candidate]))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(run.shown.path(name).read_bytes()))), presented[0])
    again = run.show(search, np.array([29, 5, 4]))
    assert search.domain.seen == [3, 1]
    assert [again[29], again[4]] == [found[29], found[4]]
    assert run.shown.names() == found | again
    other = runs.resume(tmp_path / "run", ArmEncoder.names)
    assert other.show(search, np.array([5, 0])) == {5: again[5], 0: found[0]}
    assert search.domain.seen == [3, 1]


def test_a_run_that_is_asked_to_show_nothing(run: tuple[runs.Run, Search]) -> None:
    run, search = run
    assert run.show(search, np.array([], dtype=np.int64)) == {}
    assert search.domain.seen == []


def test_a_candidate_asked_for_twice_is_shown_once(run: tuple[runs.Run, Search]) -> None:
    run, search = run
    found = run.show(search, np.array([3, 3, 1]))
    assert set(found) == {1, 3}
    assert entries(run.shown) == {*found.values(), "index.csv"}


def test_what_was_lost_from_the_index_is_shown_again(run: tuple[runs.Run, Search]) -> None:
    run, search = run
    found = run.show(search, np.array([1, 2]))
    index = run.shown.folder / "index.csv"
    index.write_bytes(index.read_bytes()[:-3])
    again = runs.resume(run.path, ArmEncoder.names)
    assert again.show(search, np.array([1, 2])) == found
    assert search.domain.seen == [2, 1]
    assert entries(again.shown) == {*found.values(), "index.csv"}
