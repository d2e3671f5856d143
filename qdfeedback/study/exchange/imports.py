"""Answers given elsewhere, into the store: all that can be read is kept once, the rest is named; never half a file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from qdfeedback import files
from qdfeedback.feedback.database import Database
from qdfeedback.feedback.store import append_judgments
from qdfeedback.feedback.study import Study, read_study
from qdfeedback.feedback.tables import RECORD, empty, identities, items, judgments, removed, trials
from qdfeedback.shown import is_name
from qdfeedback.study.erase import removed_name
from qdfeedback.study.exchange.formats import IMPORT_FORMATS, RECORD_FORMATS, ImportFormat, RecordFormat
from qdfeedback.study.exchange.import_pages import Answer, Read, read_jspsych, read_label_studio
from qdfeedback.study.exchange.import_potato import read_potato
from qdfeedback.study.exchange.material import Row
from qdfeedback.study.exchange.read_records import read_records
from qdfeedback.study.exchange.records import TABLES
from qdfeedback.study.exchange.values import RefusedError
from qdfeedback.study.exchange.verdicts import check, completed
from qdfeedback.study.register import Platform, Register, identity
from qdfeedback.study.secrets import study_key
from qdfeedback.study.words import counted
from qdfeedback.values import brief

_KEY = ("trial_id", "kind", "annotator_id")
_SAID = ("left_id", "right_id", "choice", "winner_id", "value", "label")


@dataclass(frozen=True)
class Imported:
    """What became of an import.

    Attributes:
        new: how many judgments were added.
        known: how many were there already.
        refused: answers that could not be taken, each with its place and the reason.
        files: of a folder of files, one for each person, those that gave none, and why.
    """

    new: int
    known: int
    refused: list[str]
    files: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        found = f"{counted(self.new, 'new answer')}, {self.known} known already, {len(self.refused)} refused"
        return f"{found}; {counted(len(self.files), 'file')} gave none" if self.files else found


@dataclass
class _Batch:
    """What a file holds."""

    items: list[Row] = field(default_factory=list)
    trials: list[Row] = field(default_factory=list)
    judgments: list[tuple[str, Row]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    public: bool = False
    people: dict[str, Platform] = field(default_factory=dict)


def import_answers(
    folder: Path, database: Database, study: Study, path: Path, *, fmt: ImportFormat, key: bytes | None = None
) -> Imported:
    """Adds answers to a study; one that is there already, of the same person to the same trial, stands.

    A file that cannot be read as a whole adds nothing. In one that can, an answer that cannot be (a trial that the
    study does not have, a rating off the scale, a number or a time that is none, another answer than the one that is
    there) is refused by itself. So is a file of a folder in which each person has one.

    Args:
        folder: the run or study folder; takes in what an exported folder has to show.
        database: where the study is kept.
        study: its settings.
        path: an exported folder, or its file of responses alone; for "jspsych" a saved file or a folder of such; for
            "label-studio" the JSON export; for "potato" the folder `annotation_output`.
        fmt: what it is.
        key: of the study, which makes pseudonyms of the names on jsPsych pages and in Potato; this user's if None.

    Raises:
        ValueError: The file is damaged, has wrong columns, or belongs to another study or version.
        OSError: The store cannot be written; nothing was.
    """
    path = Path(path)
    pages: dict[str, Callable[[Path, Study], Read]] = {
        "jspsych": read_jspsych,
        "label-studio": read_label_studio,
        "potato": read_potato,
    }
    if fmt in pages:
        read = pages[fmt](path, study)
        batch = _Batch(answers=read.answers, files=read.files)
        if fmt != "label-studio":  # which gives people numbers of its own
            batch = _renamed(batch, Register(database, study, key or study_key(study.study_id)), fmt)
    elif fmt in RECORD_FORMATS:
        batch = _read_folder(path, study, fmt) if path.is_dir() else _responses(path, study, fmt)
    else:
        raise ValueError(f"fmt must be one of {', '.join(IMPORT_FORMATS)}, got {fmt!r}; the others name no raters")
    if path.is_dir() and batch.items:
        _take_files(path / "shown", Path(folder) / "shown", batch.items)
    with database.writing(lock=study.study_id) as connection:
        return _store(database, connection, study, batch)


def format_of(path: Path) -> ImportFormat:
    """Returns the format of a table by its name, or of an exported folder by what it says.

    Raises:
        ValueError: Neither tells.
    """
    manifest = Path(path) / "export.json"
    told = files.read_json(manifest, dict).get("format") if manifest.exists() else Path(path).suffix[1:].lower()
    if told not in RECORD_FORMATS:
        raise ValueError(f"{path} does not tell its format: name it, one of {', '.join(IMPORT_FORMATS)}")
    found: ImportFormat = told
    return found


def _renamed(batch: _Batch, register: Register, platform: str) -> _Batch:
    """Returns the batch with a pseudonym for each person that the page names, and who they are."""
    answers, people = [], {}
    for answer in batch.answers:
        if answer.annotator_kind == "person" and not answer.refused:
            who = Platform(platform, answer.annotator_id)
            people[register.pseudonym(who, "")] = who
            answer = replace(answer, annotator_id=register.pseudonym(who, ""))
        answers.append(answer)
    return replace(batch, answers=answers, people=people)


# --- reading an exported folder


def _read_folder(path: Path, study: Study, fmt: RecordFormat) -> _Batch:
    if not (path / "export.json").exists():
        raise ValueError(f"{path} is no finished export: there is no export.json in it")
    manifest = files.read_json(path / "export.json", dict)
    if manifest.get("schema_version") != RECORD:
        version = brief(manifest.get("schema_version"))
        raise ValueError(f"{path}/export.json has schema version {version}, this version reads {RECORD}")
    _is_of(study, manifest.get("study_id"), f"{path}/export.json")
    if manifest.get("format") != fmt:
        raise ValueError(f"{path} is an export as {brief(manifest.get('format'))}, not as {fmt}")
    _is_of(study, read_study(path).study_id, f"{path}/study.json")
    counts = manifest.get("counts")
    found: dict[str, list[tuple[str, Row]]] = {}
    refused: list[str] = []
    for name in TABLES:
        rows, refused = read_records(path / f"{name}.{fmt}", name, fmt)
        if refused and name != "responses":  # what is asked is one whole
            raise ValueError(refused[0])
        _is_whole(path / f"{name}.{fmt}", len(rows) + len(refused), counts, name)
        for where, row in rows:
            _is_of(study, row["study_id"], where)
        found[name] = rows
    rows_of: dict[str, list[Row]] = {name: [row for _, row in rows] for name, rows in found.items()}
    public = manifest.get("public") is True
    return _Batch(rows_of["items"], rows_of["trials"], found["responses"], refused=refused, public=public)


def _is_whole(path: Path, n: int, counts: Any, name: str) -> None:
    expected = counts.get(name) if isinstance(counts, dict) else None
    if not isinstance(expected, int):
        raise ValueError(f"{path.parent}/export.json does not count the records of {name}")
    if n != expected:
        cut = "; is the file cut off?" if n < expected else ""
        raise ValueError(f"{path} holds {n} records, export.json counts {expected}{cut}")


def _responses(path: Path, study: Study, fmt: RecordFormat) -> _Batch:
    found, refused = read_records(path, "responses", fmt)
    for where, row in found:
        _is_of(study, row["study_id"], where)
    return _Batch(judgments=found, refused=refused)


def _is_of(study: Study, found: Any, where: str) -> None:
    if found != study.study_id:
        raise ValueError(f"{where} belongs to study {brief(found)}, not to {study.study_id!r}")


def _take_files(source: Path, target: Path, rows: list[Row]) -> None:
    """Copies what is not there yet; a file's name tells its content, so one that does not match is damaged."""
    for name in sorted({name for row in rows for name in row["content"].split(" ")}):
        if not is_name(name):
            raise ValueError(f"{source}: {brief(name)} is no name of a shown file")
        if (source / name).is_file() and not (target / name).exists():
            content = (source / name).read_bytes()
            if files.digest(content) != name[:16]:
                raise ValueError(f"{source / name} is damaged: its name is not that of its content")
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / f"{name}.part")
            (target / f"{name}.part").replace(target / name)


