from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from qdfeedback.feedback.store import Store
from qdfeedback.study.analysis.report import report
from qdfeedback.study.exchange.exports import export
from qdfeedback.study.exchange.imports import Imported, format_of, import_answers
from tests.study.small_study import Small, small_study

RECORDS = ["jsonl", "csv", "parquet"]


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_study(tmp_path / "study")


@pytest.fixture
def other(tmp_path: Path, small: Small) -> Small:
    """The same study, before anything was asked."""
    (tmp_path / "other").mkdir()
    return Small(tmp_path / "other", Store(tmp_path / "other" / "judgments.db"), small.study)


def take(small: Small, path: Path, fmt: str) -> Imported:
    return import_answers(small.folder, small.database, small.study, path, fmt=fmt)


def give(small: Small, out: Path, fmt: str, **options) -> Path:
    export(small.folder, small.database, small.study, out, fmt=fmt, **options)
    return out


def records(small: Small) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "id"} for row in small.store.records(small.study.study_id)]


def table(small: Small, name: str) -> list[dict]:
    import sqlalchemy as sa

    return [dict(row) for row in small.database.rows(sa.text(f"SELECT * FROM {name} ORDER BY 2, 3"))]


# --- records


@pytest.mark.parametrize("fmt", RECORDS)
def test_what_goes_out_comes_back_whole(small: Small, other: Small, tmp_path: Path, fmt: str) -> None:
    out = give(small, tmp_path / "out", fmt)
    assert take(other, out, fmt) == Imported(9, 0, [])
    assert records(other) == records(small)
    assert table(other, "items") == table(small, "items")
    assert table(other, "trials") == table(small, "trials")
    files = {path.name: path.read_bytes() for path in (small.folder / "shown").iterdir()}
    assert {path.name: path.read_bytes() for path in (other.folder / "shown").iterdir()} == files
    assert take(other, out, fmt) == Imported(0, 9, [])
    assert take(small, out, fmt) == Imported(0, 9, [])
    assert len(records(other)) == 9


@pytest.mark.parametrize("fmt", RECORDS)
def test_from_one_database_to_the_other_and_back(
    small: Small, other: Small, tmp_path: Path, postgres: str, fmt: str
) -> None:
    (tmp_path / "server").mkdir()
    server = Small(tmp_path / "server", Store(postgres), small.study)
    with server.database.writing() as connection:
        for name in ("judgments", "trials", "items"):
            connection.exec_driver_sql(f"DELETE FROM {name} WHERE study_id = 's-1'")
    assert take(server, give(small, tmp_path / "out", fmt), fmt) == Imported(9, 0, [])
    assert take(server, tmp_path / "out", fmt) == Imported(0, 9, [])
    assert records(server) == records(small)
    assert take(other, give(server, tmp_path / "back", fmt), fmt) == Imported(9, 0, [])
    assert records(other) == records(small)
    assert table(other, "trials") == table(small, "trials")
    one, two = (report(place.database, place.study) for place in (small, server))
    assert one["questions"] == two["questions"]
    server.store.close()


@pytest.mark.parametrize("fmt", RECORDS)
def test_one_file_of_responses_is_enough(small: Small, tmp_path: Path, fmt: str) -> None:
    out = give(small, tmp_path / "out", fmt)
    before = records(small)
    with small.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM judgments")
    assert take(small, out / f"responses.{fmt}", fmt) == Imported(9, 0, [])
    assert records(small) == before


