from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa, fleiss_kappa

from qdfeedback.diversity.columns import Columns
from qdfeedback.feedback.answers import published
from qdfeedback.feedback.conduct import wanted
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import Question, Study
from qdfeedback.study.analysis.human_model import nearer
from qdfeedback.study.analysis.page import page, place
from tests.study.written import BETTER, GENRE, QUALITY, SIMILAR, Written, simulated


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Written]:
    store = Store(tmp_path / "judgments.db")
    return lambda *questions, **rules: Written(store, Study("s", questions, **rules))


def test_a_noisy_study_shows_its_noise(written: Callable[..., Written]) -> None:
    study = written(SIMILAR)
    table = simulated(study, SIMILAR, people=6, n=60, flip=0.15, repeats=20).astype(float)
    found = study.report()["questions"][0]["everybody"]
    agreement, repeats = found["agreement"], found["repeats"]
    assert agreement["alpha"]["value"] == pytest.approx(krippendorff.alpha(table, level_of_measurement="nominal"))
    kappas = [cohen_kappa_score(table[i], table[j]) for i in range(6) for j in range(i)]
    assert agreement["kappa"] == pytest.approx(np.mean(kappas))
    assert agreement["kappa_pairs"] == 15
    assert agreement["fleiss"] == pytest.approx(fleiss_kappa(aggregate_raters(table.T.astype(int))[0]))
    assert repeats["repeats"] == 120
    for part in (agreement, repeats):
        assert part["flip_rate"]["low"] <= 0.15 <= part["flip_rate"]["high"]
        assert part["flip_rate"]["value"] == pytest.approx(0.15, abs=0.06)
    assert found["sides"]["share"]["low"] < 0.5 < found["sides"]["share"]["high"]
    assert (found["raters"], found["trials"], found["answers"]) == (6, 60, 360)
    needed = {row["share"]: row for row in found["findings"]["needed"]}
    assert [needed[p]["independent"] for p in (0.55, 0.6, 0.65, 0.7)] == [783, 194, 85, 47]
    assert needed[0.6]["more"] == needed[0.6]["needed"] - 360
    assert needed[0.7]["more"] == 0


@pytest.mark.parametrize("flip", [0.15, *(pytest.param(flip, marks=pytest.mark.slow) for flip in (0.0, 0.05, 0.3))])
def test_noise_is_recovered(tmp_path: Path, flip: float) -> None:
    found = []
    for seed in range(4):
        study = Written(Store(tmp_path / f"{seed}.db"), Study("s", (SIMILAR,)))
        simulated(study, SIMILAR, people=5, n=60, flip=flip, repeats=60, seed=seed)
        figures = study.report()["questions"][0]["everybody"]
        found.append([figures["agreement"], figures["repeats"]])
    for parts, name in zip(zip(*found, strict=True), ("raw", "same"), strict=True):
        same = np.mean([part[name]["value"] for part in parts])
        assert same == pytest.approx(flip**2 + (1 - flip) ** 2, abs=0.03)
        known = [part["flip_rate"] for part in parts if part["flip_rate"]["low"] is not None]
        assert sum(rate["low"] <= flip <= rate["high"] for rate in known) >= len(known) - 1


def test_a_preference_for_one_side_is_recovered(written: Callable[..., Written]) -> None:
    study, rng = written(SIMILAR), np.random.default_rng(0)
    for number in range(120):
        name = f"t{number:03}"
        study.trial(name, SIMILAR, f"{name}a", f"{name}b", anchor_id="anchor")
        for person in range(5):
            swapped = bool((number + person) % 2)
            left = rng.random() < 0.65  # people who look at nothing, and like what is left
            study.choose(f"p{person}", name, SIMILAR, first=left != swapped, swapped=swapped)
    sides = study.report()["questions"][0]["everybody"]["sides"]
    assert sides["share"]["low"] < 0.65 < sides["share"]["high"]
    assert sides["p"] < 1e-6


