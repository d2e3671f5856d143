"""Text files that people, spreadsheets and other tools wrote: read for what they are, or named for what they are.

UTF-8 and UTF-16 are read, with or without a byte order mark, whatever ends the lines. Everything else is refused with
the file, the line, what was found and the remedy: another encoding is never guessed, since a wrong guess is text too.
"""

from __future__ import annotations

import io
import json
import re
import stat
import tomllib
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST = 2**28
"""Bytes that are read of one file."""

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),  # before UTF-16, whose mark it begins with
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_MAGIC = (
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ", "compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"{\\rtf", "a rich text document"),
    (b"\x80\x04\x95", "a Python pickle"),
)
_INSIDE = (
    ("xl/", "an Excel workbook: save it as CSV UTF-8"),
    ("word/", "a Word document: save it as plain text, UTF-8"),
    ("content.xml", "an OpenDocument file: save it as CSV, UTF-8"),
)
_WORD = re.compile(rb"[^\s,;\"]+")
_PLAIN = "\t\n\r\f\v"  # control characters that texts have


def read_text(path: Path, *, newlines: bool = True, most: int = MOST) -> str:
    r"""Returns a file's text, without a byte order mark; "" for an empty file.

    Args:
        path: of the file.
        newlines: make every line end \n; False leaves \r\n and \r as they are.
        most: bytes that it may have.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no file of text in UTF-8 or UTF-16, or too large; the message says what it is, and where.
    """
    text = _decoded(read_content(path, most=most), Path(path))
    return text.replace("\r\n", "\n").replace("\r", "\n") if newlines else text


def read_content(path: Path, *, most: int = MOST) -> bytes:
    """Returns the bytes of a file whose size is bounded.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is a folder or a device, or too large.
    """
    size = check_file(path)
    if size > most:
        raise ValueError(f"{path} has {size:,} bytes, at most {most:,} are read: is it the right file?")
    with Path(path).open("rb") as file:
        return file.read(most)


def check_file(path: Path) -> int:
    """Returns the size of a file in bytes; it can be opened without waiting for anybody.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is a folder or a device.
    """
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"there is no file {path}") from error
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is {'a folder' if stat.S_ISDIR(found.st_mode) else 'no regular file'}")
    return found.st_size


def read_lines(path: Path) -> list[str]:
    """Returns the lines of a text that are not blank, without the space around them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no text, see `read_text`.
    """
    return [line.strip() for line in read_text(path).split("\n") if line.strip()]


def read_json(path: Path) -> Any:
    """Returns the value in a JSON file that may have been written by hand.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not JSON, or names a thing twice; the message names the file and the line.
    """
    return parse_json(read_text(path), str(path))


