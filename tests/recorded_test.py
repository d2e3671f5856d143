"""Runs of every method end as they did when they were recorded, bit for bit, whole or stopped on their way."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tests.recording import NEED, RECORDED, RUNS, here, stopped, whole

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", RUNS)
def test_a_run_ends_as_it_was_recorded(name: str, tmp_path: Path) -> None:
    """To the bit on machines like the one that recorded it; elsewhere the figures are near those."""
    if name in NEED and importlib.util.find_spec(NEED[name]) is None:
        pytest.skip(f"{name} needs {NEED[name]}")
    known = json.loads(RECORDED.read_text())
    found, recorded = whole(name, tmp_path / "whole"), known["runs"][name]
    if known["here"] == here():
        assert found == recorded
    else:
        for figure in ("candidates", "answers", "elites", "failed"):
            assert found["figures"][figure] == pytest.approx(recorded["figures"][figure], rel=0.3, abs=5), figure
    assert stopped(name, tmp_path / "stopped") == found
