from __future__ import annotations

import errno
import gc
import subprocess
import sys
import textwrap
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from domains.arm import ArmEncoder
from qdfeedback.history import History, Position
from tests.arms import a_history
from tests.batches import NAMES, batch
from tests.conftest import as_they_are


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    history, _ = a_history(tmp_path)
    assert len(history) == 100
    again = History(history.path, ArmEncoder.names)
    assert len(again) == 0, "nothing was flushed yet"
    history.flush()
    again = History(history.path, ArmEncoder.names)
    assert len(again) == 100
    parts = list(again.chunks("id", "iteration", "solution", "features", "origin", "error"))
    assert np.array_equal(np.concatenate([part["id"] for part in parts]), np.arange(100))
    assert np.array_equal(np.concatenate([part["iteration"] for part in parts]), np.repeat(np.arange(4), 25))
    assert parts[0]["solution"].shape == (100, 10)
    assert parts[0]["features"].dtype == np.float32
    assert set(parts[0]["origin"]) == {"initial", "gaussian"}
    assert again.solution_shape == (10,)


def test_other_tools_can_read_the_file(tmp_path: Path) -> None:
    history, _ = a_history(tmp_path)
    history.flush()
    table = pa.ipc.open_stream(history.path).read_all()
    assert table.num_rows == 100
    assert table.column_names == ["id", "iteration", "parents", "origin", "solution", "features", "error"]


def test_chunks_start_anywhere_and_are_no_longer_than_asked(tmp_path: Path) -> None:
    history = History(tmp_path / "h.arrows", NAMES)
    for first in range(0, 100, 10):
        history.append(batch(first, np.zeros((10, 3))))
        history.flush()
    found = list(history.chunks("id", start=37, rows=4))
    assert max(len(part["id"]) for part in found) == 4
    assert np.array_equal(np.concatenate([part["id"] for part in found]), np.arange(37, 100))


def test_take_keeps_the_order_asked_for(tmp_path: Path, rng) -> None:
    history = History(tmp_path / "h.arrows", NAMES)
    for first in range(0, 100, 10):
        history.append(batch(first, rng.random((10, 3))))
        history.flush()
    ids = rng.permutation(100)[:30]
    assert np.array_equal(history.take(ids, "features")[:, 0], ids.astype(np.float32))
    assert len(history.take(np.array([], dtype=int), "features")) == 0
    with pytest.raises(IndexError, match=r"ids must lie in \[0, 100\)"):
        history.take(np.array([100]), "features")


@pytest.mark.parametrize(
    "solutions",
    [np.array(["a story", "another"]), np.arange(2), np.arange(48, dtype=np.float32).reshape(2, 4, 3, 2)],
    ids=["text", "scalars", "latents"],
)
def test_any_kind_of_solution(tmp_path: Path, solutions: np.ndarray) -> None:
    history = History(tmp_path / "h.arrows", NAMES)
    history.append(batch(0, solutions))
    history.flush()
    again = History(history.path, NAMES)
    assert np.array_equal(again.take(np.array([1, 0]), "solution"), solutions[[1, 0]])


def test_solutions_of_several_named_parts(tmp_path: Path, rng) -> None:
    def some(n: int, words: str) -> np.ndarray:
        found = np.empty(n, dtype=[("prompt", object), ("noise", np.float32, (2, 3)), ("seed", np.int64)])
        found["prompt"] = [f"{words} {i}" for i in range(n)]
        found["noise"], found["seed"] = rng.random((n, 2, 3)), rng.integers(9, size=n)
        return found

    first, second = some(3, "a"), some(4, "a much longer prompt")
    history = History(tmp_path / "h.arrows", NAMES)
    history.append(batch(0, first))
    history.append(batch(3, second))
    history.flush()
    again = History(tmp_path / "h.arrows", NAMES)
    assert again.solution_shape == ()
    found = again.take(np.array([5, 0, 3]), "solution")
    for name in ("prompt", "noise", "seed"):
        expected = np.concatenate([first[name], second[name]])[[5, 0, 3]]
        assert np.array_equal(found[name], expected), name
        parts = np.concatenate([part["solution"][name] for part in again.chunks("solution")])
        assert np.array_equal(parts, np.concatenate([first[name], second[name]]))
    with pytest.raises(ValueError, match="solutions must be as those before"):
        again.append(batch(7, rng.random((2, 3))))
    assert pa.ipc.open_stream(history.path).read_all()["solution"][0].as_py()["prompt"] == "a 0"


