from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qdfeedback.feedback.study import (
    CONSENT,
    FORMAT,
    TASKS,
    Question,
    Study,
    live_study,
    read_study,
    similarity_study,
    write_study,
)  # fmt: skip

BETTER = Question("better", "pair", "Which is better?", tie=True)
GRADE = Question("grade", "rating", "How good? é 🙂 <b>", scale=(0, 10), ends=("bad", 'very "good"'))
MOOD = Question("mood", "label", "Which mood?", options=("happy", "sad"))
PLAIN = Study("s", (BETTER,))
FULL = Study(
    "a study/1", (Question("alike", "triplet", "Which is more alike?"), BETTER, GRADE, MOOD), title="Titel ü",
    instructions="Look.\nThen answer.", consent="You agree.", seed=7, raters_per_trial=5, trials_per_rater=12,
    max_raters=30, catch_per_rater=4, catch_pass=3, repeats=0.25, repeat_gap=3, practice=1, lease_minutes=2.5,
    skip=False, sensitive="Some are sad.", live=True, fast_ms=300.0, completion_code="C0DE",
    completion_url="https://example.org/?cc={code}", mturk=True, retention="2030-01-01", sources={"a": "runs/a"},
)  # fmt: skip


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Study]:
    """Reads a study whose file somebody has edited."""

    def edit(change: Callable[[dict[str, Any]], Any]) -> Study:
        write_study(tmp_path, FULL)
        content = json.loads((tmp_path / "study.json").read_text())
        change(content)
        (tmp_path / "study.json").write_text(json.dumps(content))
        return read_study(tmp_path)

    return edit


# --- what is written is read


@pytest.mark.parametrize("study", [PLAIN, FULL], ids=["plain", "full"])
def test_what_is_written_is_read(study: Study, tmp_path: Path) -> None:
    write_study(tmp_path / "new", study)
    assert read_study(tmp_path / "new") == study
    first = (tmp_path / "new/study.json").read_bytes()
    write_study(tmp_path / "new", read_study(tmp_path / "new"))
    assert (tmp_path / "new/study.json").read_bytes() == first
    assert json.loads(first)["schema_version"] == FORMAT


def test_a_rule_that_the_file_leaves_out_is_the_usual_one(tmp_path: Path) -> None:
    content = {"schema_version": FORMAT, "study_id": "s", "questions": [{"name": "q", "task": "pair", "text": "?"}]}
    (tmp_path / "study.json").write_text(json.dumps(content))
    assert read_study(tmp_path) == Study("s", (Question("q", "pair", "?"),))


def test_edits_of_the_file_are_read(edited: Callable[..., Study]) -> None:
    assert edited(lambda content: content.update(title="Ω", max_raters=None)) == replace(
        FULL, title="Ω", max_raters=None
    )
    assert edited(lambda content: content["questions"][3].update(options=["a", "b", "c"])).questions[3].options == (
        "a",
        "b",
        "c",
    )


# --- what cannot be read


def test_no_study(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ValueError, match=r"holds no study: there is no study\.json in it"):
            read_study(folder)


