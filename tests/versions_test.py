"""Run folders of earlier versions: read, brought up to date, or refused in one line.

`folders/before_checksums.zip` is a run of `qdhf_arm` (12 judgments, 40 iterations of 10) that was killed after its
25th iteration, by the version whose histories had no checksums and whose refits noted the last judgment alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments import arm_report, qdhf_arm
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


def test_a_run_of_before_checksums_goes_on_to_its_end(before: Path, monkeypatch) -> None:
    monkeypatch.setattr(arm_report, "_pictures", lambda *_: None)
    qdhf_arm.main(["--run", str(before), "--resume"])
    summary = files.read_json(before / "summary.json", dict)
    assert (summary["judgments"], summary["method"]) == (12, "qdhf-active")
    history = History(before / "history.arrows", qdhf_arm.NAMES)
    assert np.array_equal(history.take(np.arange(400), "id"), np.arange(400))
    parts = read_sums(before / "history.sums").parts.values()
    assert sum(part.rows for part in parts) == 400, "from here on damage is noticed"
    assert [one.until for one in read_refits(before).values()] == [4, 8, 12], "no refit was repeated with others"


@pytest.mark.parametrize("what", ["settings", "history"])
def test_a_folder_of_a_later_version_is_refused_in_one_line(before: Path, what: str) -> None:
    if what == "settings":
        files.write_json(before / "settings.json", {"format": 2, "settings": read_settings(before)})
    else:
        content = (before / "history.arrows").read_bytes()
        (before / "history.arrows").write_bytes(content.replace(b"format\x00", b"fornat\x00", 1))
    with pytest.raises(ValueError, match=r"(run|history) format (2|none), this version reads format 1$"):
        runs.resume(before, qdhf_arm.NAMES)
