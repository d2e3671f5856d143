"""A visitor of the study page: follows links and forms as a browser without scripts does."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import anyio
import sqlalchemy as sa
from anyio.from_thread import BlockingPortal
from starlette.testclient import TestClient

from qdfeedback.feedback.tables import trials
from qdfeedback.study.place import Place, open_study
from qdfeedback.study.register import Register
from qdfeedback.study.web.app import create_app
from qdfeedback.study.web.guard import Limits

KEY = b"k" * 32
AMPLE = Limits(per_person=1e6, person_burst=1_000_000, per_host=1e6, host_burst=1_000_000)


@dataclass
class Form:
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Forms(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.images: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given["action"]))
        elif tag == "input" and given.get("type") == "hidden":
            self.forms[-1].fields[given["name"]] = given["value"]
        elif tag == "button" and "name" in given:
            self.forms[-1].buttons.append((given["name"], given["value"]))
        elif tag == "img":
            self.images.append(given["src"])


def forms(text: str) -> list[Form]:
    return _Forms(text).forms


def images(text: str) -> list[str]:
    return _Forms(text).images


@functools.cache
def loop() -> BlockingPortal:
    """One event loop for all that visitors ask; else each request begins a thread and a loop of its own."""
    begun: SimpleQueue[BlockingPortal] = SimpleQueue()

    async def run() -> None:
        async with BlockingPortal() as portal:
            begun.put(portal)
            await portal.sleep_until_stopped()

    threading.Thread(target=anyio.run, args=(run,), daemon=True).start()
    return begun.get()


class Visitor:
    """One person's browser."""

    def __init__(self, app: Any, base: str = "http://testserver") -> None:
        self.client = TestClient(app, base_url=base, raise_server_exceptions=False)
        self.client.portal = loop()
        self.page = None

    def get(self, path: str = "/", **params: str) -> Any:
        self.page = self.client.get(path, params=params)
        return self.page

    def form(self, action: str) -> Form:
        return next(form for form in forms(self.page.text) if form.action == action)

    def send(self, action: str, **fields: str) -> Any:
        form = self.form(action)
        self.page = self.client.post(f"/{action}", data=form.fields | fields)
        return self.page

    def join(self, **params: str) -> Visitor:
        self.get("/", **params)
        self.send("consent", agree="yes")
        return self

    @property
    def where(self) -> str:
        return self.page.url.path

    def answer(self, choice: str, **fields: str) -> Any:
        return self.send("answer", choice=choice, **fields)

    def answer_all(self, choose: Callable[[Form], str], most: int = 500) -> list[dict[str, str]]:
        """Answers until there is nothing to answer; returns the forms' fields with the choices."""
        given = []
        self.get("/task")
        for _ in range(most):
            if self.where == "/feedback":
                self.get("/task")
                continue
            if self.where != "/task" or not any(form.action == "answer" for form in forms(self.page.text)):
                return given
            form = self.form("answer")
            choice = choose(form)
            given.append(form.fields | {"choice": choice})
            self.answer(choice)
        raise AssertionError("there is no end")


def sealed(place: Place) -> dict[str, str]:
    """Returns which trial is meant by what stands in a form."""
    register = Register(place.database, place.study, KEY)
    ids = [row["trial_id"] for row in place.database.rows(sa.select(trials.c.trial_id))]
    return {register.seal(trial): trial for trial in ids}


def site(folder: Path, database: str | None = None, *, limits: Limits = AMPLE, **more: Any) -> tuple[Place, Any]:
    place = open_study(folder, database)
    return place, create_app(place, KEY, limits=limits, **more)