def test_batches_larger_than_what_is_held_in_memory(tmp_path: Path, rng, monkeypatch) -> None:
    monkeypatch.setattr("qdfeedback.history.FLUSH_ROWS", 7)
    history, solutions = History(tmp_path / "h.arrows", NAMES), rng.random((100, 3))
    low = 0
    for size in (3, 5, 20, 1, 7, 40, 24):
        history.append(batch(low, solutions[low : low + size]))
        low += size
        assert len(history) == low
    assert np.array_equal(history.take(np.arange(100), "solution"), solutions)
    assert np.array_equal(History(history.path, NAMES).take(np.arange(100), "solution"), solutions)


def test_large_solutions_are_not_held_by_the_thousand(tmp_path: Path) -> None:
    history, low = History(tmp_path / "h.arrows", NAMES), 0
    latents = np.zeros((10, 1024, 1024), dtype=np.float32)  # 4 MB each
    for _ in range(3):
        history.append(batch(low, latents))
        low += 10
    assert history.flush().rows == 30
    assert (tmp_path / "h.arrows").stat().st_size > 30 * 4 * 2**20


def test_no_candidates_have_columns_too(tmp_path: Path, rng) -> None:
    """As wide as those of any others, so that a caller need not ask first."""
    history = History(tmp_path / "history.arrows", ("a", "b"))
    assert history.take(np.empty(0, dtype=int), "features").shape == (0, 2)
    assert history.take(np.empty(0, dtype=int), "solution").shape == (0,), "nobody knows yet"
    history.append(batch(0, rng.random((3, 4))))
    assert history.take(np.empty(0, dtype=int), "solution").shape == (0, 4)
    assert history.take(np.empty(0, dtype=int), "id").shape == (0,)


def test_batches_may_be_changed_once_appended(tmp_path: Path, rng) -> None:
    history, one = History(tmp_path / "h.arrows", NAMES), batch(0, rng.random((4, 3)))
    before = one.proposal.solutions.copy()
    history.append(one)
    one.proposal.solutions[:] = 0
    assert np.array_equal(history.take(np.arange(4), "solution"), before)


def test_artifacts_are_let_go(tmp_path: Path) -> None:
    """A batch of images that waits for the disk must not fill the memory."""

    class Image:
        pass

    history, image = History(tmp_path / "h.arrows", NAMES), Image()
    history.append(replace(batch(0, np.zeros((1, 3))), artifacts=[image]))
    gone = weakref.ref(image)
    del image
    gc.collect()
    assert gone() is None


def test_origins_of_other_lengths_are_told_apart(tmp_path: Path) -> None:
    history = History(tmp_path / "h.arrows", NAMES)
    for first, origin in enumerate(("iso-line", "iso", "iso-line", "cma")):
        one = batch(first, np.zeros((1, 3)))
        history.append(replace(one, proposal=replace(one.proposal, origin=np.array([origin]))))
    assert list(history.take(np.arange(4), "origin")) == ["iso-line", "iso", "iso-line", "cma"]


def test_errors_are_kept(tmp_path: Path) -> None:
    history = History(tmp_path / "h.arrows", NAMES)
    history.append(batch(0, np.zeros((2, 3))))
    history.append(batch(2, np.zeros((2, 3)), error="fell over"))
    assert list(history.take(np.arange(4), "error")) == [None, None, "fell over", "fell over"]


def test_ids_must_continue(tmp_path: Path) -> None:
    history = History(tmp_path / "h.arrows", NAMES)
    with pytest.raises(ValueError, match="must continue the history at 0, they start at 5"):
        history.append(batch(5, np.zeros((2, 3))))