def test_a_sparse_study_has_the_libraries_figures(written: Callable[..., Written]) -> None:
    study, rng = written(QUALITY), np.random.default_rng(3)
    table = rng.choice([1.0, 2, 5], size=(6, 40))  # 3 and 4 were never given
    table[rng.random((6, 40)) < 0.4] = np.nan
    for trial in range(40):
        study.trial(f"q{trial}", QUALITY, f"i{trial}")
        for person in np.flatnonzero(~np.isnan(table[:, trial])):
            value = float(table[person, trial])
            study.answer(f"p{person}", f"q{trial}", QUALITY, f"i{trial}", choice="value", value=value)
    found = study.report()["questions"][0]["everybody"]["agreement"]
    expected = krippendorff.alpha(table, level_of_measurement="ordinal", value_domain=[1.0, 2, 5])
    assert found["alpha"]["value"] == pytest.approx(expected)
    kappas = []
    for i in range(6):
        for j in range(i):
            both = ~np.isnan(table[i] + table[j])
            counted = np.zeros((5, 5))
            np.add.at(counted, (table[i, both].astype(int) - 1, table[j, both].astype(int) - 1), 1)
            kappas.append(cohens_kappa(counted, wt="fc", return_results=False))
    assert found["kappa"] == pytest.approx(np.mean(kappas))


def test_what_comes_late_or_is_skipped_does_not_enter(written: Callable[..., Written]) -> None:
    study = written(SIMILAR)
    for number in range(12):
        name = f"t{number:02}"
        study.trial(name, SIMILAR, f"{name}a", f"{name}b", anchor_id="anchor")
        for person in ("p", "q", "r"):
            study.choose(person, name, SIMILAR, first=number % 3 != 0, swapped=bool(number % 2))
        study.choose("late", name, SIMILAR, first=number % 3 == 0, swapped=False, kind="surplus")
        study.answer("p", name, SIMILAR, f"{name}a", f"{name}b", anchor_id="anchor", choice="skip", kind="repeat")
    found = study.report()["questions"][0]["everybody"]
    assert found["agreement"]["raw"]["value"] == found["agreement"]["alpha"]["value"] == 1.0
    assert found["repeats"] is None, "a skipped repeat is no changed answer"


def test_the_same_store_gives_the_same_report(written: Callable[..., Written]) -> None:
    study = written(SIMILAR)
    simulated(study, SIMILAR, people=3, n=12, flip=0.2, repeats=4)
    assert study.report() == study.report()


def test_two_people_have_cohens_kappa(written: Callable[..., Written]) -> None:
    study = written(SIMILAR)
    table = simulated(study, SIMILAR, people=2, n=25, flip=0.2)
    found = study.report()["questions"][0]["everybody"]
    assert found["agreement"]["kappa"] == pytest.approx(cohen_kappa_score(*table))
    assert found["repeats"] is None
    assert "answered twice" in found["notes"][-1]


def test_sides_do_not_change_agreement(written: Callable[..., Written]) -> None:
    study = written(SIMILAR)
    for trial in range(30):
        name, first = f"t{trial:02}", bool(trial % 2)
        study.trial(name, SIMILAR, f"{name}a", f"{name}b")
        study.choose("p", name, SIMILAR, first=first, swapped=False)
        study.choose("q", name, SIMILAR, first=first, swapped=True)
    assert study.report()["questions"][0]["everybody"]["agreement"]["alpha"]["value"] == 1.0


@pytest.mark.parametrize("case", ["empty", "one", "skips", "one trial each", "all the same"])
def test_little_to_say_is_said(written: Callable[..., Written], case: str) -> None:
    study = written(SIMILAR, BETTER, QUALITY, GENRE)
    questions: dict[Question, dict[str, Any]] = {
        SIMILAR: {"choice": "left"}, BETTER: {"choice": "right"},
        QUALITY: {"choice": "value", "value": 3.0}, GENRE: {"choice": "label", "label": "horror"},
    }  # fmt: skip
    for question, given in questions.items():
        for number in range(0 if case == "empty" else 4):
            right = f"{number}b" if question in (SIMILAR, BETTER) else None
            trial = f"{question.name}{number}"
            study.trial(trial, question, f"{number}a", right)
            people = {"one": ["p"], "one trial each": [f"p{number}"]}.get(case, ["p", "q", "r"])
            for who in people:
                more = {"choice": "skip"} if case == "skips" else given
                study.answer(who, trial, question, f"{number}a", right, **more)
    found = study.report()
    note = {
        "empty": "no answers", "one": "One person answered", "skips": "All were skipped",
        "one trial each": "answers from two people", "all the same": "All answers are the same",
    }[case]  # fmt: skip
    for question in found["questions"]:
        assert any(note in text for text in question["everybody"]["notes"]), question
    if case in ("empty", "one", "skips"):
        assert found["notes"]
        assert all(question["everybody"]["agreement"] is None for question in found["questions"])


