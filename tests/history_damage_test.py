"""What is wrong in a history is noticed, nothing is cut without a copy, and what is whole is found again."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from qdfeedback import history_parts
from qdfeedback.history import DamagedHistoryError, History, Position, names_of
from qdfeedback.history_asides import forget_cuts
from tests.batches import NAMES, batch

PARTS, ROWS = 4, 50


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    history, rng = History(tmp_path / "history.arrows", NAMES), np.random.default_rng(0)
    for i in range(PARTS):
        history.append(batch(i * ROWS, rng.random((ROWS, 3))))
        history.flush()
    return history.path


def offsets(path: Path) -> list[int]:
    return sorted(history_parts.read_sums(path.with_suffix(".sums")).parts)


def flip(path: Path, at: int, bit: int = 0x10) -> bytes:
    content = bytearray(path.read_bytes())
    content[at] ^= bit
    path.write_bytes(content)
    return bytes(content)


def ids(path: Path) -> list[int]:
    return pa.ipc.open_stream(path).read_all()["id"].to_pylist()


def test_checksums_are_those_of_the_parts(whole: Path) -> None:
    content = whole.read_bytes()
    sums = history_parts.read_sums(whole.with_suffix(".sums"))
    assert [(part.start, part.rows) for part in sums.parts.values()] == [(i * ROWS, ROWS) for i in range(PARTS)]
    for part in sums.parts.values():
        assert zlib.crc32(content[part.offset : part.offset + part.size]) == part.crc
    assert content.startswith(sums.schema)
    assert sum(part.size for part in sums.parts.values()) + len(sums.schema) == len(content)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("where", ["mark", "header", "body", "end"])
def test_one_flipped_bit_is_noticed_by_whoever_reads_the_part(whole: Path, part: int, where: str) -> None:
    begin = offsets(whole)[part]
    end = ([*offsets(whole), whole.stat().st_size])[part + 1]
    flip(whole, {"mark": begin, "header": begin + 20, "body": (begin + end) // 2, "end": end - 1}[where])
    history = History(whole, NAMES)
    with pytest.raises(DamagedHistoryError, match=rf"candidates {part * ROWS} to {part * ROWS + ROWS - 1}"):
        list(history.chunks("id"))
    with pytest.raises(DamagedHistoryError):
        history.take(np.array([part * ROWS + 3]), "features")
    other = (part + 1) % PARTS * ROWS
    assert history.take(np.array([other]), "id").tolist() == [other], "what is whole can be read"


@pytest.mark.parametrize("sums", [True, False], ids=["with sums", "without"])
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.filterwarnings("ignore:.*are torn and left out")
def test_before_a_cut_all_is_kept_under_names_of_its_own(whole: Path, part: int, sums: bool) -> None:
    noted = whole.with_suffix(".sums").read_bytes()
    damaged = flip(whole, offsets(whole)[part] + 16, 0xFF)  # in the header: such a part cannot be read at all
    lost = range(part * ROWS, part * ROWS + ROWS)
    for again in (1, 2):
        whole.write_bytes(damaged)
        whole.with_suffix(".sums").write_bytes(noted if sums else b"")
        history = History(whole, NAMES)
        history.check()
        if not sums and part == PARTS - 1:  # a last part that cannot be read looks like one that a crash tore
            history.cut(Position(0, 0))
            assert whole.with_name(f"history.cut-{again}.arrows").read_bytes() == damaged
            continue
        with pytest.warns(UserWarning, match=rf"{ROWS} rows are lost, the candidates {lost[0]} to {lost[-1]}; the"):
            history.cut(Position(0, 0))
        assert whole.stat().st_size == 0
        saved = ids(whole.with_name(f"history.saved-{again}.arrows"))
        assert saved == [i for i in range(PARTS * ROWS) if i not in lost]
        assert whole.with_name(f"history.damaged-{again}.arrows").read_bytes() == damaged


def test_damaged_columns_are_found_in_the_sums(whole: Path) -> None:
    content = flip(whole, 40, 0xFF)
    history = History(whole, NAMES)
    assert len(history) == 0
    with pytest.raises(DamagedHistoryError, match="is damaged"):
        list(history.chunks("id"))
    with pytest.warns(UserWarning, match="names its columns: no row is lost"):
        history.cut(Position(0, 0))
    assert ids(whole.with_name("history.saved-1.arrows")) == list(range(PARTS * ROWS))
    assert whole.with_name("history.damaged-1.arrows").read_bytes() == content


def test_a_checkpoint_before_the_damage_is_reached_and_one_after_it_not(whole: Path) -> None:
    flip(whole, offsets(whole)[2] + 300)
    history = History(whole, NAMES)
    history.check()
    with pytest.raises(ValueError, match=r"the checkpoint needs 200: .*candidates 100 to 149"):
        history.cut(Position(PARTS * ROWS, whole.stat().st_size))
    with pytest.warns(UserWarning, match="50 rows are lost, the candidates 100 to 149"):
        history.cut(Position(100, offsets(whole)[2]))
    history.append(batch(100, np.ones((5, 3))))
    history.flush()
    assert len(History(whole, NAMES)) == 105
    assert list(History(whole, NAMES).take(np.arange(100, 105), "solution")[:, 0]) == [1] * 5


def test_a_position_that_is_no_end_of_a_part_is_refused(whole: Path) -> None:
    with pytest.raises(ValueError, match="no part that ends at byte"):
        History(whole, NAMES).cut(Position(50, offsets(whole)[1] + 8))


def test_rows_after_a_checkpoint_are_kept_until_they_are_made_again(whole: Path) -> None:
    history, rng = History(whole, NAMES), np.random.default_rng(5)
    solutions = history.take(np.arange(PARTS * ROWS), "solution")
    tail = whole.read_bytes()[offsets(whole)[2] :]
    history.cut(Position(2 * ROWS, offsets(whole)[2]))
    aside = whole.with_name("history.cut-1.arrows")
    assert aside.read_bytes().endswith(tail)
    assert ids(aside) == list(range(2 * ROWS, PARTS * ROWS))
    forget_cuts(history.path, len(history), history.rows)
    assert aside.exists(), "not made again yet"
    for first in range(2 * ROWS, PARTS * ROWS, 20):  # in parts of other sizes
        history.append(batch(first, solutions[first : first + 20]))
        history.flush()
    forget_cuts(history.path, len(history), history.rows)
    assert not aside.exists()
    history.cut(Position(2 * ROWS, offsets(whole)[2]))
    history.append(batch(2 * ROWS, rng.random((2 * ROWS, 3))))
    forget_cuts(history.path, len(history), history.rows)
    assert aside.exists(), "others were made in their place"


def test_a_torn_tail_is_kept_too(whole: Path) -> None:
    content = whole.read_bytes()[:-30]
    whole.write_bytes(content)
    with pytest.warns(UserWarning, match="are torn"):
        history = History(whole, NAMES)
    history.append(batch(150, np.zeros((2, 3))))
    history.flush()
    aside = whole.with_name("history.cut-1.arrows")
    assert aside.read_bytes().endswith(content[offsets(whole)[3] :])
    forget_cuts(history.path, len(history), history.rows)
    assert aside.exists(), "what cannot be read cannot be compared with what was made since"


def test_a_history_of_before_has_no_sums_and_gets_them(whole: Path) -> None:
    sums = whole.with_suffix(".sums")
    before = sums.read_text()
    sums.unlink()
    history = History(whole, NAMES)
    assert np.array_equal(history.take(np.arange(200), "id"), np.arange(200))
    history.cut(Position(200, whole.stat().st_size))
    assert sums.read_text() == before


@pytest.mark.parametrize("damage", ["line", "torn", "empty", "foreign"])
def test_damaged_sums_cost_no_row(whole: Path, damage: str) -> None:
    sums = whole.with_suffix(".sums")
    text = sums.read_bytes()
    sums.write_bytes(
        {"line": text[:-20] + b"9" + text[-19:], "torn": text[:-7], "empty": b"", "foreign": b"\xff" * 99}[damage]
    )
    history = History(whole, NAMES)
    history.check()
    assert history.damage() is None
    assert np.array_equal(history.take(np.arange(200), "id"), np.arange(200))


def test_a_history_of_another_run_beside_these_sums_is_noticed(whole: Path, tmp_path: Path) -> None:
    other = History(tmp_path / "other.arrows", NAMES)
    for i in range(PARTS):
        other.append(batch(i * ROWS, np.zeros((ROWS, 3))))
        other.flush()
    whole.write_bytes(other.path.read_bytes())
    history = History(whole, NAMES)
    history.check()
    assert history.damage() is not None


def test_what_is_put_aside_is_durable_before_anything_is_cut(whole: Path, monkeypatch) -> None:
    done: list[str] = []
    fsync, truncate = os.fsync, os.truncate

    def synced(handle: int) -> None:
        done.append(f"sync {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(
        os, "truncate", lambda path, size: done.append(f"cut {Path(path).name}") or truncate(path, size)
    )
    History(whole, NAMES).cut(Position(50, offsets(whole)[1]))
    assert done[:3] == ["sync history.cut-1.arrows", f"sync {whole.parent.name}", "cut history.arrows"]


def test_every_byte_of_a_small_history(tmp_path: Path) -> None:
    """Flipped one after the other: noticed, or without meaning; never a crash, never another value."""
    history = History(tmp_path / "h.arrows", NAMES)
    for first in (0, 2):
        history.append(batch(first, np.arange(6.0).reshape(2, 3)))
        history.flush()
    content = history.path.read_bytes()
    right = history.take(np.arange(4), "solution").copy()
    for at in range(0, len(content), 3):
        flip(history.path, at, 1 << (at % 8))
        try:
            again = History(history.path, NAMES)
            again.check()
            assert again.damage() is not None or np.array_equal(again.take(np.arange(4), "solution"), right), at
        except ValueError as error:
            assert "h.arrows" in str(error)  # noqa: PT017
        history.path.write_bytes(content)


@pytest.mark.parametrize("columns", [b"", b"\xff\xff\xff\xff\x08\0\0\0", b"no columns"])
def test_columns_in_the_sums_that_are_none_do_not_count(whole: Path, columns: bytes) -> None:
    sums = whole.with_suffix(".sums")
    sums.write_text(history_parts.schema_line(columns) + "".join(sums.read_text().splitlines(keepends=True)[1:]))
    assert history_parts.read_sums(sums).schema == b""
    assert history_parts.read_sums(sums).damaged == 1
    history = History(whole, NAMES)
    assert [len(chunk["id"]) for chunk in history.chunks("id")] == [ROWS] * PARTS
    whole.write_bytes(b"\xff\xff\xff\xff\xff\xff\xff\xff" + whole.read_bytes()[8:])
    with pytest.warns(UserWarning, match="torn in its first message"):
        assert len(History(whole, NAMES)) == 0


@pytest.mark.parametrize("part", [(-1, 50, 8, 8), (0, 0, 8, 8), (0, -5, 8, 8), (0, 50, 8, 2**63), (0, 50, -8, 8)])
def test_a_note_of_a_part_that_cannot_be_does_not_count(tmp_path: Path, part: tuple[int, ...]) -> None:
    (tmp_path / "h.sums").write_text(history_parts.Part(*part, 0).line())
    assert history_parts.read_sums(tmp_path / "h.sums") == history_parts.Sums(b"", {}, 1)


@pytest.mark.parametrize("beyond", [1, 4, 8, 1000])
def test_a_part_noted_beyond_the_end_is_not_looked_for(whole: Path, beyond: int) -> None:
    rows = (
        whole.read_bytes() + b"\0" * (8 + -whole.stat().st_size % 8) + b"\xff\xff\xff\xff"
    )  # a mark that begins nothing
    whole.write_bytes(rows)
    noted = history_parts.Part(PARTS * ROWS, ROWS, len(rows) + beyond, 800, 0)
    with whole.with_suffix(".sums").open("a") as file:
        file.write(noted.line())
    with pytest.warns(UserWarning, match="are torn and left out"):
        assert len(History(whole, NAMES)) == PARTS * ROWS


def other_columns(whole: Path, change) -> None:
    """Writes the history as another program could have: with other columns, and without sums."""
    table = change(pa.ipc.open_stream(whole.read_bytes()).read_all())  # not through a map of what is written anew
    with pa.OSFile(str(whole), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    whole.with_suffix(".sums").unlink()


def replaced(name: str, values: list, kind: pa.DataType | None = None):
    return lambda table: table.set_column(table.schema.names.index(name), name, pa.array(values * len(table), kind))


def told(**changes: str | None):
    def change(table: pa.Table) -> pa.Table:
        new = {name.decode(): value.decode() for name, value in table.schema.metadata.items()} | changes
        return table.replace_schema_metadata({name: value for name, value in new.items() if value is not None})

    return change


@pytest.mark.parametrize(
    "change",
    [
        replaced("id", ["x"]), replaced("id", [None]), replaced("iteration", [1.5]), replaced("origin", [b"\xff"]),
        replaced("features", [[1.0]]), replaced("features", [[1.0]], pa.list_(pa.float32(), 1)),
        replaced("error", [{"a": 1}]), replaced("solution", ["x"]), replaced("parents", [3]),
        lambda table: table.drop_columns(["error"]), lambda table: table.drop_columns(["id"]),
        lambda table: table.append_column("more", table["id"]),
        told(feature_names=None), told(feature_names="3"), told(feature_names="[" * 9999), told(feature_names="[3]"),
        told(solution_shape=None), told(solution_shape="{"), told(solution_shape="[2]"), told(solution_shape="null"),
        told(solution_shape='{"a": [3]}'), told(solution_shape="[-1, -3]"), told(solution_shape="[3.0]"),
    ],
)  # fmt: skip
def test_columns_of_another_program_are_no_history(whole: Path, change) -> None:
    other_columns(whole, change)
    with pytest.raises(ValueError, match=r"history\.arrows is not a history: .{,200}$"):
        History(whole, NAMES)


@pytest.mark.parametrize("names", [None, "3", "[" * 9999, "[3]", '{"a": 1}'])
def test_names_of_columns_that_are_none_are_no_history(whole: Path, names: str | None) -> None:
    other_columns(whole, told(feature_names=names))
    with pytest.raises(ValueError, match=r"history\.arrows is not a history: its columns name no features$"):
        names_of(whole)


def without_values(name: str):
    def change(table: pa.Table) -> pa.Table:
        kind = table.schema.field(name).type
        return table.set_column(table.schema.names.index(name), table.schema.field(name), pa.nulls(len(table), kind))

    return change


@pytest.mark.parametrize("name", ["iteration", "parents", "origin", "features"])
def test_a_part_that_lacks_what_all_have_is_damaged(whole: Path, name: str) -> None:
    other_columns(whole, without_values(name))
    with pytest.raises(DamagedHistoryError, match=r"history\.arrows is damaged: candidates from 0 on lack"):
        list(History(whole, NAMES).chunks("id"))


@pytest.mark.filterwarnings("ignore:.*are torn and left out")
def test_a_part_whose_ids_are_none_is_no_part(whole: Path) -> None:
    other_columns(whole, without_values("id"))
    assert len(History(whole, NAMES)) == 0