@pytest.mark.parametrize("fmt", RECORDS)
def test_half_a_file_adds_nothing(small: Small, other: Small, tmp_path: Path, fmt: str) -> None:
    out = give(small, tmp_path / "out", fmt)
    path = out / f"responses.{fmt}"
    whole = path.read_bytes()
    for size in (len(whole) // 2, len(whole) - 40, whole[:-2].rfind(b"\n") + 1, 0):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=rf"responses\.{fmt}"):
            take(other, out, fmt)
    assert not records(other)
    assert not table(other, "trials")


@pytest.mark.parametrize("fmt", RECORDS)
def test_an_unfinished_export_is_none(small: Small, other: Small, tmp_path: Path, fmt: str) -> None:
    out = give(small, tmp_path / "out", fmt)
    (out / "export.json").unlink()
    with pytest.raises(ValueError, match="no finished export"):
        take(other, out, fmt)


def test_another_study_and_another_version_are_refused(small: Small, other: Small, tmp_path: Path) -> None:
    out = give(small, tmp_path / "out", "jsonl")
    foreign = replace(other, study=replace(other.study, study_id="s-2"))
    for path in (out, out / "responses.jsonl"):
        with pytest.raises(ValueError, match=r"belongs to study 's-1', not to 's-2'"):
            take(foreign, path, "jsonl")
    manifest = json.loads((out / "export.json").read_text())
    (out / "export.json").write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(ValueError, match="schema version 99"):
        take(other, out, "jsonl")
    (out / "export.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="is an export as 'jsonl', not as csv"):
        take(other, out, "csv")


def test_wrong_columns_name_file_and_line(small: Small, tmp_path: Path) -> None:
    out = give(small, tmp_path / "out", "csv")
    path = out / "responses.csv"
    text = path.read_text()
    path.write_text(text.replace("winner_id", "winner", 1))
    with pytest.raises(ValueError, match=r"responses\.csv, line 2: wrong columns .*'winner' is not known"):
        take(small, path, "csv")
    path.write_text(text.replace("choice", "xchoice", 1))
    with pytest.raises(ValueError, match="'choice' is missing"):
        take(small, path, "csv")
    path.write_text(f"{','.join('x' * 500 + str(i) for i in range(20))}\n{',' * 19}1\n")
    with pytest.raises(ValueError, match=r"responses\.csv, line 2: wrong columns .* and \d+ more$") as caught:
        take(small, path, "csv")
    assert len(str(caught.value).replace(str(tmp_path), "")) < 450


def test_a_parquet_file_that_is_damaged_within_is_one_line(small: Small, tmp_path: Path) -> None:
    path = give(small, tmp_path / "out", "parquet") / "responses.parquet"
    content = path.read_bytes()
    said = []
    for at in range(4, 200, 4):
        path.write_bytes(content[:at] + b"\x00\xff\x7f\x00" + content[at + 4 :])
        try:
            take(small, path, "parquet")
        except ValueError as error:
            said.append(str(error))
    assert len(said) > 10
    assert all("\n" not in one and str(path) in one and len(one) < 400 for one in said)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"trial_id": "b/9"}, "no trial 'b/9'"),
        ({"winner_id": "i2"}, "contradict"),
        ({"left_id": "i4", "winner_id": "i4"}, "about other items"),
        ({"choice": "maybe", "winner_id": None}, "'maybe' is no answer to a triplet"),
        ({"choice": "tie", "winner_id": None}, "has no tie"),
        ({"probability": 1.5}, "must lie in"),
        ({"rt_ms": -3.0}, "cannot be"),
        ({"kind": "catch"}, "no answer of the kind 'catch'"),
        ({"t_answered_utc": "yesterday"}, "is not a time"),
        ({"annotator_kind": "dog"}, "is none of person"),
        ({"choice": "right", "winner_id": "i2"}, "answered otherwise before"),
    ],
)
def test_an_answer_that_cannot_be_is_refused_alone(small: Small, tmp_path: Path, change: dict, reason: str) -> None:
    out = give(small, tmp_path / "out", "jsonl")
    path = out / "responses.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in [rows[0] | change, *rows[1:]]))
    found = take(small, path, "jsonl")
    assert (found.new, found.known) == (0, 8)
    assert len(found.refused) == 1
    assert "responses.jsonl, line 1" in found.refused[0]
    assert reason in found.refused[0]