def test_people_are_left_out_by_the_stated_rules(written: Callable[..., Written]) -> None:
    study = written(SIMILAR)
    for number in range(8):
        study.trial(f"c{number}", SIMILAR, f"c{number}a", f"c{number}b", kind="catch", expected=f"c{number}a")
    simulated(study, SIMILAR, people=3, n=24, flip=0.1)
    for person in ("p0", "p1", "p2", "fast", "left", "wrong"):
        study.person(person)
        for number in range(8):
            right = person != "wrong" or number < 6
            study.choose(person, f"c{number}", SIMILAR, first=right, swapped=bool(number % 2), kind="catch",
                         response_ms=100.0 if person == "fast" else 1500.0)  # fmt: skip
    study.person("gone", "withdrawn")
    study.person("here", "trials")
    for trial in range(24):
        study.choose("left", f"t{trial:03}", SIMILAR, first=True, swapped=False)
        study.choose("left", f"t{trial:03}", SIMILAR, first=True, swapped=False, kind="practice")
    found = study.report()
    assert found["raters"] == {
        "joined": 8, "finished": 6, "withdrawn": 1, "under_way": 1, "deleted": 0, "answered": 6, "excluded": 3,
    }  # fmt: skip
    assert found["answers"]["kinds"] == {"catch": 48, "main": 96, "practice": 24}
    reasons = {row["rater"]: row["reasons"] for row in found["conduct"] if row["reasons"]}
    assert reasons["wrong"] == ["6 of 8 obvious trials right, 7 are wanted"]
    assert reasons["fast"] == ["median response time 100 ms, below 500 ms"]
    assert reasons["left"] == [
        "24 of 24 answers left, outside the 99.9% band of chance", "the same answer in 24 of 24",
    ]  # fmt: skip
    assert set(reasons) == {"wrong", "fast", "left"}
    question = found["questions"][0]
    assert question["everybody"]["answers"] == 96
    assert question["after_exclusions"]["answers"] == 72
    assert (
        question["after_exclusions"]["agreement"]["raw"]["value"] > question["everybody"]["agreement"]["raw"]["value"]
    )
    fast = next(row for row in found["conduct"] if row["rater"] == "fast")
    assert (fast["fast"], fast["median_ms"], fast["left_p"]) == (1.0, 100.0, None)


def test_catch_trials_wanted_go_with_those_seen() -> None:
    study = Study("s", (SIMILAR,))
    assert [wanted(seen, study) for seen in (0, 1, 4, 8)] == [0, 1, 4, 7]
    assert wanted(4, Study("s", (SIMILAR,), catch_per_rater=10, catch_pass=5)) == 2
    assert wanted(3, Study("s", (SIMILAR,), catch_per_rater=0)) == 0, "the rule says 0 of 0"


def test_pairs_rank_items_and_compare_sets(written: Callable[..., Written]) -> None:
    study = written(BETTER)
    for name, source in (("a1", "qdhf"), ("a2", "qdhf"), ("b1", "best-of-n"), ("b2", "best-of-n")):
        study.item(name, source)
    for number, (first, second) in enumerate([("a1", "b1"), ("a2", "b2"), ("a1", "b2"), ("a1", "a2")]):
        study.trial(f"t{number}", BETTER, first, second)
        for person in range(10):
            choice = "tie" if person == 9 else "left" if person < 7 else "right"
            study.answer(f"p{person}", f"t{number}", BETTER, first, second, choice=choice)
    found = study.report()["questions"][0]["everybody"]["findings"]
    assert {row["item"] for row in found["ranking"][-2:]} == {"b1", "b2"}
    assert found["ranking"][0]["strength"]["low"] < found["ranking"][0]["strength"]["high"]
    (sets,) = found["sources"]
    assert sets["sources"] == ["best-of-n", "qdhf"]
    assert sets["counts"] == [6, 21, 3]
    assert sets["shares"][1]["value"] == 0.7
    assert sets["of_decided"]["value"] == pytest.approx(6 / 27)
    assert 0.15 < sets["p"] < 0.25, "nine people who never waver are nine opinions, however often they are asked"
    assert sets["of_decided"]["low"] < 0.05
    assert sets["of_decided"]["high"] > 0.45
    assert found["needed"] == sets["needed"]
    assert found["notes"] == []


