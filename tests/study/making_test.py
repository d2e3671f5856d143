from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.arm import qdhf as qdhf_arm
from experiments.arm import report as arm_report
from qdfeedback import files
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import Study, read_study
from qdfeedback.feedback.tables import items, trials
from qdfeedback.run_settings import BEST, write_settings
from qdfeedback.shown import Shown
from qdfeedback.study.analysis.report import report
from qdfeedback.study.desk import Desk
from qdfeedback.study.exchange.exports import export
from qdfeedback.study.making import CHECKS, Wanted, make_study
from qdfeedback.study.place import Place, open_study
from qdfeedback.study.register import Platform, Register
from qdfeedback.study.sources import Source, read_all, read_sources, spaced
from qdfeedback.study.web.view import expected_choice, view
from tests.study.visitor import KEY, Form, Visitor, images, sealed, site

TINY = ["--evaluations", "120", "--batch-size", "20", "--method", "gt"]
ALL = Wanted(sets=3, grid=3, pairs=4, triplets=5, ratings=4, labels=3, options=("straight", "bent"))
ASKED = {"prefer": 3, "diverse": 3, "better": 4, "alike": 5, "quality": 8, "kind": 6}
SIDED = ("prefer", "diverse", "better", "alike")
TEXTS = [f"Story {i}: {'a sad' if i % 3 == 0 else 'an idle'} day, {'once ' * i}upon a time." for i in range(30)]


def text_run(folder: Path, texts: list[str] = TEXTS) -> Path:
    """A finished run whose elites are texts."""
    n, rng = len(texts), np.random.default_rng(0)
    arrays = {
        "cells": np.arange(n), "id": 100 + np.arange(n), "objective": rng.random(n), "measures": rng.random((n, 2)),
        "lower_bounds": np.zeros(2), "upper_bounds": np.ones(2),
    }  # fmt: skip
    files.write_atomic(folder / "archive.npz", files.pack(arrays, {"cells": n, "dims": [n]}))
    shown = Shown(folder / "shown")
    shown.note([(100 + i, shown.add(text)) for i, text in enumerate(texts)])
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """A folder with two finished methods: "still" with two seeds, and "moving" with one, whose arms move."""
    folder = tmp_path_factory.mktemp("runs")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(arm_report, "_pictures", lambda *given: None)  # tested elsewhere
    for seed, more in ((0, "still/seed-0"), (1, "still/seed-1"), (2, "moving")):
        frames = ["--frames", "2"] if more == "moving" else []
        qdhf_arm.main([*TINY, *frames, "--seed", str(seed), "--run", str(folder / more)])
    monkeypatch.undo()
    return folder


@pytest.fixture(scope="session")
def sources(runs: Path) -> list[Source]:
    return [*read_sources(f"first={runs / 'still'}"), *read_sources(str(runs / "moving"))]


def settings(wanted: Wanted = ALL, **rules: Any) -> Study:
    """Rules under which one person is asked everything."""
    plain: dict[str, Any] = {"raters_per_trial": 1, "trials_per_rater": 100, "practice": 2 * len(wanted.questions())}
    return Study("s", wanted.questions(), **(plain | {"catch_per_rater": 100, "catch_pass": 100} | rules))


