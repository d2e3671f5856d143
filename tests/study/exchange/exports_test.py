from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from qdfeedback.feedback.study import Question
from qdfeedback.feedback.tables import empty, identities, items, raters
from qdfeedback.shown import Shown
from qdfeedback.study.exchange import training
from qdfeedback.study.exchange.export_jspsych import LIBRARY
from qdfeedback.study.exchange.exports import FORMATS, Jspsych, Training, export
from qdfeedback.study.exchange.records import write_jsonl
from tests.study.small_study import HOSTILE, Small, small_study


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_study(tmp_path / "study")


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def run(small: Small, out: Path, fmt: str, **options) -> int:
    return export(small.folder, small.database, small.study, out, fmt=fmt, **options)


def one(tmp_path: Path, *questions: str) -> Small:
    return small_study(tmp_path / "study", questions=questions)


def test_records_bear_the_names_that_are_exchanged(small: Small, tmp_path: Path) -> None:
    assert run(small, tmp_path / "out", "jsonl") == 9
    first = lines(tmp_path / "out" / "responses.jsonl")[0]
    assert first["rater_id"] == "8f3a"
    assert first["t_answered_utc"] == "2026-11-20T10:20:30.123+00:00"
    assert {"response_id", "ref_id", "left_id", "right_id", "winner_id", "rt_ms", "t_shown_utc"} <= set(first)
    item = lines(tmp_path / "out" / "items.jsonl")[0]
    assert (tmp_path / "out" / item["uri"]).is_file()
    assert len(lines(tmp_path / "out" / "trials.jsonl")) == 14


@pytest.mark.parametrize("fmt", FORMATS)
def test_who_people_are_never_leaves_the_database(tmp_path: Path, fmt: str) -> None:
    small = one(tmp_path, "better")
    with small.database.writing() as connection:
        who = {"study_id": "s-1", "rater_id": "8f3a", "platform": "prolific"}
        connection.execute(identities.insert().values(who | {"platform_id": "PLATFORM-ID", "session_id": "SESSION-ID"}))
        person = who | {
            "token_hash": "TOKEN-HASH",
            "joined_utc": "2026",
            "stage": "done",
            "active_until": 0.0,
            "filtered": False,
        }
        connection.execute(raters.insert().values(person))
    run(small, tmp_path / "out", fmt)
    for path in [tmp_path / "out"] if fmt == "trl" else (p for p in (tmp_path / "out").rglob("*") if p.is_file()):
        content = path.read_bytes()
        assert not any(secret in content for secret in (b"PLATFORM-ID", b"SESSION-ID", b"TOKEN-HASH")), path


@pytest.mark.parametrize("fmt", ["jsonl", "csv", "parquet", "jspsych", "label-studio", "potato"])
def test_public_has_days_numbers_and_no_secret(tmp_path: Path, fmt: str) -> None:
    small = one(tmp_path, "better")
    run(small, tmp_path / "out", fmt, public=True)
    for path in (p for p in (tmp_path / "out").rglob("*") if p.is_file()):
        content = path.read_bytes()
        for secret in (b"SECRETCODE", b"8f3a", b"77bc", b"10:20", b"10:11", b"/home/me"):
            assert secret not in content, (path, secret)


def test_public_numbers_people_but_not_models(small: Small, tmp_path: Path) -> None:
    run(small, tmp_path / "out", "jsonl", public=True)
    found = lines(tmp_path / "out" / "responses.jsonl")
    assert [row["rater_id"] for row in found] == ["r1", "r1", "r1", "r2", "oracle-1", "r2", "r1", "r1", "r2"]
    assert {row["t_answered_utc"] for row in found} == {"2026-11-20"}
    assert found[-1]["label"] == "=happy"


