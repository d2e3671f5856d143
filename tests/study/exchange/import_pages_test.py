from __future__ import annotations

import base64
import csv
import json
import math
import os
import shutil
from pathlib import Path

import pytest

from qdfeedback.feedback.answers import published
from qdfeedback.feedback.tables import items
from qdfeedback.study.erase import delete_rater, name_on_static_page
from qdfeedback.study.exchange.exports import export
from qdfeedback.study.exchange.imports import Imported, import_answers
from qdfeedback.study.register import Platform, Register
from tests.study.small_study import Small, small_study
from tests.study.visitor import KEY


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_study(tmp_path / "study")


def take(small: Small, path: Path, fmt: str) -> Imported:
    return import_answers(small.folder, small.database, small.study, path, fmt=fmt, key=KEY)


def give(small: Small, out: Path, fmt: str) -> Path:
    export(small.folder, small.database, small.study, out, fmt=fmt)
    return out


def records(small: Small) -> list[dict]:
    return small.store.records(small.study.study_id)


NUMBERS = [1e30, -5, "fast", "nan", "inf", "1e400", True, [917], {"ms": 917}, math.nan, math.inf, 10**400, "1_0"]
TIMES = [
    "noon", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", "2026-13-01", 1_790_000_000, True,
    ["2026-11-20"], {"utc": 1}, "", "2026-11-20T10:00:00\0", "\ud800",
]  # fmt: skip

# --- Label Studio


def label_studio(small: Small, tmp_path: Path) -> Path:
    """The export after two people have answered the pair tasks: the left one, a tie, a cancelled one, …"""
    folder = give(small, tmp_path / "ls", "label-studio") / "2-better"
    tasks = json.loads((folder / "tasks.json").read_text())
    for number, task in enumerate(tasks):
        value = {"choices": [("left", "tie", "right")[number % 3]]}
        result = [{"id": "x", "from_name": "choice", "to_name": "left", "type": "choices", "value": value}]
        done = {"completed_by": 3, "lead_time": 2.5, "created_at": "2026-11-20T10:00:00.5Z", "was_cancelled": False}
        task |= {"id": number, "annotations": [done | {"result": result}]}
    tasks[0]["annotations"].append(done | {"completed_by": {"id": 4, "email": "a@b.c"}, "was_cancelled": True})
    (folder / "answers.json").write_text(json.dumps(tasks))
    return folder / "answers.json"


def test_label_studio_comes_back(small: Small, tmp_path: Path) -> None:
    path = label_studio(small, tmp_path)
    assert take(small, path, "label-studio") == Imported(7, 0, [])
    assert take(small, path, "label-studio") == Imported(0, 7, [])
    found = [row for row in records(small) if row["annotator_id"].startswith("label-studio-")]
    assert {row["annotator_id"] for row in found} == {"label-studio-3", "label-studio-4"}
    assert [row["choice"] for row in found] == ["left", "skip", "tie", "right", "left", "tie", "right"]
    assert found[0]["winner_id"] == found[0]["left_id"]
    assert found[0]["response_ms"] == 2500
    assert found[0]["answered_utc"] == "2026-11-20T10:00:00.500+00:00"
    assert {row["kind"] for row in found} == {"main", "repeat"}
    assert "a@b.c" not in json.dumps(found)


def test_label_studio_pairwise_and_ratings_come_back(small: Small, tmp_path: Path) -> None:
    out = give(small, tmp_path / "ls", "label-studio")
    done = {"completed_by": 3, "lead_time": None, "created_at": "2026-11-20T10:00:00Z"}
    for folder, kind, value, said in (
        ("1-alike", "pairwise", {"selected": "right"}, "right"),
        ("3-grade", "choices", {"choices": ["2"]}, "value"),
        ("3-grade", "rating", {"rating": 2}, "value"),
        ("4-mood", "choices", {"choices": ["sad & blue"]}, "label"),
    ):
        task = json.loads((out / folder / "tasks.json").read_text())[0]
        result = [{"from_name": "choice", "to_name": "choice", "type": kind, "value": value}]
        path = tmp_path / "answers.json"
        path.write_text(json.dumps([task | {"id": 1, "annotations": [done | {"result": result}]}]))
        found = take(small, path, "label-studio")
        assert found.refused == []
        assert records(small)[-1]["choice"] == said


