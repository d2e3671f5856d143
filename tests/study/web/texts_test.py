"""What the pages say is true: in every state of a study and of a person, and for one as for many."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from qdfeedback.claims import claim, release
from qdfeedback.feedback.conduct import rules
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import Question, Study, end_study, write_study
from qdfeedback.feedback.tables import empty, items, trials
from qdfeedback.study.analysis.page import p_text, page
from qdfeedback.study.analysis.report import report
from qdfeedback.study.desk import Shown
from qdfeedback.study.secrets import new_token
from qdfeedback.study.web import view
from qdfeedback.study.web.app import STATIC
from qdfeedback.study.web.view import View, keys_of, verdict
from qdfeedback.study.words import counted
from tests.study.plain import ALIKE, plain_study
from tests.study.visitor import Visitor, site

PROLIFIC = {"PROLIFIC_PID": "p1", "STUDY_ID": "st", "SESSION_ID": "se"}
WRONG = re.compile(r"\b1 (?!of\b)\w+s\b|\b0 of 0\b|= –|: \.|\bNone\b|\(\)")  # 1 answers; nothing where something stands
BARE: dict[str, Any] = {"practice": 0, "catch_per_rater": 0, "repeats": 0.0, "raters_per_trial": 1}


def opened(tmp_path: Path, n: int = 1, **rules: Any):
    plain_study(tmp_path / "s", n, **(BARE | rules))
    return site(tmp_path / "s")


def words(text: str) -> str:
    """What people read of a page."""
    text = re.sub(r"<(style|script|svg|title).*?</\1>", " ", text, flags=re.DOTALL)
    plain = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())
    found = re.sub(r" (?=[.,;:])", "", plain)
    assert not WRONG.search(found), WRONG.search(found)
    return found


def left(_) -> str:
    return "left"


# --- before consent


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"n": 1}, "You will see one short question. You can close"),
        ({"n": 3}, "You will see up to 3 short questions. You can close"),
        ({"n": 20, "catch_per_rater": 2, "repeats": 0.1}, "You will see up to 24 short questions. You"),
        ({"n": 3, "practice": 1}, "up to 3 short questions, after one for practice. You"),
        ({"n": 3, "practice": 2}, "up to 3 short questions, after 2 for practice. You"),
        ({"n": 3, "practice": 900}, "up to 3 short questions, after {} for practice. You"),
        ({"n": 20, "live": True}, "short questions for as long as there are some, and can stop after each. You"),
        ({"n": 20, "live": True, "practice": 2}, "and can stop after each, after 2 for practice. You"),
    ],
)  # fmt: skip
def test_how_many_questions_there_are(tmp_path: Path, rules: dict[str, Any], told: str) -> None:
    place, app = opened(tmp_path, **rules)
    count = sa.select(sa.func.count()).select_from(trials).where(trials.c.kind == "practice")
    found = words(Visitor(app).get("/").text)
    assert told.format(place.database.value(count)) in found
    assert ("up to" in found) == (rules["n"] > 1 and "live" not in rules)


def test_a_link_holds_in_one_browser_where_no_platform_says_who_comes(tmp_path: Path) -> None:
    _, app = opened(tmp_path)
    for params, there in (({}, True), (PROLIFIC, False)):
        person = Visitor(app)
        person.get("/", **params)
        assert ("with the same link in the same browser" in words(person.page.text)) == there
        person.send("consent", agree="yes")
        assert ("same link, in the same browser," in words(person.get("/stop").text)) == there
        assert ("return the task on the platform" in words(person.page.text)) != there
        person.send("withdraw", answers="keep")
        assert ("return the task on the platform" in words(person.page.text)) != there


def refused(app: Any) -> tuple[str, str]:
    """What somebody new reads before and after agreeing, where they cannot take part."""
    person = Visitor(app)
    before = words(person.get("/").text)
    assert "disabled>Take part" in person.page.text
    assert "You will see" not in before
    assert person.send("consent", agree="yes").status_code == 409
    return before, words(person.page.text)


def test_a_study_that_is_over_is_not_full(tmp_path: Path) -> None:
    _, app = opened(tmp_path)
    Visitor(app).join().answer_all(left)
    for told in refused(app):
        assert "The study is over" in told
        assert "all its questions have their answers" in told
        assert "full" not in told


def test_a_search_that_has_ended_is_over(tmp_path: Path) -> None:
    place, app = opened(tmp_path, live=True, trials_per_rater=5)
    Visitor(app).join().answer_all(left)
    assert "You will see short questions" in words(Visitor(app).get("/").text), "there may be more"
    end_study(place.folder)
    for told in refused(app):
        assert "The study is over" in told
        assert "the search that asked the questions has ended" in told


def test_questions_that_are_before_others_may_come_free(tmp_path: Path) -> None:
    _, app = opened(tmp_path)
    person = Visitor(app).join()
    person.get("/task")
    for told in refused(app):
        assert "No question is free at this moment" in told
        assert "try again later" in told
    person.get("/stop")
    person.send("withdraw", answers="keep")
    assert Visitor(app).join().where == "/instructions", "and so it is"


def test_a_study_is_full_for_the_moment_or_for_good(tmp_path: Path) -> None:
    _, app = opened(tmp_path, 3, max_raters=1, raters_per_trial=2)
    person = Visitor(app).join()
    for told in refused(app):
        assert "The study is full at this moment" in told
        assert "a place comes free" in told
    person.answer_all(left)
    for told in refused(app):
        assert "The study is full" in told
        assert "it has all its people" in told


def test_who_takes_part_already_reads_nothing_of_a_full_study(tmp_path: Path) -> None:
    _, app = opened(tmp_path, 3, max_raters=1)
    person = Visitor(app)
    person.get("/")
    again = person.page
    person.send("consent", agree="yes")
    person.page = again  # a double click
    assert person.send("consent", agree="yes").url.path == "/instructions"


# --- instructions


QUESTIONS = {
    "triplet": Question("t", "triplet", "Which?"),
    "pair": Question("p", "pair", "Which?", tie=True),
    "rating": Question("r", "rating", "How?", scale=(1, 5)),
    "ten": Question("ten", "rating", "How?", scale=(0, 10)),
    "below": Question("b", "rating", "How?", scale=(-3, -1)),
    "high": Question("h", "rating", "How?", scale=(12, 15)),
    "label": Question("l", "label", "What?", options=("a", "b")),
}


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ("triplet", {"two"}), ("pair", {"two", "tie"}), ("rating", {"figure"}), ("ten", {"figure", "10"}),
        ("below", set()), ("high", set()), ("label", {"label"}), ("triplet label", {"two", "label"}),
    ],
)  # fmt: skip
def test_instructions_speak_of_the_keys_that_there_are(asked: str, keys: set[str]) -> None:
    assert keys_of(Study("s", tuple(QUESTIONS[name] for name in asked.split()))) == keys


KEYS = {
    "← and → choose a side": "two", "↓ says that there is no difference": "tie",
    "a figure’s own key chooses it": "figure",
    "- chooses 10": "10", "a number that stands on an answer chooses it": "label",
    "S skips a question": "skip",
}  # fmt: skip


@pytest.mark.parametrize(("asked", "skip"), [("triplet", True), ("pair ten", False), ("label", True)])
def test_each_key_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, skip: bool) -> None:
    _, app = opened(tmp_path, skip=skip)
    questions = tuple(QUESTIONS[name] for name in asked.split())
    monkeypatch.setattr("qdfeedback.study.web.app.keys_of", lambda _: view.keys_of(Study("s", questions)))
    told = words(Visitor(app).join().page.text)
    wanted = keys_of(Study("s", questions)) | ({"skip"} if skip else set())
    assert {key for sentence, key in KEYS.items() if sentence in told} == wanted


def test_who_sees_no_keys_reads_of_none(tmp_path: Path) -> None:
    """On a phone, where the keys are hidden, and without scripts, which they need."""
    _, app = opened(tmp_path)
    page = Visitor(app).join().page.text
    inner = page.split('<div class="keys">')[1].split("</div>")[0]
    assert "<kbd>" in inner
    assert "<kbd>" not in page.replace(inner, "")
    assert "key" not in words(page.replace(inner, "")).lower()
    hidden = r"\{ kbd, \.keys \{ display: none; \} \}"
    assert re.search(r"@media \(hover: none\) and \(pointer: coarse\) " + hidden, (STATIC / "study.css").read_text())
    assert '<noscript><link rel="stylesheet" href="static/no-keys.css"></noscript>' in page
    assert "kbd, .keys { display: none; }" in (STATIC / "no-keys.css").read_text()
    assert Visitor(app).get("/static/no-keys.css").status_code == 200


def test_practice_is_announced_while_there_is_some(tmp_path: Path) -> None:
    _, app = opened(tmp_path, 3, practice=2)
    person = Visitor(app).join()
    assert "Start with 2 for practice" in words(person.page.text)
    person.get("/task")
    person.answer("left")
    assert "Start with one for practice" in words(person.get("/instructions").text)
    person.get("/task")
    person.answer("left")
    assert "practice" not in words(person.get("/instructions").text)
    person.answer_all(left)
    assert "practice" not in words(person.get("/instructions").text)


# --- practice


@pytest.mark.parametrize(
    ("task", "expected", "given", "word", "told"),
    [
        ("triplet", "1", "left", "right", "That is what we expected here."),
        ("triplet", "1", "right", "wrong", "Here we expected the other answer, which is marked."),
        ("pair", "1", "tie", "wrong", "Here we expected another answer, which is marked."),
        ("pair", "2", "skip", "skipped", "You skipped this one. We expected an answer here, which is marked."),
        ("pair", None, "left", "right", "Here every answer is right."),
        ("rating", "4", "4", "right", "That is what we expected here."),
        ("rating", "4", "2", "wrong", "Here we expected another answer, 4."),
        ("label", "a", "b", "wrong", "Here we expected another answer, a."),
        ("label", "a", "skip", "skipped", "You skipped this one. We expected an answer here, a."),
    ],
)  # fmt: skip
def test_what_practice_says(task: str, expected: str | None, given: str, word: str, told: str) -> None:
    right = "2" if task in ("triplet", "pair") else None
    shown = Shown(-1, "t", "practice", task, None, "1", right, expected, "practice")
    seen = View(shown, QUESTIONS[task], None, (), (), (), words=False)
    assert verdict(seen, given) == (word, told)


def test_what_is_marked_is_named_too(tmp_path: Path) -> None:
    _, app = opened(tmp_path, practice=1)
    person = Visitor(app).join()
    person.get("/task")
    assert "expected" not in words(person.page.text)
    person.answer("right")
    assert "Left, expected" in words(person.page.text)
    assert "Right, expected" not in words(person.page.text)


# --- waiting, stopping, done


def test_who_waits_is_told_for_what(tmp_path: Path) -> None:
    _, app = opened(tmp_path)
    first, late = Visitor(app).join(), Visitor(app).join()
    first.get("/task")
    told = words(late.get("/task").text)
    assert "or is before somebody else at this moment" in told
    assert 'http-equiv="refresh"' in late.page.text
    first.answer("left")
    told = words(late.get("/task").text)
    assert "Nothing is left to ask" in told
    assert "All questions have their answers" in told
    assert "there is no completion code" in told
    assert 'http-equiv="refresh"' not in late.page.text, "nothing will come"


def test_who_wants_to_see_less_is_not_told_that_all_is_answered(tmp_path: Path) -> None:
    place, app = opened(tmp_path, 2, sensitive="Spiders.", raters_per_trial=2)
    with place.database.writing() as connection:
        connection.execute(sa.update(items).values(sensitive=1))
    person = Visitor(app).join()
    person.send("warning", see="filtered")
    assert "All questions without what you do not want to see have their answers" in words(person.get("/task").text)


def test_a_live_study_says_how_the_search_does(tmp_path: Path) -> None:
    place, app = opened(tmp_path, live=True, trials_per_rater=5)
    person, late = Visitor(app).join(), Visitor(app).join(**PROLIFIC)
    person.get("/task")
    assert "is paused at this moment. Please come back later with the same link." in words(late.get("/task").text)
    person.answer("left")
    told = words(person.get("/task").text)
    assert "come back later with the same link, in the same browser; your answers are stored." in told
    claim(place.folder)
    assert "will have new questions soon" in words(person.get("/task").text)
    release(place.folder)
    end_study(place.folder)
    told = words(late.get("/task").text)
    assert "The search that asked the questions has ended." in told
    assert "return the task on the platform" in told
    told = words(person.get("/task").text)
    assert "Your part is done. All your answers are stored." in told
    assert "last question" not in told


def test_the_last_question_is_the_last(tmp_path: Path) -> None:
    _, app = opened(tmp_path)
    person = Visitor(app).join()
    person.answer_all(left)
    assert "That was the last question for you. All your answers are stored." in words(person.page.text)


def test_who_has_answered_nothing_has_no_answers_to_keep(tmp_path: Path) -> None:
    _, app = opened(tmp_path, 3, sensitive="Spiders.", live=True, trials_per_rater=5)
    person = Visitor(app).join()
    told = words(person.get("/stop").text)
    assert "stored" not in told
    assert "keep my answers" not in told
    assert "Once you have answered a question, you can finish here." in told
    assert "disabled>I have done enough" in person.page.text
    assert "Nothing of you is stored." in words(person.send("withdraw", answers="delete").text)
    person = Visitor(app).join()
    person.send("warning", see="all")
    person.get("/task")
    person.answer("left")
    told = words(person.get("/stop").text)
    assert "All your answers so far are stored" in told
    assert "Your answers count, and you are done." in told
    assert "disabled" not in person.page.text
    assert "All your answers are deleted." in words(person.send("withdraw", answers="delete").text)


def test_in_another_browser_nobody_is_new_for_sure(tmp_path: Path) -> None:
    _, app = opened(tmp_path)
    told = words(Visitor(app).get("/task").text)
    assert "We do not know you in this browser" in told
    assert "it leads to where you were, or to the beginning" in told


def test_an_address_with_a_wrong_part_is_no_form(tmp_path: Path) -> None:
    _, app = opened(tmp_path)
    told = words(Visitor(app).join().get("/feedback", position="x").text)
    assert "form" not in told
    assert "What was sent is not complete, or not as the page sends it." in told


# --- the owner


@pytest.mark.parametrize("n", [0, 1, 2])
def test_the_owner_reads_of_one_as_of_many(tmp_path: Path, n: int) -> None:
    place, app = opened(tmp_path, 2, raters_per_trial=3, repeats=0.5, repeat_gap=0)
    for _ in range(n):
        Visitor(app).join().answer_all(lambda form: "skip" if form.fields["position"] == "0" else "left")
    owner = Visitor(app)
    owner.get("/owner")
    owner.send("owner-login", token=new_token(place.database, "s"))
    told = words(owner.page.text)
    for count, one, many in (
        (n, "person", "people"), (n, "finished", "finished"), (2, "question", "questions"), (n, "answer", "answers"),
        (n, "answer to a repeat", "answers to repeats"), (0, "answer to a catch trial", "answers to catch trials"),
        (n, "skipped", "skipped"),
    ):  # fmt: skip
        assert f" {counted(count, one, many)} " in told
    words(owner.get("/report").text)


def test_numbers_are_counted() -> None:
    assert [counted(n, "answer") for n in range(3)] == ["0 answers", "1 answer", "2 answers"]
    assert [counted(n, "person", "people") for n in (1, 2)] == ["1 person", "2 people"]


# --- the report


def pairs(tmp_path: Path, *people: str, tie: bool = True) -> str:
    """What the report says of pairs of two methods, after each person's choices: l, r, t."""
    folder = tmp_path / "study"
    study = Study("s", (Question("better", "pair", "Which?", tie=tie),))
    write_study(folder, study)
    store, shared = Store(folder / "judgments.db"), {"study_id": "s", "question": "better", "task": "pair"}
    things = [
        empty(items) | {"study_id": "s", "item_id": f"{i}", "content": "x", "source": "ab"[i % 2]} for i in range(6)
    ]
    sides = [{"left_id": f"{2 * i}", "right_id": f"{2 * i + 1}"} for i in range(3)]
    plain = {"kind": "main", "purpose": "random"}
    store.add_trials(
        things,
        [
            empty(trials) | shared | plain
            | {"trial_id": f"t{i}", "a_id": side["left_id"], "b_id": side["right_id"], "published_utc": "2026"}
            for i, side in enumerate(sides)
        ],
    )  # fmt: skip
    for person, choices in enumerate(people):
        store.append(
            [
                shared | plain | sides[i]
                | {"trial_id": f"t{i}", "annotator_kind": "person", "annotator_id": f"r{person}",
                   "answered_utc": "2026",
                   "choice": {"l": "left", "r": "right", "t": "tie"}[choice],
                   "winner_id": {"l": sides[i]["left_id"], "r": sides[i]["right_id"], "t": None}[choice]}
                for i, choice in enumerate(choices)
            ]
        )  # fmt: skip
    return words(page(report(store.database, study)))


