"""Exported tables, read again: JSON lines, CSV or Parquet, also as a spreadsheet or another tool saved them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from qdfeedback.csv_files import read_table
from qdfeedback.study.exchange.formats import RecordFormat
from qdfeedback.study.exchange.material import Row
from qdfeedback.study.exchange.records import OWN, fields, kind_of
from qdfeedback.study.exchange.values import RefusedError, number, text, time, whole
from qdfeedback.text_files import read_content, read_json_lines, why
from qdfeedback.values import brief

MOST_ROWS = 10_000_000
"""Rows that are read of one Parquet file, whose few bytes can stand for any number of them."""


def read_records(path: Path, name: str, fmt: RecordFormat) -> tuple[list[tuple[str, Row]], list[str]]:
    """Returns where each record stands and the row of the table that it makes, and which records make none, and why.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or no record has the columns of this kind; the message names file and line.
    """
    readers = {"jsonl": read_json_lines, "csv": _csv_lines, "parquet": _parquet_lines}
    found: list[tuple[str, Row]] = []
    refused: list[str] = []
    strange = 0
    for where, record in readers[fmt](path):
        if wrong := _wrong_columns(name, record):
            strange += 1
            refused.append(f"{where}: {wrong}")
            continue
        try:
            found.append((where, _row(name, record)))
        except RefusedError as error:
            refused.append(f"{where}: {error}")
    if refused and strange == len(found) + len(refused):
        raise ValueError(refused[0])
    return found, refused


def _csv_lines(path: Path) -> Iterator[tuple[str, Row]]:
    for where, record in read_table(path).records():
        yield where, {name: cell or None for name, cell in record.items()}


def _parquet_lines(path: Path) -> Iterator[tuple[str, Row]]:
    content = io.BytesIO(read_content(path))
    try:
        with pq.ParquetFile(content) as file:
            if file.metadata.num_rows > MOST_ROWS:
                raise ValueError(f"{file.metadata.num_rows:,} rows, at most {MOST_ROWS:,} are read")
            found = file.read().to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} cannot be read as a Parquet file: {why(error)}") from error
    for row, record in enumerate(found, 1):
        yield f"{path}, row {row}", record


def _wrong_columns(name: str, record: Any) -> str:
    """Returns what is wrong with the columns of a record, "" where nothing is."""
    if not isinstance(record, dict):
        return f"a JSON object is expected, got a {type(record).__name__}"
    known = fields(name)
    needed = [field for field, column in known.items() if not column.nullable and column.name not in OWN]
    wrong = [f"{brief(field)} is not known" for field in sorted(set(record) - set(known))]
    wrong += [f"{field!r} is missing" for field in sorted(set(needed) - set(record))]
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return f"wrong columns for {name}: {', '.join(wrong[:3])}{more}" if wrong else ""


def _row(name: str, record: Row) -> Row:
    """Returns a row of the table, its columns typed.

    Raises:
        RefusedError: A value is none of its column's.
    """
    row = {
        column.name: _value(record.get(field), field, column)
        for field, column in fields(name).items()
        if column.name not in OWN
    }
    if name == "items":
        row["content"] = " ".join(file.removeprefix("shown/") for file in row["content"].split(" "))
    return row


def _value(value: Any, field: str, column: sa.Column[Any]) -> Any:
    """Returns a value of the column's type; None stays None where it may."""
    if value is None and not column.nullable:
        raise RefusedError(f"{field} must not be empty")
    read = time if column.name.endswith("_utc") else {str: text, int: whole, float: number}[kind_of(column)]
    try:
        return read(value)
    except RefusedError as error:
        raise RefusedError(f"{field}: {error}") from error