@pytest.mark.parametrize("version", [None, 0, FORMAT + 1, str(FORMAT), True, [FORMAT]])
def test_another_version(edited: Callable[..., Study], version) -> None:
    said = re.escape(f"study.json has schema version {version!r}, this version reads {FORMAT}")
    with pytest.raises(ValueError, match=said):
        edited(lambda content: content.update(schema_version=version))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("[1]", "must hold an object, it holds a list"), ('"text"', "it holds a string"), ("null", "it holds nothing"),
        ("3", "it holds a number"), ("{}", "has schema version None"), ("[" * 100_000, "nested too deeply"),
        ('{"schema_version": 1, "title": "a", "title": "b"}', "'title' stands twice in one object"),
    ],
)  # fmt: skip
def test_json_that_is_no_study(content: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(ValueError, match=rf"study\.json.*{found}"):
        read_study(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_file_that_an_editor_saved_in_its_own_way(encoding: str, tmp_path: Path) -> None:
    write_study(tmp_path, FULL)
    text = json.dumps(json.loads((tmp_path / "study.json").read_text()), ensure_ascii=False, indent=1)
    (tmp_path / "study.json").write_bytes(text.replace("\n", "\r\n").encode(encoding))
    assert read_study(tmp_path) == FULL


def test_what_is_wrong_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_bytes('{\n"schema_version": 1,\n"title": "Größe"}'.encode("cp1252"))
    with pytest.raises(ValueError, match=r"study\.json, line 3: byte 0xf6 is not UTF-8; in Windows-1252 .*Größe"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text('{\n"schema_version": 1,\n"title": "a"\n"live": true}')
    with pytest.raises(ValueError, match=r"study\.json, line 4: not JSON: expecting ',' delimiter"):
        read_study(tmp_path)


def test_a_torn_file_is_named_wherever_it_is_torn(tmp_path: Path) -> None:
    write_study(tmp_path, PLAIN)
    whole = (tmp_path / "study.json").read_bytes().rstrip()
    for end in range(0, len(whole), 37):
        (tmp_path / "study.json").write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"study\.json(, line \d+: not JSON| is empty)"):
            read_study(tmp_path)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ValueError, match=r"study\.json"):
        read_study(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.pop("questions"), "it has no 'questions'"),
        (lambda content: content.pop("study_id"), "it has no 'study_id'"),
        (lambda content: content.update(colour="red"), "it has an unknown field 'colour'"),
        (lambda content: content.update(max_rater=3), "it has an unknown field 'max_rater': is 'max_raters' meant"),
        (lambda content: content.update(questions=None), "questions must be a list of objects, got None"),
        (lambda content: content.update(questions=5), "questions must be a list of objects, got 5"),
        (lambda content: content.update(questions="alike"), "questions must be a list of objects, got 'alike'"),
        (lambda content: content.update(questions={"name": "a"}), "questions must be a list of objects, got {'name'"),
        (lambda content: content.update(questions=["alike"]), "question 1 must be an object with name, task, text"),
        (lambda content: content.update(questions=[[]]), "question 1 must be an object with name, task, text"),
        (lambda content: content["questions"][0].pop("text"), "question 1 has no 'text'"),
        (lambda content: content["questions"][1].update(colour="red"), "question 2 has an unknown field 'colour'"),
        (lambda content: content["questions"].append(
            {"name": "lines", "task": "label", "text": "?", "options": ["a\nb", "c"]}
        ), "question 5: question 'lines' has an option of several lines"),
    ],
)  # fmt: skip
def test_settings_of_no_study(edited: Callable[..., Study], change, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"study.json is not a study of this version: {said}")):
        edited(change)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"trials_per_rater": 2.5}, "trials_per_rater must be a whole number, got 2.5"),
        ({"trials_per_rater": "many"}, "trials_per_rater must be a whole number, got 'many'"),
        ({"trials_per_rater": [40]}, "trials_per_rater must be a whole number, got [40]"),
        ({"catch_per_rater": True}, "catch_per_rater must be a whole number, got True"),
        ({"max_raters": "3"}, "max_raters must be a whole number, got '3'"),
        ({"max_raters": False}, "max_raters must be a whole number, got False"),
        ({"lease_minutes": "30"}, "lease_minutes must be a number, got '30'"),
        ({"repeats": None}, "repeats must be a number, got None"),
        ({"repeats": True}, "repeats must be a number, got True"),
        ({"skip": "no"}, "skip must be true or false, got 'no'"),
        ({"live": 1}, "live must be true or false, got 1"),
        ({"seed": "a"}, "seed must be a whole number, got 'a'"),
        ({"title": None}, "title must be a string, got None"),
        ({"title": ["a"]}, "title must be a string, got ['a']"),
        ({"consent": {}}, "consent must be a string, got {}"),
        ({"study_id": 7}, "study_id must be a string, got 7"),
        ({"study_id": " "}, "study_id must not be empty"),
        ({"sources": None}, "sources must be an object of strings, got None"),
        ({"sources": ["runs/a"]}, "sources must be an object of strings, got ['runs/a']"),
        ({"sources": {"a": 1}}, "each of sources must be a string, got 1"),
        ({"title": "a\0b"}, "title has a character that is none"),
        ({"consent": "\ud800"}, "consent has a character that is none"),
        ({"seed": -1}, "seed must be between 0 and"),
        ({"seed": 10**30}, "seed must be between 0 and"),
        ({"trials_per_rater": 10**30}, "trials_per_rater must be between 1 and 1000000, got 1000000000000000000"),
        ({"fast_ms": float("inf")}, "fast_ms must be finite and between 0 and 3600000, got inf"),
        ({"fast_ms": float("nan")}, "fast_ms must be finite and between 0 and 3600000, got nan"),
        ({"lease_minutes": 10**400}, "lease_minutes must be above 0 and below 1000000.0, got 1000"),
    ],
    ids=str,
)  # fmt: skip
def test_settings_of_another_type(edited: Callable[..., Study], rules: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"study.json is not a study of this version: {said}")):
        edited(lambda content: content.update(rules))


