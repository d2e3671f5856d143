from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from domains.arm import RANGES, ArmEncoder
from qdfeedback import archives, claims, files, runs
from qdfeedback.diversity.linear import Linear
from qdfeedback.history import History
from qdfeedback.run_settings import read_settings
from qdfeedback.search import step
from tests.arms import arm_search, on_the_arm
from tests.conftest import as_they_are

NAMES = ArmEncoder.names


def a_run(path: Path, steps: int = 5) -> tuple[runs.Run, dict]:
    run = runs.create(path, {"seed": 0}, NAMES)
    search, placement, rng = arm_search(), on_the_arm(), np.random.default_rng(0)
    for i in range(steps):
        run.history.append(step(search, placement, n=20, first_id=len(run.history), iteration=i, rng=rng))
        run.checkpoint(i, *runs.capture(placement, search.generator, rng))
    return run, {"search": search, "placement": placement, "rng": rng}


def test_a_run_folder_tells_what_was_asked_for(tmp_path: Path) -> None:
    run, _ = a_run(tmp_path / "r")
    assert read_settings(tmp_path / "r") == {"seed": 0}
    assert not runs.is_finished(run.path)
    run.save_summary({"qd": 1})
    assert runs.is_finished(run.path)
    with pytest.raises(runs.NotEmptyError, match=r"r is not empty$"):
        runs.create(tmp_path / "r", {}, NAMES)


def test_two_checkpoints_are_kept_and_the_newest_is_used(tmp_path: Path) -> None:
    a_run(tmp_path / "r")
    assert len(list((tmp_path / "r/checkpoints").iterdir())) == 2
    again = runs.resume(tmp_path / "r", NAMES)
    found = again.latest()
    assert found is not None
    assert found.iteration == 4
    assert len(again.history) == 100


