"""Tables as CSV: read from whatever a spreadsheet saved, written so that no spreadsheet computes what is in them.

A text that a spreadsheet would take for a formula (`=`, `+`, `-`, `@` at its start) carries a leading apostrophe in the
file, which reading takes away again; numbers are left alone.
"""

from __future__ import annotations

import csv
import io
import numbers
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from qdfeedback.files import write_atomic
from qdfeedback.text_files import beginning, read_text
from qdfeedback.values import brief

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}

_NAMES = "a line with the names of the columns is expected"
_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠]|'*[\t\r\n]")
_FIRST = re.compile(r"sep=([,;\t|])\r?\n", re.IGNORECASE)  # Excel's own way of naming the separator
_WHOLE = re.compile(r"[+-]?[0-9]{1,400}", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+", re.ASCII)


@dataclass(frozen=True)
class Table:
    """What a CSV file holds, as text; it is taken apart as it is read.

    Attributes:
        path: of the file.
        names: of the columns.
        separator: between cells.
        text: of the file.
    """

    path: Path
    names: tuple[str, ...]
    separator: str
    text: str = field(repr=False)

    def records(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Gives where each row stands, "FILE, line N", and its cells by column; blank rows are passed over.

        Raises:
            ValueError: A row has more or fewer cells than there are columns, or a quote is never closed.
        """
        rows = _rows(self.text, self.separator, self.path)
        next(rows)
        for line, row in rows:
            where = f"{self.path}, line {line}"
            if len(row) < len(self.names) or any(row[len(self.names) :]):
                raise ValueError(f"{where}: {len(row)} cells for {len(self.names)} columns{_too_many(row, self.names)}")
            yield where, dict(zip(self.names, row, strict=False))


def read_table(path: Path, needed: Sequence[str] = ()) -> Table:
    """Returns the table in a CSV file: separated by commas, semicolons or tabs, quoted or not.

    Args:
        path: of the file; its first line names the columns.
        needed: columns that there must be, in lower case; upper case in the file is the same.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no text, or a column is missing or named twice; the message names the file and the line.
    """
    path = Path(path)
    text = read_text(path, newlines=False)
    if not text.strip(" ,;\t\r\n"):
        raise ValueError(f"{path} is empty: {_NAMES}")
    if text.lstrip()[:1] == "<":
        raise ValueError(f"{path} is a web page or XML, a table with columns is expected")
    told = _FIRST.match(text)
    separator = told[1] if told else max(SEPARATORS, key=lambda one: _fit(text, one, needed, path))
    line, cells = next(_rows(text, separator, path), (0, []))
    names = tuple(_named(cell, needed) for cell in cells)
    while names and not names[-1]:  # spreadsheets write separators as far as anything ever stood
        names = names[:-1]
    if not names:
        raise ValueError(f"{path} is empty: {_NAMES}")
    _check_names(f"{path}, line {line}", names, needed)
    return Table(path, names, separator, text)


def whole_number(cell: str, where: str) -> int:
    """Returns the whole number in a cell.

    Raises:
        ValueError: It is none; the message says what it is.
    """
    if _WHOLE.fullmatch(cell.strip()):
        return int(cell)
    raise ValueError(f"{where}: a whole number is expected, got {brief(cell)}{_about(cell)}")


def number(cell: str, where: str) -> float:
    """Returns the finite number in a cell.

    Raises:
        ValueError: It is none; the message says what it is.
    """
    try:
        found = float(cell) if "_" not in cell else float("nan")
    except ValueError:
        found = float("nan")
    if not abs(found) < float("inf"):
        raise ValueError(f"{where}: a number is expected, got {brief(cell)}{_about(cell)}")
    return found


def write_csv(path: Path, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Writes a table, atomically; no text in it can become a formula.

    Args:
        path: of the file.
        names: of the columns.
        rows: cells: texts, which are guarded, numbers, and None, which is an empty cell.

    Raises:
        OSError: The file system refuses.
    """
    file = io.StringIO(newline="")
    writer = csv.writer(file)  # its own line ends, \r\n: only then does it quote a lone \r
    writer.writerows([[guarded(cell) for cell in row] for row in (names, *rows)])
    write_atomic(Path(path), file.getvalue().encode(errors="backslashreplace"))  # half a character is no loss of all


def write_csv_records(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows under the columns of the first, as `write_csv`.

    Raises:
        ValueError: A row has a column that the first has not.
        OSError: The file system refuses.
    """
    names = list(rows[0]) if rows else []
    if wrong := [name for row in rows for name in row if name not in names]:
        raise ValueError(f"the columns of {path} are {', '.join(names)}, a later row has {wrong[0]!r} too")
    write_csv(path, names, [[row.get(name) for name in names] for row in rows])


def guarded(cell: Any) -> Any:
    """Returns a cell as it is written: a text that a spreadsheet would compute gets an apostrophe before it."""
    if cell is None or isinstance(cell, numbers.Number):
        return cell
    return f"'{cell}" if _FORMULA.match(str(cell)) else cell


def unguarded(cell: str) -> str:
    """Returns the text that `guarded` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _fit(text: str, separator: str, needed: Sequence[str], path: Path) -> tuple[bool, float, int]:
    """Returns how well a separator fits: the columns needed are there, rows are like the first, which has many."""
    rows: list[list[str]] = []
    with suppress(ValueError):  # said when the row is read
        for _, cells in islice(_rows(text, separator, path), 20):
            rows.append(cells)
    if not rows:
        return False, 0, 0
    count = len(rows[0])
    alike = sum(len(row) == count for row in rows) / len(rows) if count > 1 else 0
    return bool(needed) and {_named(cell, needed) for cell in rows[0]}.issuperset(needed), alike, count


def _rows(text: str, separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Gives on which line each row that is not blank begins, and its cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    begin = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row) and not (begin == 1 and _FIRST.match(text)):
                yield begin, [unguarded(cell) for cell in row]
            begin = reader.line_num + 1
    except csv.Error as error:
        cut = str(error) == "unexpected end of data"
        said = "a quote that is never closed; is the file cut off?" if cut else f"no CSV: {error}"
        raise ValueError(f"{path}, line {begin}: {said}") from error


def _named(cell: str, needed: Sequence[str]) -> str:
    name = cell.strip()
    return name.lower() if name.lower() in needed else name


def _check_names(where: str, names: tuple[str, ...], needed: Sequence[str]) -> None:
    if missing := [name for name in needed if name not in names]:
        head = "the first line must name the columns" if all(map(_is_number, names)) else "columns are missing"
        found = f"{', '.join(sorted(missing))} not found in {beginning(', '.join(names))}"
        only = f" (cells are separated by {', '.join(SEPARATORS.values())})" if len(names) == 1 else ""
        raise ValueError(f"{where}: {head}: {', '.join(needed)}; {found}{only}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{where}: a column stands there twice: {', '.join(brief(name) for name in twice[:3])}")


def _too_many(row: Sequence[str], names: Sequence[str]) -> str:
    numbers = all(_WHOLE.fullmatch(cell.strip()) for cell in row)
    return ": are decimals written with a comma?" if len(row) > len(names) and numbers else ""


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _about(cell: str) -> str:
    if _DECIMAL_COMMA.fullmatch(cell.strip()):
        return ": decimals need a point"
    if _is_number(cell):
        return ": it is not whole" if float(cell) % 1 else ": write it without a point"
    return " (an empty cell)" if not cell.strip() else ""
