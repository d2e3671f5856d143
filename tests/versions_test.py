"""Run folders of earlier versions: read, brought up to date, or refused in one line.

`folders/before_checksums.zip` is a run on the arm (12 judgments, 40 iterations of 10) that was killed after its
25th iteration, by the version whose histories had no checksums and whose refits noted the last judgment alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from domains.arm import ArmEncoder
from experiments.arm import qdhf as qdhf_arm
from qdfeedback import files, runs
from qdfeedback.history import History
from qdfeedback.history_parts import read_sums
from qdfeedback.refits import read_refits
from qdfeedback.run_settings import read_settings

FOLDERS = Path(__file__).with_name("folders")


@pytest.fixture
def before(tmp_path: Path) -> Path:
    shutil.unpack_archive(FOLDERS / "before_checksums.zip", tmp_path / "run")
    return tmp_path / "run"


def test_a_run_of_before_checksums_is_read_as_it_was(before: Path) -> None:
    found = runs.resume(before, ArmEncoder.names).latest()
    assert found is not None
    history, n = History(before / "history.arrows", ArmEncoder.names), 10 * (found.iteration + 1)
    assert np.array_equal(history.take(np.arange(n), "id"), np.arange(n))
    parts = read_sums(before / "history.sums").parts.values()
    assert sum(part.rows for part in parts) == n, "from here on damage is noticed"
    assert [one.until for one in read_refits(before).values()] == [4, 8, 12][: len(read_refits(before))]


def test_a_run_with_other_arguments_does_not_go_on(before: Path) -> None:
    with pytest.raises(ValueError, match="was begun by an earlier version, without evaluations: end it with that"):
        qdhf_arm.main(["--run", str(before), "--resume"])


@pytest.mark.parametrize("what", ["settings", "history"])
def test_a_folder_of_a_later_version_is_refused_in_one_line(before: Path, what: str) -> None:
    if what == "settings":
        files.write_json(before / "settings.json", {"format": 2, "settings": read_settings(before)})
    else:
        content = (before / "history.arrows").read_bytes()
        (before / "history.arrows").write_bytes(content.replace(b"format\x00", b"fornat\x00", 1))
    with pytest.raises(ValueError, match=r"(run|history) format (2|none), this version reads format 1$"):
        runs.resume(before, ArmEncoder.names)
