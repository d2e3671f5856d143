from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import uvicorn

from qdfeedback import files
from qdfeedback.__main__ import main as from_shell
from qdfeedback.cli import main
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import read_study, write_study
from qdfeedback.feedback.tables import items, trials
from qdfeedback.study.place import open_study
from qdfeedback.study.secrets import VARIABLE, is_owner, key_path
from tests.study.making_test import TEXTS, text_run
from tests.study.plain import plain_study
from tests.study.small_study import STUDY, small_study
from tests.study.visitor import Visitor, site

USAGE = "usage: qdfeedback study {serve,new,export,import,report,delete-rater}"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv(VARIABLE, raising=False)


def told(err: str) -> str:
    """What a command said beside its results, but for what it does now."""
    return "".join(line for line in err.splitlines(keepends=True) if not line.startswith("opening the study in "))


@pytest.fixture
def call(capsys) -> Callable[..., str]:
    """Runs a command that goes well; returns what it printed."""

    def run(*arguments: object) -> str:
        main(["study", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert told(err) == ""
        return out

    return run


@pytest.fixture
def fail(capsys) -> Callable[..., str]:
    """Runs a command that fails; returns the one line that it printed."""

    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            main(["study", *map(str, arguments)])
        out, err = capsys.readouterr()
        err = told(err)
        assert (stopped.value.code, out) == (1, "")
        assert err.startswith("error: ")
        assert err.endswith("\n")
        assert len(err.splitlines()) == 1
        return err.removeprefix("error: ")

    return run


@pytest.fixture
def small(tmp_path: Path) -> Path:
    study = small_study(tmp_path / "small")
    study.store.close()
    return study.folder


def rows(folder: Path, query: sa.Select[Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in open_study(folder).database.rows(query)]


# --- what is no command


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["serve"], 2), (["--help"], 0), (["-h"], 0)])
def test_usage(arguments: list[str], status: int, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == status
    said = capsys.readouterr()
    assert USAGE in (said.err if status else said.out)


@pytest.mark.parametrize("command", ["", "serve", "new", "export", "import", "report", "delete-rater"])
def test_help(command: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["study", *command.split(), "--help"])
    assert stopped.value.code == 0
    assert "usage: qdfeedback study" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        "", "dance", "report", "report a b", "report a --colour red", "serve s --port high", "export a b --format xml",
        "import a b --format trl", "new", "delete-rater s", "new s r --sets many",
    ],
)  # fmt: skip
def test_arguments_of_no_command(arguments: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["study", *arguments.split()])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    "command",
    [("serve", "{}"), ("export", "{}", "{}/out"), ("import", "{}", "x"), ("report", "{}"), ("delete-rater", "{}", "r")],
    ids=lambda command: command[0],
)
class TestNoStudy:
    def test_no_folder(self, command, fail, tmp_path: Path) -> None:
        folder = tmp_path / "nothing"
        assert fail(*(word.format(folder) for word in command)).startswith(f"there is no folder {folder}; ")
        assert not folder.exists()

    def test_no_study_in_it(self, command, fail, tmp_path: Path) -> None:
        assert "holds no study: there is no study.json in it" in fail(*(word.format(tmp_path) for word in command))
        assert not [path for path in tmp_path.iterdir() if path.name != "state"]

    def test_a_run_that_asks_no_people(self, command, fail, tmp_path: Path) -> None:
        files.write_json(tmp_path / "settings.json", {"format": 1, "settings": {}})
        assert "is a run that asks no people: start it with" in fail(*(word.format(tmp_path) for word in command))

    def test_no_database(self, command, fail, tmp_path: Path) -> None:
        write_study(tmp_path, STUDY)
        line = fail(*(word.format(tmp_path) for word in command))
        assert "has no judgments.db: name the study's database with --database" in line

    def test_a_database_that_is_none(self, command, fail, tmp_path: Path) -> None:
        write_study(tmp_path, STUDY)
        (tmp_path / "judgments.db").write_bytes(b"this is no database" * 100)
        line = fail(*(word.format(tmp_path) for word in command))
        assert "cannot open the judgment store" in line
        assert "file is not a database" in line

    def test_a_password_that_was_not_kept(self, command, fail, tmp_path: Path) -> None:
        write_study(tmp_path, STUDY)
        settings = {"database": "postgresql+psycopg://me:***@db/x"}
        files.write_json(tmp_path / "settings.json", {"format": 1, "settings": settings})
        assert "the run folder does not keep its password" in fail(*(word.format(tmp_path) for word in command))