def test_solutions_keep_their_type_and_shape(tmp_path: Path) -> None:
    history = History(tmp_path / "h.arrows", NAMES)
    history.append(batch(0, np.zeros((2, 3), dtype=int)))
    with pytest.raises(ValueError, match=r"solutions must be as those before, .*int64.*; got float64"):
        history.append(batch(2, np.full((2, 3), 0.7)))
    history.flush()
    again = History(history.path, NAMES)
    with pytest.raises(ValueError, match=r"got int64 of shape \(4,\)"):
        again.append(batch(2, np.zeros((2, 4), dtype=int)))
    again.append(batch(2, np.zeros((2, 3), dtype=int)))
    history_of_text = History(tmp_path / "t.arrows", NAMES)
    for first, text in ((0, "a"), (1, "longer")):
        history_of_text.append(batch(first, np.array([text])))
    wide = batch(4, np.zeros((2, 3), dtype=int))
    with pytest.raises(ValueError, match=r"batch.features must have shape \(2, 2\), got \(2, 1\)"):
        again.append(replace(wide, features=wide.features[:, :1]))
    again.append(batch(4, np.zeros((0, 3), dtype=int)))
    assert len(again) == 4


def test_reading_does_not_touch_what_is_being_written(tmp_path: Path) -> None:
    history = History(tmp_path / "h.arrows", NAMES)
    history.append(batch(0, np.zeros((100, 3))))
    history.flush()
    with history.path.open("ab") as file:
        file.write(b"\xff\xff\xff\xff half of a message")
    content = history.path.read_bytes()
    with pytest.warns(UserWarning, match="after row 100 are torn"):
        reader = History(history.path, NAMES)
    assert len(reader) == 100
    assert history.path.read_bytes() == content


def test_torn_in_its_first_message(tmp_path: Path) -> None:
    history = History(tmp_path / "h.arrows", NAMES)
    history.append(batch(0, np.zeros((10, 3))))
    history.flush()
    history.path.write_bytes(history.path.read_bytes()[:50])
    with pytest.warns(UserWarning, match="torn in its first message: it counts as empty"):
        again = History(history.path, NAMES)
    again.append(batch(0, np.zeros((10, 3))))
    again.flush()
    assert len(History(history.path, NAMES)) == 10


def test_cut_and_go_on(tmp_path: Path) -> None:
    history = History(tmp_path / "h.arrows", NAMES)
    history.append(batch(0, np.zeros((10, 3))))
    position = history.flush(sync=True)
    history.append(batch(10, np.ones((10, 3))))
    history.flush()
    again = History(history.path, NAMES)
    again.cut(position)
    again.append(batch(10, np.full((5, 3), 7.0)))
    again.flush()
    final = History(history.path, NAMES)
    assert len(final) == 15
    assert (final.take(np.arange(10, 15), "solution") == 7).all()
    with pytest.raises(ValueError, match="was cut or replaced"):
        final.cut(Position(1000, 10**9))


def test_cut_to_nothing(tmp_path: Path) -> None:
    history = History(tmp_path / "h.arrows", NAMES)
    history.append(batch(0, np.zeros((10, 3))))
    history.flush()
    history.cut(Position(0, 0))
    history.append(batch(0, np.zeros((3, 3))))
    history.flush()
    assert len(History(history.path, NAMES)) == 3


@pytest.mark.parametrize("torn", [1, 7, 100, 1000])
def test_a_torn_tail_is_dropped_with_a_warning(tmp_path: Path, torn: int) -> None:
    history = History(tmp_path / "h.arrows", NAMES)
    for first in range(0, 300, 100):
        history.append(batch(first, np.zeros((100, 3))))
        history.flush()
    content = history.path.read_bytes()
    history.path.write_bytes(content[:-torn])
    with pytest.warns(UserWarning, match="after row 200 are torn"):
        again = History(history.path, NAMES)
    assert len(again) == 200
    again.append(batch(200, np.zeros((5, 3))))
    again.flush()
    assert len(History(history.path, NAMES)) == 205


def test_commit_makes_every_batch_durable(tmp_path: Path, synced) -> None:
    """The rows, then their checksums, then both names: before `append` returns, and not before the rows are there."""
    history = History(tmp_path / "h.arrows", NAMES, commit=True)
    for first in (0, 10):
        synced.clear()
        history.append(batch(first, np.zeros((10, 3))))
        assert synced == as_they_are(history.path, history.sums, tmp_path)
        assert len(History(history.path, NAMES)) == first + 10


