from __future__ import annotations

import errno
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
    with pytest.raises(ValueError, match=r"x\.json is not valid JSON"):
        files.read_json(tmp_path / "x.json")