class Made:
    """A study that was made, and its rows."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, open_study(folder)
        rows = [dict(row) for row in self.place.database.rows(trials.select().order_by(trials.c.number))]
        self.trials = [{name: value for name, value in row.items() if name != "published_utc"} for row in rows]
        self.items = {row["item_id"]: dict(row) for row in self.place.database.rows(items.select())}

    def of(self, question: str, kind: str = "main") -> list[dict[str, Any]]:
        return [row for row in self.trials if (row["question"], row["kind"]) == (question, kind)]

    def note(self, item: str) -> dict[str, Any]:
        return json.loads(self.items[item]["note"])

    def content(self, item: str) -> list[str]:
        return self.items[item]["content"].split(" ")


@pytest.fixture(scope="session")
def made(sources: list[Source], tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("made") / "study"
    assert make_study(folder, settings(), sources, ALL) == sum(ASKED.values())
    return Made(folder)


# --- the elites of runs


def test_the_elites_of_runs(runs: Path, sources: list[Source]) -> None:
    assert [(source.label, source.key) for source in sources] == [
        ("first", "first/seed-0"), ("first", "first/seed-1"), ("moving", "moving"),
    ]  # fmt: skip
    for source, folder in zip(sources, ("still/seed-0", "still/seed-1", "moving"), strict=True):
        summary = files.read_json(runs / folder / "summary.json")
        assert len(source) == len(source.names) == len(source.measures) == summary["elites"]
        assert source.shown.names() == dict(zip(source.ids.tolist(), source.names, strict=True))
        assert source.bounds.tolist() == [[-10, -10], [10, 10]]
        assert np.isfinite(source.objective).all()
        assert (source.measures >= source.bounds[0]).all()
        assert (source.measures <= source.bounds[1]).all()
    assert {Path(name).suffix for name in sources[0].names} == {".png"}
    assert {Path(name).suffix for name in sources[2].names} == {".apng"}


def test_one_seed_of_several_is_a_run(runs: Path) -> None:
    assert [source.key for source in read_sources(str(runs / "still/seed-1"))] == ["seed-1"]
    assert [source.key for source in read_sources(f"x={runs / 'still/seed-1'}")] == ["x"]


def test_elites_without_a_picture_are_left_out(tmp_path: Path) -> None:
    folder = text_run(tmp_path / "r")
    index = folder / "shown/index.csv"
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:7]))
    (source,) = read_sources(str(folder))
    assert source.ids.tolist() == list(range(100, 107))
    assert [source.shown.text(name) for name in source.names] == TEXTS[:7]


def test_elites_whose_picture_is_gone_are_left_out(tmp_path: Path) -> None:
    folder = text_run(tmp_path / "r")
    gone = Shown(folder / "shown").names()[103]
    (folder / "shown" / gone).unlink()
    (source,) = read_sources(str(folder))
    assert 103 not in source.ids


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{}/nothing", r"nothing holds no finished run: there is no archive\.npz in it, nor in the folders in it"),
        ("x={}/nothing", "nothing holds no finished run"),
        ("{}/begun", "begun holds no finished run"),
        ("{}/dark", r"dark/shown has no pictures or texts of the elites: the search was told not to draw them"),
        ("{}/damaged", r"damaged/archive\.npz is damaged or not one of ours"),
        ("a/b={}/whole", "a label must be a word without slashes, got 'a/b'"),
        ("a b={}/whole", "a label must be a word without slashes, got 'a b'"),
        ("={}/whole", "a label must be a word without slashes, got ''"),
        ("{}/two words", "a label must be a word without slashes, got 'two words'"),
    ],
)
def test_what_is_no_source(tmp_path: Path, spec: str, message: str) -> None:
    text_run(tmp_path / "whole")
    text_run(tmp_path / "two words")
    shutil.rmtree(text_run(tmp_path / "dark") / "shown")
    (text_run(tmp_path / "damaged") / "archive.npz").write_bytes(b"no archive")
    files.write_json(tmp_path / "begun/settings.json", {})
    with pytest.raises(ValueError, match=message):
        read_sources(spec.format(tmp_path))


# --- sets


def on_a_grid(side: int, each: int, rng: np.random.Generator, skip: tuple[int, ...] = ()) -> Source:
    """A source with so many elites in each part of its map, parts counted in reading order."""
    parts = [(x, side - 1 - row) for row in range(side) for x in range(side)]
    places = [part for i, part in enumerate(parts) if i not in skip for _ in range(each)]
    measures = np.array(places) + rng.uniform(0.05, 0.95, (len(places), 2))
    if 0 not in skip:  # the corners say where the map ends
        measures[0] = (0, side)
    measures[-1] = (side, 0)
    ids = np.arange(len(places))
    shuffled = rng.permutation(len(places))
    names = tuple(f"{i:064x}.txt" for i in ids[shuffled])
    return Source(
        "a", "a", Shown(Path("none")), ids[shuffled], names, np.zeros(len(ids)), measures[shuffled] * [3, 0.1] - 7,
        np.array([[-100, -100], [100, 100]]),
    )  # fmt: skip


@pytest.mark.parametrize(("side", "each"), [(2, 1), (2, 5), (4, 1), (4, 3), (1, 1)])
def test_a_set_has_one_elite_of_each_part_of_the_map_in_reading_order(side: int, each: int, rng) -> None:
    source = on_a_grid(side, each, rng)
    rows = spaced(source, side, rng)
    assert (source.ids[rows] // each).tolist() == list(range(side * side))


def test_every_elite_of_a_part_can_come(rng) -> None:
    source = on_a_grid(2, 3, rng)
    seen = {int(i) for _ in range(100) for i in source.ids[spaced(source, 2, rng)]}
    assert seen == set(range(12))


def test_an_empty_part_is_filled_from_all_that_are_left(rng) -> None:
    source = on_a_grid(3, 2, rng, skip=(4, 7))
    filled = set()
    for _ in range(200):
        rows = spaced(source, 3, rng)
        assert len(set(rows.tolist())) == 9
        here = source.ids[rows] // 2
        assert np.delete(here, [4, 7]).tolist() == list(range(7))
        filled |= set(here[[4, 7]].tolist())
    assert filled == set(range(7))


def test_a_map_without_width_or_with_a_third_axis(rng) -> None:
    source = on_a_grid(3, 2, rng)
    flat = replace(source, measures=source.measures * [0, 1])
    assert len(set(spaced(flat, 3, rng).tolist())) == 9
    deep = replace(source, measures=np.column_stack([source.measures, rng.random(len(source))]))
    assert (source.ids[spaced(deep, 3, rng)] // 2).tolist() == list(range(9))


def test_too_few_elites_for_a_set(rng) -> None:
    with pytest.raises(ValueError, match="a has 9 elites, fewer than the 16 of a set"):
        spaced(on_a_grid(3, 1, rng), 4, rng)


# --- what is asked


def test_as_many_trials_as_were_wanted(made: Made) -> None:
    assert Counter(row["question"] for row in made.trials if row["kind"] == "main") == ASKED
    for question in ASKED:
        for kind, n in CHECKS.items():
            found = made.of(question, kind)
            assert len(found) == n
            assert all(row["expected"] for row in found)
            assert {row["purpose"] for row in found} == {kind}
    assert {row["purpose"] for row in made.trials if row["kind"] == "main"} == {"random"}
    assert not [row for row in made.trials if row["kind"] == "main" and row["expected"]]
    assert len({row["trial_id"] for row in made.trials}) == len(made.trials)
    assert read_study(made.folder) == settings()
    assert [question.name for question in read_study(made.folder).questions] == list(ASKED)


def test_every_question_has_its_practice_before_one_comes_again(made: Made) -> None:
    practice = [row["question"] for row in made.trials if row["kind"] == "practice"]
    assert practice == [*ASKED, *ASKED]


@pytest.mark.parametrize(
    ("wanted", "questions"),
    [
        (Wanted(sets=1), "prefer diverse"), (Wanted(pairs=1), "better"), (Wanted(triplets=1), "alike"),
        (Wanted(ratings=1), "quality"), (Wanted(labels=1, options=("a", "b")), "kind"),
        (Wanted(labels=1, options=("a", "b"), pairs=2), "better kind"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_only_what_is_wanted_is_asked(sources: list[Source], tmp_path: Path, wanted: Wanted, questions: str) -> None:
    n = make_study(tmp_path / "s", settings(wanted), sources, wanted)
    made = Made(tmp_path / "s")
    assert {row["question"] for row in made.trials} == set(questions.split())
    assert n == len([row for row in made.trials if row["kind"] == "main"])


def test_sets_lie_over_the_map_in_reading_order(made: Made, sources: list[Source]) -> None:
    of = {source.key: source for source in sources}
    seen = 0
    for item in made.items:
        key, _, part = item.rpartition("/")
        if not part.startswith(("set-", "catch-", "practice-")):
            continue
        source, chosen = of[key], made.note(item)["candidates"]
        seen += 1
        rows = [source.ids.tolist().index(candidate) for candidate in chosen]
        assert len(set(rows)) == len(made.content(item)) == 9
        assert [source.names[row] for row in rows] == made.content(item)
        assert made.note(item)["objective"] == pytest.approx(source.objective[rows].mean())
        low, high = source.measures.min(axis=0), source.measures.max(axis=0)
        parts = np.minimum((source.measures - low) / (high - low) * 3, 2).astype(int)
        for at, row in enumerate(rows):
            wanted = (at % 3, 2 - at // 3)
            assert tuple(parts[row]) == wanted or not (parts == wanted).all(axis=1).any()
    assert seen >= 6


def test_both_questions_are_about_the_same_sets(made: Made) -> None:
    pairs = {question: [(row["a_id"], row["b_id"]) for row in made.of(question)] for question in ("prefer", "diverse")}
    assert pairs["prefer"] == pairs["diverse"]
    assert len(set(pairs["prefer"])) == 3
    assert [made.items[a]["source"] for a, _ in pairs["prefer"]] == ["first"] * 3
    assert [made.items[b]["source"] for _, b in pairs["prefer"]] == ["moving"] * 3
    assert {a.rpartition("/")[0] for a, _ in pairs["prefer"]} == {"first/seed-0", "first/seed-1"}, "all seeds count"


def test_three_methods_are_compared_two_by_two(sources: list[Source], tmp_path: Path) -> None:
    three = [replace(source, label=name, key=name) for source, name in zip(sources, "abc", strict=True)]
    wanted = Wanted(sets=2, grid=2, pairs=3)
    make_study(tmp_path / "s", settings(wanted), three, wanted)
    made = Made(tmp_path / "s")
    for question, n in (("prefer", 2), ("diverse", 2), ("better", 3)):
        between = Counter((made.items[r["a_id"]]["source"], made.items[r["b_id"]]["source"]) for r in made.of(question))
        assert between == {("a", "b"): n, ("a", "c"): n, ("b", "c"): n}
    sets = {row[side] for row in made.of("prefer") for side in ("a_id", "b_id")}
    assert sets == {f"{name}/set-{i}" for name in "abc" for i in range(2)}, "a method shows the same to all"


def test_pairs_are_of_different_methods_and_different_to_look_at(made: Made) -> None:
    for row in made.of("better"):
        assert [made.items[row[side]]["source"] for side in ("a_id", "b_id")] == ["first", "moving"]
        assert made.content(row["a_id"]) != made.content(row["b_id"])
        assert row["anchor_id"] is None
        assert set(made.note(row["a_id"])) == {"objective", "measures"}


def test_pairs_within_the_one_method(runs: Path, tmp_path: Path) -> None:
    wanted = Wanted(pairs=60)
    make_study(tmp_path / "s", settings(wanted), read_sources(f"only={runs / 'still'}"), wanted)
    made = Made(tmp_path / "s")
    assert {made.items[row[side]]["source"] for row in made.of("better") for side in ("a_id", "b_id")} == {"only"}
    assert all(made.content(row["a_id"]) != made.content(row["b_id"]) for row in made.of("better"))
    assert {row["a_id"].rpartition("/")[0] for row in made.of("better")} == {"only/seed-0", "only/seed-1"}


def test_triplets_are_of_three_different_elites_of_one_run(sources: list[Source], tmp_path: Path) -> None:
    wanted = Wanted(triplets=60)
    make_study(tmp_path / "s", settings(wanted), sources, wanted)
    made = Made(tmp_path / "s")
    keys = set()
    for row in made.of("alike"):
        three = [row["anchor_id"], row["a_id"], row["b_id"]]
        assert len(set(three)) == 3
        assert len({item.rpartition("/")[0] for item in three}) == 1
        keys.add(three[0].rpartition("/")[0])
    assert keys == {source.key for source in sources}


@pytest.mark.parametrize(("question", "n"), [("quality", 4), ("kind", 3)])
def test_as_many_elites_of_each_method_are_judged_alone(made: Made, question: str, n: int) -> None:
    rows = made.of(question)
    assert Counter(made.items[row["a_id"]]["source"] for row in rows) == {"first": n, "moving": n}
    assert len({row["a_id"] for row in rows}) == len(rows)
    assert {(row["anchor_id"], row["b_id"]) for row in rows} == {(None, None)}


def test_items_know_where_they_come_from(made: Made, sources: list[Source]) -> None:
    of = {source.key: source for source in sources}
    singles = [item for item in made.items if item.rpartition("/")[2].isdigit() and not item.startswith("check/")]
    for item in singles:
        key, _, candidate = item.rpartition("/")
        row = of[key].ids.tolist().index(int(candidate))
        assert made.content(item) == [of[key].names[row]]
        assert made.note(item) == {
            "objective": pytest.approx(of[key].objective[row]),
            "measures": pytest.approx(of[key].measures[row].tolist()),
        }
    assert len(singles) > 20


# --- trials with an obvious answer


@pytest.mark.parametrize("kind", list(CHECKS))
def test_one_thing_over_and_over_is_not_diverse(made: Made, kind: str) -> None:
    for row in made.of("diverse", kind):
        good, dull = made.content(row["a_id"]), made.content(row["b_id"])
        assert row["expected"] == row["a_id"]
        assert len(set(good)) == len(good) == len(dull) == 9
        assert len(set(dull)) == 1
        assert set(dull) <= set(good)


@pytest.mark.parametrize("kind", list(CHECKS))
@pytest.mark.parametrize("question", ["prefer", "better"])
def test_nobody_prefers_what_is_corrupted(made: Made, question: str, kind: str) -> None:
    for row in made.of(question, kind):
        good, broken = made.content(row["a_id"]), made.content(row["b_id"])
        assert row["expected"] == row["a_id"]
        assert len(good) == len(broken) == (9 if question == "prefer" else 1)
        assert not set(good) & set(broken)
        assert made.note(row["b_id"]) == {"check": "corrupted"}


def test_corrupted_texts_say_nothing(tmp_path: Path) -> None:
    wanted = Wanted(pairs=2)
    make_study(tmp_path / "s", settings(wanted), read_sources(str(text_run(tmp_path / "r"))), wanted)
    made = Made(tmp_path / "s")
    for row in made.of("better", "catch"):
        good, broken = (made.place.shown.text(made.content(row[side])[0]) for side in ("a_id", "b_id"))
        assert good != broken
        assert not set(good.split()) & {word for word in broken.split() if len(word) > 3}
        assert 60 <= len(broken) <= 400


def test_the_reference_is_most_like_itself(made: Made) -> None:
    for kind in CHECKS:
        for row in made.of("alike", kind):
            assert row["expected"] == row["a_id"] == row["anchor_id"] != row["b_id"]


def test_where_one_thing_is_judged_a_text_says_what_to_answer(made: Made) -> None:
    study = read_study(made.folder)
    answers = {"quality": set(study.question("quality").steps), "kind": {"straight", "bent"}}
    for question, possible in answers.items():
        wanted = {row["expected"] for kind in CHECKS for row in made.of(question, kind)}
        assert wanted <= possible
        assert len(wanted) > 1
        for row in made.of(question, "catch"):
            text = made.place.shown.text(made.content(row["a_id"])[0])
            assert text == f"This question checks that somebody reads it. Please answer: {row['expected']}"


def test_obvious_triplets_have_one_right_side(tmp_path: Path) -> None:
    wanted = Wanted(triplets=1)
    source = read_sources(str(text_run(tmp_path / "r", ["the same", "the same", "the same", "another", "a third"])))
    make_study(tmp_path / "s", settings(wanted), source, wanted)
    made = Made(tmp_path / "s")
    for row in made.of("alike", "catch"):
        assert made.content(row["a_id"]) != made.content(row["b_id"])


def test_a_short_text_can_be_corrupted(tmp_path: Path) -> None:
    wanted = Wanted(pairs=1)
    source = read_sources(str(text_run(tmp_path / "r", ["a", "no", "!!", "oh", "I"])))
    make_study(tmp_path / "s", settings(wanted), source, wanted)
    made = Made(tmp_path / "s")
    for row in made.of("better", "catch"):
        assert made.content(row["a_id"]) != made.content(row["b_id"])


# --- the folder


def test_the_study_stands_without_the_runs(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    sources = [*read_sources(str(tmp_path / "runs/still")), *read_sources(str(tmp_path / "runs/moving"))]
    make_study(tmp_path / "s", settings(), sources, ALL)
    shutil.rmtree(tmp_path / "runs")
    made = Made(tmp_path / "s")
    for item in made.items:
        for name in made.content(item):
            assert made.place.shown.path(name).stat().st_size > 0
    mentioned = {row[side] for row in made.trials for side in ("anchor_id", "a_id", "b_id") if row[side]}
    assert mentioned <= set(made.items)
    assert {path.name for path in made.folder.iterdir()} >= {"study.json", "judgments.db", "shown"}
    assert str(tmp_path) not in (made.folder / "study.json").read_text()


def test_the_same_seed_makes_the_same_study(made: Made, sources: list[Source], tmp_path: Path) -> None:
    make_study(tmp_path / "same", settings(), sources, ALL)
    same = Made(tmp_path / "same")
    assert (same.trials, same.items) == (made.trials, made.items)
    names = [{path.name for path in (folder / "shown").iterdir()} for folder in (same.folder, made.folder)]
    assert names[0] == names[1]
    make_study(tmp_path / "other", settings(seed=1), sources, ALL)
    assert Made(tmp_path / "other").trials != made.trials


def test_texts_are_marked(tmp_path: Path) -> None:
    wanted = Wanted(sets=2, grid=2, pairs=5, ratings=6)
    source = [*read_sources(str(text_run(tmp_path / "a"))), *read_sources(str(text_run(tmp_path / "b", TEXTS[1:])))]
    study = settings(wanted, sensitive="Some are sad.")
    make_study(tmp_path / "s", study, source, wanted, sensitive=lambda text: "a sad" in text)
    made = Made(tmp_path / "s")
    marks = []
    for item, row in made.items.items():
        if row["note"] and "check" in made.note(item) and not item.endswith("/dull"):
            continue
        sad = any("a sad" in made.place.shown.text(name) for name in made.content(item))
        assert row["sensitive"] == (1 if sad else None)
        marks.append(sad)
    assert len(set(marks)) == 2
    make_study(tmp_path / "plain", study, source, wanted)
    assert {row["sensitive"] for row in Made(tmp_path / "plain").items.values()} == {None}


def test_a_database_elsewhere(sources: list[Source], tmp_path: Path) -> None:
    make_study(tmp_path / "s", settings(), sources, ALL, database=f"sqlite:///{tmp_path}/other.db")
    assert not (tmp_path / "s/judgments.db").exists()
    with pytest.raises(ValueError, match="name the study's database with --database"):
        open_study(tmp_path / "s")
    assert Store(tmp_path / "other.db").asked("s") == sum(ASKED.values())


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(sets=1, grid=10), "first/seed-0 has .* elites, fewer than the 100 of a set"),
        (Wanted(pairs=1, sets=1, grid=10), "fewer than the 100 of a set"),
        (Wanted(ratings=500), "first has .* elites, fewer than the 500 wanted"),
        (Wanted(triplets=3, labels=500, options=("a", "b")), "first has .* elites, fewer than the 500 wanted"),
    ],
)
def test_what_cannot_be_made_leaves_nothing(
    sources: list[Source], tmp_path: Path, wanted: Wanted, message: str
) -> None:
    (tmp_path / "s").mkdir()
    with pytest.raises(ValueError, match=message):
        make_study(tmp_path / "s", settings(wanted), sources, wanted)
    assert not any(tmp_path.glob("s/*"))
    wanted = Wanted(pairs=1)
    assert make_study(tmp_path / "s", settings(wanted), sources, wanted) == 1, "and the name is free"


def test_sets_need_two_methods(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name at least two runs with different labels"):
        make_study(tmp_path / "s", settings(ALL), read_sources(str(runs / "still")), ALL)
    assert not (tmp_path / "s").exists()


def test_a_study_that_asks_nothing() -> None:
    with pytest.raises(ValueError, match="a study needs --sets, --pairs, --triplets, --ratings or --labels"):
        Wanted().questions()
    with pytest.raises(ValueError, match="need categories: name two or more with --options"):
        settings(Wanted(labels=3))


def test_a_folder_that_is_not_empty_is_left_as_it_is(sources: list[Source], tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="s is not empty: name another folder"):
        make_study(tmp_path / "s", settings(), sources, ALL)
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("url", ["mysql://nowhere/x", "sqlite:////nowhere/at/all.db"])
def test_a_database_that_cannot_be_opened_leaves_nothing(sources: list[Source], tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="judgment store"):
        make_study(tmp_path / "s", settings(), sources, ALL, database=url)
    assert not any(tmp_path.iterdir())


def test_a_disk_that_is_full_leaves_nothing(sources: list[Source], tmp_path: Path, monkeypatch) -> None:
    added = Shown.add

    def full(self: Shown, presented: Any) -> str:
        if len(list(self.folder.glob("*"))) == 3:
            raise OSError(28, "No space left on device")
        return added(self, presented)

    monkeypatch.setattr(Shown, "add", full)
    with pytest.raises(OSError, match="No space left"):
        make_study(tmp_path / "s", settings(), sources, ALL)
    assert not any(tmp_path.iterdir())


def test_two_studies_of_one_name_do_not_mix_in_one_database(sources: list[Source], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    wanted = Wanted(pairs=2)
    make_study(tmp_path / "a/s", settings(wanted), sources, wanted, database=url)
    with pytest.raises(ValueError, match="study"):
        make_study(tmp_path / "b/s", settings(wanted, seed=5), sources, wanted, database=url)


def test_two_runs_of_one_label_keep_their_own_elites(tmp_path: Path) -> None:
    specs = [f"x={text_run(tmp_path / name, [f'{name} {text}' for text in TEXTS])}" for name in ("one", "two")]
    wanted = Wanted(ratings=60)
    make_study(tmp_path / "s", settings(wanted), read_all(specs), wanted)
    made = Made(tmp_path / "s")
    rated = {made.place.shown.text(made.content(row["a_id"])[0]) for row in made.of("quality")}
    assert len(rated) == 60


class Patient(tuple):
    """Names that are read so often and no more."""

    reads = 0

    def __getitem__(self, at):
        Patient.reads += 1
        assert Patient.reads < 10_000, "there is no end"
        return super().__getitem__(at)


def test_a_run_whose_elites_all_look_the_same_gives_no_pairs(tmp_path: Path) -> None:
    (source,) = read_sources(str(text_run(tmp_path / "r", ["the same"] * 5)))
    wanted = Wanted(pairs=1)
    with pytest.raises(ValueError, match="fewer than 2 different"):
        make_study(tmp_path / "s", settings(wanted), [replace(source, names=Patient(source.names))], wanted)


def test_no_question_is_asked_twice(tmp_path: Path) -> None:
    sources = read_sources(str(text_run(tmp_path / "r", TEXTS[:5])))
    wanted = Wanted(pairs=10, triplets=30)  # as many as there are
    make_study(tmp_path / "s", settings(wanted), sources, wanted)
    made = Made(tmp_path / "s")
    for name, n in (("better", 10), ("alike", 30)):
        asked = {(row["anchor_id"], frozenset([row["a_id"], row["b_id"]])) for row in made.of(name)}
        assert len(asked) == len(made.of(name)) == n
    for more in (Wanted(pairs=11), Wanted(triplets=31)):
        with pytest.raises(ValueError, match=r"hardly more than (10|30) different questions; ask for fewer"):
            make_study(tmp_path / "more", settings(more), sources, more)
        assert not (tmp_path / "more").exists()


def test_what_is_labelled_is_rated_too(sources: list[Source], tmp_path: Path) -> None:
    wanted = Wanted(ratings=6, labels=4, options=("straight", "bent"))
    make_study(tmp_path / "s", settings(wanted), sources, wanted)
    made = Made(tmp_path / "s")
    rated, labelled = ({row["a_id"] for row in made.of(name)} for name in ("quality", "kind"))
    assert len(rated) == 12
    assert labelled < rated


def test_the_maps_own_label_is_noted(sources: list[Source], tmp_path: Path) -> None:
    wanted = Wanted(labels=8, options=("low", "middle", "high"), label_axis=1)
    make_study(tmp_path / "s", settings(wanted), sources, wanted)
    made = Made(tmp_path / "s")
    of = {source.key: source for source in sources}
    for row in made.of("kind"):
        note, source = made.note(row["a_id"]), of[row["a_id"].rpartition("/")[0]]
        low, high = source.bounds[:, 1]
        place = (note["measures"][1] - low) / (high - low)
        assert note["label"] == {"kind": wanted.options[min(int(3 * place), 2)]}
    _, app = site(tmp_path / "s")
    Visitor(app).join().answer_all(lambda form: form.buttons[0][1])
    (question,) = report(made.place.database, made.place.study)["questions"]
    assert question["everybody"]["models"]["labels"]["answers"] == 16
    assert [row["source"] for row in question["everybody"]["models"]["labels"]["sources"]] == ["first", "moving"]
    for axis in (2, -1):
        with pytest.raises(ValueError, match="label_axis must be one of the 2 axes"):
            make_study(tmp_path / "x", settings(wanted), sources, replace(wanted, label_axis=axis))


# --- people answer


def looking(made: Made, visitor: Visitor) -> Callable[[Form], str]:
    """Answers what is expected where something is, by looking at the page."""
    rows, meant = {row["trial_id"]: row for row in made.trials}, sealed(made.place)

    def choose(form: Form) -> str:
        row, values = rows[meant[form.fields["trial"]]], [value for _, value in form.buttons]
        things = 1 if row["b_id"] is None else 2
        seen = [src.removeprefix("shown/") for src in images(visitor.page.text)]
        for name in seen[-1:]:  # that all are there is looked at elsewhere
            for folder in ("shown", "still") if name.endswith(".apng") else ("shown",):
                assert visitor.client.get(f"/{folder}/{name}").status_code == 200
        if row["expected"] is None:
            return values[len(seen) % 2]
        if things == 1:
            assert row["expected"] in visitor.page.text
            return row["expected"]
        n = len(made.content(row["expected"]))
        left, right = seen[-2 * n : -n], seen[-n:]
        if row["anchor_id"]:
            assert seen[:-2] == made.content(row["anchor_id"])
        assert {tuple(left), tuple(right)} == {tuple(made.content(row[side])) for side in ("a_id", "b_id")}
        return "left" if left == made.content(row["expected"]) else "right"

    return choose


@pytest.fixture(scope="module")
def answered(made: Made, tmp_path_factory) -> tuple[Place, Visitor, list[dict[str, str]]]:
    folder = tmp_path_factory.mktemp("answered") / "study"
    shutil.copytree(made.folder, folder)
    place, app = site(folder)
    visitor = Visitor(app).join(PROLIFIC_PID="somebody")
    return place, visitor, visitor.answer_all(looking(made, visitor))


def test_every_question_is_shown_and_answered_to_the_end(made: Made, answered) -> None:
    place, visitor, given = answered
    assert visitor.where == "/done"
    repeats = round(0.1 * sum(ASKED.values()))
    checks = len(ASKED) * sum(CHECKS.values())
    assert len(given) == sum(ASKED.values()) + checks + repeats
    rows = Store(place.folder / "judgments.db").records("s")
    kinds = Counter(row["kind"] for row in rows)
    assert kinds == {"main": sum(ASKED.values()), "repeat": repeats, "catch": 8 * len(ASKED), "practice": 12}
    assert {row["trial_id"] for row in rows} == {row["trial_id"] for row in made.trials}


def test_who_looks_gets_every_check_right(made: Made, answered) -> None:
    place, _, _ = answered
    expected = {row["trial_id"]: row["expected"] for row in made.trials}
    rows = Store(place.folder / "judgments.db").records("s")
    for row in rows:
        if row["kind"] in CHECKS:
            said = row["winner_id"] or row["label"] or f"{row['value']:g}"
            assert said == expected[row["trial_id"]]
    (person,) = report(place.database, place.study)["conduct"]
    assert (person["catch_seen"], person["catch_right"]) == (48, 48)


def test_sides_as_they_were_shown_are_kept(made: Made, answered) -> None:
    place, _, _ = answered
    by_id = {row["trial_id"]: row for row in made.trials}
    swapped = Counter()
    for row in Store(place.folder / "judgments.db").records("s"):
        trial = by_id[row["trial_id"]]
        assert row["anchor_id"] == trial["anchor_id"]
        sides = (row["left_id"], row["right_id"])
        assert sides in ((trial["a_id"], trial["b_id"]), (trial["b_id"], trial["a_id"]))
        if trial["b_id"] is None:
            assert row["left_id"] == trial["a_id"]
        elif row["kind"] == "main":
            swapped[sides == (trial["b_id"], trial["a_id"])] += 1
    assert min(swapped.values()) > 0


@pytest.mark.parametrize("people", ["left", "right"])
def test_practice_says_what_was_expected(made: Made, tmp_path: Path, people: str) -> None:
    shutil.copytree(made.folder, tmp_path / "s")
    _, app = site(tmp_path / "s")
    visitor = Visitor(app).join(PROLIFIC_PID=people)
    look, verdicts = looking(made, visitor), Counter()
    visitor.get("/task")
    for _ in ASKED:
        form = visitor.form("answer")
        wanted, values = look(form), [value for _, value in form.buttons]
        choice = wanted if people == "right" else next(value for value in values if value != wanted)
        visitor.answer(choice)
        assert visitor.where == "/feedback"
        verdicts["That is what we expected here." in visitor.page.text] += 1
        visitor.get("/task")
    assert verdicts == {people == "right": len(ASKED)}


def a_desk(place: Place) -> Desk:
    return Desk(Register(place.database, place.study, KEY))


def test_at_the_desk_every_trial_can_be_viewed(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.folder, tmp_path / "s")
    place = open_study(tmp_path / "s")
    desk = a_desk(place)
    rater = desk.register.join(Platform("prolific", "p"), "t" * 32)
    n = 0
    while not isinstance(shown := desk.next(rater), str):
        seen = view(place, desk, shown)
        grid = shown.question in ("prefer", "diverse")
        assert [(len(side.contents), side.columns) for side in seen.sides] == [(9, 3) if grid else (1, 1)] * (
            2 if shown.question in SIDED else 1
        )
        assert (seen.reference is not None) == (shown.question == "alike")
        values = [choice.value for choice in (*seen.choices, *seen.others)]
        assert ("tie" in values) == (shown.question in ("prefer", "diverse", "better"))
        wanted = expected_choice(seen)
        assert (wanted is not None) == (shown.kind in CHECKS)
        assert desk.answer(rater, shown, wanted or values[n % len(values)], response_ms=None)
        rater, n = desk.register.rater("t" * 32), n + 1
    assert shown == "done"
    assert n == len(made.trials) + round(0.1 * sum(ASKED.values()))


def sides(made: Made, person: str) -> list[bool]:
    """Plans a person's trials; returns for each main one with two sides whether its second item stands left."""
    desk = a_desk(made.place)
    rater = desk.register.enter(desk.register.join(Platform("prolific", person), person.ljust(32, "t")), "trials")
    desk.next(rater)
    of = {row["trial_id"]: row for row in made.trials}
    slots = [desk.shown(rater, position) for position in range(desk.longest())]
    return [slot.left == of[slot.trial_id]["b_id"] for slot in slots if slot and slot.kind == "main" and slot.right]


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(pairs=8, triplets=6),
        pytest.param(
            Wanted(pairs=8, ratings=8),
        ),
    ],
    ids=["two sides", "ratings among them"],
)
def test_half_of_what_has_sides_is_shown_the_other_way_round(tmp_path: Path, wanted: Wanted) -> None:
    study = settings(wanted, raters_per_trial=20)
    make_study(tmp_path / "s", study, read_sources(str(text_run(tmp_path / "r"))), wanted)
    made = Made(tmp_path / "s")
    for person in "abcdefgh":
        swapped = sides(made, person)
        assert len(swapped) == wanted.pairs + wanted.triplets
        assert sum(swapped) == len(swapped) / 2


