"""A study's tables as files: one record per row, as JSON lines, CSV or Parquet.

Field names are those under which such records are exchanged (`rater_id`, `rt_ms`, `t_answered_utc`, …). In CSV, a text
that a spreadsheet would take for a formula carries a leading apostrophe, which reading takes away again
(`read_records`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from qdfeedback.csv_files import write_csv
from qdfeedback.feedback.tables import items, judgments, trials
from qdfeedback.files import write_atomic
from qdfeedback.study.exchange.formats import RecordFormat
from qdfeedback.study.exchange.material import Row

TABLES = {"items": items, "trials": trials, "responses": judgments}
"""File name, without its ending, → the table that it holds."""

_NAMES = {
    "id": "response_id", "anchor_id": "ref_id", "annotator_id": "rater_id", "response_ms": "rt_ms",
    "shown_utc": "t_shown_utc", "answered_utc": "t_answered_utc", "content": "uri", "source": "source_run",
    "note": "meta",
}  # fmt: skip
OWN = {"id", "number"}
"""Columns that the store counts itself."""

_ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64()}
_LINE_END = re.compile("[\x85\u2028\u2029]")  # some readers take these for the end of a line


def fields(name: str) -> dict[str, sa.Column[Any]]:
    """Returns the field names of a file and the columns behind them."""
    table = TABLES[name]
    return {_NAMES.get(c.name, c.name): c for c in table.columns if c.name != "number"}


def records(name: str, rows: list[Row]) -> list[Row]:
    """Returns rows of a table as records."""
    found = [{field: row[column.name] for field, column in fields(name).items()} for row in rows]
    if name == "items":
        for record in found:
            record["uri"] = " ".join(f"shown/{file}" for file in record["uri"].split(" "))
    return found


def write_records(folder: Path, name: str, fmt: RecordFormat, found: list[Row]) -> None:
    """Writes records of one kind."""
    path = folder / f"{name}.{fmt}"
    if fmt == "parquet":
        schema = pa.schema([(field, _ARROW[kind_of(column)]) for field, column in fields(name).items()])
        pq.write_table(pa.Table.from_pylist(found, schema=schema), path)
    elif fmt == "csv":
        write_csv(path, list(fields(name)), [list(record.values()) for record in found])
    else:
        write_jsonl(path, found)


def write_jsonl(path: Path, found: list[Row]) -> None:
    """Writes one JSON object per line."""
    lines = [json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in found]
    text = _LINE_END.sub(lambda mark: f"\\u{ord(mark[0]):04x}", "".join(lines))
    write_atomic(path, text.encode())


def kind_of(column: sa.Column[Any]) -> type[Any]:
    """Returns the type of a column's values."""
    return column.type.python_type