def read_json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Gives where each line stands, "FILE, line N", and its JSON value; blank lines are passed over.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is not JSON.
    """
    lines = read_text(path).split("\n")
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield f"{path}, line {number}", parse_json(line, str(path), line=number, last=number == len(lines))


def parse_json(text: str, name: str, *, line: int | None = None, last: bool = True) -> Any:
    """Returns the value of a JSON text.

    Args:
        text: the whole of it.
        name: what to call its file in an error.
        line: of the file, if the text is only that line of it.
        last: the file ends with the text: what is missing at its end may have been cut off.

    Raises:
        ValueError: It is not JSON, or an object names a thing twice.
    """
    if not text.strip():
        raise ValueError(f"{name} is empty: JSON is expected")
    where = name if line is None else f"{name}, line {line}"
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}, line {line or error.lineno}: {_wrong_json(text, error, last=last)}") from error
    except RecursionError as error:
        raise ValueError(f"{where}: not JSON that can be read: it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{where}: {why(error)}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """Returns the tables of a TOML file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not TOML.
    """
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(f"{path} is not TOML that can be read: it is nested too deeply") from error
    except ValueError as error:  # not TOML, a number of thousands of digits
        raise ValueError(f"{path} is not TOML: {why(error)}") from error


def beginning(text: str, most: int = 80) -> str:
    """Returns the beginning of a text, on one line, for a message."""
    plain = " ".join(text.split())
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"


def why(error: Exception, most: int = 250) -> str:
    """Returns what an error says, short, on one line, for a message that names the file."""
    return beginning(f"there is no {error} in it" if isinstance(error, KeyError) else str(error), most)


def what_it_is(content: bytes) -> str | None:
    """Returns what kind of file begins with these bytes, None where it may be text."""
    if content.startswith(b"PK\x03\x04"):
        return _zipped(content)
    return next((kind for magic, kind in _MAGIC if content.startswith(magic)), None)


def _zipped(content: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return "a damaged zip archive"
    if names and all(name.endswith((".npy", "meta.json")) for name in names):
        return f"a NumPy archive (.npz) of {', '.join(name.removesuffix('.npy') for name in names[:5])}"
    return next((kind for part, kind in _INSIDE if any(n.startswith(part) for n in names)), "a zip archive: unpack it")


def _decoded(content: bytes, path: Path) -> str:
    if (kind := what_it_is(content)) is not None:
        raise ValueError(f"{path} is no text file, it is {kind}")
    mark, encoding = next(((m, e) for m, e in _BOMS if content.startswith(m)), (b"", "utf-8"))
    body = content[len(mark) :]
    if not mark and b"\x00" in body:
        return _without_mark(body, path)
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(_wrong_bytes(body, error, path)) from error
    if "\x00" in text:
        raise ValueError(
            f"{path}, line {_line(text[: text.index(chr(0))])}: a NUL byte: the file is damaged, or no text"
        )
    return text.lstrip("\ufeff")  # tools that join files leave more of them


def _without_mark(body: bytes, path: Path) -> str:
    """Returns the text of UTF-16 that has no byte order mark, in the order of bytes that gives more of ASCII."""
    found = []
    for encoding in ("utf-16-le", "utf-16-be"):
        try:
            text = body.decode(encoding)
        except UnicodeDecodeError:
            continue
        if all(one in _PLAIN or unicodedata.category(one) not in ("Cc", "Cn", "Co") for one in set(text)):
            found.append(text)
    if not found:
        where = _line(body[: body.index(b"\x00")].decode("latin-1"))
        raise ValueError(f"{path}, line {where}: a NUL byte: the file is damaged, or no text")
    return max(found, key=lambda text: sum(one.isascii() for one in text))


def _wrong_bytes(body: bytes, error: UnicodeDecodeError, path: Path) -> str:
    """Returns what is wrong with bytes that do not decode: another encoding, an end that is missing, or no text."""
    if error.end == len(body) and error.reason in ("unexpected end of data", "truncated data"):
        return f"{path} ends in the middle of a character: is the file cut off, or not in {error.encoding.upper()}?"
    if error.encoding != "utf-8":
        return f"{path} is marked as {error.encoding} and is not: {error.reason} at byte {error.start}"
    where = f"{path}, line {_line(body[: error.start].decode('utf-8'))}"
    strange = f"byte 0x{body[error.start]:02x} is not UTF-8"
    beginning = body[:4096]
    if sum(byte < 32 and chr(byte) not in _PLAIN for byte in beginning) > 0.02 * len(beginning):
        return f"{where}: {strange}: the file is damaged, or no text"
    begin = error.start - len(_WORD.findall(body[max(error.start - 20, 0) : error.start] + b"?")[-1]) + 1
    word = _WORD.findall(body[begin : begin + 40])[0].decode("cp1252", "replace")
    return f"{where}: {strange}; in Windows-1252 it would read {word!r}: save the file as UTF-8"


def _line(before: str) -> int:
    return 1 + before.replace("\r\n", "\n").replace("\r", "\n").count("\n")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{beginning(repr(twice))} stands twice in one object")
    return found


def _wrong_json(text: str, error: json.JSONDecodeError, *, last: bool) -> str:
    said = error.msg[:1].lower() + error.msg[1:]
    if error.msg == "Extra data":
        return f"not JSON: one value is expected, more follows at column {error.colno} (JSON lines end in .jsonl)"
    if last and (error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")):
        return f"not JSON: {said}; is the file cut off?"
    if text.lstrip().startswith("<"):
        return "not JSON: it is a web page or XML"
    there = text[error.pos : error.pos + 30].split("\n")[0]
    quotes = "; quotes must be straight" if there.startswith(("\u201c", "\u201d", "\u2018", "\u2019", "'")) else ""
    return f"not JSON: {said} at column {error.colno}, before {there!r}{quotes}"