def test_half_of_the_rest_is_shown_the_other_way_round(tmp_path: Path) -> None:
    wanted = Wanted(pairs=12)
    source = read_sources(str(text_run(tmp_path / "r")))
    for first in "abcdef":
        make_study(tmp_path / first, settings(wanted, trials_per_rater=8), source, wanted)
        made = Made(tmp_path / first)
        for person, n in ((first, 8), (f"late {first}", 4)):
            swapped = sides(made, person)
            assert len(swapped) == n
            assert sum(swapped) == n / 2


def test_who_wants_to_see_no_sad_texts_sees_none(tmp_path: Path) -> None:
    wanted = Wanted(pairs=6, triplets=6, ratings=9)
    study = settings(wanted, sensitive="Some are sad.", raters_per_trial=2, catch_per_rater=3, practice=3)
    sources = read_sources(str(text_run(tmp_path / "r")))
    make_study(tmp_path / "s", study, sources, wanted, sensitive=lambda text: "a sad" in text)
    made = Made(tmp_path / "s")
    _, app = site(tmp_path / "s")
    seen = {}
    for see in ("filtered", "all"):
        visitor = Visitor(app).join(PROLIFIC_PID=see)
        assert visitor.where == "/warning"
        visitor.send("warning", see=see)
        sad = []

        def choose(form: Form, visitor: Visitor = visitor, sad: list[bool] = sad) -> str:
            sad.append("a sad" in visitor.page.text)
            return form.buttons[0][1]

        seen[see] = [sealed(made.place)[row["trial"]] for row in visitor.answer_all(choose)]
        assert visitor.where == "/done"
        assert any(sad) == (see == "all")
    main = {row["trial_id"] for row in made.trials if row["kind"] == "main"}
    assert set(seen["all"]) >= main
    assert main > set(seen["filtered"]) & main > set()