@pytest.mark.parametrize(
    ("number", "rules", "said"),
    [
        (1, {"name": 3}, "name must be a string, got 3"),
        (1, {"name": ""}, "name must not be empty"),
        (1, {"text": None}, "text must be a string, got None"),
        (1, {"text": "\n"}, "text must not be empty"),
        (1, {"task": ["pair"]}, "task must be a string, got ['pair']"),
        (2, {"tie": "no"}, "tie must be true or false, got 'no'"),
        (3, {"scale": []}, "scale must be a list of 2 whole numbers, got []"),
        (3, {"scale": [1]}, "scale must be a list of 2 whole numbers, got [1]"),
        (3, {"scale": [1, 2, 3]}, "scale must be a list of 2 whole numbers, got [1, 2, 3]"),
        (3, {"scale": "15"}, "scale must be a list of 2 whole numbers, got '15'"),
        (3, {"scale": 5}, "scale must be a list of 2 whole numbers, got 5"),
        (3, {"scale": ["a", "b"]}, "each of scale must be a whole number, got 'a'"),
        (3, {"scale": [1.0, 5.0]}, "each of scale must be a whole number, got 1.0"),
        (3, {"scale": [False, True]}, "each of scale must be a whole number, got False"),
        (3, {"scale": [10**30, 10**30 + 1]}, "scale must be between -1000 and 1000, got 1000"),
        (3, {"ends": ["bad"]}, "ends must be a list of 2 strings, got ['bad']"),
        (3, {"ends": "bad"}, "ends must be a list of 2 strings, got 'bad'"),
        (3, {"ends": [1, 5]}, "each of ends must be a string, got 1"),
        (4, {"options": "happy"}, "options must be a list of strings, got 'happy'"),
        (4, {"options": "happy,sad"}, "options must be a list of strings, got 'happy,sad'"),
        (4, {"options": {"happy": 1, "sad": 2}}, "options must be a list of strings, got {'happy': 1, 'sad': 2}"),
        (4, {"options": [1, 2]}, "each of options must be a string, got 1"),
        (4, {"options": [["happy"], ["sad"]]}, "each of options must be a string, got ['happy']"),
    ],
    ids=str,
)  # fmt: skip
def test_questions_of_another_type(edited: Callable[..., Study], number: int, rules: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"not a study of this version: question {number}: {said}")):
        edited(lambda content: content["questions"][number - 1].update(rules))


# --- what cannot work


def unchecked(question: Question, **rules: Any) -> Question:
    """A question as a file may have it."""
    found = object.__new__(Question)
    vars(found).update(vars(question) | rules)
    return found


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"questions": ()}, r"questions must have names of their own, got \[\]|of this version: questions"),
        ({"questions": (BETTER, BETTER)}, r"names of their own, got \['better', 'better'\]"),
        ({"questions": (unchecked(BETTER, task="odd"),)}, r"task must be one of \('triplet', .*\), got 'odd'"),
        ({"questions": (unchecked(MOOD, options=()),)}, "question 'mood' needs at least two options"),
        ({"questions": (unchecked(MOOD, options=("happy",)),)}, "question 'mood' needs at least two options"),
        ({"questions": (unchecked(MOOD, options=("happy", "skip")),)}, "'mood' has an option that would be taken for"),
        ({"questions": (unchecked(GRADE, scale=(3, 3)),)}, r"'grade' needs a scale of 2 to 11 steps, got \(3, 3\)"),
        ({"questions": (unchecked(GRADE, scale=(5, 1)),)}, r"'grade' needs a scale of 2 to 11 steps, got \(5, 1\)"),
        ({"questions": (unchecked(GRADE, scale=(0, 11)),)}, r"'grade' needs a scale of 2 to 11 steps, got \(0, 11\)"),
        ({"raters_per_trial": 0}, "raters_per_trial must be between 1 and 1000000, got 0"),
        ({"trials_per_rater": 0}, "trials_per_rater must be between 1 and 1000000, got 0"),
        ({"repeats": -0.1}, r"repeats must be between 0 and 1, got -0\.1"),
        ({"repeats": 1.5}, r"repeats must be between 0 and 1, got 1\.5"),
        ({"repeats": float("nan")}, "repeats must be finite and between 0 and 1, got nan"),
        ({"completion_url": "javascript:alert(1)"}, "completion_url must begin with https://, got 'javascript"),
        ({"completion_url": "example.org"}, "completion_url must begin with https://, got 'example.org'"),
    ],
)
def test_settings_that_cannot_work(rules: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **(rules | {"questions": tuple(map(replace, rules.get("questions", PLAIN.questions)))}))
    broken = object.__new__(Study)  # as a file may have it
    vars(broken).update(vars(PLAIN) | rules)
    write_study(tmp_path, broken)
    with pytest.raises(ValueError, match=message):
        read_study(tmp_path)