def test_a_report_says_no_p_where_there_is_none(tmp_path: Path) -> None:
    told = pairs(tmp_path, "l")
    assert "p =" not in told
    assert "how often chance gives as much cannot be said of so few people or trials" in told
    assert "of 1 answer," in told


def test_a_report_of_many_says_p(tmp_path: Path) -> None:
    told = pairs(tmp_path, "lrl", "llr")
    assert re.search(r"chance alone gives as much with p = \d\.\d{4}\.", told)
    assert "of 6 answers," in told


@pytest.mark.parametrize(
    ("value", "told"), [(None, ""), (0.0312, "p = 0.0312"), (1.0, "p = 1.0000"), (1e-9, "p below 0.0001")]
)
def test_a_p_value_in_a_sentence(value: float | None, told: str) -> None:
    assert p_text(value) == told


def test_a_report_of_ties_has_no_decided_answer(tmp_path: Path) -> None:
    told = pairs(tmp_path, "t", "t")
    assert "No answer is decided." in told
    assert "neither in 100" in told


def test_a_report_does_not_speak_of_ties_that_could_not_be_given(tmp_path: Path) -> None:
    assert "neither" not in pairs(tmp_path, "lr", tie=False)


def test_a_report_of_triplets_that_nobody_decided(tmp_path: Path) -> None:
    question = Question("alike", "triplet", "Which?", tie=True)
    _, app = opened(tmp_path)
    path = tmp_path / "s" / "study.json"
    path.write_text(path.read_text().replace('"tie": false', '"tie": true'))
    place, app = site(tmp_path / "s")
    assert place.study.questions[0].tie == question.tie
    Visitor(app).join().answer_all(lambda _: "tie")
    told = words(page(report(place.database, place.study)))
    assert "0 decided, 1 tie." in told
    assert "Asked because" not in told