# --- runs with prompts


def prompt_runs(folder: Path, *, best: bool = False, prompts: tuple[str, ...] = ("a cat", "two dogs")) -> Path:
    """Writes a run for each prompt; with `best` of a method without a map, which puts nine things forward."""
    for number, prompt in enumerate(prompts):
        path = text_run(folder / f"{number}", [f"{prompt} {i} of {folder.name}" for i in range(12)])
        write_settings(path, {"prompt": prompt})
        if best:
            arrays, _ = files.unpack((path / "archive.npz").read_bytes(), "")
            order = np.argsort(-arrays["id"])[:9]
            arrays = {name: arrays[name][order] for name in ("id", "objective", "measures")} | {
                name: arrays[name] for name in ("lower_bounds", "upper_bounds")
            }
            files.write_atomic(path / BEST, files.pack(arrays, {}))
    return folder


def test_sets_are_compared_within_a_prompt_that_people_see(tmp_path: Path) -> None:
    best = prompt_runs(tmp_path / "b", best=True)
    sources = [*read_sources(f"ours={prompt_runs(tmp_path / 'a')}"), *read_sources(f"best={best}")]
    assert [(source.prompt, source.ranked) for source in sources] == [
        ("a cat", False), ("two dogs", False), ("a cat", True), ("two dogs", True),
    ]  # fmt: skip
    wanted = Wanted(sets=2, grid=3, pairs=3, about=("accurate",))
    make_study(tmp_path / "s", settings(wanted), sources, wanted)
    made = Made(tmp_path / "s")
    assert {row["question"] for row in made.trials} == {"accurate", "better"}
    shown = Shown(tmp_path / "s/shown")
    for row in made.trials:
        prompt = shown.text(made.content(row["anchor_id"])[0])
        assert prompt in ("a cat", "two dogs")
        sides = [
            shown.text(name) for side in ("a_id", "b_id") for name in made.content(row[side]) if row["kind"] == "main"
        ]
        assert all(text.startswith(prompt) for text in sides)
    assert [len(made.of("accurate")), len(made.of("better"))] == [4, 6]
    first = made.of("accurate")[0]
    ids = [int(shown.text(name).split()[2]) for name in made.content(first["b_id"])]
    assert ids == list(range(11, 2, -1))