def test_what_was_never_compared_is_not_ranked_together(written: Callable[..., Written]) -> None:
    study = written(BETTER)
    games = [("a", "b", 8, 2), ("b", "c", 7, 3), ("x", "y", 1, 0)]
    for number, (first, second, won, lost) in enumerate(games):
        study.trial(f"t{number}", BETTER, first, second)
        for person in range(won + lost):
            choice = "left" if person < won else "right"
            study.answer(f"p{(person + number) % 10}", f"t{number}", BETTER, first, second, choice=choice)
    found = study.report()["questions"][0]["everybody"]["findings"]
    assert [row["item"] for row in found["ranking"]] == ["a", "b", "c", "x", "y"]
    assert [row["part"] for row in found["ranking"]] == [0, 0, 0, 1, 1]
    assert found["ranking"][1]["strength"]["low"] is not None
    assert found["ranking"][3]["strength"]["low"] is None, "one game says nothing about others"
    assert "2 parts that were never compared" in found["notes"][0]


def test_an_item_that_won_all_its_games_has_a_strength_without_an_interval(written: Callable[..., Written]) -> None:
    study = written(BETTER)
    for number, (first, second) in enumerate([("a", "b"), ("b", "c"), ("c", "b"), ("a", "c")]):
        study.trial(f"t{number}", BETTER, first, second)
        for person in ("p", "q", "r"):
            study.answer(person, f"t{number}", BETTER, first, second, choice="left")
    found = study.report()["questions"][0]["everybody"]["findings"]
    strengths = {row["item"]: row["strength"] for row in found["ranking"]}
    assert (strengths["a"]["low"], strengths["a"]["high"]) == (None, None)
    assert strengths["b"]["low"] < strengths["b"]["value"] < strengths["a"]["value"]


def test_a_tie_is_half_a_win(written: Callable[..., Written]) -> None:
    study = written(BETTER)
    for number in range(4):
        study.trial(f"t{number}", BETTER, "a", "b")
        for person in range(4):
            choice = "tie" if person < 2 else ("left" if person == 2 else "right")
            study.answer(f"p{person}", f"t{number}", BETTER, "a", "b", choice=choice)
    found = study.report()["questions"][0]["everybody"]["findings"]
    assert [row["strength"]["value"] for row in found["ranking"]] == pytest.approx([0, 0], abs=1e-6)


def test_who_sees_no_difference_is_not_left_out_for_it(written: Callable[..., Written]) -> None:
    study = written(BETTER, catch_per_rater=0)
    for number in range(25):
        study.trial(f"t{number}", BETTER, f"a{number}", f"b{number}")
        study.answer("even", f"t{number}", BETTER, f"a{number}", f"b{number}", choice="tie")
        study.answer("same", f"t{number}", QUALITY, f"a{number}", choice="left", right=f"b{number}")
    reasons = {row["rater"]: row["reasons"] for row in study.report()["conduct"]}
    assert reasons["even"] == []


@pytest.mark.parametrize("excluded", [False, True])
def test_the_page_says_of_every_question_what_people_said(written: Callable[..., Written], *, excluded: bool) -> None:
    study = written(QUALITY, GENRE, BETTER)
    for number in range(6):
        study.trial(f"q{number}", QUALITY, f"i{number}")
        study.trial(f"g{number}", GENRE, f"i{number}")
        study.trial(f"b{number}", BETTER, f"i{number}", f"j{number}")
        for person in ("p", "q", "r"):
            more = {"response_ms": 1.0} if excluded and person == "r" else {}
            study.answer(person, f"q{number}", QUALITY, f"i{number}", choice="value", value=1.0 + number % 5, **more)
            study.answer(person, f"g{number}", GENRE, f"i{number}", choice="label", label="horror", **more)
            study.answer(person, f"b{number}", BETTER, f"i{number}", f"j{number}", choice="left", **more)
    text = page(study.report())
    assert text.count("<h3>What people say") == (6 if excluded else 3)
    assert text.count("<h3>How far to trust") == 3
    assert text.count("after exclusions</th>") == (3 if excluded else 0)
    assert "there is no ranking" in text