def test_a_server_that_is_not_there(small: Path, fail) -> None:
    pytest.importorskip("psycopg")
    line = fail("report", small, "--database", "postgresql+psycopg://me:secret@127.0.0.1:1/x")
    assert "cannot open the judgment store postgresql+psycopg://me:***@127.0.0.1:1/x" in line


def test_a_database_that_is_not_there(small: Path, fail, tmp_path: Path) -> None:
    fail("report", small, "--database", tmp_path / "typo.db")


# --- new


def test_a_study_of_everything(call, tmp_path: Path) -> None:
    a, b = text_run(tmp_path / "a"), text_run(tmp_path / "b", [f"{text}!" for text in TEXTS])
    out = call(
        "new", tmp_path / "s", a, f"other={b}", "--sets", 2, "--grid", 2, "--pairs", 3, "--triplets", 4, "--ratings",
        5, "--labels", 6, "--options", "sad", "idle", "--title", "Stories", "--raters-per-trial", 2,
        "--trials-per-rater", 9, "--max-raters", 7, "--seed", 3,
    )  # fmt: skip
    n = 2 * 2 + 3 + 4 + 2 * 5 + 2 * 6
    assert out.splitlines() == [
        f"{n} trials about 2 runs: change {tmp_path}/s/study.json as you like, then",
        f"qdfeedback study serve {tmp_path}/s",
    ]
    study = read_study(tmp_path / "s")
    assert [question.name for question in study.questions] == [
        "prefer", "diverse", "better", "alike", "quality", "kind",
    ]  # fmt: skip
    assert study.question("kind").options == ("sad", "idle")
    assert (study.study_id, study.title, study.seed, study.practice) == ("s", "Stories", 3, 6)
    assert (study.raters_per_trial, study.trials_per_rater, study.max_raters) == (2, 9, 7)
    assert study.sources == {str(a): str(a), "other": str(b)}
    found = rows(tmp_path / "s", sa.select(trials).where(trials.c.kind == "main"))
    assert len(found) == n
    sources = {row["source"] for row in rows(tmp_path / "s", sa.select(items))}
    assert sources == {"a", "other", None}


def test_every_command_on_one_study(call, tmp_path: Path) -> None:
    """From a run to a report, and a person taken out again."""
    folder = tmp_path / "s"
    call("new", folder, text_run(tmp_path / "a"), "--pairs", 3, "--ratings", 4)
    _, app = site(folder)
    for person in ("one", "two"):
        visitor = Visitor(app).join(PROLIFIC_PID=person)
        visitor.answer_all(lambda form: form.buttons[0][1])
        assert visitor.where == "/done"
    n = len(Store(folder / "judgments.db").records("s"))
    assert call("report", folder).startswith(f"2 people, {n - 4} answers: ")
    assert call("export", folder, tmp_path / "out") == f"{n} records in {tmp_path}/out\n"
    assert call("import", folder, tmp_path / "out") == f"0 new answers, {n} known already, 0 refused\n"
    assert call("delete-rater", folder, "one").startswith(f"{n // 2} answers removed; report.json removed")
    assert call("report", folder).startswith(f"1 person, {n // 2 - 2} answers: ")


