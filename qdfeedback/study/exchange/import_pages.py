"""Answers that people gave on jsPsych pages and in Label Studio. Read here; `imports` says which of them can stand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qdfeedback.feedback.tables import RECORD
from qdfeedback.study.exchange.material import Row
from qdfeedback.study.exchange.records import csv_lines, read_text
from qdfeedback.study.settings import Study

_RATER = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Answer:
    """One answer as a page saved it.

    Attributes:
        where: file and place in it.
        trial_id: which trial.
        kind: main, catch, repeat or practice.
        left: item id that stood left, None = not told.
        right: item id that stood right, None = not told.
        swapped: whether the trial's second item stood left, None = `left` tells.
        choice: "left", "right", "tie", "skip", a rating or an option.
        annotator_id: what the page calls the person.
        annotator_kind: person or simulation.
        times: the other columns that the page knows.
        refused: why it cannot be taken, "" = it can.
    """

    where: str
    trial_id: str
    kind: str
    choice: str
    annotator_id: str
    left: str | None = None
    right: str | None = None
    swapped: bool | None = None
    annotator_kind: str = "person"
    times: Row | None = None
    refused: str = ""


def read_json(path: Path) -> Any:
    """Returns the value in a JSON file.

    Raises:
        ValueError: The file is not JSON; the message names it.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not whole JSON ({error}); is the file cut off?") from error


def read_jspsych(path: Path, study: Study) -> list[Answer]:
    """Returns the answers in a file that jsPsych saved, JSON or CSV, or in all such files of a folder.

    Raises:
        ValueError: A file is damaged, holds no trial of ours, or belongs to another study or version.
    """
    paths = sorted(one for one in path.iterdir() if one.suffix in (".json", ".csv")) if path.is_dir() else [path]
    if not paths:
        raise ValueError(f"{path} holds no .json and no .csv file")
    found = []
    for one in paths:
        rows = [(where, row) for where, row in _jspsych_rows(one) if row.get("trial_id")]
        if not rows:
            raise ValueError(f"{one} holds no answer to a trial: no row has a trial_id")
        found += [_jspsych_answer(row, where, study) for where, row in rows]
    return found


def _jspsych_rows(path: Path) -> Iterator[tuple[str, Row]]:
    if path.suffix == ".csv":
        for where, cells in csv_lines(path):
            yield where, {name: None if cell in ("", "null") else cell for name, cell in cells.items()}
        return
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} must hold a list of jsPsych trials")
    for number, row in enumerate(rows):
        yield f"{path}, trial {number}", row


def _jspsych_answer(row: Row, where: str, study: Study) -> Answer:
    check_study(row, where, study)
    missing = {"rater_id", "kind", "choice", "left_id", "t_answered_utc"} - {
        name for name in row if row[name] is not None
    }
    if missing:
        raise ValueError(f"{where}: {', '.join(sorted(missing))} is missing")
    rater = str(row["rater_id"])
    times = {
        "position": number(row.get("position"), int, where),
        "response_ms": number(row.get("rt"), float, where),
        "shown_utc": utc(row.get("t_shown_utc"), where),
        "answered_utc": utc(row["t_answered_utc"], where),
    }
    return Answer(
        where, str(row["trial_id"]), str(row["kind"]), str(row["choice"]), rater,
        left=str(row["left_id"]), right=None if row.get("right_id") is None else str(row["right_id"]),
        annotator_kind="simulation" if str(row.get("simulated")).lower() == "true" else "person",
        times=times,
        refused="" if _RATER.fullmatch(rater) else f"{rater[:64]!r} is no pseudonym",
    )  # fmt: skip


def read_label_studio(path: Path, study: Study) -> list[Answer]:
    """Returns the answers in a JSON export of Label Studio.

    Raises:
        ValueError: The file is damaged, is no such export, or belongs to another study or version.
    """
    tasks = read_json(path)
    if not isinstance(tasks, list) or not all(isinstance(task, dict) and "data" in task for task in tasks):
        raise ValueError(f"{path} must be a Label Studio export of the kind JSON: a list of tasks with data")
    found = []
    for task in tasks:
        where = f"{path}, task {task.get('id', '?')}"
        data, annotations = task["data"], task.get("annotations")
        if not isinstance(data, dict) or not isinstance(annotations, list):
            raise ValueError(f"{where}: no annotations; export as JSON, not as JSON-MIN")
        if "trial_id" in data:
            check_study(data, where, study)
        found += [_label_studio_answer(data, one, where) for one in annotations]
    return found


def _label_studio_answer(data: Row, annotation: Row, where: str) -> Answer:
    if not isinstance(annotation, dict):
        raise ValueError(f"{where}: an annotation must be an object")
    who = annotation.get("completed_by")
    who = who.get("id") if isinstance(who, dict) else who
    choice, refused = _label_studio_choice(annotation)
    if "trial_id" not in data:
        refused = "the task is not from a study: it has no trial_id"
    elif not isinstance(who, int):
        refused = "the annotation does not say by number who made it"
    seconds = number(annotation.get("lead_time"), float, where)
    return Answer(
        where, str(data.get("trial_id")), str(data.get("kind")), choice, f"label-studio-{who}",
        left=None if data.get("left_id") is None else str(data["left_id"]),
        right=None if data.get("right_id") is None else str(data["right_id"]),
        times={
            "response_ms": None if seconds is None else 1000 * seconds,
            "answered_utc": utc(annotation.get("created_at"), where),
        },
        refused=refused,
    )  # fmt: skip


def _label_studio_choice(annotation: Row) -> tuple[str, str]:
    """Returns what was chosen, or why that cannot be told."""
    if annotation.get("was_cancelled"):
        return "skip", ""
    results = annotation.get("result")
    found = [one for one in results if isinstance(one, dict)] if isinstance(results, list) else []
    given = [one.get("value") for one in found if one.get("from_name") == "choice"]
    if len(given) != 1 or not isinstance(given[0], dict):
        return "", f"one result of 'choice' is expected, got {len(given)}"
    value = given[0]
    choices = value.get("choices")
    if isinstance(choices, list) and len(choices) == 1:
        return str(choices[0]), ""
    single = value.get("selected", value.get("rating"))
    return ("", f"cannot read the result {str(value)[:80]!r}") if single is None else (str(single), "")


def check_study(row: Row, where: str, study: Study) -> None:
    """Refuses what belongs to another study or version.

    Raises:
        ValueError: It does.
    """
    if row.get("study_id") != study.study_id:
        raise ValueError(f"{where} belongs to study {row.get('study_id')!r}, not to {study.study_id!r}")
    if str(row.get("schema_version")) != str(RECORD):
        raise ValueError(f"{where} has schema version {row.get('schema_version')}, this version reads {RECORD}")


def number(value: Any, kind: Callable[[Any], Any], where: str) -> Any:
    """Returns a number, None for None.

    Raises:
        ValueError: It is none.
    """
    try:
        return None if value is None else kind(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where}: {value!r} is not a number") from error


def utc(value: Any, where: str) -> str | None:
    """Returns a time as the store writes it.

    Raises:
        ValueError: It is none.
    """
    if value is None:
        return None
    try:
        when = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ValueError(f"{where}: {value!r} is not a time") from error
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return when.isoformat(timespec="milliseconds")
