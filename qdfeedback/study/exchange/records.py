"""A study's tables as files: one record per row, as JSON lines, CSV or Parquet.

Field names are those under which such records are exchanged (`rater_id`, `rt_ms`, `t_answered_utc`, …). In CSV, a text
that a spreadsheet would take for a formula carries a leading apostrophe, which reading takes away again.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from qdfeedback.csv_files import unguarded, write_csv
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
_OWN = {"id", "number"}  # what the store counts itself
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
        schema = pa.schema([(field, _ARROW[_type(column)]) for field, column in fields(name).items()])
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


def read_records(path: Path, name: str, fmt: RecordFormat) -> list[tuple[str, Row]]:
    """Returns where each record stands, and the row of the table that it makes.

    Raises:
        ValueError: The file is damaged, or a record is not of this kind; the message names file and line.
    """
    readers = {"jsonl": _json_lines, "csv": _csv_lines, "parquet": _parquet_lines}
    return [(where, _row(name, record, where)) for where, record in readers[fmt](path)]


def read_text(path: Path) -> str:
    """Returns a file's text, newlines as they are.

    Raises:
        ValueError: There is no such file, or it is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ValueError(f"there is no file {path}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error


def csv_lines(path: Path) -> Iterator[tuple[str, Row]]:
    """Gives where each line of a CSV file stands, and its cells by column, as text.

    Raises:
        ValueError: A line has more or fewer cells than there are columns, or a quote is never closed.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        names = next(reader, [])
        if len(set(names)) != len(names):
            raise ValueError(f"{path}: a column stands there twice: {', '.join(names)}")
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if len(cells) != len(names):
                raise ValueError(f"{where}: {len(cells)} cells for {len(names)} columns; is the file cut off?")
            yield where, {name: unguarded(cell) for name, cell in zip(names, cells, strict=True)}
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}; is the file cut off?") from error


def _csv_lines(path: Path) -> Iterator[tuple[str, Row]]:
    for where, record in csv_lines(path):
        yield where, {name: cell or None for name, cell in record.items()}


def _json_lines(path: Path) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: not JSON ({error}); is the file cut off?") from error
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number}: a JSON object is expected, got {type(record).__name__}")
        yield f"{path}, line {number}", record


def _parquet_lines(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        found = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a whole Parquet file: {error}") from error
    for number, record in enumerate(found, 1):
        yield f"{path}, row {number}", record


def _row(name: str, record: Row, where: str) -> Row:
    """Returns a row of the table, its columns typed."""
    known = fields(name)
    strange = set(record) - set(known)
    missing = {field for field, column in known.items() if not column.nullable and column.name not in _OWN} - set(
        record
    )
    if strange or missing:
        wrong = [f"{field!r} is not known" for field in sorted(strange)]
        wrong += [f"{field!r} is missing" for field in sorted(missing)]
        raise ValueError(f"{where}: wrong columns for {name}: {', '.join(wrong)}")
    row = {
        column.name: _value(record.get(field), column, f"{where}: {field}")
        for field, column in known.items()
        if column.name not in _OWN
    }
    if name == "items":
        row["content"] = " ".join(file.removeprefix("shown/") for file in row["content"].split(" "))
    return row


def _value(value: Any, column: sa.Column[Any], where: str) -> Any:
    """Returns a value of the column's type; None stays None where it may."""
    if value is None:
        if not column.nullable:
            raise ValueError(f"{where} must not be empty")
        return None
    kind: Any = _type(column)
    if kind is not str and isinstance(value, str):
        try:
            value = kind(value)
        except ValueError as error:
            raise ValueError(f"{where} must be a number, got {value!r}") from error
    if kind is float and isinstance(value, int):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, kind) or (kind is float and not abs(value) < float("inf")):
        raise ValueError(f"{where} must be {kind.__name__}, got {value!r}")
    return value


def _type(column: sa.Column[Any]) -> type[Any]:
    return column.type.python_type