# --- writing, in one transaction


def _store(database: Database, connection: sa.Connection, study: Study, batch: _Batch) -> Imported:
    asked = _merge(connection, study, trials, "trial_id", batch.trials, ("number", "published_utc"))
    _merge(connection, study, items, "item_id", batch.items, ("note", "source"))
    there = _there(connection, study)
    if batch.public:
        _is_apart(there, batch.judgments)
    gone = set(connection.scalars(sa.select(removed.c.name_hash).where(removed.c.study_id == study.study_id)))
    refused = list(batch.refused)
    rows: list[Row] = []
    found: list[tuple[str, Row | Answer]] = [*batch.judgments, *((answer.where, answer) for answer in batch.answers)]
    for where, given in found:
        try:
            row = completed(given, asked, study) if isinstance(given, Answer) else given
            if row["annotator_kind"] == "person" and removed_name(study, str(row["annotator_id"])) in gone:
                raise RefusedError("this person had their answers removed")
            check(row, asked, study)
            key, said = tuple(row[name] for name in _KEY), tuple(row.get(name) for name in _SAID)
            if there.setdefault(key, said) != said:
                raise RefusedError(f"{brief(row['annotator_id'])} answered otherwise before; the first answer stands")
            rows.append(row)
        except RefusedError as error:
            refused.append(f"{where}: {error}")
    if batch.items:
        connection.execute(database.insert_new(items), [empty(items) | row for row in batch.items])
    if batch.trials:
        connection.execute(database.insert_new(trials), [empty(trials) | row for row in batch.trials])
    new = append_judgments(database, connection, rows) if rows else 0
    there_now = {row["annotator_id"] for row in rows}
    known_as = [identity(study, name, who) for name, who in batch.people.items() if name in there_now]
    if known_as:
        connection.execute(database.insert_new(identities), known_as)
    return Imported(new, len(rows) - new, refused, batch.files)