def test_no_cell_of_a_csv_is_a_formula(small: Small, tmp_path: Path) -> None:
    names = [f"{first}SUM(1)" for first in ("=", "+", "-", "@", "\t", "\r", "'=", "''@")]
    rows = [row | {"annotator_kind": "model", "annotator_id": name, "position": -2} for name in names
            for row in small.store.records("s-1")[:1]]  # fmt: skip
    small.store.append([{name: value for name, value in row.items() if name != "id"} for row in rows])
    run(small, tmp_path / "out", "csv")
    with (tmp_path / "out" / "responses.csv").open(newline="") as file:
        found = [row for row in csv.DictReader(file) if row["annotator_kind"] == "model"]
    assert [row["rater_id"] for row in found] == [f"'{name}" for name in names]
    assert [row["position"] for row in found] == ["-2"] * len(names), "a number stays one"
    with (tmp_path / "out" / "responses.csv").open(newline="") as file:
        assert any(row["label"] == "'=happy" for row in csv.DictReader(file))


def test_an_export_overwrites_nothing_and_leaves_no_half(small: Small, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ValueError, match="is there already"):
        run(small, tmp_path / "out", "jsonl")
    next((small.folder / "shown").glob("*.png")).unlink()
    with pytest.raises(ValueError, match="is not shown"):
        run(small, tmp_path / "new", "hf-triplets")
    assert {path.name for path in tmp_path.iterdir()} == {"study", "out"}
    run(small, tmp_path / "new", "jsonl")  # judgments can be saved all the same
    assert len(json.loads((tmp_path / "new" / "export.json").read_text())["missing_files"]) == 1


def test_trl_is_chosen_and_rejected_without_ties(small: Small, tmp_path: Path) -> None:
    assert run(small, tmp_path / "pairs.jsonl", "trl") == 1
    assert lines(tmp_path / "pairs.jsonl") == [{"chosen": "=cmd|calc", "rejected": HOSTILE}]


def asked_for(small: Small, *trials: str, prompt: str | np.ndarray) -> None:
    """Gives trials, and the answers to them, something that was asked for."""
    name = Shown(small.folder / "shown").add(prompt)
    row = {"study_id": "s-1", "item_id": f"prompt/{name}", "content": name}
    small.store.add_trials([empty(items) | row], [])
    with small.database.writing() as connection:
        for table in ("trials", "judgments"):
            for trial in trials:
                values = (f"prompt/{name}", trial)
                connection.exec_driver_sql(f"UPDATE {table} SET anchor_id = ? WHERE trial_id = ?", values)


def test_trl_keeps_the_prompt_that_people_saw(small: Small, tmp_path: Path) -> None:
    asked_for(small, "p/0", prompt="=Write a tale. é")
    assert run(small, tmp_path / "pairs.jsonl", "trl") == 1
    assert lines(tmp_path / "pairs.jsonl") == [
        {"prompt": "=Write a tale. é", "chosen": "=cmd|calc", "rejected": HOSTILE}
    ]


def test_trl_has_the_same_columns_in_all_lines(small: Small, tmp_path: Path) -> None:
    row = next(one for one in small.store.records("s-1") if one["trial_id"] == "p/0" and one["winner_id"])
    other = {"trial_id": "p/1", "left_id": "t1", "right_id": "t2", "winner_id": "t2", "choice": "right"}
    small.store.append([{name: value for name, value in row.items() if name != "id"} | other])
    asked_for(small, "p/1", prompt="A tale.")
    assert run(small, tmp_path / "pairs.jsonl", "trl") == 2
    assert lines(tmp_path / "pairs.jsonl") == [
        {"prompt": "", "chosen": "=cmd|calc", "rejected": HOSTILE},
        {"prompt": "A tale.", "chosen": "+two", "rejected": "=cmd|calc"},
    ]


def test_a_record_is_a_line_to_every_reader(tmp_path: Path) -> None:
    """Some take what JSON may hold as it is for the end of a line, as Python's own `splitlines` does."""
    said = ["a\u2028b", "c\u2029d", "e\x85f", "g\nh\r\ni é 🙂"]
    write_jsonl(tmp_path / "said.jsonl", [{"text": text} for text in said])
    text = (tmp_path / "said.jsonl").read_bytes().decode()
    assert [json.loads(line)["text"] for line in text.splitlines()] == said
    assert "é 🙂" in text