def test_methods_that_were_not_asked_alike_are_not_compared(tmp_path: Path) -> None:
    sources = [
        *read_sources(f"ours={prompt_runs(tmp_path / 'a')}"),
        *read_sources(f"best={prompt_runs(tmp_path / 'b', prompts=('a cat',))}"),
    ]
    wanted = Wanted(sets=1, grid=3)
    with pytest.raises(ValueError, match="ours has a run with the prompt 'two dogs', best has none"):
        make_study(tmp_path / "s", settings(wanted), sources, wanted)
    assert not (tmp_path / "s").exists()


def test_prompts_that_some_do_not_want_to_see_and_runs_without_one(tmp_path: Path) -> None:
    runs_ = [*read_sources(f"a={prompt_runs(tmp_path / 'a')}"), *read_sources(f"b={prompt_runs(tmp_path / 'b')}")]
    wanted = Wanted(pairs=4)
    make_study(tmp_path / "s", settings(wanted), runs_, wanted, sensitive=lambda text: "dogs" in text)
    made = Made(tmp_path / "s")
    marked = {made.note(item)["prompt"]: row["sensitive"] for item, row in made.items.items() if "prompt/" in item}
    assert marked == {"a cat": None, "two dogs": 1}
    bare = [replace(source, prompt="") for source in runs_]
    asked = Wanted(sets=1, grid=3, about=("accurate",))
    with pytest.raises(ValueError, match="of runs with a prompt alone"):
        make_study(tmp_path / "t", settings(asked), bare, asked)


