"""Arrays in `.npy` files that people give: checked by their header before anything is allocated, never unpickled."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from qdfeedback.text_files import check_file, what_it_is

_MAGIC = b"\x93NUMPY"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_MOST, _DEEPEST = 2**62, 32  # bytes, and dimensions: beyond them NumPy raises one error or another
_KINDS = {"b": "true or false", "c": "complex numbers", "U": "texts", "S": "bytes", "V": "records", "M": "dates",
          "m": "durations", "f": "floating-point numbers", "i": "whole numbers", "u": "whole numbers"}  # fmt: skip


class _ObjectsError(ValueError):
    """A file is whole, and what it holds is not loaded."""


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
        shape, in_columns, dtype = _header(file, path)
        told = math.prod(shape) * dtype.itemsize
        there = size - file.tell()
        if there != told:
            why = "is the file cut off?" if there < told else "something else follows: save one array with numpy.save"
            raise ValueError(f"{path} holds {there:,} bytes after its header, which tells of {told:,}: {why}")
        array = array_from(file.read(), shape, dtype, in_columns=in_columns)
    return np.ascontiguousarray(array, dtype=dtype.newbyteorder("=")).reshape(array.shape)  # () stays ()


def read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Returns the shape of an array in a `.npy` file, whether it stands column by column, and its type.

    Raises:
        ValueError: It says what cannot be, or what is not read; the message names no file.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"an array of format {version} in place of (1, 0) or (2, 0)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the Python that a damaged header happens to be
        shape, in_columns, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise _ObjectsError("it holds Python objects, which are not loaded")
    whole = len(shape) <= _DEEPEST and all(type(one) is int and one >= 0 for one in shape)
    if not whole or math.prod(one or 1 for one in shape) * max(dtype.itemsize, 1) > _MOST:
        raise ValueError(f"its shape is {shape!s:.80}")
    if dtype.subdtype is not None:
        raise ValueError(f"its type is {dtype}, an array of its own")
    return shape, in_columns, dtype


def array_from(body: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], *, in_columns: bool) -> NDArray[Any]:
    """Returns a new array of what stands after a header; its size must have been compared."""
    if not math.prod(shape) * dtype.itemsize:
        return np.empty(shape, dtype)
    flat = np.frombuffer(body, dtype)
    return flat.reshape(shape[::-1]).T.copy(order="F") if in_columns else flat.reshape(shape).copy()


def is_numbers(array: NDArray[Any]) -> bool:
    """True for whole and floating-point numbers: no complex ones, truths or texts."""
    return array.dtype.kind in "fiu"


def held(array: NDArray[Any]) -> str:
    """Returns what an array holds, for an error: its type, in words, and its shape."""
    kind = _KINDS.get(array.dtype.kind)
    return f"{array.dtype} {array.shape}" + (f", {kind}" if kind else "")


def _header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    begin = file.read(len(_MAGIC))
    if not begin:
        raise ValueError(f"{path} is not a plain .npy array: it is empty")
    if begin != _MAGIC:
        file.seek(0)
        kind = what_it_is(file.read() if begin.startswith(b"PK") else begin)
        raise ValueError(f"{path} is not a plain .npy array{f', it is {kind}' if kind else ''}")
    file.seek(0)
    try:
        return read_header(file)
    except _ObjectsError as error:
        raise ValueError(f"{path} is not a plain .npy array: {error}") from error
    except Exception as error:  # readers of headers raise whatever a damaged byte leads them to
        said = str(error).partition("\n")[0][:100]
        raise ValueError(f"{path} is not a plain .npy array, its header is damaged: {said}") from error
