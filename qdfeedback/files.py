"""Files that survive a crash: whole or not there, never half; arrays plus JSON, never pickle."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_META = "meta.json"


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


def read_json(path: Path) -> Any:
    """Returns the value in a JSON file.

    Raises:
        ValueError: The file is not JSON; the message names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


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


def unpack(content: bytes, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Returns the arrays and the metadata that `pack` put together; runs no code from the file.

    Args:
        content: the file's bytes.
        name: what to call the file in an error.

    Raises:
        ValueError: The bytes are not such an archive.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.namelist():
                if entry != _META:
                    arrays[entry.removesuffix(".npy")] = np.lib.format.read_array(
                        io.BytesIO(archive.read(entry)), allow_pickle=False
                    )
            meta = json.loads(archive.read(_META))
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise ValueError(f"{name} is damaged or not one of ours: {error}") from error
    return arrays, meta


def digest(content: bytes) -> str:
    """Returns the first 16 hex digits of the SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]