@pytest.mark.parametrize("damage", ["torn", "edited", "empty", "renamed"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path: Path, damage: str) -> None:
    a_run(tmp_path / "r")
    newest = sorted((tmp_path / "r/checkpoints").iterdir())[-1]
    content = bytearray(newest.read_bytes())
    if damage == "torn":
        newest.write_bytes(content[:-100])
    elif damage == "edited":
        content[len(content) // 2] ^= 1
        newest.write_bytes(content)
    elif damage == "empty":
        newest.write_bytes(b"")
    else:
        newest = newest.rename(newest.with_name("000000009-nonsense.npz"))
    again = runs.resume(tmp_path / "r", NAMES)
    with pytest.warns(UserWarning, match=f"{newest.name} is torn or was edited; going back"):
        found = again.latest()
    assert found is not None
    assert found.iteration == 3
    assert len(again.history) == 80, "the history is cut back to the checkpoint"


def test_without_any_checkpoint_a_run_starts_over(tmp_path: Path) -> None:
    run, _ = a_run(tmp_path / "r")
    for path in (run.path / "checkpoints").iterdir():
        path.unlink()
    again = runs.resume(run.path, NAMES)
    with pytest.warns(UserWarning, match=r"it starts over, its history is kept as .*cut-1"):
        assert again.latest() is None
    assert len(again.history) == 0
    assert len(History(run.path / "history.cut-1.arrows", NAMES)) == 100


def test_a_checkpoint_is_written_once_what_it_counts_on_is_durable(tmp_path: Path, synced) -> None:
    """The history, its checksums and their names, then the checkpoint and its name."""
    run, parts = a_run(tmp_path / "r", 1)
    run.history.append(
        step(parts["search"], parts["placement"], n=20, first_id=20, iteration=1, rng=np.random.default_rng(1))
    )
    synced.clear()
    run.checkpoint(1, *runs.capture(parts["placement"], parts["search"].generator, parts["rng"]))
    newest = max((run.path / "checkpoints").iterdir())
    assert synced == as_they_are(run.history.path, run.history.sums, run.path, newest, newest.parent)


@pytest.mark.parametrize("left", [".settings.json.1234.part", "process.json", "lock"])
def test_what_a_kill_at_birth_leaves_is_no_obstacle(left: str, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / left).write_text("{")
    runs.clear(folder)
    run = runs.create(folder, {"seed": 7}, NAMES)
    assert read_settings(folder) == {"seed": 7}
    run.save_summary({})
    runs.clear(folder)
    assert not folder.exists()
    folder.mkdir()
    (folder / f"{left}.txt").write_text("{")  # which no run writes
    with pytest.raises(ValueError, match="r holds no run"):
        runs.clear(folder)
    with pytest.raises(runs.NotEmptyError, match="r is not empty"):
        runs.create(folder, {}, NAMES)


def test_an_edited_model_is_named_and_the_checkpoint_before_is_used(tmp_path: Path) -> None:
    run, parts = a_run(tmp_path / "r", 1)
    for i in (1, 2):
        run.save_model("axes", f"axes-{i}", Linear(np.zeros(2), np.full((2, 2), i)))
        run.checkpoint(i, *runs.capture(parts["placement"], parts["search"].generator, parts["rng"]))
    Linear(np.zeros(2), np.ones((2, 2))).save(run.path / "models/axes-2.npz")
    again = runs.resume(run.path, NAMES)
    with pytest.warns(UserWarning, match=r"axes-2\.npz is missing, torn or was edited; going back"):
        found = again.latest()
    assert found is not None
    assert found.iteration == 1
    assert again.saved["axes"] == "models/axes-1.npz"


def test_a_full_disk_leaves_the_checkpoints_before(tmp_path: Path, monkeypatch) -> None:
    run, parts = a_run(tmp_path / "r")
    before = sorted((run.path / "checkpoints").iterdir())

    run.history.flush(sync=True)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.Path, "replace", full)
    with pytest.raises(OSError, match=r"cannot write .*checkpoints.*No space left"):
        run.checkpoint(9, *runs.capture(parts["placement"], parts["search"].generator, parts["rng"]))
    assert sorted((run.path / "checkpoints").iterdir()) == before


def test_folders_of_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run: there is no settings"):
        runs.resume(tmp_path, NAMES)
    (tmp_path / "settings.json").write_text(json.dumps({"format": 99, "settings": {}}))
    with pytest.raises(ValueError, match="written in run format 99, this version reads format 1"):
        runs.resume(tmp_path, NAMES)
    (tmp_path / "settings.json").write_text("[]")
    with pytest.raises(ValueError, match="run format None"):
        read_settings(tmp_path)


def test_clear_removes_runs_and_nothing_else(tmp_path: Path) -> None:
    a_run(tmp_path / "r")
    runs.clear(tmp_path / "r")
    assert not (tmp_path / "r").exists()
    runs.clear(tmp_path / "r")
    a_run(tmp_path / "outer")
    a_run(tmp_path / "outer" / "inner")
    with pytest.raises(ValueError, match=r"holds other runs, .*inner for one: they would be lost"):
        runs.clear(tmp_path / "outer")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds no run"):
        runs.clear(tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").exists()


def test_models_are_found_again_after_a_resume(tmp_path: Path) -> None:
    run, parts = a_run(tmp_path / "r", 1)
    run.save_model("axes", "axes-000001", Linear(np.zeros(2), np.ones((2, 2))))
    run.checkpoint(1, *runs.capture(parts["placement"], parts["search"].generator, parts["rng"]))
    again = runs.resume(run.path, NAMES)
    again.latest()
    assert (again.path / again.saved["axes"]).exists()


def test_archive_and_curves_can_be_read_by_anyone(tmp_path: Path) -> None:
    run, parts = a_run(tmp_path / "r")
    run.save_archive(parts["placement"])
    with np.load(run.path / "archive.npz", allow_pickle=False) as found:
        assert set(found.files) >= {"id", "solution", "objective", "measures", "cells", "lower_bounds", "upper_bounds"}
        assert len(found["id"]) == len(parts["placement"].archive)
    run.save_curves([{"a": 1, "b": 2.5}, {"a": 2, "b": 3.5}])
    assert (run.path / "curves.csv").read_text().splitlines() == ["a,b", "1,2.5", "2,3.5"]


def test_a_cvt_archive_is_restored_too() -> None:
    build = archives.cvt(10, 2, 60)
    search, rng = arm_search(), np.random.default_rng(0)
    place = on_the_arm()
    one = type(place)(place.quality, place.diversity, build(RANGES, 0))
    for i in range(5):
        step(search, one, n=20, first_id=20 * i, iteration=i, rng=rng)
    arrays, state = runs.capture(one, search.generator, rng)
    two = type(place)(place.quality, place.diversity, build(RANGES, 1))
    runs.restore(runs.Checkpoint(4, arrays, state), two, search.generator, rng)
    assert np.array_equal(one.archive.sample_elites(9)["id"], two.archive.sample_elites(9)["id"])
    assert one.archive.stats == two.archive.stats


@pytest.mark.parametrize(
    "text", ['{"format": 1}', '{"format": 1, "settings": [1, 2]}', '{"format": 1, "settings": null}']
)
def test_settings_of_the_wrong_shape_are_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ValueError, match=r"settings\.json must hold its settings as an object"):
        read_settings(tmp_path)


def test_settings_that_json_cannot_hold_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="settings must be JSON values, encoder is ndarray"):
        runs.create(tmp_path / "r", {"seed": 1, "encoder": np.zeros(2)}, NAMES)