def test_the_page_shows_what_the_report_says(written: Callable[..., Written]) -> None:
    study = written(SIMILAR, QUALITY, GENRE)
    simulated(study, SIMILAR, people=3, n=20, flip=0.2, repeats=5)
    for number in range(6):
        study.item(f"i{number}", "mine")
        for question, answer in (
            (QUALITY, {"choice": "value", "value": 4.0}),
            (GENRE, {"choice": "label", "label": "horror"}),
        ):
            study.trial(f"{question.name}{number}", question, f"i{number}")
            for person in range(3):
                study.answer(f"p{person}", f"{question.name}{number}", question, f"i{number}", **answer)
                study.answer("hasty", f"{question.name}{number}", question, f"i{number}", response_ms=1.0, **answer)
    found = study.report()
    text = re.sub(r"<svg.*?</svg>|\s+", " ", page(found), flags=re.DOTALL)
    one = found["questions"][0]["everybody"]
    alpha, raw = one["agreement"]["alpha"], one["agreement"]["raw"]
    assert f"alpha, nominal</th> <td>{alpha['value']:.2f} ({alpha['low']:.2f} to {alpha['high']:.2f})" in text
    assert f"say the same</th> <td>{raw['value']:.0%}" in text.replace(" %", "%")
    assert "people, trials, answers</th> <td>4, 6, 24</td><td>3, 6, 18</td>" in text.replace("</td> <td>", "</td><td>")
    assert "<h2>Human QD score</h2>" in text
    assert "quality by genre</th><td>6</td><td>romance</td><td>0.400 " in text.replace("</td> <td>", "</td><td>")
    assert [place(value, 0, 1) for value in (0.25, 2, -1)] == [25, 100, 0]


def test_ratings_labels_and_models(written: Callable[..., Written]) -> None:
    study = written(QUALITY, GENRE)
    elites = {  # source, the model's label and objective, ratings of two people, labels of two people
        "x1": ("qdaif", "horror", 0.9, (5, 5), ("horror", "horror")),
        "x2": ("qdaif", "romance", 0.8, (4, 3), ("romance", "romance")),
        "y1": ("random", "horror", 0.3, (2, 2), ("horror", "horror")),
        "y2": ("random", "romance", 0.2, (2, 1), ("horror", "romance")),
        "z1": ("few-shot", "horror", 0.7, (5, 5), ("romance", "romance")),
    }
    for name, (source, label, objective, rated, labelled) in elites.items():
        study.item(name, source, label=label, objective=objective)
        study.trial(f"q{name}", QUALITY, name)
        study.trial(f"g{name}", GENRE, name)
        for person in range(2):
            study.answer(f"p{person}", f"q{name}", QUALITY, name, choice="value", value=float(rated[person]))
            study.answer(f"p{person}", f"g{name}", GENRE, name, choice="label", label=labelled[person])
    found = study.report()
    quality, genre = (question["everybody"] for question in found["questions"])
    table = np.array([[5, 4, 2, 2, 5], [5, 3, 2, 1, 5]], dtype=float)
    alpha = krippendorff.alpha(table, level_of_measurement="ordinal")
    assert quality["agreement"]["alpha"]["value"] == pytest.approx(alpha)
    assert quality["agreement"]["kappa"] == pytest.approx(cohen_kappa_score(*table.astype(int), weights="quadratic"))
    assert quality["findings"]["all"]["mean"]["value"] == pytest.approx(table.mean())
    assert {row["source"]: row["mean"]["value"] for row in quality["findings"]["sources"]} == {
        "qdaif": 4.25, "random": 1.75, "few-shot": 5.0,
    }  # fmt: skip
    assert quality["models"]["ratings"]["spearman"] > 0.7
    assert genre["findings"]["shares"]["horror"]["value"] == 0.5
    majorities = {row["item"]: row["majority"] for row in genre["findings"]["items"]}
    assert majorities == {"x1": "horror", "x2": "romance", "y1": "horror", "y2": None, "z1": "romance"}
    model = genre["models"]["labels"]
    assert model["single"]["value"] == pytest.approx(7 / 10)
    assert (model["agreed_items"], model["agreed"]["value"]) == (4, 0.75)
    assert model["kappa"] == pytest.approx(0.5)
    scores = {row["source"]: row for row in found["human_qd"]["everybody"]}
    assert scores["qdaif"]["score"]["value"] == pytest.approx((5 + 3.5) / 5 / 2)
    assert scores["random"]["score"]["value"] == pytest.approx((2 + 1) / 5 / 2)
    assert scores["few-shot"]["score"]["value"] == pytest.approx(0.5)
    assert scores["few-shot"]["missing"] == ["horror"]
    assert scores["qdaif"]["score"]["low"] <= 0.85 <= scores["qdaif"]["score"]["high"]


