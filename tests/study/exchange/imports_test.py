from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from qdfeedback.feedback.store import Store
from qdfeedback.study.analysis.report import report
from qdfeedback.study.exchange.exports import export
from qdfeedback.study.exchange.imports import Imported, import_answers
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
    with pytest.raises(ValueError, match="is an export as jsonl, not as csv"):
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
    path.write_text(text.replace("812.5", "soon", 1))
    with pytest.raises(ValueError, match="line 2: rt_ms must be a number, got 'soon'"):
        take(small, path, "csv")


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
