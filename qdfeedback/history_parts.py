"""Where the parts of a history lie in its file, and their checksums: damage is noticed, and what is whole is found.

`history.sums` stands beside `history.arrows`, one line a part: first row, rows, offset, bytes, CRC-32; before them a
line with the columns. Each line ends with a checksum of itself. A history without it, of an earlier version, is read
too: its parts are looked for in the file, and what is wrong inside them cannot be noticed.
"""

from __future__ import annotations

import base64
import binascii
import mmap
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

_BEGIN = b"\xff\xff\xff\xff"  # of every Arrow message
_LONGEST = 2**26  # bytes of a message's own header
_MOST = 2**62  # of a number in the file of checksums
UNREADABLE = (pa.ArrowException, OSError, EOFError, ValueError, UnicodeDecodeError)


@dataclass(frozen=True)
class Part:
    """One record batch.

    Attributes:
        start: id of its first row.
        rows: how many.
        offset: where its bytes begin,
        size: and how many there are.
        crc: their checksum; None where nobody noted one.
    """

    start: int
    rows: int
    offset: int
    size: int
    crc: int | None

    def line(self) -> str:
        """Returns its line in `history.sums`."""
        return _signed(f"{self.start},{self.rows},{self.offset},{self.size},{self.crc or 0:08x}")


def schema_line(schema: bytes) -> str:
    """Returns the line in `history.sums` that keeps the columns."""
    return _signed(f"columns,{base64.b64encode(schema).decode()}")


def _signed(text: str) -> str:
    return f"{text},{zlib.crc32(text.encode()):08x}\n"


@dataclass(frozen=True)
class Sums:
    """What `history.sums` says.

    Attributes:
        schema: the first message of the history, b"" where its line is gone.
        parts: offset → part.
        damaged: lines that are not whole.
    """

    schema: bytes
    parts: dict[int, Part]
    damaged: int


def read_sums(path: Path) -> Sums:
    """Returns what stands in the file; nothing where there is none. A line that is not whole does not count."""
    schema, parts, damaged = b"", {}, 0
    content = path.read_bytes() if path.exists() else b""
    whole, _, torn = content.rpartition(b"\n")
    for line in whole.split(b"\n") if whole else ():
        text, _, signature = line.decode("ascii", "replace").rpartition(",")
        try:
            if _signed(text) != f"{text},{signature}\n":
                raise ValueError(line)
            first, *rest = text.split(",")
            if first == "columns":
                schema = base64.b64decode(rest[0], validate=True)
                pa.ipc.read_schema(pa.py_buffer(schema))
            else:
                part = Part(int(first), int(rest[0]), int(rest[1]), int(rest[2]), int(rest[3], 16))
                if min(part.start, part.rows - 1, part.offset - 1, part.size - 1) < 0 or part.size > _MOST:
                    raise ValueError(line)
                parts[part.offset] = part
        except (*UNREADABLE, IndexError, binascii.Error):
            schema = b"" if text.startswith("columns,") else schema
            damaged += 1
    return Sums(schema, parts, damaged + bool(torn))


def find_parts(path: Path, schema: pa.Schema, begin: int, noted: dict[int, Part]) -> list[Part]:
    """Returns the parts in a file, in its order: those noted, and where none is, those that can be read.

    Args:
        path: the file.
        schema: its columns.
        begin: where the first part begins.
        noted: offset → part, as `history.sums` has them. They are not read here.
    """
    found: list[Part] = []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        size, at, known = len(content), begin, sorted(noted)
        while at < size:
            part = noted.get(at)
            if part is None or part.offset + part.size > size:
                part = None if part else _read(path, schema, at)
            if part is None:
                after = min(next((offset for offset in known if offset > at), size), size)
                at = min(after, _next_message(path, schema, content, at + 1, after))
                continue
            found.append(part)
            at = part.offset + part.size
    return found


def _read(path: Path, schema: pa.Schema, offset: int) -> Part | None:
    """Returns the part that begins there; None where none can be read."""
    with pa.memory_map(str(path)) as file:
        file.seek(offset)
        try:
            batch = pa.ipc.read_record_batch(pa.ipc.read_message(file), schema)
            batch.validate(full=True)
            first = batch.column("id")[0].as_py()
            if type(first) is not int or first < 0:
                return None
            return Part(first, batch.num_rows, offset, file.tell() - offset, None)
        except (*UNREADABLE, IndexError, KeyError, TypeError):
            return None


def _next_message(path: Path, schema: pa.Schema, content: mmap.mmap, begin: int, end: int) -> int:
    """Returns where the next part begins that can be read, `end` where there is none."""
    at = content.find(_BEGIN, begin, end)
    while at >= 0:
        if at % 8 == 0 and at + 8 <= end:
            (length,) = struct.unpack_from("<i", content, at + 4)
            if 0 < length < _LONGEST and length % 8 == 0 and _read(path, schema, at) is not None:
                return at
        at = content.find(_BEGIN, at + 1, end)
    return end


def checksum(path: Path, offset: int, size: int) -> int:
    """Returns the CRC-32 of some bytes of a file, read through a memory map."""
    with pa.memory_map(str(path)) as file:
        file.seek(offset)
        return zlib.crc32(memoryview(file.read_buffer(size)))


def is_whole(path: Path, part: Part) -> bool:
    """True where a part's bytes are those that were written, as far as anybody can tell."""
    return part.crc is None or checksum(path, part.offset, part.size) == part.crc


def missing_rows(parts: Iterable[Part], damaged: Iterable[Part]) -> list[tuple[int, int]]:
    """Returns the (first, last) ids that no part holds, up to the last one that is known of."""
    gaps, expected = [], 0
    parts = sorted(parts, key=lambda part: part.start)
    for part in parts:
        if part.start > expected:
            gaps.append((expected, part.start - 1))
        expected = max(expected, part.start + part.rows)
    end = max((part.start + part.rows for part in damaged), default=0)
    return [*gaps, (expected, end - 1)] if end > expected else gaps