WRONG = [
    *({"rt_ms": value} for value in (1e30, -1, "soon", "inf", math.nan, math.inf, 10**400, True, [1], {"a": 1}, "1_0")),
    *({"position": value} for value in (1.5, 2**31, 1e30, "first", False, [0])),
    *({"probability": value} for value in (-0.1, 1.1, math.nan, "half", True, [0.5])),
    *({"t_answered_utc": value} for value in (
        None, "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "yesterday", 20261120, True, ["2026"], "",
    )),
    {"t_shown_utc": "9999-12-31T23:59:59-00:01"},
    *({"choice": value} for value in (None, "both", True, ["left"], "value", "label")),
    *({"winner_id": value} for value in (None, "i9", ["i1"], 1)),
    *({"left_id": value} for value in (None, "i9", ["i1"])),
    *({"right_id": value} for value in (None, "i9")),
    *({"ref_id": value} for value in (None, "i9")),
    *({"value": value} for value in (3, "a", math.nan)),
    *({"kind": value} for value in (None, "odd", "practice", ["main"])),
    *({"task": value} for value in (None, "pair", "odd", ["triplet"])),
    *({"question": value} for value in ("better", "odd", ["alike"])),
    *({"annotator_kind": value} for value in (None, "dog", ["person"])),
    *({"rater_id": value} for value in (None, "a\0b", "\ud800", 7, ["r"])),
    *({"trial_id": value} for value in (None, "b/9", ["b/0-x"])),
    {"extra": 1},
]  # fmt: skip


def test_answers_that_cannot_be_are_refused_each_by_itself(small: Small, tmp_path: Path) -> None:
    path = give(small, tmp_path / "out", "jsonl") / "responses.jsonl"
    good = [json.loads(line) for line in path.read_text().splitlines()]
    wrong = [good[0] | {"rater_id": f"bad-{i}"} | change for i, change in enumerate(WRONG)]
    short = {name: value for name, value in good[0].items() if name != "task"}
    lines = [json.dumps(row) for row in (*wrong, *good, short, [1], 3, None)]
    path.write_text("\n".join(lines))
    found = take(small, path, "jsonl")
    assert (found.new, found.known, found.files) == (0, 9, [])
    numbers = [*range(1, len(WRONG) + 1), *range(len(WRONG) + 10, len(WRONG) + 14)]
    assert sorted(int(re.search(r"responses\.jsonl, line (\d+): ", line)[1]) for line in found.refused) == numbers
    assert str(found) == f"0 new answers, 9 known already, {len(numbers)} refused"


def test_a_judgment_without_a_trial_must_fit_its_question_and_itself(small: Small, tmp_path: Path) -> None:
    path = give(small, tmp_path / "out", "jsonl") / "responses.jsonl"
    model = json.loads(path.read_text().splitlines()[4]) | {"trial_id": "own"}
    assert (model["annotator_kind"], model["task"]) == ("simulation", "triplet")
    wrong = [
        {"question": "better"}, {"ref_id": None}, {"right_id": None, "winner_id": model["left_id"]},
        {"task": "rating", "choice": "value", "value": 3, "winner_id": None},
        {"task": "rating", "question": "grade", "choice": "value", "value": 3.5, "winner_id": None, "right_id": None},
    ]  # fmt: skip
    rows = [model | {"rater_id": f"m{i}"} | change for i, change in enumerate([*wrong, {}])]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = take(small, path, "jsonl")
    assert (found.new, len(found.refused)) == (1, len(wrong))


@pytest.mark.parametrize("fmt", ["csv", "parquet"])
def test_numbers_that_cannot_be_are_refused_with_their_line_in_tables_too(small: Small, tmp_path: Path, fmt) -> None:
    path = give(small, tmp_path / "out", fmt) / f"responses.{fmt}"
    if fmt == "csv":
        path.write_text(path.read_text().replace("812.5", "soon", 1).replace("2026-11-20T10:20:30.123", "9999-99", 1))
        reasons = [r"line 2: rt_ms: 'soon' is not a number"]
    else:
        table = pq.read_table(path)
        times = ["9999-12-31T23:59:59-01:00", *table["t_answered_utc"].to_pylist()[1:]]
        pq.write_table(table.set_column(table.column_names.index("t_answered_utc"), "t_answered_utc", [times]), path)
        reasons = [r"row 1: t_answered_utc: '9999-12-31T23:59:59-01:00' is not a time"]
    found = take(small, path, fmt)
    assert (found.new, found.known, len(found.refused)) == (0, 8, 1)
    assert re.search(reasons[0], found.refused[0])