def test_label_studio_foreign_tasks_are_named(small: Small, tmp_path: Path) -> None:
    path = label_studio(small, tmp_path)
    tasks = json.loads(path.read_text())
    tasks[0]["data"]["trial_id"] = "nowhere"
    del tasks[1]["data"]["trial_id"]
    tasks[2]["annotations"][0]["result"] = []
    path.write_text(json.dumps(tasks))
    found = take(small, path, "label-studio")
    assert (found.new, found.known) == (3, 0)
    assert [line.split("answers.json, ")[1] for line in found.refused] == [
        "task 0: the study has no trial 'nowhere'",
        "task 0: the study has no trial 'nowhere'",
        "task 1: the task is not from a study: it has no trial_id",
        "task 2: one result of 'choice' is expected, got 0",
    ]
    tasks[3]["data"]["study_id"] = "s-2"
    path.write_text(json.dumps(tasks))
    with pytest.raises(ValueError, match=r"task 3 belongs to study 's-2'"):
        take(small, path, "label-studio")
    for text, error in (
        ('[{"data": ', r"answers\.json, line 1: not JSON: .*; is the file cut off\?"),
        ('[{"data" 1}]', r"answers\.json, line 1: not JSON: expecting ':' delimiter at column 10, before '1}\]'$"),
        ("", "is empty"),
        ("[" * 50_000, "nested too deeply"),
        ("{}", "must be a Label Studio"),
        ("[]", "must be a Label Studio"),
        ("[3, null]", "must be a Label Studio"),
        ('[{"data": {}}]', "no annotations: export as JSON, not as JSON-MIN"),
        ('[{"data": {}, "annotations": "none"}]', "no annotations: export as JSON, not as JSON-MIN"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=error):
            take(small, path, "label-studio")


ANNOTATIONS = [
    *({"lead_time": value} for value in (*NUMBERS, -1, 1e306)),
    *({"created_at": value} for value in (*TIMES, None)),
    *({"completed_by": value} for value in (None, "3", 3.5, True, [3], {"email": "a@b.c"}, {"id": "3"}, 10**30)),
    *({"result": value} for value in (None, "left", {}, [3], [{}], [{"from_name": "choice"}])),
    *(
        {"result": [{"from_name": "choice", "value": value}]}
        for value in (
            None, "left", [], {}, {"choices": "left"}, {"choices": []}, {"choices": ["left", "right"]},
            {"choices": [["left"]]}, {"choices": [True]}, {"selected": ["left"]}, {"selected": "middle"},
            {"rating": {}}, {"rating": math.nan},
        )
    ),
    {"result": [{"from_name": "choice", "value": {"choices": [side]}} for side in ("left", "right")]},
]  # fmt: skip


def test_annotations_that_cannot_be_are_refused_each_by_itself(small: Small, tmp_path: Path) -> None:
    path = label_studio(small, tmp_path)
    tasks = json.loads(path.read_text())
    good = tasks[2]["annotations"][0]
    tasks[2]["annotations"] += [good | {"completed_by": 100 + i} | change for i, change in enumerate(ANNOTATIONS)]
    tasks[2]["annotations"] += [None, 3, "left", []]
    strange = [None, 3, "text", [], {}, {"data": []}, {"data": {}}, {"data": {}, "annotations": {}}]
    path.write_text(json.dumps([*tasks, *strange]))
    found = take(small, path, "label-studio")
    assert (found.new, found.known) == (7, 0)
    assert sum("answers.json, task 2: " in line for line in found.refused) == len(ANNOTATIONS) + 4
    assert sum("answers.json, task at place " in line for line in found.refused) == len(strange)
    assert len(found.refused) == len(ANNOTATIONS) + 4 + len(strange)
    assert max(map(len, found.refused)) < 400


def test_a_skip_that_is_not_said_is_none(small: Small, tmp_path: Path) -> None:
    path = label_studio(small, tmp_path)
    tasks = json.loads(path.read_text())
    tasks[2]["annotations"][0]["was_cancelled"] = "false"
    path.write_text(json.dumps(tasks))
    take(small, path, "label-studio")
    assert [row["choice"] for row in records(small)[-7:]].count("skip") == 1


# --- Potato


def potato(small: Small, tmp_path: Path) -> Path:
    out = give(small, tmp_path / "potato", "potato")
    ids = [json.loads(line)["id"] for line in (out / "2-better" / "items.jsonl").read_text().splitlines()]
    labels = {item: [[{"schema": "choice", "name": "selection"}, "ABtie"[i % 3 :][: 1 if i % 3 < 2 else 3]]]
              for i, item in enumerate(ids)}  # fmt: skip
    labels["main|ab|m/0"] = [
        [{"schema": "choice", "name": "sad & blue"}, "true"],
        [{"schema": "other", "name": "x"}, 1],
    ]
    labels["main|ab|g/0"] = [[{"schema": "choice", "name": "3"}, "3"]]
    labels["main|ab|p/9"] = [[{"schema": "choice", "name": "selection"}, "A"]]
    labels["unanswered|ab|p/1"] = []
    labels["strange"] = [[{"schema": "choice", "name": "selection"}, "A"]]
    times = {ids[0]: {"session_end": 1_790_000_000.25, "total_time_ms": 1234}}
    state = {"user_id": "PLATFORM-ID", "instance_id_to_label_to_value": labels, "instance_id_to_behavioral_data": times}
    folder = tmp_path / "annotation_output" / "PLATFORM-ID"
    folder.mkdir(parents=True)
    (folder / "user_state.json").write_text(json.dumps(state))
    return tmp_path / "annotation_output"


def test_potato_comes_back_under_a_pseudonym(small: Small, tmp_path: Path) -> None:
    path = potato(small, tmp_path)
    found = take(small, path, "potato")
    assert (found.new, found.known) == (6, 0)
    assert ["no trial 'p/9'" in found.refused[0], "is not from a study" in found.refused[1]] == [True, True]
    assert take(small, path, "potato").known == 6
    register = Register(small.database, small.study, KEY)
    potato_id = register.pseudonym(Platform("potato", "PLATFORM-ID"), "")
    assert potato_id != Register(small.database, small.study, b"x" * 32).pseudonym(
        Platform("potato", "PLATFORM-ID"), ""
    )
    rows = [row for row in records(small) if row["annotator_id"] == potato_id]
    assert [row["choice"] for row in rows] == ["left", "right", "tie", "left", "label", "value"]
    assert {row["kind"] for row in rows} == {"main"}, "Potato shuffles: a repeat could come first"
    assert rows[0]["response_ms"] == 1234
    assert rows[0]["answered_utc"].startswith("2026-09-21")
    assert "PLATFORM-ID" not in json.dumps(rows)
    assert delete_rater(small.folder, small.database, small.study, "PLATFORM-ID").judgments == 6


def test_a_damaged_file_of_one_person_leaves_the_others_alone_in_potato(small: Small, tmp_path: Path) -> None:
    path = potato(small, tmp_path)
    contents = {
        "a": '{"user_id":', "b": "", "c": "[]", "d": '{"user_id": "d"}', "e": '{"instance_id_to_label_to_value": {}}',
        "f": '{"user_id": ["f"], "instance_id_to_label_to_value": {}}',
        "g": '{"user_id": "", "instance_id_to_label_to_value": {}}',
        "h": '{"user_id": "\\ud800", "instance_id_to_label_to_value": {}}',
    }  # fmt: skip
    for name, content in contents.items():
        (path / name).mkdir()
        (path / name / "user_state.json").write_text(content)
    found = take(small, path, "potato")
    assert (found.new, len(found.files)) == (6, len(contents))
    for name, line in zip(contents, found.files, strict=True):
        assert f"{name}/user_state.json" in line
    assert str(found) == "6 new answers, 0 known already, 2 refused; 8 files gave none"
    assert [line.endswith("is the file cut off?") for line in found.files] == [True, *[False] * 7]


def test_potato_damage_is_named(small: Small, tmp_path: Path) -> None:
    folder = tmp_path / "annotation_output" / "b"
    folder.mkdir(parents=True)
    (folder / "user_state.json").write_text('{"user_id":')
    before = records(small)
    with pytest.raises(ValueError, match=r"b/user_state\.json, line 1: not JSON"):
        take(small, tmp_path / "annotation_output", "potato")
    assert records(small) == before
    with pytest.raises(ValueError, match="annotation_output"):
        take(small, tmp_path / "nothing", "potato")


def test_potato_writes_labels_in_another_form_too(small: Small, tmp_path: Path) -> None:
    folder = tmp_path / "annotation_output" / "me"
    folder.mkdir(parents=True)
    labels = {"main|ba|p/0": {"choice": {"selection": "A"}}, "main|ab|p/1": {"choice": {}}, "main|ab|p/2": "A"}
    state = {"user_id": "me", "instance_id_to_label_to_value": labels}
    (folder / "user_state.json").write_text(json.dumps(state))
    found = take(small, tmp_path / "annotation_output", "potato")
    assert (found.new, len(found.refused)) == (1, 1), "what cannot be read is named"
    assert records(small)[-1]["winner_id"] == "t1"


def test_answers_of_potato_that_cannot_be_are_refused_each_by_itself(small: Small, tmp_path: Path) -> None:
    def left(value: object, name: object = "selection") -> list:
        return [[{"schema": "choice", "name": name}, value]]

    wrong = [
        *((labels, {}) for labels in (
            "A", 3, True, {"choice": {"selection": ["A"]}}, {"choice": {"selection": True}}, [["A"]], [[{}, "A"]],
            [[{"schema": "choice"}, "A"]], left("A", ["selection"]), left("C"), left({"A": 1}), left("A") + left("B"),
        )),
        *((left("A"), {"session_end": value}) for value in (1e30, -1e30, "noon", math.nan, math.inf, True, [1], "nan")),
        *((left("A"), {"total_time_ms": value}) for value in (*NUMBERS, -0.5)),
    ]  # fmt: skip
    for i, (labels, times) in enumerate(wrong):
        folder = tmp_path / "annotation_output" / f"{i:02}"
        folder.mkdir(parents=True)
        labelled = {"main|ab|p/0": labels, "main|ab|p/1": {"choice": {"selection": "A"}}}
        state = {"user_id": f"u{i}", "instance_id_to_label_to_value": labelled}
        state |= {"instance_id_to_behavioral_data": {"main|ab|p/0": times, "main|ab|p/1": None}}
        (folder / "user_state.json").write_text(json.dumps(state))
    found = take(small, tmp_path / "annotation_output", "potato")
    assert (found.new, found.files) == (len(wrong), [])
    assert len(found.refused) == len(wrong)
    for i, line in enumerate(found.refused):
        assert f"{i:02}/user_state.json, item 'main|ab|p/0': " in line


def test_a_rating_of_0_is_an_answer_in_potato(small: Small, tmp_path: Path) -> None:
    folder = tmp_path / "annotation_output" / "me"
    folder.mkdir(parents=True)
    given = {"main|ab|g/0": [[{"schema": "choice", "name": "0"}, 0]]}
    (folder / "user_state.json").write_text(json.dumps({"user_id": "me", "instance_id_to_label_to_value": given}))
    assert take(small, tmp_path / "annotation_output", "potato").new == 1
    assert records(small)[-1]["value"] == 0.0


# --- what is meant comes back, wherever it was said


def meant(small: Small) -> dict[str, str]:
    """Which item people choose in each trial with sides: the greater one, ties apart."""
    return {
        row["trial_id"]: max(row["a_id"], row["b_id"]) for row in published(small.database, small.study) if row["b_id"]
    }


def by_label_studio(small: Small, tmp_path: Path) -> Path:
    """Somebody who looks at what is shown left and right."""
    tasks = []
    for path in give(small, tmp_path / "ls", "label-studio").rglob("tasks.json"):
        for task in json.loads(path.read_text()):
            data, contents = task["data"], things(small)
            if "right" in data:
                side = "left" if shows(contents, data["left"]) == meant(small)[data["trial_id"]] else "right"
                value = {"choices": [side]}
                result = [{"from_name": "choice", "to_name": "left", "type": "choices", "value": value}]
                done = {"completed_by": 1, "created_at": "2026-11-20T10:00:00Z", "result": result}
                tasks.append(task | {"id": len(tasks), "annotations": [done]})
    (tmp_path / "answers.json").write_text(json.dumps(tasks))
    return tmp_path / "answers.json"


def by_potato(small: Small, tmp_path: Path) -> Path:
    labels = {}
    for path in give(small, tmp_path / "potato", "potato").rglob("items.jsonl"):
        checks = json.loads((path.parent / "attention_checks.json").read_text())
        for item in [*map(json.loads, path.read_text().splitlines()), *checks]:
            if "right" in item:
                trial = item["id"].split("|", 2)[2]
                side = "A" if shows(things(small), item["left"]) == meant(small)[trial] else "B"
                labels[item["id"]] = [[{"schema": "choice", "name": "selection"}, side]]
                if trial.startswith("catch"):
                    right = shows(things(small), item["left"]) == "i0"
                    assert item["expected_answer"] == {"choice": "A" if right else "B"}
    folder = tmp_path / "annotation_output" / "me"
    folder.mkdir(parents=True)
    (folder / "user_state.json").write_text(json.dumps({"user_id": "me", "instance_id_to_label_to_value": labels}))
    return tmp_path / "annotation_output"


def things(small: Small) -> dict[str, str]:
    """What is shown → item id: texts, and pictures by their file or their bytes."""
    found = {}
    for row in small.database.rows(items.select()):
        path = small.folder / "shown" / row["content"]
        if path.suffix == ".txt":
            found[path.read_text()] = row["item_id"]
        else:
            found[path.name] = found[base64.b64encode(path.read_bytes()).decode()] = row["item_id"]
    return found


def shows(contents: dict[str, str], shown: str) -> str:
    if shown in contents:
        return contents[shown]
    return contents[shown.rpartition("," if shown.startswith("data:") else "/")[2]]


@pytest.mark.parametrize(("fmt", "people"), [("label-studio", by_label_studio), ("potato", by_potato)])
def test_the_same_judgments_come_back_by_what_was_looked_at(small: Small, tmp_path: Path, fmt: str, people) -> None:
    before = len(records(small))
    found = take(small, people(small, tmp_path), fmt)
    assert found.refused == []
    rows = records(small)[before:]
    assert len(rows) == found.new >= 9
    assert {row["choice"] for row in rows} == {"left", "right"}
    assert {row["trial_id"]: row["winner_id"] for row in rows} == {
        row["trial_id"]: meant(small)[row["trial_id"]] for row in rows
    }


# --- jsPsych


def saved() -> list[dict]:
    """What jsPsych keeps: pages of its own, and trials of ours."""
    ours = {
        "trial_type": "html-button-response", "trial_index": 3, "plugin_version": "2.1.0", "rt": 917, "response": 0,
        "schema_version": 1, "study_id": "s-1", "rater_id": "a1b2", "trial_id": "b/0-x", "kind": "main",
        "question": "alike", "position": 0, "ref_id": "i0", "left_id": "i2", "right_id": "i1", "simulated": False,
        "choice": "left", "t_shown_utc": "2026-11-20T10:00:00.000Z", "t_answered_utc": "2026-11-20T10:00:01.000Z",
    }  # fmt: skip
    single = {"position": 1, "ref_id": None, "right_id": None}
    return [
        {"trial_type": "html-button-response", "response": 0, "rt": 100},
        ours,
        ours | {"kind": "repeat", "left_id": "i1", "right_id": "i2", "choice": "skip"},
        ours | single | {"trial_id": "g/0", "question": "grade", "left_id": "t0", "choice": "0"},
        ours | single | {"trial_id": "m/0", "question": "mood", "left_id": "t1", "choice": "=happy"},
    ]


def save(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
        return path
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(names)
        cells = [[row.get(name) for name in names] for row in rows]
        writer.writerows([["" if c is None else str(c).lower() if c is False else c for c in row] for row in cells])
    return path


@pytest.mark.parametrize("name", ["data.json", "data.csv"])
def test_jspsych_comes_back(small: Small, tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, saved())
    assert take(small, path, "jspsych") == Imported(4, 0, [])
    assert take(small, path, "jspsych") == Imported(0, 4, [])
    first, again, grade, mood = records(small)[-4:]
    assert (first["winner_id"], first["response_ms"], first["annotator_kind"]) == ("i2", 917, "person")
    assert first["answered_utc"] == "2026-11-20T10:00:01.000+00:00"
    assert (again["kind"], again["choice"], again["winner_id"]) == ("repeat", "skip", None)
    assert (grade["value"], mood["label"]) == (0.0, "=happy")


def test_what_one_person_left_half_leaves_the_others_alone_in_jspsych(small: Small, tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    folder.mkdir()
    save(folder / "a.json", saved())
    save(folder / "b.CSV", [row | {"rater_id": "c3d4"} for row in saved()])
    half = json.dumps(saved())[:-200]
    contents = {
        "c.json": half, "d.json": "", "e.json": "[]", "f.json": json.dumps(saved()[:1]), "g.json": "{}", "h.csv": "",
        "i.csv": "trial_type,rt\nx,1\n", "j.json": json.dumps([row | {"study_id": "s-2"} for row in saved()]),
        "k.json": "[1, 2]", "l.json": "<html>", "m.json": "[" * 50_000, "n.json": '[{"trial_id": "b/0-x" "rt": 1}]',
    }  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_text(content)
    (folder / "._a.json").write_bytes(b"\0\5\26\7")  # what a Mac puts beside each file
    (folder / "notes.txt").write_text("mine")
    found = take(small, folder, "jspsych")
    assert (found.new, found.known, found.refused) == (8, 0, [])
    assert len(found.files) == len(contents)
    for name, line in zip(contents, found.files, strict=True):
        assert f"answers/{name}" in line
        assert ("is the file cut off?" in line) == (name == "c.json"), line
    assert take(small, folder, "jspsych").known == 8


def test_a_folder_of_which_nothing_can_be_read_is_an_error(small: Small, tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text("[]")
    before = records(small)
    with pytest.raises(ValueError, match=r"a\.json holds no answer .* nothing can be read of the other 1 files"):
        take(small, tmp_path, "jspsych")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no \.json and no \.csv"):
        take(small, tmp_path / "empty", "jspsych")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nothing\.json"):
        take(small, tmp_path / "nothing.json", "jspsych")
    assert records(small) == before


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"study_id": "s-2"}, "trial 1 belongs to study 's-2'"),
        ({"study_id": ["s-1"]}, r"trial 1 belongs to study \['s-1'\]"),
        ({"schema_version": 2}, "trial 1 has schema version 2"),
        ({"schema_version": None}, "trial 1 has schema version None"),
    ],
)
def test_jspsych_files_of_another_study_are_named(small: Small, tmp_path: Path, change: dict, error: str) -> None:
    rows = saved()
    rows[1] |= change
    with pytest.raises(ValueError, match=error):
        take(small, save(tmp_path / "data.json", rows), "jspsych")
    with pytest.raises(ValueError, match="no row has a trial_id"):
        take(small, save(tmp_path / "data.json", rows[:1]), "jspsych")


