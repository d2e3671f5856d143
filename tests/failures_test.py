"""A mistake in a user's code is shown once, with file and line, and kept."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from domains.arm import Arm, ArmEncoder
from qdfeedback import archives, runs
from qdfeedback.diversity.columns import columns
from qdfeedback.failures import Failures
from qdfeedback.generators.gaussian import Gaussian
from qdfeedback.quality.columns import column
from qdfeedback.search import Search, evaluate, measure, start, step
from qdfeedback.types import Placement, first
from tests.arms import on_the_arm

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).name


class Clumsy(Arm):
    """Fails in two ways."""

    def render(self, solutions, seeds):
        if len(solutions) > 1 or solutions[0][0] > 0.5:
            return self.divide(len(solutions) - len(solutions))
        if solutions[0][0] < -0.5:
            return {}["missing"]
        return super().render(solutions, seeds)

    def divide(self, zero):
        return 1 / zero


def batch_of(search: Search, n: int = 60):
    placement = on_the_arm()
    solutions = np.random.default_rng(0).normal(0, 1, (n, 10))
    return evaluate(search, first(solutions), lambda f: measure(placement, f), first_id=0, iteration=0)


def test_the_first_traceback_of_each_kind_is_printed_and_all_are_kept(tmp_path: Path, caplog) -> None:
    run = runs.create(tmp_path / "r", {}, ArmEncoder.names)
    arm = Clumsy()
    with caplog.at_level(logging.ERROR, "qdfeedback"):
        batch = batch_of(Search(arm, ArmEncoder(), Gaussian(0.1, arm.initial), 0, run.failures))
    failed = [error for error in batch.errors if error is not None]
    assert len(failed) > 20
    assert set(failed) == {"ZeroDivisionError: division by zero", "KeyError: 'missing'"}
    printed = [record.getMessage() for record in caplog.records]
    assert len(printed) == 2, "one of each kind"
    for text, place, line in zip(
        sorted(printed), ("in divide", "in render"), ("1 / zero", '{}["missing"]'), strict=True
    ):
        assert HERE in text
        assert place in text.splitlines()[0]
        assert line in text
        assert "errors.log" in text.splitlines()[0]
    log = (run.path / "errors.log").read_text()
    assert log.count("render, seed") == len(failed)
    assert log.count("Traceback") == 6, "three whole ones of each kind"
    assert "During handling" not in log, "what a batch raised is not what one candidate did"


def begin_and_step(search: Search, quality) -> None:
    start(search, quality, 5, rng=np.random.default_rng(0))
    step(search, on_the_arm(), n=5, first_id=5, iteration=1, rng=np.random.default_rng(0))


@pytest.mark.parametrize("part", ["encode", "initial", "ask", "score"])
def test_what_ends_a_run_says_where_it_arose(tmp_path: Path, part: str, caplog) -> None:
    arm, encoder, quality = Arm(), ArmEncoder(), column(ArmEncoder.names, "straightness")

    def fails(*_: object, **__: object) -> object:
        raise ValueError("what a user wrote")

    generator = Gaussian(0.1, arm.initial)

    class Broken:
        names = encoder.names
        initial = encode = ask = score = staticmethod(fails)

    search = Search(
        Broken() if part == "initial" else arm, Broken() if part == "encode" else encoder,
        Broken() if part == "ask" else generator, 0, Failures(tmp_path / "errors.log"),
    )  # fmt: skip
    with pytest.raises(ValueError, match="what a user wrote") as caught:
        begin_and_step(search, Broken() if part == "score" else quality)
    (note,) = caught.value.__notes__
    assert HERE in note
    assert "in fails" in note
    assert part in note
    assert "raise ValueError" in (tmp_path / "errors.log").read_text()
    assert caplog.records[0].levelno == logging.ERROR


def test_what_the_package_refuses_is_no_mistake_of_a_user(tmp_path: Path, caplog) -> None:
    class Narrow(ArmEncoder):
        def encode(self, artifacts):
            return super().encode(artifacts)[:, :3]

    arm = Arm()
    search = Search(arm, Narrow(), Gaussian(0.1, arm.initial), 0, Failures(tmp_path / "errors.log"))
    with pytest.raises(ValueError, match="encode must return shape") as caught:
        batch_of(search, 5)
    assert not getattr(caught.value, "__notes__", ())
    assert not caplog.records
    assert not (tmp_path / "errors.log").exists()


def test_the_log_has_an_end(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("qdfeedback.failures._MOST_BYTES", 500)
    failures = Failures(tmp_path / "errors.log")
    for i in range(100):
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError as error:
            failures.note(error, f"render, seed {i},")
    assert (tmp_path / "errors.log").stat().st_size < 2000


def test_an_archive_without_ids_is_named_with_the_remedy() -> None:
    from ribs.archives import GridArchive

    bare = GridArchive(solution_dim=10, dims=(5, 5), ranges=[(-1, 1)] * 2)
    names = ArmEncoder.names
    with pytest.raises(ValueError, match="no field for the ids of candidates: build it with extra_fields=ID_FIELD"):
        Placement(column(names, "straightness"), columns(names, "x", "y"), bare)
    assert archives.grid(10, (5, 5))(np.array([[-1, -1], [1, 1]]), 0).field_list


def test_who_stops_an_experiment_while_it_loads_sees_one_line() -> None:
    module = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background does not hear of it
sys.argv[0] = "-m"
import experiments
os.kill(os.getpid(), signal.SIGINT)
time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", module], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == "stopped\n"
    assert done.returncode in (-signal.SIGINT, 130)