def test_a_time_with_an_offset_is_kept_in_utc_and_a_day_as_it_is(small: Small, tmp_path: Path) -> None:
    path = give(small, tmp_path / "out", "jsonl") / "responses.jsonl"
    row = json.loads(path.read_text().splitlines()[0]) | {"rater_id": "new"}
    times = {"t_shown_utc": "2026-11-20", "t_answered_utc": "2026-11-20T01:00:00+02:00"}
    path.write_text(json.dumps(row | times))
    assert take(small, path, "jsonl").new == 1
    assert [records(small)[-1][name] for name in ("shown_utc", "answered_utc")] == [
        "2026-11-20", "2026-11-19T23:00:00.000+00:00",
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_that_a_spreadsheet_saved_anew(small: Small, tmp_path: Path, encoding, separator) -> None:
    path = give(small, tmp_path / "out", "csv") / "responses.csv"
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=separator).writerows([*rows, [""] * len(rows[0])])
    assert take(small, path, "csv") == Imported(0, 9, [])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_lines_that_an_editor_saved_anew(small: Small, tmp_path: Path, encoding) -> None:
    path = give(small, tmp_path / "out", "jsonl") / "responses.jsonl"
    path.write_bytes(path.read_text().replace("\n", "\r\n").encode(encoding))
    assert take(small, path, "jsonl") == Imported(0, 9, [])


def test_only_what_is_cut_off_is_said_to_be(small: Small, tmp_path: Path) -> None:
    path = give(small, tmp_path / "out", "jsonl") / "responses.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1][:-5]]))
    with pytest.raises(ValueError, match=r"line 9: not JSON.*; is the file cut off\?$"):
        take(small, path, "jsonl")
    path.write_text("\n".join([lines[0][:-5], *lines[1:]]))
    with pytest.raises(ValueError, match=r"line 1: not JSON") as error:
        take(small, path, "jsonl")
    assert "cut off" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda told: [told], r"export\.json must hold an object, it holds a list"),
        (lambda told: told | {"counts": [1]}, r"export\.json does not count the records of items"),
        (lambda told: told | {"counts": {}}, r"export\.json does not count the records of items"),
        (
            lambda told: told | {"counts": told["counts"] | {"items": 99}},
            r"items\.jsonl holds 10 .* 99; is the file cut",
        ),
        (lambda told: told | {"counts": told["counts"] | {"items": 3}}, r"items\.jsonl holds 10 .* counts 3$"),
        (lambda told: told | {"study_id": ["s-1"]}, r"export\.json belongs to study \['s-1'\], not to 's-1'"),
        (lambda told: told | {"schema_version": "1"}, "schema version '1', this version reads 1"),
    ],
)
def test_manifests_of_the_wrong_shape(small: Small, other: Small, tmp_path: Path, change, error: str) -> None:
    path = give(small, tmp_path / "out", "jsonl") / "export.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=error):
        take(other, tmp_path / "out", "jsonl")
    assert not records(other)


@pytest.mark.parametrize("content", ["[]", '{"format": ["jsonl"]}', '{"format": "xml"}', "{}"])
def test_a_folder_that_does_not_tell_its_format_is_asked_about(tmp_path: Path, content: str) -> None:
    (tmp_path / "export.json").write_text(content)
    with pytest.raises(ValueError, match=r"must hold an object|does not tell its format: name it, one of jsonl, csv"):
        format_of(tmp_path)


@pytest.mark.parametrize(("name", "format_"), [("a.csv", "csv"), ("A.CSV", "csv"), ("a.Parquet", "parquet")])
def test_the_name_of_a_table_tells_its_format(name: str, format_: str) -> None:
    assert format_of(Path(name)) == format_


