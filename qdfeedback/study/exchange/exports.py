"""A study's data for others: records to exchange, training data, and the same questions for other platforms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from qdfeedback import files
from qdfeedback.feedback.answers import read_answers
from qdfeedback.feedback.conduct import excluded
from qdfeedback.feedback.database import Database
from qdfeedback.feedback.study import Study, write_study
from qdfeedback.feedback.tables import RECORD, judgments
from qdfeedback.study.exchange.export_jspsych import export_jspsych
from qdfeedback.study.exchange.export_pages import export_label_studio, export_potato
from qdfeedback.study.exchange.formats import FORMATS, TRAINING_FORMATS, Format, RecordFormat
from qdfeedback.study.exchange.material import Material, copy_files, new_folder, read_material
from qdfeedback.study.exchange.records import records, write_records
from qdfeedback.study.exchange.training import export_nights, export_things, export_triplets, export_trl


@dataclass(frozen=True)
class Jspsych:
    """How a jsPsych page gets its library and where its data go.

    Attributes:
        packages: a `node_modules` folder to copy jsPsych from; None = the page loads it from a content network.
        datapipe: id of a DataPipe experiment that takes the answers; "" = they are downloaded.
    """

    packages: Path | None = None
    datapipe: str = ""


@dataclass(frozen=True)
class Training:
    """Whose judgments training data are made of.

    Attributes:
        by: kinds of annotators: person, model, simulation.
        exclude: leave out people whom the report's rules exclude.
        question: name of the one that was answered; "" = the only one of its task that the study asks.
    """

    by: tuple[str, ...] = ("person",)
    exclude: bool = False
    question: str = ""


def export(
    folder: Path,
    database: Database,
    study: Study,
    out: Path,
    *,
    fmt: Format,
    public: bool = False,
    jspsych: Jspsych = Jspsych(),
    training: Training = Training(),
) -> int:
    """Writes a study's data; returns how many records: judgments, trials of a page, or rows of training data.

    Args:
        folder: the run or study folder, with `shown/` in it.
        database: where the study is kept.
        study: its settings.
        out: a new folder; for "trl" a file.
        fmt: what to write.
        public: for publication: times to the day, people numbered r1, r2, …, no completion code. Texts and labels
            stay. Who the people are on their platforms never leaves the database, public or not.
        jspsych: for that format.
        training: for trl, hf-triplets, nights and things.

    Raises:
        ValueError: The format cannot hold this study, something to show is missing, or `out` is there already.
    """
    writers: dict[Format, Callable[[Material, Path], int]] = {
        "jsonl": partial(_export_records, fmt="jsonl"),
        "csv": partial(_export_records, fmt="csv"),
        "parquet": partial(_export_records, fmt="parquet"),
        "jspsych": partial(export_jspsych, packages=jspsych.packages, datapipe=jspsych.datapipe),
        "label-studio": export_label_studio,
        "potato": export_potato,
        "trl": export_trl,
        "hf-triplets": export_triplets,
        "nights": export_nights,
        "things": export_things,
    }
    if fmt not in writers:
        raise ValueError(f"fmt must be one of {', '.join(FORMATS)}, got {fmt!r}")
    material = read_material(folder, database, study, public=public)
    if fmt in TRAINING_FORMATS:
        material = _chosen(material, training, database, task="pair" if fmt == "trl" else "triplet")
    return writers[fmt](material, Path(out))


def _chosen(material: Material, training: Training, database: Database, *, task: str) -> Material:
    """Returns the material with the judgments that are trained on, of one question: none of these files names it."""
    if unknown := set(training.by) - {"person", "model", "simulation"}:
        raise ValueError(f"training.by must name person, model or simulation, got {', '.join(sorted(unknown))}")
    asked = _questions(material)
    name = training.question or _only_question(material, asked, task)
    if name and (found := material.study.question(name).task) != task:
        raise ValueError(f"training.question must be a question of {task}s, {name!r} is one of {found}s")
    left_out: set[int] = set()
    if training.exclude:
        out = excluded(read_answers(database, material.study), material.study)
        person = judgments.c.annotator_kind == "person", judgments.c.study_id == material.study.study_id
        theirs = sa.select(judgments.c.id).where(*person, judgments.c.annotator_id.in_(out))
        left_out = {row["id"] for row in database.rows(theirs)}
    kept = [
        row
        for row in material.judgments
        if row["annotator_kind"] in training.by and row["id"] not in left_out and asked[row["id"]] == name
    ]
    return replace(material, judgments=kept)


def _questions(material: Material) -> dict[int, str]:
    """Returns judgment id → question; where a search's own annotator noted none, that of the trial, or the first."""
    trials = {row["trial_id"]: row["question"] for row in material.trials}
    first = material.study.questions[0].name
    return {row["id"]: row["question"] or trials.get(row["trial_id"], first) for row in material.judgments}


def _only_question(material: Material, asked: dict[int, str], task: str) -> str:
    """Returns the one question of a task that was answered, "" where there is none."""
    found = sorted({asked[row["id"]] for row in material.judgments if row["task"] == task})
    if len(found) > 1:
        raise ValueError(
            f"{', '.join(map(repr, found))} are different questions of {task}s, which this format cannot tell apart: "
            "choose one of them"
        )
    return found[0] if found else ""


def _export_records(material: Material, out: Path, *, fmt: RecordFormat) -> int:
    """Writes a folder: study.json, items, trials, responses, and `shown/` with what there is to look at."""
    tables = {"items": list(material.items.values()), "trials": material.trials, "responses": material.judgments}
    names = {name for row in tables["items"] for name in row["content"].split(" ")}
    there = {name for name in names if (material.shown.folder / name).is_file()}
    with new_folder(out) as folder:
        write_study(folder, material.study)
        for name, rows in tables.items():
            write_records(folder, name, fmt, records(name, rows))
        copy_files(material.shown, there, folder / "shown")
        manifest = {
            "schema_version": RECORD,
            "study_id": material.study.study_id,
            "format": fmt,
            "public": material.public,
            "counts": {name: len(rows) for name, rows in tables.items()},
            "missing_files": sorted(names - there),
        }
        files.write_json(folder / "export.json", manifest)
    return len(material.judgments)