def test_the_page_that_is_exported_says_no_more_than_is_so() -> None:
    folder = STATIC.parents[1] / "exchange" / "jspsych"
    script = (folder / "study.js").read_text()
    assert 'correct === null ? "Here every answer is right."' in script
    assert "the other answer" not in script, "of ratings there are many"
    assert re.search(
        r"pointer: coarse\) \{ \.jspsych-btn kbd \{ display: none; \} \}", (folder / "study.css").read_text()
    )


@pytest.mark.parametrize(
    ("more", "first", "n"),
    [
        ({}, "Fewer right answers to trials with an obvious answer than 7 of 8", 4),
        ({"catch_per_rater": 0}, "A median response time below 500 ms.", 3),
        ({"catch_pass": 0}, "A median response time below 500 ms.", 3),
        ({"fast_ms": 0.0, "catch_pass": 0}, "A share of left answers", 2),
    ],
)
def test_rules_that_leave_nobody_out_are_not_told(more: dict[str, Any], first: str, n: int) -> None:
    found = rules(Study("s", (ALIKE,), **more))
    assert found[0].startswith(first)
    assert len(found) == n


def test_every_template_is_read_here() -> None:
    """Each page is looked at by some test above; a new one is to be added there."""
    known = {
        "base", "consent", "done", "instructions", "login", "message", "owner", "report", "stop", "trial", "waiting",
        "warning",
    }  # fmt: skip
    assert {path.stem for path in (STATIC.parent / "templates").iterdir()} == known
