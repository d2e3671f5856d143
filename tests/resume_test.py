"""A run that is killed at any moment and resumed ends bit for bit as one that was not."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from domains.arm import ArmEncoder
from experiments.arm import qdhf as qdhf_arm
from experiments.arm import report as arm_report
from qdfeedback import files, runs
from qdfeedback.feedback.annotators import Simulated
from qdfeedback.learning.axes import Learned
from tests.stopping import killed_on_its_way, stopped_in

ROOT = Path(__file__).resolve().parents[1]
STRATEGIES = ("cma_es", "sep_cma_es", "lm_ma_es", "openai_es")
ACTIVE = ["--method", "qdhf-active", "--answers", "60"]
SETTINGS = {
    "gaussian": [*ACTIVE, "--rounds", "4"],
    "published": ["--method", "qdhf", "--answers", "60"],
    "iso-line": ["--method", "gt", "--emitter", "iso-line"],
    **{f"cma-me-{es}": [*ACTIVE, "--rounds", "3", "--emitter", "cma-me", "--es", es] for es in STRATEGIES},
    **{f"cma-mae-{es}": ["--method", "gt", "--emitter", "cma-mae", "--es", es] for es in STRATEGIES},
}
TWO_PARTS, CURVES = "axes and quality learned", "a problem of one's own"
MODULES = {TWO_PARTS: "tests.toy", CURVES: "experiments.curves"}
COMMON = ["--evaluations", "4800", "--batch-size", "40", "--checkpoint-every", "10"]
SHORT = ["--evaluations", "800", "--batch-size", "20", "--checkpoint-every", "7", "--no-present"]


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch) -> None:
    """They are tested elsewhere, and take longer than the searches here."""
    monkeypatch.setattr(arm_report, "_pictures", lambda *given: None)


def command(name: str, run: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", MODULES.get(name, "experiments.arm.qdhf"), "--run", str(run), *arguments]


def settings(name: str) -> list[str]:
    if name == CURVES:
        return []
    return ["--iterations", "150"] if name == TWO_PARTS else [*COMMON, *SETTINGS[name]]


def start_process(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def await_start(process: subprocess.Popen[bytes], run: Path) -> None:
    while process.poll() is None and not (run / "settings.json").exists():
        time.sleep(0.005)


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kills the process so many seconds from now; False when it was done before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def assert_same(one: Path, two: Path) -> None:
    assert (one / "archive.npz").read_bytes() == (two / "archive.npz").read_bytes()
    first, second = (files.read_json(run / "summary.json") for run in (one, two))
    for summary in (first, second):
        summary.pop("seconds", None)
    assert first == second
    newest = [sorted((run / "checkpoints").glob("*.npz"))[-1] for run in (one, two)]
    (a, _), (b, _) = (files.unpack(path.read_bytes(), path.name) for path in newest)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_killed_and_resumed(tmp_path: Path) -> None:
    """By SIGKILL on its way; what comes before and after runs here, where everything is imported."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    arguments = [*SHORT, *SETTINGS["gaussian"]]
    qdhf_arm.main([*arguments, "--run", str(whole)])
    killed_on_its_way("experiments.arm.qdhf", arguments, killed)
    assert not (killed / "summary.json").exists()
    qdhf_arm.main(["--run", str(killed), "--resume"])
    assert_same(whole, killed)


def check(tmp_path: Path, name: str, kills: int, chance: random.Random) -> None:
    """Kills a run so many times at random moments, and compares it with a whole one, each in a process of its own.

    A fresh run is killed after it has made its folder; a resumed one at any moment from the end of its imports on.
    """
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    began = time.monotonic()
    process = start_process(command(name, whole, *settings(name)))
    await_start(process, whole)
    start_up = time.monotonic() - began
    assert process.wait(300) == 0
    running = time.monotonic() - began - start_up
    hits = 0
    for _ in range(10 * kills):
        if (killed / "settings.json").exists():
            process = start_process(command(name, killed, "--resume"))
            hit = kill_after(process, 0.9 * start_up + chance.uniform(0, running))
        else:
            process = start_process(command(name, killed, *settings(name)))
            await_start(process, killed)
            hit = kill_after(process, chance.uniform(0, running))
        hits += hit
        if hits == kills:
            break
        if not hit:
            shutil.rmtree(killed)  # it came through: another one
    assert hits == kills
    subprocess.run(command(name, killed, "--resume"), cwd=ROOT, check=True, capture_output=True, timeout=300)
    assert_same(whole, killed)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SETTINGS, TWO_PARTS])
