"""Files that survive a crash: whole or not there, never half; arrays plus JSON, never pickle."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from qdfeedback import text_files
from qdfeedback.array_files import array_from, read_header
from qdfeedback.text_files import beginning, why

_META = "meta.json"
_PART = re.compile(r"\.(\d+)\.part")
_STALE_SECONDS = 3600  # nothing here takes so long to write
_CALLED = {
    dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number", bool: "true or false",
    type(None): "nothing",
}  # fmt: skip

T = TypeVar("T")
Arrays = dict[str, NDArray[Any]]


def write_atomic(path: Path, content: bytes) -> None:
    """Writes a file so that a crash at any moment leaves the old content or the new one.

    Raises:
        OSError: The file system refuses (full, read-only); the old content stands and no scrap is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scrap = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with scrap.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scrap.replace(path)
    except OSError as error:
        scrap.unlink(missing_ok=True)
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error
    sync_folder(path.parent)


def append_lines(path: Path, lines: str) -> None:
    """Appends whole lines to a text file; a last line that a crash tore stays a line of its own.

    Raises:
        OSError: The file system refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, io.SEEK_END)
            lines = lines if file.read(1) == b"\n" else f"\n{lines}"
        file.write(lines.encode())


def sync_files(*paths: Path) -> None:
    """Makes the contents of files durable, one after the other, and then their names; they are of one folder."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(paths[0].parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Writes a value as indented JSON, atomically."""
    write_atomic(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path, want: type = object) -> Any:
    """Returns the value in a JSON file.

    Args:
        path: the file.
        want: what the whole file must hold: dict for an object, list for a list.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: As `text_files.read_json`, or the file holds something else; the message names it.
    """
    value = text_files.read_json(path)
    if not isinstance(value, want):
        raise ValueError(f"{path} must hold {called(want)}, it holds {called(type(value))}")
    return value


def called(kind: type) -> str:
    """Returns what JSON calls a type of values."""
    return _CALLED.get(kind, kind.__name__)


def is_alive(pid: int) -> bool:
    """True where a process on this machine has that id, whichever program it is."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def sweep(folder: Path) -> None:
    """Removes what processes that are gone left half written in a folder and below it."""
    for part in folder.rglob("*.part"):
        match = _PART.search(part.name)
        if match is None or not part.is_file():
            continue
        pid, age = int(match[1]), time.time() - part.stat().st_mtime
        if age > _STALE_SECONDS or not is_alive(pid):
            part.unlink(missing_ok=True)


def beside(path: Path, what: str) -> Path:
    """Returns a name, `history.damaged-1.arrows` or the like, that no file has yet: for what is put aside."""
    number = 1
    while (aside := path.with_name(f"{path.stem}.{what}-{number}{path.suffix}")).exists():
        number += 1
    return aside


def put_aside(path: Path) -> Path | None:
    """Gives a damaged file a name of its own, under which nobody takes it for whole; returns it, None of no file."""
    if not path.exists():
        return None
    aside = path.with_name(f"{path.name}.damaged")
    aside = beside(aside, "again") if aside.exists() else aside
    path.replace(aside)
    return aside


def pack(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> bytes:
    """Returns an uncompressed `.npz` archive that also holds `meta.json`; the same input gives the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            body = io.BytesIO()
            np.lib.format.write_array(body, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), body.getvalue())
        archive.writestr(zipfile.ZipInfo(_META), json.dumps(meta))
    return stream.getvalue()


def under(arrays: Mapping[str, NDArray[Any]], prefix: str) -> Arrays:
    """Returns those of some arrays whose names begin with a prefix, by their names without it."""
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def unpack(content: bytes, name: str) -> tuple[Arrays, dict[str, Any]]:
    """Returns the arrays and the metadata that `pack` put together; runs no code from the file.

    No more is allocated than the file has bytes: what it says of its own sizes is checked first.

    Args:
        content: the file's bytes.
        name: what to call the file in an error.

    Raises:
        ValueError: The bytes are not such an archive.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _check_entries(entries, len(content))
            bodies = {entry.filename: archive.read(entry) for entry in entries}
        meta = json.loads(bodies.pop(_META))
        if not isinstance(meta, dict):
            raise ValueError(f"{_META} must hold an object, it holds {called(type(meta))}")
        return {entry.removesuffix(".npy"): npy_array(body) for entry, body in bodies.items()}, meta
    except Exception as error:  # readers of zip, JSON and headers raise whatever a damaged byte leads them to
        raise ValueError(f"{name} is damaged or not one of ours: {why(error)}") from error


def read_packed(path: Path | str, build: Callable[[Arrays, dict[str, Any]], T], *, kind: str = "") -> T:
    """Returns what is built from the arrays and the metadata in a file that `pack` made.

    Args:
        path: the file.
        build: takes arrays and metadata; what it misses in them is an error of the file.
        kind: what the metadata must call a model; "" for a file that holds none.

    Raises:
        ValueError: The file is damaged, holds another kind of model, or lacks what is built from.
        OSError: It cannot be read.
    """
    arrays, meta = unpack(Path(path).read_bytes(), str(path))
    if kind and meta.get("model") != kind:
        raise ValueError(f"{path} holds a {beginning(str(meta.get('model')), 40)} model, expected {kind}")
    try:
        return build(arrays, meta)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(f"{path} is damaged or not one of ours: {why(error)}") from error


def _check_entries(entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("it has compressed parts")
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError("its parts are larger than the file")
    if len({entry.filename for entry in entries}) < len(entries):
        raise ValueError("two of its parts have one name")


def npy_array(body: bytes) -> NDArray[Any]:
    """Returns the array in the bytes of an `.npy` file; no objects, and no more memory than the file has bytes.

    Raises:
        ValueError: It is no such file, or has not the size that its header says.
    """
    stream = io.BytesIO(body)
    shape, in_columns, dtype = read_header(stream)
    start, count = stream.tell(), math.prod(shape)
    if count * dtype.itemsize != len(body) - start or count > len(body):
        raise ValueError(
            f"an array of {len(body) - start} bytes, its header says {dtype} {shape}: {count * dtype.itemsize}"
        )
    return array_from(body[start:], shape, dtype, in_columns=in_columns)


def digest(content: bytes) -> str:
    """Returns the first 16 hex digits of the SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]
