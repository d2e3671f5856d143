"""Arrays in `.npy` files that people give: checked by their header before anything is allocated, never unpickled."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from qdfeedback.text_files import check_file, what_it_is

_MAGIC = b"\x93NUMPY"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_KINDS = {"b": "true or false", "c": "complex numbers", "U": "texts", "S": "bytes", "V": "records", "M": "dates",
          "m": "durations", "f": "floating-point numbers", "i": "whole numbers", "u": "whole numbers"}  # fmt: skip


def is_array(path: Path) -> bool:
    """True for a file that is named `.npy`, or begins like one."""
    if Path(path).suffix.lower() == ".npy":
        return True
    check_file(path)
    with Path(path).open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_array(path: Path) -> NDArray[Any]:
    """Returns the array in a `.npy` file, in C order and this machine's order of bytes.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no such file, is cut off or longer than its array, or holds Python objects.
    """
    path = Path(path)
    size = check_file(path)
    with path.open("rb") as file:
        shape, dtype = _header(file, path)
        told = math.prod(shape) * dtype.itemsize
        there = size - file.tell()
        if there != told:
            why = "is the file cut off?" if there < told else "something else follows: save one array with numpy.save"
            raise ValueError(f"{path} holds {there:,} bytes after its header, which tells of {told:,}: {why}")
        file.seek(0)
        array = np.lib.format.read_array(file, allow_pickle=False)
    return np.ascontiguousarray(array, dtype=dtype.newbyteorder("=")).reshape(array.shape)  # () stays ()


def held(array: NDArray[Any]) -> str:
    """Returns what an array holds, for an error: its type, in words, and its shape."""
    kind = _KINDS.get(array.dtype.kind)
    return f"{array.dtype} {array.shape}" + (f", {kind}" if kind else "")


def _header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    begin = file.read(len(_MAGIC))
    if not begin:
        raise ValueError(f"{path} is not a plain .npy array: it is empty")
    if begin != _MAGIC:
        file.seek(0)
        kind = what_it_is(file.read() if begin.startswith(b"PK") else begin)
        raise ValueError(f"{path} is not a plain .npy array{f', it is {kind}' if kind else ''}")
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"its format {version} is not read")
        shape, _, dtype = _HEADERS[version](file)
    except Exception as error:  # readers of headers raise whatever a damaged byte leads them to
        said = str(error).partition("\n")[0][:100]
        raise ValueError(f"{path} is not a plain .npy array, its header is damaged: {said}") from error
    if dtype.hasobject:
        raise ValueError(f"{path} is not a plain .npy array: it holds Python objects, which are not loaded")
    if any(not isinstance(one, int) or one < 0 for one in shape):
        raise ValueError(f"{path} is not a plain .npy array, its header is damaged: its shape is {shape}")
    return shape, dtype