def _merge(
    connection: sa.Connection, study: Study, table: sa.Table, key: str, rows: list[Row], free: tuple[str, ...]
) -> dict[str, Row]:
    """Returns the table's rows with the new ones, by id; a row that says otherwise than the one there is an error."""
    query = sa.select(table).where(table.c.study_id == study.study_id)
    found = {row[key]: dict(row) for row in connection.execute(query).mappings()}
    for row in rows:
        other = found.setdefault(row[key], row)
        differing = [name for name in row if name not in free and row[name] != other.get(name)]
        if differing:
            raise ValueError(
                f"{key} {brief(row[key])} is another one in this study: {', '.join(differing)} differ; is the export "
                "of another study of the same name?"
            )
    return found


def _there(connection: sa.Connection, study: Study) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    columns = [judgments.c[name] for name in (*_KEY, *_SAID)]
    rows = connection.execute(sa.select(*columns).where(judgments.c.study_id == study.study_id)).all()
    return {tuple(row[: len(_KEY)]): tuple(row[len(_KEY) :]) for row in rows}


def _is_apart(there: dict[tuple[Any, ...], tuple[Any, ...]], rows: list[tuple[str, Row]]) -> None:
    """Refuses a published export where its people may be there under their own names: all would count twice."""
    named = {row["annotator_id"] for _, row in rows}
    if strangers := {key[-1] for key in there} - named:
        raise ValueError(
            f"this is an export for publication, whose people are numbered, and the study has answers of "
            f"{len(strangers)} others: they could be the same people; import it into an empty study"
        )
