"""The study page in a real browser, from the link to the thanks; pictures of each page lie in the test's folder."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from domains.arm import ArmEncoder
from domains.curves import Descriptors
from domains.images.reader import read
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import read_study
from qdfeedback.history import History
from qdfeedback.shown import Shown
from tests.study.served import chromium, served

pytestmark = pytest.mark.slow
FAST_CLOCK = "{ const now = performance.now.bind(performance); performance.now = () => 20 * now(); }"
"""Whoever answers in less than half a second does not count; a program does not take longer."""
READY = "return document.readyState === 'complete'"
ROOT = Path(__file__).resolve().parents[3]


class Person:
    """Looks at pages, presses keys, and takes pictures."""

    def __init__(self, window, folder: Path) -> None:
        from selenium.webdriver.common.by import By

        self.window, self.by, self.folder, self.taken = window, By, folder, 0
        folder.mkdir(exist_ok=True)

    def picture(self, name: str) -> None:
        self.taken += 1
        self.window.save_screenshot(str(self.folder / f"{self.taken:02}-{name}.png"))

    def find(self, css: str):
        return self.window.find_elements(self.by.CSS_SELECTOR, css)

    def click(self, css: str) -> None:
        self.leave(lambda: self.find(css)[0].click())

    def press(self, key: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        self.leave(lambda: ActionChains(self.window).send_keys(key).perform())

    def leave(self, act) -> None:
        """Does what leads to another page, and waits for it."""
        before = self.find("html")[0]
        act()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            now = self.find("html")  # none for a moment between two pages
            if now and now[0].id != before.id and self.window.execute_script(READY):
                return
            time.sleep(0.02)
        self.picture("stuck")
        raise AssertionError(f"no other page came after {self.window.current_url}")

    @property
    def where(self) -> str:
        return self.window.current_url.split("?")[0].rsplit("/", 1)[1]

    @property
    def files(self) -> list[str]:
        """The names of the pictures that are shown: reference, left, right."""
        return [image.get_attribute("src").rsplit("/", 1)[1] for image in self.find("img")]

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.window.get_log("browser") if entry["level"] == "SEVERE"]


def live_run(folder: Path, **more: str | int) -> subprocess.Popen:
    return live("arm.qdhf", folder, {"answers": 40, "wait-for": 40, "evaluations": 6000, "refit-after": 2} | more)


def live(experiment: str, folder: Path, settings: dict[str, str | int]) -> subprocess.Popen:
    command = [sys.executable, "-m", f"experiments.{experiment}", "--annotator", "study", "--run", str(folder)]
    command += [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not (folder / "shown" / "index.csv").exists():
        assert run.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
    return run


def truth(
    folder: Path, files: list[str], *, names: tuple[str, ...] = ArmEncoder.names, true: tuple[str, str] = ("x", "y")
) -> str:
    """What somebody answers who knows where each hand is, or what else is true."""
    of = {name: candidate for candidate, name in Shown(folder / "shown").names().items()}
    history = History(folder / "history.arrows", names)
    rows = history.take(np.array([of[name] for name in files]), "features")
    places = rows[:, [names.index(name) for name in true]]
    left, right = np.linalg.norm(places[1:] - places[0], axis=1)
    return "left" if left < right else "right"


@pytest.mark.parametrize("size", [(1100, 950), (390, 844)], ids=["desktop", "phone"])
def test_a_person_goes_from_the_link_to_the_thanks(tmp_path: Path, size: tuple[int, int]) -> None:
    from selenium.webdriver.common.keys import Keys

    from tests.study.plain import drawn_study

    folder = tmp_path / "study"
    drawn_study(folder)
    phone = size[0] < 500
    with served(folder) as address, chromium(tmp_path, width=size[0], height=size[1], touch=phone) as window:
        person = Person(window, folder / "screenshots")
        window.get(address)
        person.picture("consent")
        person.find("input[type=checkbox]")[0].send_keys(" ")
        person.click("button.main")
        assert person.where == "instructions"
        person.picture("instructions")
        told = person.find("main")[0].text
        assert ("Keys" in told, "skips a question" in told, "←" in told) == (not phone,) * 3
        assert "Click or tap the answer that you choose." in told
        person.click("a.main")
        person.picture("practice")
        person.press(Keys.ARROW_LEFT)
        assert person.where == "feedback"
        person.picture("practice-feedback")
        person.press(Keys.ARROW_RIGHT)
        person.press(Keys.ARROW_RIGHT)
        person.press(Keys.ARROW_RIGHT)
        answered = 0
        seen = []
        while person.where == "task":
            seen.append(person.find("input[name=trial]")[0].get_attribute("value"))
            if answered == 0:
                person.picture("question")
            if answered == 3:
                before = person.files
                person.leave(window.refresh)
                assert person.files == before
                person.picture("after-reload")
                person.window.get(address)
                assert person.files == before, "the link leads back to where one was"
            if answered == 4:
                window.get(f"{address}stop")
                person.picture("stop")
                window.get(f"{address}task")
            person.press([Keys.ARROW_LEFT, Keys.ARROW_RIGHT, "s"][answered % 3])
            answered += 1
        assert person.where == "done"
        person.picture("done")
        assert person.errors() == []
        assert window.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    store, study = Store(folder / "judgments.db"), read_study(folder)
    records = store.records(study.study_id)
    kinds = [record["kind"] for record in records]
    assert (kinds.count("practice"), kinds.count("main"), kinds.count("catch"), kinds.count("repeat")) == (2, 12, 2, 3)
    assert len(seen) == 17
    assert [r["choice"] for r in records[2:]] == (["left", "right", "skip"] * 6)[:17]
    assert all(record["response_ms"] is not None for record in records)


def answer_all(search: subprocess.Popen, address: str, person: Person, choose: Callable[[list[str]], str]) -> None:
    """Answers what a search asks until it ends; `choose` knows the side by the files shown."""
    from selenium.webdriver.common.keys import Keys

    window = person.window
    window.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": FAST_CLOCK})
    window.get(address)
    person.find("input[type=checkbox]")[0].click()
    person.click("button.main")
    window.get(f"{address}task")
    asked, waited = 0, 0
    while search.poll() is None:
        if person.where == "feedback":
            window.get(f"{address}task")
        if not person.find("form[data-trial]"):
            if not waited:
                window.execute_script("window.stop()")  # else the page loads itself anew in the middle
                person.picture("waiting")
            waited += 1
            assert waited < 300
            time.sleep(0.5)
            window.get(f"{address}task")
            continue
        asked += 1
        if asked == 6:
            person.picture("question")
        person.press({"left": Keys.ARROW_LEFT, "right": Keys.ARROW_RIGHT}[choose(person.files)])
    person.picture("last")
    assert person.errors() == []


def test_a_search_follows_what_a_person_answers_in_a_browser(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    search = live_run(folder, answers=240, **{"wait-for": 240, "frames": 6, "rounds": 8})
    try:
        with served(folder) as address, chromium(tmp_path) as window:
            answer_all(search, address, Person(window, folder / "screenshots"), partial(truth, folder))
    finally:
        search.kill()
        search.wait()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["answers"] == 240
    assert summary["judgment_accuracy"] > 0.8
    assert len(list((folder / "models").glob("*.npz"))) >= 8


def test_a_problem_of_ones_own_is_answered_in_a_browser(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    choose = partial(truth, folder, names=Descriptors.names, true=("roundness", "elongation"))
    search = live("curves", folder, {"wait-for": 200})
    try:
        with served(folder) as address, chromium(tmp_path) as window:
            answer_all(search, address, Person(window, folder / "screenshots"), choose)
    finally:
        search.kill()
        search.wait()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["answers"] == 200
    assert summary["linear_r2"]["roundness"] > 0.85  # of one run; the mean of five is in the LOG
    assert summary["linear_r2"]["elongation"] > 0.75
    assert not read_study(folder).live


def test_a_search_follows_what_a_person_says_of_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    sizes: list[tuple[int, int]] = []

    def by_number(files: list[str]) -> str:
        pictures = [Image.open(folder / "shown" / name) for name in files]
        sizes.extend(picture.size for picture in pictures)
        anchor, left, right = (len(read(np.asarray(picture.convert("RGB"))).things) for picture in pictures)
        if files[0] in files[1:]:  # the same picture
            return "left" if files[0] == files[1] else "right"
        if abs(anchor - left) == abs(anchor - right):
            return "left" if len(sizes) % 2 else "right"
        return "left" if abs(anchor - left) < abs(anchor - right) else "right"

    search = live("images.qdhf", folder, {"evaluations": 120, "first": 60, "answers": 40, "rounds": 2, "steps": 6})
    try:
        with served(folder) as address, chromium(tmp_path) as window:
            person = Person(window, folder / "screenshots")
            answer_all(search, address, person, by_number)
            assert set(sizes) == {(64, 64)}
    finally:
        search.kill()
        search.wait()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["answers"] == 40
    assert summary["drawn"] == 120  # what people look at is not drawn again
    best = max(range(2), key=lambda axis: summary["axes"][axis]["count"])
    assert summary["axes"][best]["count"] > 0.3


def test_every_kind_of_question_on_a_phone_and_a_desk(tmp_path: Path) -> None:
    from tests.study.plain import drawn_study

    folder = tmp_path / "study"
    drawn_study(folder, everything=True, sensitive="Some of these pictures show spiders.")
    with served(folder) as address, chromium(tmp_path) as window:
        person = Person(window, folder / "screenshots")
        window.get(address)
        person.find("input[type=checkbox]")[0].click()
        person.click("button.main")
        assert person.where == "warning"
        person.picture("warning")
        person.click("button.main")
        window.get(f"{address}task")
        seen = set()
        for _ in range(100):
            if person.where == "feedback":
                window.get(f"{address}task")
                continue
            if person.where == "done":
                break
            question = person.find("h1")[0].text
            if question not in seen:
                seen.add(question)
                person.picture(f"question-{len(seen)}")
                window.set_window_size(390, 844)
                person.picture(f"question-{len(seen)}-phone")
                assert window.execute_script("return document.documentElement.scrollWidth <= innerWidth"), question
                window.set_window_size(1100, 950)
            person.click(".side button, .scale button")
        assert person.where == "done"
        assert len(seen) == 5
        assert person.errors() == []