def test_a_picture_is_no_prompt_of_trl(small: Small, tmp_path: Path) -> None:
    asked_for(small, "p/0", prompt=np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"trl is for pairs of texts; item 'prompt/.*' is .*\.png"):
        run(small, tmp_path / "pairs.jsonl", "trl")
    assert not (tmp_path / "pairs.jsonl").exists()


def test_answers_to_different_questions_are_not_mixed(small: Small, tmp_path: Path) -> None:
    questions = (*small.study.questions, Question("longer", "pair", "Which is longer?"))
    small = replace(small, study=replace(small.study, questions=questions))
    row = next(one for one in small.store.records("s-1") if one["trial_id"] == "p/0" and one["winner_id"])
    other = {"trial_id": "p/1", "question": "longer", "left_id": "t3", "right_id": "t4", "winner_id": "t3"}
    small.store.append([{name: value for name, value in row.items() if name != "id"} | other])
    with pytest.raises(ValueError, match="'better', 'longer' are different questions of pairs"):
        run(small, tmp_path / "x", "trl")
    run(small, tmp_path / "better", "trl", training=Training(question="better"))
    run(small, tmp_path / "longer", "trl", training=Training(question="longer"))
    assert [row["chosen"] for row in lines(tmp_path / "better")] == ["=cmd|calc"]
    assert [row["chosen"] for row in lines(tmp_path / "longer")] == ["three"]
    assert run(small, tmp_path / "triplets", "hf-triplets") == 2, "one question of triplets needs no name"
    with pytest.raises(ValueError, match="must be a question of triplets, 'better' is one of pairs"):
        run(small, tmp_path / "x", "nights", training=Training(question="better"))
    with pytest.raises(ValueError, match="asks no question 'best'"):
        run(small, tmp_path / "x", "trl", training=Training(question="best"))


def test_what_a_search_asked_without_naming_a_question_counts_by_its_trial(small: Small, tmp_path: Path) -> None:
    with small.database.writing() as connection:
        connection.exec_driver_sql("UPDATE judgments SET question = NULL WHERE annotator_kind = 'simulation'")
    assert run(small, tmp_path / "out", "things", training=Training(("simulation",))) == 1