def test_an_archive_is_restored_after_its_generator_too(tmp_path: Path) -> None:
    """Building emitters draws from the archive, whose own random numbers must go on where they were."""
    _run, parts = a_run(tmp_path / "r", 3)
    placement, rng = parts["placement"], parts["rng"]

    class Drawing:
        def state(self):
            return {}, {}

        def restore(self, placement, arrays, state):
            placement.archive.sample_elites(7)

    arrays, state = runs.capture(placement, Drawing(), rng)
    expected = placement.archive.sample_elites(9)["id"]
    again = type(placement)(placement.quality, placement.diversity, archives.grid(10, (20, 20))(RANGES, 1))
    runs.restore(runs.Checkpoint(2, arrays, state), again, Drawing(), rng)
    assert np.array_equal(again.archive.sample_elites(9)["id"], expected)


def test_a_format_that_is_none_is_shown_short(tmp_path: Path) -> None:
    files.write_json(tmp_path / "settings.json", {"format": ["x" * 5000], "settings": {}})
    with pytest.raises(ValueError, match=r"was written in run format .{,130}, this version reads format 1$"):
        read_settings(tmp_path)


META = [
    ("rows", None), ("bytes", "5"), ("bytes", 8), ("rows", True), ("iteration", []), ("state", []), ("models", None),
    ("models", {"axes": 3}), ("models", {"axes": {"path": 3, "digest": "x"}}), ("models", {"axes": {"path": "x"}}),
    ("refits", 3), ("refits", {"5": "x"}), ("rows", 0), ("rows", -10), ("bytes", -1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), META)
@pytest.mark.filterwarnings("ignore:.*starts over")
def test_a_checkpoint_of_another_shape_is_put_aside(tmp_path: Path, name: str, value: object) -> None:
    run, parts = a_run(tmp_path / "r", 1)
    run.checkpoint(1, *runs.capture(parts["placement"], parts["search"].generator, parts["rng"]))
    *older, path = sorted((run.path / "checkpoints").glob("*.npz"))
    for one in older:
        one.unlink()
    arrays, meta = files.unpack(path.read_bytes(), path.name)
    content = files.pack(arrays, meta | {name: value})
    path.unlink()
    path = path.with_name(f"{1:09d}-{files.digest(content)}.npz")
    path.write_bytes(content)
    before = run.history.path.read_bytes()
    again = runs.resume(run.path, ArmEncoder.names)
    with pytest.warns(UserWarning, match="going back to the checkpoint before it"):
        assert again.latest() is None
    assert path.with_name(f"{path.name}.damaged").exists()
    assert before in [one.read_bytes() for one in run.path.glob("history.cut-*.arrows")], (
        "nothing is cut without a copy"
    )


@pytest.mark.parametrize(
    "name", ["archive/cells", "archive/objective_sum", "archive/stats_obj_mean", "archive/field_id"]
)
@pytest.mark.parametrize("how", ["gone", "flat", "negative"])
def test_arrays_that_do_not_fit_are_an_error_of_the_checkpoint(tmp_path: Path, name: str, how: str) -> None:
    _, parts = a_run(tmp_path / "r", 1)
    arrays, state = runs.capture(parts["placement"], parts["search"].generator, parts["rng"])
    if how == "gone":
        del arrays[name]
    elif name == "archive/objective_sum":
        arrays[name] = arrays[name].astype("c16" if how == "flat" else "M8[s]")
    elif name == "archive/cells":
        arrays[name] = np.array(3) if how == "flat" else arrays[name] - 10**9
    else:
        state["rng"] = {"bit_generator": "PCG64", "state": None}
    with pytest.raises(ValueError, match=r"^the checkpoint of iteration 7 does not fit this run: "):
        runs.restore(runs.Checkpoint(7, arrays, state), parts["placement"], parts["search"].generator, parts["rng"])


def test_a_folder_is_opened_or_made(tmp_path: Path) -> None:
    run = runs.open_or_create(tmp_path / "r", {"study": "s", "size": (1, 2)}, NAMES)
    claims.release(run.path)
    again = runs.open_or_create(tmp_path / "r", {"study": "s", "size": (1, 2)}, NAMES)
    assert again.settings["size"] == [1, 2]
    claims.release(run.path)
    with pytest.raises(ValueError, match=r"was begun with size \[1, 2\], not 3"):
        runs.open_or_create(tmp_path / "r", {"study": "s", "size": 3}, NAMES)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    with pytest.raises(runs.NotEmptyError):
        runs.open_or_create(tmp_path / "other", {}, NAMES)


def test_a_study_is_named_once(tmp_path: Path) -> None:
    run = runs.create(tmp_path / "r", {"study": "s"}, NAMES)
    run.open_store().close()
    with pytest.raises(ValueError, match=r"study must be 's', as the settings of .* have it, got 't'"):
        run.open_store("t")
    with pytest.raises(ValueError, match="must name its study"):
        _ = runs.create(tmp_path / "q", {}, NAMES).study
