"""A run that goes on notices what was lost since, and says what; it never takes something else in its place."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import numpy as np
import pytest

from qdfeedback import files, runs
from qdfeedback.diversity.linear import Linear
from qdfeedback.feedback.store import Store
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
        files.write_json(path, content | {"5": content["5"] | {"until": 6}})
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
    assert [one.until for one in read_refits(run.path).values()] == [3, 7]
    again = runs.resume(run.path, NAMES)
    store = again.open_store("s")
    assert again.last_judgment(2, store, "s") == 3
    answered(store, "s", 1, first=90)
    assert again.last_judgment(9, store, "s") == 8
    assert read_refits(run.path)[9].after == 7


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