CHANGES = [
    *({"rt": value} for value in NUMBERS),
    *({"position": value} for value in (1.5, 2**31, "first", True, [0], math.nan)),
    *({"t_answered_utc": value} for value in TIMES),
    *({"t_shown_utc": value} for value in TIMES if value != ""),
    *({"choice": value} for value in (None, ["left"], True, "LEFT", {"left": 1}, "", 0)),
    *({"left_id": value} for value in (None, ["i2"], 2, "i3", "i1")),
    *({"right_id": value} for value in (["i1"], None, "i3")),
    *({"rater_id": value} for value in (None, ["a1b2"], {"id": 1}, "a b", "x" * 65, "", "<b>")),
    *({"kind": value} for value in (None, "odd", ["main"], "catch")),
    *({"trial_id": value} for value in ("nowhere", ["b/0-x"], 7, True, {"id": "b/0-x"})),
]


def test_jspsych_answers_that_cannot_be_are_refused_each_by_itself(small: Small, tmp_path: Path) -> None:
    wrong = [saved()[1] | {"rater_id": f"bad-{i}"} | change for i, change in enumerate(CHANGES)]
    strange = [None, 3, "text", [{"trial_id": "b/0-x"}], True]
    found = take(small, save(tmp_path / "data.json", [*saved(), *wrong, *strange]), "jspsych")
    assert (found.new, found.known) == (4, 0), "their neighbours are taken"
    for i, line in enumerate(found.refused, 5):
        assert f"data.json, trial {i}: " in line, (line, [*CHANGES, *strange][i - 5])
        assert len(line) < 400
    assert len(found.refused) == len(wrong) + len(strange)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_jspsych_tables_that_a_spreadsheet_saved_anew(small: Small, tmp_path: Path, encoding, separator) -> None:
    rows = [row | {"schema_version": "1.0"} if "trial_id" in row else row for row in saved()]
    text = save(tmp_path / "data.csv", rows).read_text()
    table = list(csv.reader(text.splitlines()))
    with (tmp_path / "data.csv").open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=separator).writerows(table)
    assert take(small, tmp_path / "data.csv", "jspsych") == Imported(4, 0, [])