def test_what_is_asked_comes_in_whole_or_not(small: Small, other: Small, tmp_path: Path) -> None:
    out = give(small, tmp_path / "out", "jsonl")
    text = (out / "trials.jsonl").read_text()
    (out / "trials.jsonl").write_text(text.replace('"published_utc": "2026', '"published_utc": "x', 1))
    with pytest.raises(ValueError, match=r"trials\.jsonl, line 1: published_utc: .* is not a time"):
        take(other, out, "jsonl")
    assert not table(other, "trials")


def test_parquet_of_any_number_of_rows_in_few_bytes(small: Small, tmp_path: Path, monkeypatch) -> None:
    path = give(small, tmp_path / "out", "parquet") / "responses.parquet"
    monkeypatch.setattr("qdfeedback.study.exchange.read_records.MOST_ROWS", 8)
    with pytest.raises(ValueError, match=r"responses\.parquet .*9 rows, at most 8 are read"):
        take(small, path, "parquet")


@pytest.mark.parametrize("fmt", RECORDS)
def test_a_file_of_another_kind_is_named(small: Small, tmp_path: Path, fmt: str) -> None:
    path = tmp_path / f"responses.{fmt}"
    for content in (b"PK\x03\x04", b"\x00" * 40, b"<html></html>", b"PAR1", np.random.default_rng(0).bytes(400)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"responses\.{fmt}"):
            take(small, path, fmt)
    with pytest.raises((ValueError, OSError), match=r"a folder|no file"):
        take(small, tmp_path / "nothing", fmt)


@pytest.mark.parametrize(
    ("row", "change", "reason"),
    [(7, {"value": 9.0}, "not on the scale"), (8, {"label": "angry"}, "none of the options")],
)
def test_ratings_and_labels_are_the_questions_own(small: Small, tmp_path: Path, row, change, reason) -> None:
    path = give(small, tmp_path / "out", "jsonl") / "responses.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(json.dumps(rows[row] | change | {"rater_id": "new"}) + "\n")
    found = take(small, path, "jsonl")
    assert found.new == 0
    assert reason in found.refused[0]


def test_trials_of_the_same_name_that_ask_something_else_are_an_error(
    small: Small, other: Small, tmp_path: Path
) -> None:
    out = give(small, tmp_path / "out", "jsonl")
    take(other, out, "jsonl")
    with other.database.writing() as connection:
        connection.exec_driver_sql("UPDATE trials SET a_id = 'i4' WHERE trial_id = 'b/0-x'")
        connection.exec_driver_sql("DELETE FROM judgments")
    with pytest.raises(ValueError, match=r"trial_id 'b/0-x' is another one in this study: a_id differ"):
        take(other, out, "jsonl")
    assert not records(other)


def test_a_shown_file_that_is_not_what_its_name_says_is_damaged(small: Small, other: Small, tmp_path: Path) -> None:
    out = give(small, tmp_path / "out", "jsonl")
    next((out / "shown").glob("*.txt")).write_text("another")
    with pytest.raises(ValueError, match="is damaged"):
        take(other, out, "jsonl")
    text = (out / "items.jsonl").read_text()
    (out / "items.jsonl").write_text(text.replace('"uri": "shown/', '"uri": "shown/../../', 1))
    with pytest.raises(ValueError, match="no name of a shown file"):
        take(other, out, "jsonl")


def test_a_published_export_does_not_double_its_own_study(small: Small, other: Small, tmp_path: Path) -> None:
    out = give(small, tmp_path / "out", "csv", public=True)
    with pytest.raises(ValueError, match="into an empty study"):
        take(small, out, "csv")
    assert take(other, out, "csv") == Imported(9, 0, [])
    assert take(other, out, "csv") == Imported(0, 9, [])


def test_a_disk_that_fills_leaves_the_store_as_it_was(small: Small, other: Small, tmp_path: Path, monkeypatch) -> None:
    out = give(small, tmp_path / "out", "jsonl")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("qdfeedback.study.exchange.imports.append_judgments", full)
    with pytest.raises(OSError, match="disk full"):
        take(other, out, "jsonl")
    assert not table(other, "items")
    assert not table(other, "trials")


def test_formats_without_raters_cannot_come_in(small: Small, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fmt must be one of jsonl"):
        take(small, tmp_path, "nights")