def test_texts_with_a_word_of_a_list_are_marked(call, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("sad\n\n  Gloomy\n")
    run = text_run(tmp_path / "a", ["A SAD day", "a sadder day", "sad", "gloomy?", "a day", "it's-sad"])
    call(
        "new", tmp_path / "s", run, "--ratings", 6, "--sensitive", "Some are sad.", "--sensitive-words",
        tmp_path / "words",
    )  # fmt: skip
    place = open_study(tmp_path / "s")
    found = {
        place.shown.text(row["content"]): row["sensitive"]
        for row in rows(tmp_path / "s", sa.select(items))
        if row["source"]
    }
    assert found == {"A SAD day": 1, "a sadder day": None, "sad": 1, "gloomy?": 1, "a day": None, "it's-sad": 1}
    assert place.study.sensitive == "Some are sad."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{}/a", "a study needs --sets, --pairs, --triplets, --ratings or --labels"),
        ("{}/a --sets 1", "sets are compared between methods: name at least two runs with different labels"),
        ("{}/a {}/b --sets 1 --grid 9", "a has 30 elites, fewer than the 81 of a set"),
        ("{}/a --ratings 31", "a has 30 elites, fewer than the 31 wanted"),
        ("{}/a --labels 2", "name two or more with --options"),
        ("{}/a --labels 2 --options a skip", "question 'kind' has an option that would be taken for the skip button"),
        ("{}/a --pairs 1 --trials-per-rater 0", "--trials-per-rater must be at least 1, got 0"),
        ("{}/nothing --pairs 1", "nothing holds no finished run: there is no archive.npz in it"),
        ("x/y={}/a --pairs 1", "a label must be a word without slashes, got 'x/y'"),
        ("{}/a --pairs 1 --sensitive-words {}/words", "--sensitive-words needs --sensitive"),
        ("{}/a --pairs 1 --sensitive x --sensitive-words {}/none", "there is no file"),
        ("{}/a --pairs 1 --sensitive x --sensitive-words {}/empty", "empty holds no words"),
        pytest.param(
            "{}/a --pairs 1 --database mysql://x", "judgment store",

        ),
    ],
)  # fmt: skip
def test_studies_that_cannot_be_made(fail, call, tmp_path: Path, arguments: str, message: str) -> None:
    text_run(tmp_path / "a")
    text_run(tmp_path / "b")
    (tmp_path / "words").write_text("sad")
    (tmp_path / "empty").write_text(" \n")
    assert message in fail("new", tmp_path / "s", *(one.replace("{}", str(tmp_path)) for one in arguments.split()))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("wanted", ["--pairs", "--triplets", "--ratings"])
def test_a_study_of_no_run(fail, tmp_path: Path, wanted: str) -> None:
    assert "run" in fail("new", tmp_path / "s", wanted, 1)


def test_a_study_is_not_made_twice(fail, call, tmp_path: Path) -> None:
    text_run(tmp_path / "a")
    call("new", tmp_path / "s", tmp_path / "a", "--pairs", 2)
    before = {path: path.read_bytes() for path in (tmp_path / "s/shown").iterdir()}
    settings = (tmp_path / "s/study.json").read_bytes()
    assert "s is not empty: name another folder" in fail("new", tmp_path / "s", tmp_path / "a", "--pairs", 2)
    assert {path: path.read_bytes() for path in (tmp_path / "s/shown").iterdir()} == before
    assert (tmp_path / "s/study.json").read_bytes() == settings


def test_a_study_in_the_folder_one_stands_in(call, tmp_path: Path, monkeypatch) -> None:
    text_run(tmp_path / "a")
    (tmp_path / "s").mkdir()
    monkeypatch.chdir(tmp_path / "s")
    call("new", ".", "../a", "--pairs", 2)
    assert read_study(tmp_path / "s").study_id == "s"


# --- export and import


@pytest.mark.parametrize("fmt", ["jsonl", "csv", "parquet"])
def test_answers_go_out_and_come_in(call, small: Path, tmp_path: Path, fmt: str) -> None:
    assert call("export", small, tmp_path / "out", "--format", fmt) == f"9 records in {tmp_path}/out\n"
    other = tmp_path / "other"
    write_study(other, STUDY)
    Store(other / "judgments.db").close()
    take = ("import", other, tmp_path / "out", "--format", fmt)
    assert call(*take) == "9 new answers, 0 known already, 0 refused\n"
    assert call(*take) == "0 new answers, 9 known already, 0 refused\n"
    assert len(Store(other / "judgments.db").records("s-1")) == 9


