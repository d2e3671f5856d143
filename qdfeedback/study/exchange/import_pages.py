"""Answers that people gave on jsPsych pages and in Label Studio. Read here; `imports` says which of them can stand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from qdfeedback.csv_files import read_table
from qdfeedback.feedback.study import Study
from qdfeedback.feedback.tables import RECORD
from qdfeedback.files import called
from qdfeedback.study.exchange.material import Row
from qdfeedback.study.exchange.values import RefusedError, number, time, whole
from qdfeedback.text_files import read_json
from qdfeedback.values import brief

_RATER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NEEDED = ("rater_id", "kind", "choice", "left_id", "t_answered_utc")


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


@dataclass(frozen=True)
class Read:
    """What a page's files hold.

    Attributes:
        answers: in their order.
        files: which of several files gave none, and why.
    """

    answers: list[Answer]
    files: list[str]


def read_each(paths: Sequence[Path], read: Callable[[Path], list[Answer]]) -> Read:
    """Returns what one file holds, or what can be read of several: each is what one person left, whole or not.

    Raises:
        ValueError: None of them can be read; the message is that of the first.
    """
    answers: list[Answer] = []
    files: list[str] = []
    for path in paths:
        try:
            answers += read(path)
        except (ValueError, OSError) as error:
            if len(paths) == 1:
                raise
            files.append(str(error))
    if len(files) == len(paths):
        raise ValueError(f"{files[0]} (and nothing can be read of the other {len(files) - 1} files)")
    return Read(answers, files)


def read_jspsych(path: Path, study: Study) -> Read:
    """Returns the answers in a file that jsPsych saved, JSON or CSV, or in all such files of a folder.

    Raises:
        ValueError: The file, or each in the folder, is damaged, holds no trial of ours, or belongs to another study or
            version.
    """
    paths = [path]
    if path.is_dir():
        seen = sorted(path.iterdir())
        paths = [one for one in seen if one.suffix.lower() in (".json", ".csv") and not one.name.startswith(".")]
        if not paths:
            raise ValueError(f"{path} holds no .json and no .csv file")
    return read_each(paths, partial(_read_jspsych, study=study))


def _read_jspsych(path: Path, study: Study) -> list[Answer]:
    rows = [(where, row) for where, row in _jspsych_rows(path) if not isinstance(row, dict) or row.get("trial_id")]
    if not any(isinstance(row, dict) for _, row in rows):
        raise ValueError(f"{path} holds no answer to a trial: no row has a trial_id")
    return [_jspsych_answer(row, where, study) for where, row in rows]


def _jspsych_rows(path: Path) -> Iterator[tuple[str, Any]]:
    if path.suffix.lower() == ".csv":
        for where, cells in read_table(path).records():
            yield where, {name: None if cell in ("", "null") else cell for name, cell in cells.items()}
        return
    rows = read_json(path)
    if not isinstance(rows, list):
        raise ValueError(f"{path} must hold a list of jsPsych trials, it holds {called(type(rows))}")
    for place, row in enumerate(rows):
        yield f"{path}, trial {place}", row


def _jspsych_answer(row: Any, where: str, study: Study) -> Answer:
    if not isinstance(row, dict):
        return Answer(where, "", "", "", "", refused=f"a trial must be an object, it is {called(type(row))}")
    check_study(row, where, study)
    answer = Answer(where, _said(row["trial_id"]), _said(row.get("kind")), _said(row.get("choice")),
                    _said(row.get("rater_id")), left=_said(row.get("left_id")))  # fmt: skip
    try:
        if missing := [name for name in _NEEDED if row.get(name) is None]:
            raise RefusedError(f"{', '.join(missing)} is missing")
        if not _RATER.fullmatch(answer.annotator_id):
            raise RefusedError(f"{brief(row['rater_id'])} is no pseudonym")
        times = {
            "position": whole(row.get("position")),
            "response_ms": number(row.get("rt")),
            "shown_utc": time(row.get("t_shown_utc")),
            "answered_utc": time(row["t_answered_utc"]),
        }
    except RefusedError as error:
        return replace(answer, refused=str(error))
    simulated = _said(row.get("simulated")).lower() == "true"
    right = None if row.get("right_id") is None else _said(row["right_id"])
    return replace(answer, right=right, times=times, annotator_kind="simulation" if simulated else "person")


def read_label_studio(path: Path, study: Study) -> Read:
    """Returns the answers in a JSON export of Label Studio.

    Raises:
        ValueError: The file is damaged, is no such export, or belongs to another study or version.
    """
    tasks = read_json(path)
    if not isinstance(tasks, list) or not any(isinstance(task, dict) and "data" in task for task in tasks):
        raise ValueError(f"{path} must be a Label Studio export of the kind JSON: a list of tasks with data")
    if not any(isinstance(task, dict) and isinstance(task.get("annotations"), list) for task in tasks):
        raise ValueError(f"{path} has no annotations: export as JSON, not as JSON-MIN")
    return Read([answer for place, task in enumerate(tasks) for answer in _task(task, place, path, study)], [])


def _task(task: Any, place: int, path: Path, study: Study) -> Iterator[Answer]:
    if not isinstance(task, dict):
        yield Answer(f"{path}, task at place {place}", "", "", "", "", refused=f"{brief(task)} is no task")
        return
    where = f"{path}, task {brief(task['id']) if 'id' in task else f'at place {place}'}"
    data, annotations = task.get("data"), task.get("annotations")
    if not isinstance(data, dict) or not isinstance(annotations, list):
        yield Answer(where, "", "", "", "", refused="data or annotations are missing")
        return
    if "trial_id" in data:
        check_study(data, where, study)
    for one in annotations:
        yield _label_studio_answer(data, one, where)


def _label_studio_answer(data: Row, annotation: Any, where: str) -> Answer:
    answer = Answer(where, _said(data.get("trial_id")), _said(data.get("kind")), "", "")
    try:
        if "trial_id" not in data:
            raise RefusedError("the task is not from a study: it has no trial_id")
        if not isinstance(annotation, dict):
            raise RefusedError(f"an annotation must be an object, it is {called(type(annotation))}")
        who = annotation.get("completed_by")
        who = who.get("id") if isinstance(who, dict) else who
        if not isinstance(who, int) or isinstance(who, bool):
            raise RefusedError("the annotation does not say by number who made it")
        seconds = number(annotation.get("lead_time"))
        return replace(
            answer,
            choice=_label_studio_choice(annotation),
            annotator_id=f"label-studio-{whole(who)}",
            left=None if data.get("left_id") is None else _said(data["left_id"]),
            right=None if data.get("right_id") is None else _said(data["right_id"]),
            times={
                "response_ms": None if seconds is None else 1000 * seconds,
                "answered_utc": time(annotation.get("created_at")),
            },
        )
    except RefusedError as error:
        return replace(answer, refused=str(error))


def _label_studio_choice(annotation: Row) -> str:
    """Returns what was chosen.

    Raises:
        RefusedError: That cannot be told.
    """
    if annotation.get("was_cancelled") is True:
        return "skip"
    results = annotation.get("result")
    found = [one for one in results if isinstance(one, dict)] if isinstance(results, list) else []
    given = [one.get("value") for one in found if one.get("from_name") == "choice"]
    if len(given) != 1 or not isinstance(given[0], dict):
        raise RefusedError(f"one result of 'choice' is expected, got {len(given)}")
    value = given[0]
    choices = value.get("choices")
    single = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    single = value.get("selected", value.get("rating")) if single is None else single
    if not isinstance(single, str | int | float) or isinstance(single, bool):
        raise RefusedError(f"cannot read the result {brief(value)}")
    return str(single)


def check_study(row: Row, where: str, study: Study) -> None:
    """Refuses what belongs to another study or version.

    Raises:
        ValueError: It does.
    """
    if row.get("study_id") != study.study_id:
        raise ValueError(f"{where} belongs to study {brief(row.get('study_id'))}, not to {study.study_id!r}")
    version = row.get("schema_version")
    if str(version) not in (str(RECORD), f"{RECORD}.0"):  # of a table that somebody has saved anew
        raise ValueError(f"{where} has schema version {brief(version)}, this version reads {RECORD}")


def _said(value: Any) -> str:
    """Returns what a page wrote as text, short: anything that is none is no name of ours either."""
    return value if isinstance(value, str) else brief(value)
