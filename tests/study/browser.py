"""The exported jsPsych page, opened in Chromium, in jsPsych's own simulation mode."""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path

from qdfeedback.study.exchange.exports import Jspsych, export
from tests.study.small_study import Small

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--virtual-time-budget=20000", "--dump-dom",
]  # fmt: skip


def simulated(small: Small, folder: Path, browser: str, packages: Path, mode: str = "data-only") -> list[dict]:
    page = folder / "page"
    export(small.folder, small.database, small.study, page, fmt="jspsych", jspsych=Jspsych(packages))
    address = f"{(page / 'index.html').as_uri()}?simulate={mode}&PROLIFIC_PID=PLATFORM-ID"
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", address]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'<pre id="answers"[^>]*>(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[:4000]
    assert "PLATFORM-ID" not in found[1]
    return json.loads(html.unescape(found[1]))