def test_an_export_for_publication_names_nobody(call, small: Path, tmp_path: Path) -> None:
    call("export", small, tmp_path / "out", "--public")
    text = "".join(path.read_text() for path in (tmp_path / "out").iterdir() if path.is_file())
    assert "8f3a" not in text
    assert "SECRETCODE" not in text
    assert "/home/me" not in text
    assert json.loads((tmp_path / "out/export.json").read_text())["public"] is True


def test_training_data_goes_into_a_file(call, small: Path, tmp_path: Path) -> None:
    out = call("export", small, tmp_path / "pairs.jsonl", "--format", "trl")
    assert out == f"1 record in {tmp_path}/pairs.jsonl\n"
    assert len((tmp_path / "pairs.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("fmt", ["jsonl", "csv", "parquet"])
def test_an_export_before_anybody_has_answered_says_so(call, tmp_path: Path, fmt: str) -> None:
    plain_study(tmp_path / "s")
    out = call("export", tmp_path / "s", tmp_path / "out", "--format", fmt)
    assert out == f"nobody has answered yet: {tmp_path}/out holds the study alone\n"


@pytest.mark.parametrize("fmt", ["jspsych", "label-studio", "potato"])
def test_questions_that_are_none_are_no_export(fail, tmp_path: Path, fmt: str) -> None:
    write_study(tmp_path / "s", STUDY)
    Store(tmp_path / "s/judgments.db").close()
    assert fail("export", tmp_path / "s", tmp_path / "out", "--format", fmt)


def test_one_is_told_as_one(call, tmp_path: Path) -> None:
    assert call("new", tmp_path / "s", text_run(tmp_path / "a"), "--pairs", 1).startswith("1 trial about 1 run: ")
    _, app = site(tmp_path / "s")
    visitor = Visitor(app).join(PROLIFIC_PID="one")
    visitor.get("/task")
    visitor.answer("left")
    assert call("export", tmp_path / "s", tmp_path / "out") == f"1 record in {tmp_path}/out\n"
    assert call("delete-rater", tmp_path / "s", "one").startswith("1 answer removed\n")


def test_an_export_overwrites_nothing(fail, small: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("mine")
    assert "out is there already: an export goes into a new folder" in fail("export", small, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def edited(folder: Path, *changes: Callable[[dict[str, Any]], None]) -> Path:
    """Changes exported answers one by one, and leaves the rest out."""
    path = folder / "responses.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()][: len(changes)]
    for record, change in zip(found, changes, strict=True):
        change(record)
    path.write_text("".join(json.dumps(record) + "\n" for record in found))
    return path


def test_what_is_refused_is_named_and_the_rest_is_taken(call, small: Path, tmp_path: Path, capsys) -> None:
    call("export", small, tmp_path / "out")
    path = edited(tmp_path / "out", lambda record: record.update(rater_id="new"), lambda r: r.update(trial_id="t?"))
    main(["study", "import", str(small), str(path)])
    out, err = capsys.readouterr()
    assert out == "1 new answer, 0 known already, 1 refused\n"
    assert re.fullmatch(r"refused: .*the study has no trial 't\?'\n", err)


def test_where_nothing_is_taken_the_status_says_so(call, small: Path, tmp_path: Path, capsys) -> None:
    call("export", small, tmp_path / "out")
    path = edited(tmp_path / "out", lambda record: record.update(trial_id="t?"))
    with pytest.raises(SystemExit) as stopped:
        main(["study", "import", str(small), str(path)])
    out, err = capsys.readouterr()
    assert stopped.value.code == 1
    assert out == "0 new answers, 0 known already, 1 refused\n"
    assert [line.partition(":")[0] for line in err.splitlines()] == ["refused", "error"]


def test_a_file_without_answers_is_no_success(small: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(SystemExit) as stopped:
        main(["study", "import", str(small), str(tmp_path / "empty.jsonl")])
    assert stopped.value.code == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/empty.jsonl holds no answers\n"


@pytest.mark.parametrize(
    ("fmt", "content"),
    [
        ("jsonl", None), ("jsonl", "no json\n"), ("csv", "a,b\n1,2\n"), ("parquet", "none"), ("jspsych", "[{"),
        ("label-studio", "{}"), ("potato", None),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_taken_in(fail, small: Path, tmp_path: Path, fmt: str, content: str | None) -> None:
    path = tmp_path / "given"
    if content is not None:
        path.write_text(content)
    assert fail("import", small, path, "--format", fmt)
    assert len(Store(small / "judgments.db").records("s-1")) == 9


# --- report


def test_a_report(call, small: Path, tmp_path: Path) -> None:
    assert call("report", small) == f"2 people, 8 answers: {small}/report.html and report.json\n"
    found = json.loads((small / "report.json").read_text())
    assert found["answers"]["total"] == 9
    assert [question["name"] for question in found["questions"]] == ["alike", "better", "grade", "mood"]
    text = (small / "report.html").read_text()
    assert "A &lt;study&gt;" in text
    assert "<script" not in text
    out = tmp_path / "not/there/yet"
    assert call("report", small, "--out", out) == f"2 people, 8 answers: {out}/report.html and report.json\n"
    assert json.loads((out / "report.json").read_text()) == found


def test_a_report_before_anybody_has_answered(call, tmp_path: Path) -> None:
    plain_study(tmp_path / "s")
    assert call("report", tmp_path / "s").startswith("0 people, 0 answers: ")
    assert "There are no answers of people yet." in json.loads((tmp_path / "s/report.json").read_text())["notes"]


# --- delete-rater


def fitted(folder: Path, refits: dict[str, int], models: str) -> None:
    files.write_json(folder / "refits.json", refits)
    (folder / "models").mkdir()
    for name in models.split():
        (folder / "models" / f"{name}.npz").write_bytes(b"")


@pytest.mark.parametrize(
    ("rater", "answers", "models"),
    [
        ("8f3a", 5, "axes-000010 axes-000020 taste-000020 axes-000030 axes-1000040"),
        ("77bc", 3, "axes-000020 taste-000020 axes-000030 axes-1000040"),
    ],
)
def test_the_models_that_learned_from_a_person_are_named(
    call, small: Path, rater: str, answers: int, models: str
) -> None:
    first = min(row["id"] for row in Store(small / "judgments.db").records("s-1") if row["annotator_id"] == rater)
    assert first == {"8f3a": 1, "77bc": 4}[rater]
    noted = {"axes-000001": 0, "10": 3, "axes-000030": 9, "20": 4, "axes-000025": 6, "axes-1000040": 9}
    noted |= {"taste-000010": 0, "taste-000020": 4}
    fitted(
        small,
        noted,
        "axes-000001 axes-000010 taste-000010 axes-000020 taste-000020 axes-000030 axes-1000040 axes-000099",
    )
    lines = call("delete-rater", small, rater).splitlines()
    assert lines == [
        f"{answers} answers removed",
        "trained with some of them, and not changed by this:",
        *(f"  {small}/models/{model}.npz" for model in models.split()),
        "exports and models elsewhere are not known here",
    ]
    assert len(Store(small / "judgments.db").records("s-1")) == 9 - answers
    assert (small / "models/axes-000010.npz").exists()


@pytest.mark.parametrize("refits", [None, {"1": 0, "10": 3}])
def test_where_no_model_learned_from_a_person_none_is_named(call, small: Path, refits) -> None:
    if refits is not None:
        fitted(small, refits, "axes-000001 axes-000010")
    assert call("delete-rater", small, "77bc").splitlines() == [
        "3 answers removed", "exports and models elsewhere are not known here",
    ]  # fmt: skip


def test_a_person_is_found_by_the_id_on_their_platform(call, fail, tmp_path: Path) -> None:
    plain_study(tmp_path / "s")
    place, app = site(tmp_path / "s")
    for person in ("keeps", "goes"):
        visitor = Visitor(app).join(PROLIFIC_PID=person)
        visitor.get("/task")
        for _ in range(4):
            visitor.answer("left")
            visitor.get("/task")
    assert call("delete-rater", tmp_path / "s", "goes").startswith("4 answers removed\n")
    tables = ("judgments", "raters", "identities", "assignments")
    left = {name: place.database.value(sa.text(f"SELECT count(*) FROM {name}")) for name in tables}
    assert (left["judgments"], left["raters"], left["identities"]) == (4, 1, 1)
    assert place.database.value(sa.text("SELECT count(*) FROM tombstones")) == 1
    assert "goes" not in (tmp_path / "s/study.json").read_text()
    assert "study s has no rater 'goes'" in fail("delete-rater", tmp_path / "s", "goes")


@pytest.mark.parametrize("rater", ["nobody", "oracle-1", ""])
def test_whom_the_study_does_not_know(fail, small: Path, rater: str) -> None:
    assert f"study s-1 has no rater {rater!r}" in fail("delete-rater", small, rater)
    assert len(Store(small / "judgments.db").records("s-1")) == 9


# --- serve


@pytest.fixture
def unserved(monkeypatch) -> None:
    """Does all that serving does up to where it would listen, as in the foreground, where these tests may not be."""

    def close(self: uvicorn.Server, sockets: list[socket.socket]) -> None:
        for listening in sockets:
            listening.close()

    monkeypatch.setattr(uvicorn.Server, "run", close)
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)


def token_in(out: str) -> str | None:
    found = re.search(r"your own pages: http://\S+/owner, token (\S+) \(it is shown only now\)", out)
    return found[1] if found else None


@pytest.mark.usefixtures("unserved")
def test_the_owners_token_is_shown_once(call, tmp_path: Path) -> None:
    plain_study(tmp_path / "s", title="Pictures")
    serve = ("serve", tmp_path / "s", "--port", 0)
    first = call(*serve)
    assert re.match(r"Pictures: people answer at http://127\.0\.0\.1:\d+/\n", first)
    token = token_in(first)
    assert token
    again = call(*serve)
    assert token_in(again) is None
    assert "/owner (lost the token? --new-token)" in again
    database = open_study(tmp_path / "s").database
    assert is_owner(database, "s", token)
    fresh = token_in(call(*serve, "--new-token"))
    assert fresh
    assert is_owner(database, "s", fresh)
    assert not is_owner(database, "s", token)


@pytest.mark.usefixtures("unserved")
def test_the_address_people_reach_it_under(call, tmp_path: Path) -> None:
    plain_study(tmp_path / "s")
    out = call("serve", tmp_path / "s", "--port", 0, "--public-url", "https://study.example.org")
    assert "people answer at https://study.example.org/\n" in out
    assert "your own pages: https://study.example.org/owner, token" in out


@pytest.mark.usefixtures("unserved")
def test_the_address_may_end_in_a_slash(call, tmp_path: Path) -> None:
    plain_study(tmp_path / "s")
    out = call("serve", tmp_path / "s", "--port", 0, "--public-url", "https://study.example.org/")
    assert "people answer at https://study.example.org/\n" in out


@pytest.mark.usefixtures("unserved")
def test_the_key_stays_out_of_the_folder(call, tmp_path: Path) -> None:
    plain_study(tmp_path / "s")
    token = token_in(call("serve", tmp_path / "s", "--port", 0))
    key = key_path("s")
    assert key.is_relative_to(tmp_path / "state")
    assert key.stat().st_mode & 0o077 == 0
    for path in (tmp_path / "s").rglob("*"):
        if path.is_file():
            assert key.read_bytes() not in path.read_bytes()
            assert token.encode() not in path.read_bytes()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_is_taken(fail, tmp_path: Path, host: str) -> None:
    plain_study(tmp_path / "s")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        taken = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("there is no such address here")
    with taken:
        port = taken.getsockname()[1]
        line = fail("serve", tmp_path / "s", "--host", host, "--port", port)
    assert line == f"cannot listen on {host}:{port}: Address already in use; choose another with --port\n"
    assert not open_study(tmp_path / "s").database.rows(sa.text("SELECT * FROM owners")), "the token is not spent"


def test_an_address_that_is_not_here(fail, tmp_path: Path) -> None:
    plain_study(tmp_path / "s")
    assert "cannot listen on 192.0.2.1:" in fail("serve", tmp_path / "s", "--host", "192.0.2.1", "--port", 0)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_cannot_be(fail, tmp_path: Path, port: int) -> None:
    plain_study(tmp_path / "s")
    assert "port" in fail("serve", tmp_path / "s", "--port", port)


def test_a_key_that_is_too_short(fail, tmp_path: Path, monkeypatch) -> None:
    plain_study(tmp_path / "s")
    monkeypatch.setenv(VARIABLE, "short")
    assert f"{VARIABLE} must have at least 16 characters" in fail("serve", tmp_path / "s", "--port", 0)


def test_who_stops_it_sees_no_traceback(tmp_path: Path, monkeypatch, capsys) -> None:
    plain_study(tmp_path / "s")

    def stop(self: uvicorn.Server, sockets: list[socket.socket]) -> None:
        sockets[0].close()
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", stop)
    stopped = None
    try:
        main(["study", "serve", str(tmp_path / "s"), "--port", "0"])
    except (KeyboardInterrupt, SystemExit) as error:  # the first would stop the tests
        stopped = error
    assert stopped is None, "this is how serving ends"
    assert told(capsys.readouterr().err) == "stopped\n"


def test_serve_says_what_it_does_before_anything_is_loaded(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "qdfeedback.study.place", None)  # cannot be imported
    with pytest.raises(SystemExit):
        main(["study", "serve", str(tmp_path)])
    assert capsys.readouterr().err.startswith(f"opening the study in {tmp_path}; its address comes in")


def test_who_stops_another_command_gets_a_status_that_says_so(small: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("qdfeedback.study.exchange.exports.export", _stop)
    with pytest.raises(SystemExit) as stopped:
        main(["study", "export", str(small), str(small / "out")])
    assert (stopped.value.code, *capsys.readouterr()) == (130, "", "stopped\n")


@pytest.mark.parametrize("module", ["qdfeedback.cli", "tyro"])
def test_who_stops_it_while_modules_load_sees_no_traceback(module: str, monkeypatch, capsys) -> None:
    class Stopping:
        find_spec = staticmethod(lambda name, *_: _stop() if name == module else None)

    for name in ("qdfeedback.cli", "tyro"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Stopping, *sys.meta_path])
    with pytest.raises(SystemExit) as stopped:
        from_shell()
    assert (stopped.value.code, *capsys.readouterr()) == (130, "", "stopped\n")


def _stop(*_, **__) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    plain_study(tmp_path / "s")
    command = [sys.executable, "-m", "qdfeedback", "study", "serve", str(tmp_path / "s"), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def first_page(url: str) -> httpx.Response:
    for _ in range(200):
        try:
            return httpx.get(url)
        except httpx.ConnectError:  # it says where before it listens
            time.sleep(0.05)
    raise AssertionError(f"nobody listens at {url}")


def test_served_in_a_process_of_its_own(server: subprocess.Popen[str], fail, tmp_path: Path) -> None:
    assert server.stdout is not None
    lines = [server.stdout.readline() for _ in range(2)]
    address = re.search(r"people answer at (http://127\.0\.0\.1:(\d+)/)\n", lines[0])
    token = token_in(lines[1])
    assert address
    assert token
    page = first_page(address[1])
    assert page.status_code == 200
    assert "What do you find more similar?" in page.text
    assert "server" not in page.headers
    with httpx.Client(base_url=address[1], timeout=60) as owner:
        assert owner.get("owner").status_code == 401
        assert owner.post("owner-login", data={"token": "guess"}).status_code == 401
        assert owner.post("owner-login", data={"token": token}).status_code == 303
        assert owner.get("owner").status_code == 200
        assert owner.get("report.json").json()["answers"]["total"] == 0
    line = fail("serve", tmp_path / "s", "--port", address[2])
    assert f"cannot listen on 127.0.0.1:{address[2]}: Address already in use" in line
    os.kill(server.pid, signal.SIGINT)
    out, err = server.communicate(timeout=30)
    assert out == ""
    assert told(err) == "stopped\n"