@pytest.mark.parametrize(
    "rules",
    [
        {"catch_per_rater": -1}, {"catch_pass": -1}, {"practice": -1}, {"repeat_gap": -5}, {"lease_minutes": -1.0},
        {"max_raters": -1}, {"study_id": ""},
    ],
    ids=str,
)  # fmt: skip
def test_numbers_that_cannot_work(rules: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        replace(PLAIN, **rules)


@pytest.mark.parametrize("options", [("a", "a"), ("a", ""), ("a", "b" * 600)], ids=["same", "empty", "too long"])
def test_options_that_cannot_be_told_apart_or_sent(options: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="option"):
        replace(PLAIN, questions=(replace(MOOD, options=options),))


@pytest.mark.parametrize(
    "rules",
    [
        {"raters_per_trial": 1, "trials_per_rater": 1}, {"repeats": 0}, {"repeats": 1}, {"catch_per_rater": 0},
        {"questions": (replace(GRADE, scale=(-1, 0)),)}, {"questions": (replace(GRADE, scale=(0, 10)),)},
        {"completion_url": "http://localhost:8000/done"}, {"max_raters": 1}, {"practice": 0},
    ],
    ids=str,
)  # fmt: skip
def test_the_least_and_the_most_that_can_work(rules: dict[str, Any], tmp_path: Path) -> None:
    study = replace(PLAIN, **rules)
    write_study(tmp_path, study)
    assert read_study(tmp_path) == study


# --- questions, agreement, live searches


def test_questions_by_name() -> None:
    assert FULL.question("mood") is MOOD
    with pytest.raises(ValueError, match="study a study/1 asks no question 'taste'"):
        FULL.question("taste")
    assert {question.task for question in FULL.questions} == set(TASKS)


@pytest.mark.parametrize(("scale", "steps"), [((1, 3), "1 2 3"), ((-2, 1), "-2 -1 0 1"), ((0, 1), "0 1")])
def test_steps_of_a_scale(scale: tuple[int, int], steps: str) -> None:
    assert replace(GRADE, scale=scale).steps == tuple(steps.split())


def test_the_hash_tells_which_text_was_agreed_to() -> None:
    assert PLAIN.consent_sha256 == hashlib.sha256(CONSENT.encode()).hexdigest()
    assert FULL.consent_sha256 == hashlib.sha256(b"You agree.").hexdigest()
    assert replace(FULL, title="Another").consent_sha256 == FULL.consent_sha256
    assert replace(FULL, consent="You agree!").consent_sha256 != FULL.consent_sha256


def test_the_study_of_a_live_search() -> None:
    study = similarity_study("r", title="Arms", text="Which is nearer?")
    assert [(question.name, question.task, question.tie) for question in study.questions] == [
        ("similarity", "triplet", False)
    ]
    assert (study.live, study.raters_per_trial, study.trials_per_rater) == (True, 1, 60)
    assert (study.title, study.questions[0].text) == ("Arms", "Which is nearer?")
    other = similarity_study("r", title="Arms", text="?", raters_per_trial=2, seed=4, repeats=0.5)
    assert (other.live, other.raters_per_trial, other.seed, other.repeats) == (True, 2, 4, 0.5)


def test_a_live_search_may_ask_several_questions() -> None:
    study = live_study("r", BETTER, GRADE, title="Arms", seed=3, trials_per_rater=9)
    assert study.questions == (BETTER, GRADE)
    assert (study.live, study.raters_per_trial, study.trials_per_rater, study.seed) == (True, 1, 9, 3)
    assert live_study("r", Question("similarity", "triplet", "?"), title="a") == similarity_study(
        "r", title="a", text="?"
    )
    with pytest.raises(ValueError, match="names of their own"):
        live_study("r", title="Arms")