def test_a_study_whose_making_was_killed_does_not_stand_in_the_way(sources: list[Source], tmp_path: Path) -> None:
    (tmp_path / "s.part/shown").mkdir(parents=True)
    (tmp_path / "s.part/shown/half.png").write_bytes(b"")
    wanted = Wanted(triplets=3)
    make_study(tmp_path / "s", settings(wanted), sources, wanted)
    assert not (tmp_path / "s.part").exists()
    assert not (tmp_path / "s/shown/half.png").exists()


@pytest.mark.parametrize("fmt", ["label-studio", "potato", "jspsych"])
def test_pairs_of_pictures_with_a_prompt_can_be_taken_elsewhere(runs: Path, fmt: Any, tmp_path: Path) -> None:
    still = [replace(one, prompt="a $ill <arm>") for one in read_sources(f"a={runs / 'still/seed-0'}")]
    other = [replace(one, prompt="a $ill <arm>") for one in read_sources(f"b={runs / 'still/seed-1'}")]
    wanted = Wanted(pairs=3)
    make_study(tmp_path / "s", settings(wanted), [*still, *other], wanted)
    place = open_study(tmp_path / "s")
    export(place.folder, place.database, place.study, tmp_path / "out", fmt=fmt)
    told = "".join(
        path.read_text() for path in (tmp_path / "out").rglob("*") if path.suffix in (".json", ".jsonl", ".js")
    )
    assert "a $ill <arm>" in told or "a $ill \\u003carm" in told
    if fmt == "label-studio":
        config = (tmp_path / "out/config.xml").read_text()
        assert '<Text name="ref" value="$ref"' in config
        assert '<Image name="left" value="$left"' in config