def test_another_encoding_is_named_with_its_line(small: Small, tmp_path: Path) -> None:
    path = save(tmp_path / "data.csv", [row | {"note": "Grüße"} for row in saved()])
    path.write_bytes(path.read_text().encode("cp1252"))
    with pytest.raises(ValueError, match=r"data\.csv, line 2: byte 0xfc is not UTF-8; in Windows-1252 it would read"):
        take(small, path, "jspsych")


def test_jspsych_people_get_a_pseudonym_and_can_leave_by_their_platform_id(small: Small, tmp_path: Path) -> None:
    named = name_on_static_page(small.study, "PROLIFIC-ID")
    rows = [row | {"rater_id": named, "simulated": False} if "rater_id" in row else row for row in saved()]
    n = take(small, save(tmp_path / "data.json", rows), "jspsych").new
    assert n > 0
    assert take(small, tmp_path / "data.json", "jspsych") == Imported(0, n, [])
    assert named not in json.dumps(records(small)), "whoever knows the id could make that name"
    assert delete_rater(small.folder, small.database, small.study, "PROLIFIC-ID").judgments == n


def test_jspsych_foreign_answers_are_named(small: Small, tmp_path: Path) -> None:
    rows = saved()
    rows[1] |= {"trial_id": "nowhere"}
    rows[2] |= {"rater_id": "<b>me</b>"}
    rows[3] |= {"choice": "good"}
    rows[4] |= {"choice": "left"}
    found = take(small, save(tmp_path / "data.json", rows), "jspsych")
    assert found.new == 0
    assert [line.split(": ", 1)[1] for line in found.refused] == [
        "the study has no trial 'nowhere'", "'<b>me</b>' is no pseudonym", "'good' is no rating",
        "'left' is no answer to a label",
    ]  # fmt: skip


def test_jspsych_runs_in_a_browser_and_what_it_saved_comes_back(small: Small, tmp_path: Path) -> None:
    browsers = [found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))]
    packages = Path(os.environ.get("NODE_PATH", "node_modules"))
    if not browsers or not (packages / "jspsych").is_dir():
        pytest.skip("needs Chromium, and jsPsych in the node_modules folder that NODE_PATH names")
    from tests.study.browser import simulated

    rows = simulated(small, tmp_path, browsers[0], packages)
    kinds = [row["kind"] for row in rows]
    assert (kinds.count("main"), kinds.count("catch"), kinds.count("practice"), kinds.count("repeat")) == (11, 2, 1, 6)
    found = take(small, save(tmp_path / "data.json", rows), "jspsych")
    assert found.refused == []
    assert found.new == 20
    assert {row["annotator_kind"] for row in records(small)[-20:]} == {"simulation"}