def test_killed_at_random_moments(tmp_path: Path, name: str) -> None:
    """Two kills for each of the twelve settings: twenty-four random moments."""
    check(tmp_path, name, 2, random.Random(name))


@pytest.mark.slow
def test_a_problem_of_ones_own_is_killed_three_times(tmp_path: Path) -> None:
    check(tmp_path, CURVES, 3, random.Random(CURVES))


@pytest.mark.slow  # the default suite has a kill in their place
@pytest.mark.parametrize(
    "name",
    ["gaussian", "published", "cma-me-cma_es"],
)
def test_stopped_between_steps(tmp_path: Path, name: str) -> None:
    """Without processes: an exception in the middle of the run, then --resume."""
    small = [*SHORT, *SETTINGS[name]]
    qdhf_arm.main([*small, "--run", str(tmp_path / "whole")])
    for number, iteration in enumerate((9, 17, 25)):
        with stopped_in(iteration):
            qdhf_arm.main(["--run", str(tmp_path / "killed"), *(["--resume"] if number else small)])
    qdhf_arm.main(["--run", str(tmp_path / "killed"), "--resume"])
    assert_same(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_answers_that_were_given_are_not_asked_for_again(tmp_path: Path, monkeypatch) -> None:
    """Killed between the answers and the checkpoint, a resumed run finds the answers it had."""
    small = [
        "--evaluations",
        "600",
        "--batch-size",
        "20",
        "--checkpoint-every",
        "100",
        "--answers",
        "30",
        "--rounds",
        "3",
    ]
    qdhf_arm.main([*small, "--run", str(tmp_path / "whole")])
    learn = Learned._learn

    def failing(self, judged, *given):
        if len(judged) == 20:
            raise KeyboardInterrupt
        return learn(self, judged, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Learned, "_learn", failing)
        with pytest.raises(KeyboardInterrupt):
            qdhf_arm.main([*small, "--run", str(tmp_path / "killed")])
    asked = []
    answer = Simulated.answer
    monkeypatch.setattr(
        Simulated,
        "answer",
        lambda self, queries: asked.append(len(queries)) or answer(self, queries),
    )
    qdhf_arm.main(["--run", str(tmp_path / "killed"), "--resume"])
    assert asked == [10], "twenty answers were there already"
    assert files.read_json(tmp_path / "killed/summary.json")["answers"] == 30
    assert_archives_same(tmp_path)


def test_killed_while_it_wrote_its_summary(tmp_path: Path, monkeypatch) -> None:
    """The last iteration is a checkpoint: nothing is left to run, all is left to report."""
    small = ["--evaluations", "220", "--batch-size", "20", "--checkpoint-every", "5", "--method", "gt"]
    qdhf_arm.main([*small, "--run", str(tmp_path / "whole")])
    with monkeypatch.context() as patch:
        patch.setattr(arm_report, "finish", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            qdhf_arm.main([*small, "--run", str(tmp_path / "killed")])
    qdhf_arm.main(["--run", str(tmp_path / "killed"), "--resume"])
    assert_same(tmp_path / "whole", tmp_path / "killed")


def test_commit_loses_no_batch(tmp_path: Path) -> None:
    small = ["--evaluations", "400", "--batch-size", "20", "--answers", "20", "--rounds", "2", "--commit"]
    with stopped_in(9):
        qdhf_arm.main([*small, "--run", str(tmp_path / "r")])
    again = runs.resume(tmp_path / "r", ArmEncoder.names, commit=True)
    found = again.latest()
    assert found is not None
    assert found.iteration == 8
    assert len(again.history) == 9 * 20


def assert_archives_same(tmp_path: Path) -> None:
    assert (tmp_path / "whole/archive.npz").read_bytes() == (tmp_path / "killed/archive.npz").read_bytes()


def test_pycma_is_refused_on_resume(tmp_path: Path) -> None:
    small = ["--evaluations", "240", "--batch-size", "20", "--checkpoint-every", "5", "--method", "gt"]
    with stopped_in(8):
        qdhf_arm.main([*small, "--emitter", "cma-me", "--es", "pycma_es", "--run", str(tmp_path / "r")])
    with pytest.raises(ValueError, match="this run cannot be resumed exactly"):
        qdhf_arm.main(["--run", str(tmp_path / "r"), "--resume"])


def test_resume_says_when_there_is_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run"):
        qdhf_arm.main(["--run", str(tmp_path / "nothing"), "--resume"])