def test_trl_replaces_nothing(small: Small, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text("mine")
    with pytest.raises(ValueError, match="is there already"):
        run(small, tmp_path / "pairs.jsonl", "trl")
    assert (tmp_path / "pairs.jsonl").read_text() == "mine"


def test_people_whom_the_rules_exclude_can_be_left_out_of_training(small: Small, tmp_path: Path) -> None:
    assert run(small, tmp_path / "all", "hf-triplets") == 2
    with small.database.writing() as connection:
        connection.exec_driver_sql("UPDATE judgments SET response_ms = 1 WHERE annotator_kind = 'person'")
    assert run(small, tmp_path / "none", "hf-triplets", training=Training(exclude=True)) == 0
    with pytest.raises(ValueError, match="must name person, model or simulation, got nobody"):
        run(small, tmp_path / "x", "hf-triplets", training=Training(("nobody",)))


def test_pages_that_cannot_ask_leave_out_what_is_sensitive(small: Small, tmp_path: Path) -> None:
    run(small, tmp_path / "all", "label-studio")
    with small.database.writing() as connection:
        connection.exec_driver_sql("UPDATE items SET sensitive = 1 WHERE item_id = 't0'")
    n = run(small, tmp_path / "out", "label-studio")
    for path in (tmp_path / "out").rglob("tasks.json"):
        assert '"t0"' not in path.read_text()
    assert 0 < n < sum(len(json.loads(path.read_text())) for path in (tmp_path / "all").rglob("tasks.json"))
    run(small, tmp_path / "js", "jspsych")
    script = (tmp_path / "js" / "trials.js").read_text().removeprefix("window.STUDY = ").removesuffix(";\n")
    marked = {row["trial_id"] for row in json.loads(script)["trials"] if row["sensitive"]}
    assert marked == {"p/0", "g/0"}


def test_trl_wants_pairs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no decided pair"):
        run(one(tmp_path, "alike"), tmp_path / "x.jsonl", "trl")


def test_triplets_point_at_files(small: Small, tmp_path: Path) -> None:
    assert run(small, tmp_path / "out", "hf-triplets") == 2
    first = lines(tmp_path / "out" / "triplets.jsonl")[0]
    names = {item: f"media/{name}" for item, name in contents(small).items()}
    assert first == {"anchor": names["i0"], "positive": names["i1"], "negative": names["i2"]}
    assert all((tmp_path / "out" / path).is_file() for path in first.values())


def contents(small: Small) -> dict[str, str]:
    from qdfeedback.study.exchange.material import read_material

    material = read_material(small.folder, small.database, small.study, public=False)
    return {item: row["content"] for item, row in material.items.items()}


def test_nights_has_its_columns_in_their_places(small: Small, tmp_path: Path) -> None:
    everybody = Training(("person", "simulation"))
    assert run(small, tmp_path / "people", "nights") == 1
    assert run(small, tmp_path / "out", "nights", training=everybody) == 2
    with (tmp_path / "out" / "data.csv").open(newline="") as file:
        head, first, second = csv.reader(file)
    assert ",".join(head) == "id,left_vote,right_vote,votes,ref_path,left_path,right_path,split,is_imagenet"
    names = contents(small)
    assert first[:7] == ["0", "0.5", "0.5", "2", *(f"media/{names[item]}" for item in ("i0", "i1", "i2"))]
    assert second[1:4] == ["1.0", "0.0", "1"]
    # by the hash of the reference: that of i0 begins with byte 0xa4, that of i2 with 0x42
    assert [first[7], second[7]] == ["train", "train"]


def test_a_tie_is_half_a_vote_for_either_side_in_nights(small: Small, tmp_path: Path) -> None:
    row = small.store.records("s-1")[0]
    assert (row["trial_id"], row["left_id"], row["choice"]) == ("b/0-x", "i1", "left")
    more = {"1": "tie", "2": "tie", "3": "right", "4": "skip"}  # besides "left" of one person and "right" of another
    small.store.append(
        [
            {name: value for name, value in row.items() if name != "id"}
            | {"annotator_id": who, "choice": said, "winner_id": "i2" if said == "right" else None}
            for who, said in more.items()
        ]
    )
    run(small, tmp_path / "out", "nights")
    with (tmp_path / "out" / "data.csv").open(newline="") as file:
        (first,) = list(csv.DictReader(file))
    # 1 left, 2 right, 2 ties of 5 votes: left 2 of 5, right 3 of 5
    assert (float(first["left_vote"]), float(first["right_vote"])) == pytest.approx((0.4, 0.6))
    assert first["votes"] == "5"
    assert "0 of these have as many" in (tmp_path / "out" / "README.md").read_text()


def test_votes_count_for_what_was_chosen_whatever_side_it_stood_on(small: Small, tmp_path: Path) -> None:
    row = small.store.records("s-1")[0]
    swapped = {"left_id": "i2", "right_id": "i1", "choice": "right", "winner_id": "i1", "annotator_id": "other"}
    small.store.append([{name: value for name, value in row.items() if name != "id"} | swapped])
    run(small, tmp_path / "out", "nights")
    with (tmp_path / "out" / "data.csv").open(newline="") as file:
        (first,) = list(csv.DictReader(file))
    assert float(first["left_vote"]) == pytest.approx(2 / 3)  # i1 by two people, i2 by one


@pytest.mark.parametrize(
    ("byte", "part"), [(0x00, "train"), (0xCC, "train"), (0xCD, "val"), (0xE6, "val"), (0xE7, "test"), (0xFF, "test")]
)
def test_eight_of_ten_references_train(byte: int, part: str) -> None:
    names = (f"item {i}" for i in range(100_000))
    name = next(name for name in names if hashlib.sha256(name.encode()).digest()[0] == byte)
    assert training._split(name) == part


def test_things_names_the_odd_one_last(small: Small, tmp_path: Path) -> None:
    assert run(small, tmp_path / "people", "things") == 2
    assert run(small, tmp_path / "out", "things", training=Training(("person", "simulation"))) == 3
    with (tmp_path / "out" / "items.csv").open(newline="") as file:
        ids = [row["item_id"] for row in csv.DictReader(file)]
    with (tmp_path / "out" / "triplets.csv").open(newline="") as file:
        named = [[ids[int(row[c])] for c in ("similar_1", "similar_2", "odd")] for row in csv.DictReader(file)]
    assert named == [["i0", "i1", "i2"], ["i0", "i2", "i1"], ["i2", "i3", "i4"]]
    plain = np.loadtxt(tmp_path / "out" / "triplets.txt", dtype=int)
    assert [[ids[i] for i in row] for row in plain] == named


def test_label_studio_has_a_folder_per_question(small: Small, tmp_path: Path) -> None:
    n = run(small, tmp_path / "out", "label-studio")
    folders = sorted(path.parent for path in (tmp_path / "out").glob("*/config.xml"))
    assert [folder.name for folder in folders] == ["1-alike", "2-better", "3-grade", "4-mood"]
    tasks = [json.loads((folder / "tasks.json").read_text()) for folder in folders]
    assert sum(map(len, tasks)) == n
    assert sum(task["data"]["kind"] == "repeat" for task in tasks[0]) == 2
    assert all(task["data"]["left"].startswith("/data/local-files/?d=1-alike/media/") for task in tasks[0])
    assert len(list((folders[0] / "media").iterdir())) == 5
    mine = {task["data"][f"{side}_id"]: task["data"][side] for task in tasks[1] for side in ("left", "right")}
    assert mine == {"t0": HOSTILE, "t1": "=cmd|calc", "t2": "+two", "t3": "three", "t4": "four"}
    assert tasks[2][0]["data"]["question_text"] == "How good? (0 = bad, 4 = good)", "people know what the ends mean"
    assert tasks[1][0]["data"]["question_text"] == "=Which is better?"


def test_label_studio_sides_are_balanced_and_repeats_are_the_other_way_round(tmp_path: Path) -> None:
    run(one(tmp_path, "better"), tmp_path / "out", "label-studio")
    data = [task["data"] for task in json.loads((tmp_path / "out" / "tasks.json").read_text())]
    main = {row["trial_id"]: row for row in data if row["kind"] == "main"}
    assert sum(row["left_id"] < row["right_id"] for row in main.values()) == 2
    repeats = [row for row in data if row["kind"] == "repeat"]
    assert len(repeats) == 2
    assert all(row["left_id"] == main[row["trial_id"]]["right_id"] for row in repeats)


def test_label_studio_configs_are_valid(small: Small, tmp_path: Path) -> None:
    run(small, tmp_path / "out", "label-studio")
    configs = [path.read_text() for path in sorted((tmp_path / "out").glob("*/config.xml"))]
    views = [ET.fromstring(config) for config in configs]
    assert views[0].find("Pairwise").attrib == {"name": "choice", "toName": "left,right"}
    options = [[choice.get("value") for choice in view.iter("Choice")] for view in views]
    assert options == [[], ["left", "tie", "right"], ["0", "1", "2", "3", "4"], ["=happy", "sad & blue"]]


def test_potato_config_is_yaml(small: Small, tmp_path: Path) -> None:
    run(small, tmp_path / "out", "potato")
    text = (tmp_path / "out" / "2-better" / "config.yaml").read_text()
    config = json.loads(text)
    assert config["annotation_schemes"][0]["allow_tie"] is True
    assert config["annotation_schemes"][0]["description"] == "=Which is better?"
    found = lines(tmp_path / "out" / "2-better" / "items.jsonl")
    assert {row["id"] for row in found} >= {row["id"] for row in found if row["id"].startswith("repeat|")}
    assert any(HOSTILE in row.values() for row in found)
    images = lines(tmp_path / "out" / "1-alike" / "items.jsonl")
    assert all(row["ref"].startswith("data:image/png;base64,") for row in images)
    checks = json.loads((tmp_path / "out" / "4-mood" / "attention_checks.json").read_text())
    assert [check["expected_answer"] for check in checks] == [{"choice": "sad & blue"}]
    grade = json.loads((tmp_path / "out" / "3-grade" / "config.yaml").read_text())
    assert grade["annotation_schemes"][0]["description"] == "How good? (0 = bad, 4 = good)"
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(text) == config


@pytest.mark.parametrize("fmt", ["label-studio", "potato"])
def test_what_people_must_be_told_goes_along(small: Small, tmp_path: Path, fmt: str) -> None:
    small = replace(small, study=replace(small.study, sensitive="Some are sad.", retention="2030-01-01"))
    run(small, tmp_path / "out", fmt)
    text = (tmp_path / "out" / "README.md").read_text()
    for part in (small.study.consent, small.study.instructions, "Some are sad.", "kept until 2030-01-01"):
        assert part in text


def test_jspsych_is_one_static_folder(small: Small, tmp_path: Path) -> None:
    assert run(small, tmp_path / "out", "jspsych") == 14
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<title>A &lt;study&gt;</title>" in page
    assert page.count('integrity="sha384-') == len(LIBRARY)
    script = (tmp_path / "out" / "trials.js").read_text()
    assert "<" not in script
    content = json.loads(script.removeprefix("window.STUDY = ").removesuffix(";\n"))
    assert content["items"]["t0"] == [{"text": HOSTILE}]
    assert "unpkg.com" in (tmp_path / "out" / "README.md").read_text()
    assert (tmp_path / "out" / content["items"]["i0"][0]["image"]).is_file()


def test_jspsych_takes_its_library_along(small: Small, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"npm install jspsych@8\.3\.0"):
        run(small, tmp_path / "out", "jspsych", jspsych=Jspsych(tmp_path))
    for package, _, path, _ in LIBRARY.values():
        file = tmp_path / "node_modules" / package / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("// library")
    run(small, tmp_path / "out", "jspsych", jspsych=Jspsych(tmp_path, datapipe="abc"))
    assert "https://" not in (tmp_path / "out" / "index.html").read_text()
    assert all((tmp_path / "out" / name).is_file() for name in LIBRARY)
    assert '"datapipe": "abc"' in (tmp_path / "out" / "trials.js").read_text()


def test_a_study_without_trials_has_no_page(tmp_path: Path) -> None:
    small = one(tmp_path, "grade")
    with small.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM trials")
    for fmt in ("jspsych", "label-studio", "potato"):
        with pytest.raises(ValueError, match="has no trials to show"):
            run(small, tmp_path / "out", fmt)


def test_sets_go_where_they_can_be_shown(tmp_path: Path) -> None:
    small = one(tmp_path, "alike")
    both = " ".join(sorted(path.name for path in Shown(small.folder / "shown").folder.glob("*.png"))[:2])
    with small.database.writing() as connection:
        connection.exec_driver_sql("UPDATE items SET content = ?", (both,))
    run(small, tmp_path / "page", "jspsych")
    run(small, tmp_path / "records", "jsonl")
    for fmt in ("label-studio", "potato", "hf-triplets", "nights"):
        with pytest.raises(ValueError, match="is a set of 2"):
            run(small, tmp_path / fmt, fmt)


def test_an_unknown_format_is_named(small: Small, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fmt must be one of jsonl"):
        run(small, tmp_path / "out", "xlsx")
