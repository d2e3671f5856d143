"""Forms and addresses that no page of ours sends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdfeedback.study import secrets
from tests.fuzzing import broken, texts
from tests.study.plain import plain_study
from tests.study.visitor import AMPLE, Visitor, site

PAGES = ["", "warning", "instructions", "task", "feedback", "stop", "done", "owner", "report", "static/study.js"]
FORMS = {
    "consent": {"token": "", "platform": "prolific", "agree": "yes", "person": "5f8e7d6c5b4a39281706f5e4",
                "session": "a1b2", "submit_to": "https://www.mturk.com"},
    "warning": {"token": "", "see": "all"}, "finish": {"token": ""}, "withdraw": {"token": "", "answers": "delete"},
    "answer": {"token": "", "position": "1", "trial": "", "choice": "left", "ms": "12.5"},
    "owner-login": {"token": ""},
}  # fmt: skip
ADDRESSED = {
    "PROLIFIC_PID": "5f8e7d6c5b4a39281706f5e4", "SESSION_ID": "s", "workerId": "A1", "assignmentId": "B1",
    "hitId": "C", "turkSubmitTo": "https://www.mturk.com", "new": "1", "position": "-1",
}  # fmt: skip
TOLD = re.compile(rb"Traceback|\.py\b|sqlite|SELECT|INSERT|judgments\.db")
KINDS = ["application/x-www-form-urlencoded"] * 6 + [
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "a/b",
    "",
]

numbers = st.sampled_from(
    ["-1", "0", "1e3", "9" * 30, "9" * 5000, "-0", "１", "1_0", "nan", "inf", "2147483648", "1.5"]
)
said = st.one_of(texts.map(lambda one: one.encode("utf-8", "replace").decode()), numbers)


@st.composite
def fields(draw: st.DrawFn, like: dict[str, str]) -> list[tuple[str, str]]:
    """Draws fields of a form: some changed, left out, doubled, or more than it has."""
    found = list(like.items())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(found)))
        how = draw(st.sampled_from(["changed", "changed", "left out", "doubled", "more"]))
        if how == "more" or at == len(found):
            found.insert(at, (draw(st.one_of(said, st.sampled_from([*ADDRESSED]))), draw(said)))
        elif how == "changed":
            found[at] = (found[at][0], draw(said))
        elif how == "doubled":
            found.append(found[at])
        else:
            del found[at]
    return found


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, Any, str]:
    """Draws method, address, content and its type."""
    if draw(st.booleans()):
        page = draw(st.one_of(st.sampled_from(PAGES), said.map(lambda one: quote(one[:200], safe="/"))))
        return "GET", f"/{page}?{urlencode(draw(fields(ADDRESSED)))}", b"", ""
    action = draw(st.sampled_from(list(FORMS)))
    content = urlencode(draw(fields(FORMS[action]))).encode()
    if draw(st.integers(0, 3)) == 0:
        content = draw(broken(st.just(content)))
    return "POST", f"/{action}", content, draw(st.sampled_from(KINDS))


def check(folder: Path, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(secrets.VARIABLE, "o" * 40)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    plain_study(folder / "s")
    _, app = site(folder / "s", limits=AMPLE)
    known = Visitor(app).join()

    @settings(max_examples=n, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(requests(), min_size=1, max_size=4), st.booleans())
    def test(asked: list[tuple[str, str, Any, str]], whether: bool) -> None:
        visitor = known if whether else Visitor(app)
        token = re.search(r'name="token" value="([^"]*)"', visitor.get("/task" if whether else "/").text)
        for method, address, content, kind in asked:
            body = content.replace(b"token=&", f"token={token[1]}&".encode()) if token else content
            reply = visitor.client.request(
                method, address, content=body, headers={"content-type": kind} if kind else {}, follow_redirects=False
            )
            assert reply.status_code < 500, (method, address, body, kind)
            assert reply.status_code != 200 or not TOLD.search(reply.content)

    test()


def test_what_no_page_of_ours_sends_is_answered_in_order(tmp_path: Path, monkeypatch) -> None:
    check(tmp_path, 15, monkeypatch)


@pytest.mark.slow
def test_much_that_no_page_of_ours_sends_is_answered_in_order(tmp_path: Path, monkeypatch) -> None:
    check(tmp_path, 500, monkeypatch)