def test_models_are_held_against_people(written: Callable[..., Written]) -> None:
    study = written(SIMILAR)
    features = {"anchor": np.array([0.0, 9.0])}
    for number in range(20):
        name, purpose = f"t{number:02}", "random" if number < 10 else "bald"
        study.trial(name, SIMILAR, f"{name}a", f"{name}b", anchor_id="anchor", purpose=purpose)
        features |= {f"{name}a": np.array([1.0, 0.0]), f"{name}b": np.array([2.0, 0.0])}
        for person in range(3):
            study.choose(f"p{person}", name, SIMILAR, first=number % 10 != 0, swapped=bool(person % 2), purpose=purpose)
        study.choose("judge", name, SIMILAR, first=True, swapped=False, annotator_kind="model")
        study.rows[-1]["question"] = None  # as a search writes it
    asked = published(study.store.database, study.study)
    said = nearer(Columns((0,)), features, asked)
    assert set(said.values()) == {1.0}
    assert nearer(Columns((0,)), {}, asked) == {}
    found = study.report(probabilities={"learned": said, "coin": dict.fromkeys(said, 0.5)})
    learned, coin = found["questions"][0]["everybody"]["models"]["probabilities"]
    assert learned["same"]["value"] == pytest.approx(0.9)
    assert (learned["random_answers"], learned["same_random"]["value"]) == (30, pytest.approx(0.9))
    assert coin["same"]["value"] == 0.5
    assert coin["log_loss"] == pytest.approx(math.log(2))
    (judge,) = found["questions"][0]["everybody"]["models"]["annotators"]
    assert (judge["annotator"], judge["same"]["value"]) == ("judge", pytest.approx(0.9))
    assert found["raters"]["answered"] == 3


def test_the_page_escapes_what_people_and_models_wrote(written: Callable[..., Written]) -> None:
    bad = "<script>alert(1)</script>"
    better = Question("better", "pair", bad, tie=True)
    genre = Question("genre", "label", bad, options=(bad, "romance"))
    study = written(better, genre, QUALITY, title=bad)
    for name in ("a", "b"):
        study.item(bad + name, bad + name, label=bad, objective=1.0)
    study.trial("pair", better, bad + "a", bad + "b", expected=bad)
    for person in range(3):
        study.answer(f"{bad}{person}", "pair", better, bad + "a", bad + "b", choice="left")
        study.answer(f"{bad}{person}", "label", genre, bad + "a", choice="label", label=bad)
        study.answer(f"{bad}{person}", "rating", QUALITY, bad + "a", choice="value", value=4.0)
    study.answer(bad, "pair", better, bad + "a", bad + "b", choice="left", annotator_kind="model", purpose=bad)
    html = page(study.report(probabilities={bad: {"pair": 0.9}}))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert html.count("&lt;script&gt;") > 15
    assert "http" not in html.replace("http-equiv", "")


def test_notes_that_are_no_json_are_none(written: Callable[..., Written]) -> None:
    study = written(GENRE)
    row = {"study_id": "s", "item_id": "a", "content": "x", "source": None, "note": "{not json"}
    study.store.add_trials([row], [])
    study.answer("p", "t", GENRE, "a", choice="label", label="horror")
    assert study.report()["questions"][0]["everybody"]["models"]["labels"] is None
