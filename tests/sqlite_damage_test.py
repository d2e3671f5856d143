from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from qdfeedback import sqlite_damage, sqlite_files
from qdfeedback.sqlite_files import Kind
from tests.sqlite_files_test import N, notes

KIND = Kind("box of notes", "notes", "notes")


def spoil(path: Path, *pages: int) -> None:
    content = bytearray(path.read_bytes())
    for page in pages:
        content[page * 4096 : (page + 1) * 4096] = b"\xee" * 4096
    path.write_bytes(content)


def pages(path: Path) -> int:
    return path.stat().st_size // 4096


def test_what_lies_on_other_pages_can_be_read(tmp_path: Path) -> None:
    path = notes(tmp_path / "n.db")
    assert sqlite_damage.readable(path, "notes") == N
    spoil(path, pages(path) // 2)
    some = sqlite_damage.readable(path, "notes")
    assert some is not None
    assert N * 0.9 < some < N
    with closing(sqlite_files.connect(path, "still")) as connection:
        wrong = sqlite_damage.damage(connection, path)
    assert wrong is not None
    line = sqlite_damage.damaged(path, wrong, KIND)
    assert f"{path} is damaged (" in line
    assert f"{some} of its notes can be read. Put a backup in its place; or save what can be read with" in line
    assert f"`python -m qdfeedback.rescue {path} NEW`, move it aside, and put NEW in its place" in line
    assert "\n" not in line


def test_what_lies_between_two_damaged_pages_can_be_read(tmp_path: Path) -> None:
    path = notes(tmp_path / "n.db")
    spoil(path, pages(path) // 4)
    one = sqlite_damage.readable(path, "notes")
    spoil(path, pages(path) * 3 // 4)
    both = sqlite_damage.readable(path, "notes")
    assert one is not None
    assert both is not None
    assert one - (N - one) - 2 <= both < one, "each page costs what lay on it"


def test_a_log_that_lies_beside_it_goes_with_it(tmp_path: Path) -> None:
    path = notes(tmp_path / "n.db")
    (tmp_path / "n.db-wal").touch()
    assert "move it and n.db-wal aside" in sqlite_damage.damaged(path, "so", KIND)


def test_nothing_is_known_where_there_is_no_table(tmp_path: Path) -> None:
    assert sqlite_damage.readable(notes(tmp_path / "n.db"), "letters") is None
    letters = Kind("x", "letters", "letters")
    assert "an unknown number of its letters" in sqlite_damage.damaged(tmp_path / "n.db", "so", letters)


def test_a_value_that_is_too_long_is_said(tmp_path: Path) -> None:
    error = sqlite3.DataError("string or blob too big")
    assert sqlite_damage.explain(tmp_path / "n.db", error, KIND).endswith("n.db cannot be used: string or blob too big")


@pytest.mark.parametrize("seed", range(8))
def test_a_flipped_bit_stops_nobody_from_counting(tmp_path: Path, seed: int) -> None:
    path, rng = notes(tmp_path / "n.db"), np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    content[int(rng.integers(4096, len(content)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    some = sqlite_damage.readable(path, "notes")
    assert some is not None
    assert some > N * 0.9