def test_without_commit_rows_are_durable_once_that_is_asked_for(tmp_path: Path, synced) -> None:
    history = History(tmp_path / "h.arrows", NAMES)
    history.flush(sync=True)
    history.append(batch(0, np.zeros((10, 3))))
    history.flush()
    assert synced == []
    assert history.flush(sync=True) == Position(10, history.path.stat().st_size)
    assert synced == as_they_are(history.path, history.sums, tmp_path)


def test_foreign_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "h.arrows"
    path.write_bytes(b"something else entirely")
    with pytest.raises(ValueError, match=r"h\.arrows is not a history"):
        History(path, NAMES)
    schema = pa.schema([pa.field("id", pa.int64())])
    path.write_bytes(schema.serialize().to_pybytes())
    with pytest.raises(ValueError, match="format none, this version reads format 1"):
        History(path, NAMES)
    path.unlink()
    history = History(path, NAMES)
    history.append(batch(0, np.zeros((2, 3))))
    history.flush()
    with pytest.raises(ValueError, match=r"other feature columns than expected: it lacks 'x'; it has besides 'b'$"):
        History(path, ("a", "x"))
    with pytest.raises(ValueError, match=r"expected: the same in another order, from column 0 on"):
        History(path, ("b", "a"))
    with pytest.raises(ValueError, match=r"expected: it lacks 'f0', 'f1', 'f2', 'f3', 'f4' and 28 more$"):
        History(path, ("a", "b", *(f"f{i}" for i in range(33))))


def test_solution_shape_of_an_empty_history(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="is empty"):
        _ = History(tmp_path / "h.arrows", NAMES).solution_shape


def test_sample_is_evenly_spaced_and_bounded(tmp_path: Path) -> None:
    history = History(tmp_path / "h.arrows", NAMES)
    for first in range(0, 1000, 100):
        history.append(batch(first, np.zeros((100, 1))))
    assert len(history.sample("features")) == 1000
    some = history.sample("features", most=300)[:, 0]
    assert np.array_equal(some, np.arange(0, 1000, 4))


def test_a_full_disk_is_one_clear_line_and_loses_nothing(tmp_path: Path) -> None:
    code = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from qdfeedback.history import History
        from tests.batches import NAMES, batch
        history = History(Path(sys.argv[1]), NAMES)
        history.append(batch(0, np.zeros((100, 3))))
        position = history.flush()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (position.bytes + 500, before[1]))
        history.append(batch(100, np.zeros((100, 3))))
        for _ in range(2):
            try:
                history.flush()
            except OSError as error:
                print(error)
        print(len(History(Path(sys.argv[1]), NAMES)))
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        history.append(batch(200, np.zeros((50, 3))))
        history.flush()
        print(len(History(Path(sys.argv[1]), NAMES)))
    """
    path = tmp_path / "h.arrows"
    run = [sys.executable, "-c", textwrap.dedent(code), str(path)]
    out = subprocess.run(run, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]).stdout
    assert out.count(f"[Errno {errno.EFBIG}] cannot append to {path}") == 2
    assert out.split()[-2:] == ["100", "250"], "once there is room again, all that waited is written"
    again = History(path, NAMES)
    again.check()
    assert again.damage() is None
    np.testing.assert_array_equal(again.take(np.arange(250), "features")[:, 1], np.arange(250) * 10)


def test_memory_does_not_grow_with_the_run(tmp_path: Path) -> None:
    """Reading 40 MB of rows in parts takes a small part of that."""
    history = History(tmp_path / "h.arrows", NAMES)
    for first in range(0, 50_000, 10_000):
        history.append(batch(first, np.zeros((10_000, 100))))
        history.flush()
    before = pa.total_allocated_bytes()
    most = 0
    for part in history.chunks("id", "solution", rows=4096):
        most = max(most, pa.total_allocated_bytes() - before)
        assert not part["solution"].flags.owndata, "read through the memory map, not copied"
    assert most < 1_000_000
