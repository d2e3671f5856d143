"""A study's data for others: records to exchange, training data, and the same questions for other platforms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qdfeedback import files
from qdfeedback.feedback.database import Database
from qdfeedback.feedback.tables import SCHEMA
from qdfeedback.study.export_jspsych import export_jspsych
from qdfeedback.study.export_pages import export_label_studio, export_potato
from qdfeedback.study.formats import FORMATS, Format
from qdfeedback.study.material import Material, copy_files, new_folder, read_material
from qdfeedback.study.records import RecordFormat, records, write_records
from qdfeedback.study.settings import Study, write_study
from qdfeedback.study.training import export_nights, export_things, export_triplets, export_trl


@dataclass(frozen=True)
class Jspsych:
    """How a jsPsych page gets its library and where its data go.

    Attributes:
        packages: a `node_modules` folder to copy jsPsych from; None = the page loads it from a content network.
        datapipe: id of a DataPipe experiment that takes the answers; "" = they are downloaded.
    """

    packages: Path | None = None
    datapipe: str = ""


def export(
    folder: Path,
    database: Database,
    study: Study,
    out: Path,
    *,
    fmt: Format,
    public: bool = False,
    jspsych: Jspsych = Jspsych(),
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
    return writers[fmt](read_material(folder, database, study, public=public), Path(out))


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
            "schema_version": SCHEMA,
            "study_id": material.study.study_id,
            "format": fmt,
            "public": material.public,
            "counts": {name: len(rows) for name, rows in tables.items()},
            "missing_files": sorted(names - there),
        }
        files.write_json(folder / "export.json", manifest)
    return len(material.judgments)
