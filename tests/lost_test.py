"""A run that goes on notices what was lost since, and says what; it never takes something else in its place."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from qdfeedback import files, runs
from qdfeedback.diversity.linear import Linear
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.tables import judgments
from qdfeedback.refits import read_refits
from qdfeedback.run_settings import read_settings, write_settings
from qdfeedback.runs import LostError
from tests.feedback.fingerprints_test import answered
from tests.runs_test import NAMES, a_run


def a_run_with_answers(path: Path) -> runs.Run:
    run, parts = a_run(path, 1)
    store = run.open_store("s")
    for iteration, n in ((2, 3), (5, 4)):
        answered(store, "s", n, first=iteration * 10)
        run.last_judgment(iteration, store, "s")
    run.save_model("axes", "axes-000005", Linear(np.zeros(2), np.ones((2, 2))))
    run.checkpoint(5, *runs.capture(parts["placement"], parts["search"].generator, parts["rng"]))
    store.close()
    return run


def test_a_refit_uses_what_it_used_the_first_time(tmp_path: Path) -> None:
    run, _ = a_run(tmp_path / "r", 1)
    store = run.open_store("s")
    answered(store, "s", 3)
    assert run.last_judgment(100, store, "s") == 3
    answered(store, "s", 2, first=3)
    assert run.last_judgment(250, store, "s") == 5
    assert runs.resume(run.path, NAMES).last_judgment(100, store, "s") == 3
    notes = read_refits(run.path)
    assert [(one.after, one.until, one.count) for one in notes.values()] == [(0, 3, 3), (3, 5, 2)]


def test_nothing_lost_is_no_trouble(tmp_path: Path) -> None:
    run = a_run_with_answers(tmp_path / "r")
    again = runs.resume(run.path, NAMES)
    assert again.open_store("s").last("s") == 7
    assert again.latest() is not None


@pytest.mark.parametrize("loss", ["deleted", "emptied", "new", "cut back", "of another run"])
def test_lost_judgments_stop_a_run(tmp_path: Path, loss: str) -> None:
    run = a_run_with_answers(tmp_path / "r")
    place = run.path / "judgments.db"
    for path in run.path.glob("judgments.db*"):
        path.unlink()
    if loss == "emptied":
        place.write_bytes(b"")
    elif loss != "deleted":
        store = Store(place)
        answered(store, "s", {"new": 0, "cut back": 5, "of another run": 7}[loss], by="another")
        store.close()
    with pytest.raises((LostError, ValueError), match=r"judgments\.db"):
        runs.resume(run.path, NAMES).open_store("s")
    assert place.exists() == (loss != "deleted"), "nothing is made in its place"


@pytest.mark.parametrize("loss", ["refits.json", "an edited note", "no JSON", "all checkpoints too"])
def test_lost_notes_of_refits_are_restored_with_a_word(tmp_path: Path, loss: str) -> None:
    run = a_run_with_answers(tmp_path / "r")
    path = run.path / "refits.json"
    before = read_refits(run.path)
    content = files.read_json(path)
    if loss == "an edited note":
        files.write_json(path, content | {"axes-000005": content["axes-000005"] | {"until": 6}})
    elif loss == "no JSON":
        path.write_text("{")
    else:
        path.unlink()
    again = runs.resume(run.path, NAMES)
    if loss == "all checkpoints too":
        shutil.rmtree(run.path / "checkpoints")
        with pytest.warns(UserWarning, match="has no checkpoint: it starts over"):
            again.latest()
        return
    with pytest.warns(UserWarning, match=r"refits\.json(, line 1: not JSON| was lost or edited)"):
        again.latest()
    assert read_refits(run.path) == before


def test_judgments_are_missed_though_the_notes_are_gone_with_them(tmp_path: Path) -> None:
    run = a_run_with_answers(tmp_path / "r")
    for path in (*run.path.glob("judgments.db*"), run.path / "refits.json"):
        path.unlink()
    with pytest.raises(ValueError, match=r"judgments\.db"):
        runs.resume(run.path, NAMES).open_store("s")


def test_notes_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    run = a_run_with_answers(tmp_path / "r")
    files.write_json(run.path / "refits.json", {"2": 3, "5": 7})
    assert {refit: one.until for refit, one in read_refits(run.path).items()} == {"axes-000002": 3, "axes-000005": 7}
    again = runs.resume(run.path, NAMES)
    store = again.open_store("s")
    assert again.last_judgment(2, store, "s") == 3
    answered(store, "s", 1, first=90)
    assert again.last_judgment(9, store, "s") == 8
    assert read_refits(run.path)["axes-000009"].after == 7
    assert run.last_judgment(9, store, "s", part="quality") == 8
    assert read_refits(run.path)["quality-000009"].after == 0, "earlier versions fitted axes alone"


def test_a_checkpoint_of_an_earlier_version_knows_the_refits_by_numbers(tmp_path: Path) -> None:
    run = a_run_with_answers(tmp_path / "r")
    before = read_refits(run.path)
    newest = sorted((run.path / "checkpoints").glob("*.npz"))[-1]
    arrays, meta = files.unpack(newest.read_bytes(), newest.name)
    meta["refits"] = {refit.removeprefix("axes-").lstrip("0"): one for refit, one in meta["refits"].items()}
    assert meta["refits"].keys() == {"2", "5"}
    content = files.pack(arrays, meta)
    newest.unlink()
    newest.with_name(f"{5:09d}-{files.digest(content)}.npz").write_bytes(content)
    again = runs.resume(run.path, NAMES)
    assert again.latest() is not None, "the file and the checkpoint tell the same"
    (run.path / "refits.json").unlink()
    with pytest.warns(UserWarning, match=r"refits\.json was lost or edited"):
        assert runs.resume(run.path, NAMES).latest() is not None
    assert read_refits(run.path) == before


def two_parts(path: Path) -> tuple[runs.Run, Store]:
    """A run that has fitted axes after 3, 7 and 8 judgments, and a quality after 5 and 8."""
    run, parts = a_run(path, 1)
    store, n = run.open_store("s"), 0
    for iteration, count, part in (
        (2, 3, "axes"),
        (2, 5, "quality"),
        (3, 7, "axes"),
        (4, 8, "quality"),
        (4, 8, "axes"),
    ):
        answered(store, "s", count - n, first=n)
        n = count
        assert run.last_judgment(iteration, store, "s", part) == count
    run.checkpoint(4, *runs.capture(parts["placement"], parts["search"].generator, parts["rng"]))
    return run, store


def test_each_part_notes_what_came_since_its_own_refit_before(tmp_path: Path) -> None:
    run, store = two_parts(tmp_path / "r")
    answered(store, "s", 4, first=20)
    assert run.last_judgment(2, store, "s", "quality") == 5
    assert run.last_judgment(2, store, "s") == 3
    assert {refit: (one.after, one.until, one.count) for refit, one in read_refits(run.path).items()} == {
        "axes-000002": (0, 3, 3), "quality-000002": (0, 5, 5), "axes-000003": (3, 7, 4), "axes-000004": (7, 8, 1),
        "quality-000004": (5, 8, 3),
    }  # fmt: skip
    store.close()
    again = runs.resume(run.path, NAMES)
    assert again.open_store("s").last("s") == 12
    assert again.latest() is not None


@pytest.mark.parametrize(("kept", "gone"), [(0, 8), (4, 4), (7, 1)])
def test_lost_judgments_of_two_parts_are_counted_once(tmp_path: Path, kept: int, gone: int) -> None:
    run, store = two_parts(tmp_path / "r")
    with store.database.writing() as connection:
        connection.execute(sa.delete(judgments).where(judgments.c.id > kept))
    store.close()
    with pytest.raises(
        LostError, match=rf"lacks {gone} of the 8 judgments of study 's' .*, with ids up to 8: it was em"
    ):
        runs.resume(run.path, NAMES).open_store("s")


@pytest.mark.parametrize("name", ["axes-12", "axes-0000002", "../axes-000002", "-000002", "axes-", "2.0", "²"])
def test_a_note_of_no_refit_is_one_line(tmp_path: Path, name: str) -> None:
    files.write_json(tmp_path / "refits.json", {name: 3})
    with pytest.raises(ValueError, match=r"refits\.json is damaged"):
        read_refits(tmp_path)


@pytest.mark.parametrize("note", ['{"5": "x"}', '{"5": {"until": 3}}', '{"x": 3}', "[]", '{"5": null}'])
def test_damaged_notes_are_one_line(tmp_path: Path, note: str) -> None:
    (tmp_path / "refits.json").write_text(note)
    with pytest.raises(ValueError, match=r"refits\.json"):
        read_refits(tmp_path)


def test_a_model_that_is_gone_stops_a_run_and_can_be_put_back(tmp_path: Path) -> None:
    run = a_run_with_answers(tmp_path / "r")
    model = run.path / "models/axes-000005.npz"
    content = model.read_bytes()
    model.unlink()
    with pytest.raises(LostError, match=r"axes-000005\.npz is gone, and the run cannot go on without it: put it back"):
        runs.resume(run.path, NAMES).latest()
    model.write_bytes(content)
    found = runs.resume(run.path, NAMES).latest()
    assert found is not None
    assert found.iteration == 5


def test_other_settings_than_at_the_checkpoint_stop_a_run(tmp_path: Path) -> None:
    run = a_run_with_answers(tmp_path / "r")
    settings = read_settings(run.path)
    write_settings(run.path, settings | {"seed": 7})
    with pytest.raises(LostError, match=r"settings\.json is not what it was at the last checkpoint"):
        runs.resume(run.path, NAMES).latest()
    write_settings(run.path, settings | {"cap": 5, "prices": "x"})
    assert runs.resume(run.path, NAMES).latest() is not None, "some may differ"


def test_what_was_shown_is_drawn_again_and_must_look_the_same(tmp_path: Path) -> None:
    run, parts = a_run(tmp_path / "r", 1)
    search = parts["search"]
    names = run.show(search, np.array([3, 5, 8]))
    folder = run.path / "shown"
    before = {name: (folder / name).read_bytes() for name in names.values()}
    (folder / names[3]).unlink()
    (folder / names[5]).write_bytes(b"")
    again = runs.resume(run.path, NAMES)
    with pytest.warns(UserWarning, match="2 files are gone; they are drawn again"):
        assert again.redraw(search) == 2
    assert {name: (folder / name).read_bytes() for name in names.values()} == before
    (folder / names[8]).write_bytes(before[names[8]][:-1] + b"x")
    assert again.show(search, np.array([8])) == {8: names[8]}
    assert (folder / names[8]).read_bytes() == before[names[8]]
    again.shown.note([(9, names[3])])  # as if candidate 9 had looked like that
    (folder / names[3]).unlink()
    with (
        pytest.warns(UserWarning, match="files are gone"),
        pytest.raises(LostError, match="candidate 9 looks different now: put the file back"),
    ):
        again.redraw(search)


def test_a_removal_that_was_killed_can_be_ended_and_is_never_gone_on_with(tmp_path: Path, monkeypatch) -> None:
    whole = tmp_path / "whole"
    a_run_with_answers(whole)
    runs.release(whole)
    steps = 0
    while True:
        copy = tmp_path / f"copy-{steps}"
        shutil.copytree(whole, copy)
        left = steps

        def killed(*_: object, original, **more: object) -> object:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return original(*_, **more)

        with monkeypatch.context() as patch:
            for owner, name in ((Path, "unlink"), (Path, "replace"), (Path, "rmdir"), (shutil, "rmtree")):
                original = getattr(owner, name)
                patch.setattr(owner, name, lambda *a, _original=original, **k: killed(*a, original=_original, **k))
            try:
                runs.clear(copy)
            except KeyboardInterrupt:
                steps += 1
            else:
                break
        if copy.exists() and not (copy / "settings.json").exists():
            with pytest.raises(ValueError, match=r"being removed|holds no run"):
                runs.resume(copy, NAMES)
        runs.clear(copy)
        assert not copy.exists() or runs.create(copy, {}, NAMES)
    assert steps > 8, "at every step"


def test_a_finished_run_lets_go_of_its_folder(tmp_path: Path) -> None:
    run, _ = a_run(tmp_path / "r", 1)
    run.save_summary({})
    with (run.path / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("note", ["z" * 5000, True, {"after": 0, "until": "z" * 5000}, [[[[1]]]], 1.5, None])
def test_a_note_that_is_none_is_shown_short(tmp_path: Path, note: object) -> None:
    files.write_json(tmp_path / "refits.json", {"10": note})
    with pytest.raises(ValueError, match=r"refits\.json is damaged: '10': .{,130} is no note of a refit$"):
        read_refits(tmp_path)
