from __future__ import annotations

import errno
import io
import os
import stat
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from qdfeedback import files


def test_pack_gives_back_arrays_and_metadata() -> None:
    arrays = {"a": np.arange(6).reshape(2, 3), "archive/b": np.array([np.inf, np.nan]), "scalar": np.float32(2.5)}
    content = files.pack(arrays, {"x": [1, 2], "big": 2**100})
    found, meta = files.unpack(content, "here")
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.asarray(array).dtype
    assert meta == {"x": [1, 2], "big": 2**100}
    assert files.pack(arrays, {"x": [1, 2], "big": 2**100}) == content


def test_pack_refuses_objects() -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        files.pack({"a": np.array([{}], dtype=object)}, {})


@pytest.mark.parametrize(
    "damage", [lambda c: c[: len(c) // 2], lambda _: b"", lambda _: b"not a zip", lambda c: c[200:]]
)
def test_unpack_names_a_damaged_file(damage) -> None:
    content = files.pack({"a": np.arange(100)}, {})
    with pytest.raises(ValueError, match=r"model\.npz is damaged"):
        files.unpack(damage(content), "model.npz")


def test_write_atomic_leaves_the_old_content_when_the_disk_is_full(tmp_path: Path, monkeypatch) -> None:
    target = tmp_path / "f.json"
    files.write_json(target, {"old": True})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*f\.json: No space left"):
        files.write_json(target, {"new": True})
    assert files.read_json(target) == {"old": True}
    assert list(tmp_path.iterdir()) == [target]


def test_read_json_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match=r"x\.json, line 1: not JSON: .*; is the file cut off\?"):
        files.read_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 5000, "4300 digits"),
        (b"\xff\xfe{", "ends in the middle of a character"),
        (b"\xe9", "not in UTF-8"),
        (b'{"a": 1, "a": 2}', "'a' stands twice in one object"),
        (b"[1]", r"must hold an object, it holds a list"),
        (b"null", r"must hold an object, it holds nothing"),
    ],
)
def test_json_of_the_wrong_shape_is_named(tmp_path: Path, content: bytes, wrong: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"x\.json.*{wrong}"):
        files.read_json(path, dict)


def archive_of(entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, body in entries:
            archive.writestr(name, body)
    return stream.getvalue()


def npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


def huge(shape: str, descr: str = "'<f8'", body: bytes = b"") -> bytes:
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}", body)


@pytest.mark.parametrize(
    "entries",
    [
        [("meta.json", b"{}"), ("a.npy", huge("(1000000000000,)"))],
        [("meta.json", b"{}"), ("a.npy", huge("(-1, -8)", body=bytes(64)))],
        [("meta.json", b"{}"), ("a.npy", huge("(1000000000,)", "'<U0'"))],
        [("meta.json", b"{}"), ("a.npy", huge("(1,)", "'|O'", bytes(8)))],
        [("meta.json", b"[]")],
        [("meta.json", b"[" * 100_000)],
        [("meta.json", b"{}"), ("a.npy", b"\x93NUMPY\x09\x00")],
        [("a.npy", huge("(1,)", body=bytes(8)))],
    ],
    ids=["size", "negative", "no width", "objects", "list", "deep", "version", "no meta"],
)
def test_impossible_archives_are_refused_before_anything_is_allocated(entries) -> None:
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"m\.npz is damaged or not one of ours"):
        files.unpack(archive_of(entries), "m.npz")
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_compressed_parts_are_refused_unread() -> None:
    content = archive_of([("meta.json", b"{}"), ("a.npy", bytes(50_000_000))], zipfile.ZIP_DEFLATED)
    assert len(content) < 100_000
    tracemalloc.start()
    with pytest.raises(ValueError, match="compressed parts"):
        files.unpack(content, "m.npz")
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_parts_that_lie_over_each_other_are_refused() -> None:
    """A directory whose entries all point to one part: a small file that would become a large one."""
    content = archive_of([("meta.json", b"{}"), *((f"{i}.npy", b"") for i in range(9)), ("x.npy", bytes(100_000))])
    at = content.index(b"PK\x01\x02")
    directory = content[at:]
    entry = content[content.rindex(b"PK\x01\x02") : content.rindex(b"PK\x05\x06")]
    entries = b"".join(entry.replace(b"x.npy", f"{i}.npy".encode()) for i in range(9))
    end = bytearray(directory[-22:])
    end[8:12] = (9).to_bytes(2, "little") * 2
    end[12:16] = len(entries).to_bytes(4, "little")
    with pytest.raises(ValueError, match="larger than the file"):
        files.unpack(content[:at] + entries + bytes(end), "m.npz")


def test_every_flipped_byte_of_an_archive_is_one_line() -> None:
    content = files.pack({"a": np.arange(5.0), "b": np.array(["x", "yz"])}, {"k": [1, {"x": None}]})
    for at in range(len(content)):
        for flip in (0x01, 0x80):
            damaged = bytearray(content)
            damaged[at] ^= flip
            try:
                found, meta = files.unpack(bytes(damaged), "m.npz")
            except ValueError as error:
                assert "m.npz is damaged" in str(error)  # noqa: PT017 - some bytes mean nothing: a date, a comment
            else:
                assert [array.tolist() for array in found.values()] == [np.arange(5.0).tolist(), ["x", "yz"]]
                assert meta == {"k": [1, {"x": None}]}


def test_arrays_in_columns_come_back_as_they_were() -> None:
    array = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    found, _ = files.unpack(files.pack({"a": array, "none": np.empty((0, 3))}, {}), "m.npz")
    np.testing.assert_array_equal(found["a"], array)
    assert found["a"].flags.writeable
    assert found["none"].shape == (0, 3)


def test_scraps_of_processes_that_are_gone_are_removed(tmp_path: Path) -> None:
    gone, living, old, other = (
        tmp_path / ".a.json.4194303.part", tmp_path / f".b.json.{os.getpid()}.part", tmp_path / "shown/x.1.part",
        tmp_path / "mine.part",
    )  # fmt: skip
    (tmp_path / "shown").mkdir()
    for path in (gone, living, old, other):
        path.write_text("half")
    os.utime(old, (0, 0))
    files.sweep(tmp_path)
    assert {path.name for path in tmp_path.rglob("*.part")} == {living.name, other.name}


def test_what_is_put_aside_has_a_name_of_its_own(tmp_path: Path) -> None:
    path, names = tmp_path / "history.arrows", []
    for _ in range(3):
        aside = files.beside(path, "damaged")
        aside.write_bytes(b"")
        names.append(aside.name)
    assert names == ["history.damaged-1.arrows", "history.damaged-2.arrows", "history.damaged-3.arrows"]


def test_an_atomic_write_syncs_the_file_before_its_name_and_the_name_after(tmp_path: Path, monkeypatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    monkeypatch.setattr(files.os, "fsync", synced)
    monkeypatch.setattr(files.Path, "replace", lambda self, to: done.append("name") or replace(self, to))
    files.write_atomic(tmp_path / "x", b"content")
    assert done == ["file", "name", "folder"]
