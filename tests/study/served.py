"""The study page as people get it: a server in a process of its own, and a browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def served(folder: Path, *more: str) -> Iterator[str]:
    """Gives the address of the study in a folder."""
    command = [sys.executable, "-m", "qdfeedback", "study", "serve", str(folder), "--port", "0", *more]
    environment = os.environ | {"XDG_STATE_HOME": str(folder.parent / "state")}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+:\d+/", server.stdout.readline())
        assert found, "the server did not start"
        yield found[0]
    finally:
        server.terminate()  # not by SIGINT: what runs in a shell's background ignores it
        server.wait(20)


@contextmanager
def chromium(folder: Path, *, width: int = 1100, height: int = 950, touch: bool = False) -> Iterator[Any]:
    """Gives a headless Chromium, driven by Selenium; with `touch`, one that has a finger and no mouse."""
    webdriver = pytest.importorskip("selenium.webdriver")
    browser, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not browser or not driver:
        pytest.skip("Chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}",
    ):  # fmt: skip
        options.add_argument(flag)
    if touch:
        metrics = {"width": width, "height": height, "pixelRatio": 2.0, "touch": True}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        window.set_window_size(width, height)
        yield window
    finally:
        window.quit()
