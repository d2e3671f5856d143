"""A run folder as data frames, also while the run is at work."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from domains.curves import Descriptors
from experiments.arm import qdhf as qdhf_arm
from experiments.arm import report as arm_report
from experiments.curves import CURVES
from qdfeedback import claims, cli, files, metrics, runs
from qdfeedback.diversity import models
from qdfeedback.problem import Args, run_one
from qdfeedback.reading import describe, open_run
from tests import toy
from tests.stopping import killed_on_its_way, stopped_in

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reading") / "r"
    run_one(CURVES, Args(run=path, evaluations=600, batch_size=40, answers=24, rounds=3, cells=8))
    return path


def test_elites_and_history(folder: Path) -> None:
    run = open_run(folder)
    elites, history = run.elites(), run.history(solutions=True)
    saved = files.read_packed(folder / "archive.npz", lambda arrays, _: arrays)
    assert set(elites.index) == set(saved["id"].tolist())
    assert elites["objective"].is_monotonic_decreasing
    assert all((folder / one).is_file() for one in elites["shown"])
    assert history.index.tolist() == list(range(600))
    assert list(history.columns[:6]) == ["iteration", "origin", "error", *(f"solution_{i}" for i in (1, 2, 3))]
    assert list(history.columns[-33:]) == list(Descriptors.names)
    same = history.loc[elites.index]
    np.testing.assert_allclose(same["objective"], elites["objective"])
    np.testing.assert_allclose(same[["measure_1", "measure_2"]], elites[["measure_1", "measure_2"]])
    np.testing.assert_array_equal(same["smoothness"], elites["smoothness"])


def test_under_any_model_that_the_run_ever_had(folder: Path) -> None:
    run = open_run(folder)
    first = run.models()[0]
    assert first == "axes-000001"
    found = run.history(axes=first)
    columns = [CURVES.names[i] for i in CURVES.columns]
    wanted = models.load(folder / f"models/{first}.npz").project(found[columns].to_numpy())
    np.testing.assert_allclose(found[["measure_1", "measure_2"]], wanted)
    with pytest.raises(ValueError, match="has fitted axes-000001"):
        run.history(axes="axes-000099")


def test_judgments(folder: Path) -> None:
    found = open_run(folder).judgments()
    assert len(found) == 24
    assert set(found["annotator_kind"]) == {"simulation"}


def test_a_score_in_one_space_cannot_fall(folder: Path) -> None:
    run = open_run(folder)
    found = run.score_along(cells=8)
    assert found["qd_score"].is_monotonic_increasing
    assert found["evaluations"].iloc[-1] == 600
    assert run.score_along([10, 600], axes=run.models()[0])["coverage"].iloc[-1] > 0


def test_the_score_along_a_history_ends_as_the_archive(tmp_path: Path) -> None:
    run = runs.create(tmp_path / "r", {"study": "toy"}, toy.NAMES)
    loop = toy.make(run, "gaussian", "learned", "learned")
    for _ in loop:
        pass
    found = metrics.score_along(loop.history, loop.placement, [0, 7, 7, 100, 10**6], apart=loop.view.apart)
    assert found[0] == metrics.GridScore(0.0, 0.0)
    assert found[1] == found[2]
    assert found[-1].qd_score == pytest.approx(metrics.score(loop.placement.archive).qd_score)
    assert found[-1].coverage == metrics.score(loop.placement.archive).coverage


def test_of_a_run_that_stopped(tmp_path: Path, capsys) -> None:
    args = Args(run=tmp_path / "r", evaluations=600, batch_size=40, answers=24, rounds=3, cells=8)
    with stopped_in(9):
        run_one(CURVES, args)
    run = open_run(tmp_path / "r")
    assert run.is_at_work, "this process holds it"
    claims.release(tmp_path / "r")
    assert not run.is_at_work
    assert run.summary is None
    assert len(run.elites()) > 5
    cli.main(["show", str(tmp_path / "r")])
    said = capsys.readouterr().out
    assert "stopped; --resume goes on" in said
    assert "of 600 candidates" in said
    assert "axes fitted" in said
    run_one(CURVES, replace(args, resume=True))
    assert "finished" in describe(open_run(tmp_path / "r"))


def test_reading_changes_nothing_of_a_run_that_was_killed(tmp_path: Path) -> None:
    run = tmp_path / "r"
    killed_on_its_way("experiments.curves", ["--answers", "40", "--evaluations", "100000"], run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    found = open_run(run)
    describe(found)
    found.history()
    found.judgments()
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    changed = {path.name for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed <= {"judgments.db-shm"}, "where SQLite notes who reads"


def test_of_axes_that_are_known(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(arm_report, "_pictures", lambda *given: None)
    qdhf_arm.main(["--method", "gt", "--evaluations", "400", "--run", str(tmp_path / "r")])
    run = open_run(tmp_path / "r")
    history = run.history()
    np.testing.assert_array_equal(history["measure_1"], history["x"])
    assert run.models() == []


def test_what_is_no_run_is_refused_in_a_line(tmp_path: Path, capsys) -> None:
    with pytest.raises(ValueError, match="holds no run"):
        open_run(tmp_path)
    runs.create(tmp_path / "r", {"study": "s"}, ("a",))
    with pytest.raises(ValueError, match="has evaluated nothing yet"):
        open_run(tmp_path / "r")
    with pytest.raises(SystemExit, match="holds no run"):
        cli.main(["show", str(tmp_path)])


SLOW_WRITER = """
import sys, time
from pathlib import Path
from experiments.curves import CURVES
from qdfeedback.problem import Args, qdhf
every = int(sys.argv[2])
args = Args(run=Path(sys.argv[1]), evaluations=10**6, batch_size=20, answers=40, checkpoint_every=every)
for batch in qdhf(CURVES, args, quiet=True):
    time.sleep(0.02)
"""


def read_while_it_writes(path: Path, times: int, checkpoint_every: int) -> None:
    command = [sys.executable, "-c", SLOW_WRITER, str(path), str(checkpoint_every)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not any(one.name > "000000005" for one in (path / "checkpoints").glob("*.npz")):
            assert process.poll() is None
            time.sleep(0.05)
        seen: list[tuple[int, np.ndarray]] = []
        seen_first = open_run(path)
        for number in range(times):
            run = open_run(path)
            history = run.history()
            assert history.index.tolist() == list(range(len(history)))
            assert np.isfinite(history["objective"]).all()
            found = len(run.elites())
            if number % 10 == 0:
                describe(run)
            seen.append((len(history), history["radius_0"].to_numpy().copy()))
        assert process.poll() is None, "it was at work all the time"
        assert found > 10
        assert len(seen_first.elites()) > 10, "of today"
    finally:
        process.kill()
        process.wait()
    whole = open_run(path).history()["radius_0"].to_numpy()
    assert [n for n, _ in seen] == sorted(n for n, _ in seen)
    assert seen[-1][0] > seen[0][0]
    for n, values in seen:
        np.testing.assert_array_equal(values, whole[:n])


def test_while_the_run_is_at_work(tmp_path: Path) -> None:
    read_while_it_writes(tmp_path / "r", 20, 1)


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint_every", [1, 7])
def test_a_thousand_times_while_the_run_is_at_work(tmp_path: Path, checkpoint_every: int) -> None:
    read_while_it_writes(tmp_path / "r", 500, checkpoint_every)
