"""The owner's pages: how a study goes, and its report. They need the token that was shown at the first start."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from qdfeedback.feedback.tables import judgments, raters, trials
from qdfeedback.study.allotment import counting
from qdfeedback.study.place import Place, pace
from qdfeedback.study.secrets import is_owner
from qdfeedback.study.web.guard import Buckets, network_of
from qdfeedback.study.web.pages import Pages
from qdfeedback.study.web.visit import cookie_name

REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
PACE = {
    "none": "",
    "at work": "The search is at work.",
    "paused": "The search is not running.",
    "over": "The search has ended.",
}
PROLIFIC = "PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}"


class Owner:
    """The pages for whoever made the study."""

    def __init__(self, place: Place, pages: Pages, public_url: str, *, secure: bool, wrong: Buckets) -> None:
        self.place = place
        self.pages = pages
        self.public_url = public_url
        self._cookie = cookie_name("owner", place.study.study_id)
        self._secure = secure
        self._making = threading.Lock()
        self._made: tuple[Any, dict[str, Any]] | None = None
        self._wrong = wrong

    def routes(self) -> list[tuple[str, str, Callable[..., Response]]]:
        """Returns method, path and page."""
        return [
            ("GET", "/owner", self.overview), ("POST", "/owner-login", self.login),
            ("GET", "/report", self.report), ("GET", "/report.json", self.report_json),
        ]  # fmt: skip

    def overview(self, request: Request) -> Response:
        """Shows how far the study is."""
        if not self._knows(request):
            return self.pages("login.html", status=401, problem="")
        base = (self.public_url or str(request.base_url)).rstrip("/")
        links = {"link": f"{base}/", "prolific": f"{base}/?{PROLIFIC}"}
        return self.pages(
            "owner.html", figures=self._figures(), coverage=self._coverage(), links=links, pace=PACE[pace(self.place)]
        )

    def login(self, request: Request, token: Annotated[str, Form(max_length=128)]) -> Response:
        """Opens the pages to whoever has the token; after many wrong ones, their address has to wait."""
        address = network_of(request)
        seconds = math.ceil(self._wrong.wait(address))
        if seconds:
            wait = f"{seconds} second{'s' * (seconds != 1)}"
            problem = f"Too many wrong tokens came from your network address: wait {wait}, then try again."
            page = self.pages("login.html", status=429, problem=problem)
            page.headers["Retry-After"] = str(seconds)
            return page
        if not is_owner(self.place.database, self.place.study.study_id, token):
            self._wrong.take(address)
            return self.pages("login.html", status=401, problem="That is not the token.")
        response = RedirectResponse("owner", 303)
        response.set_cookie(self._cookie, token, httponly=True, samesite="strict", secure=self._secure)
        return response

    def report(self, request: Request) -> Response:
        """Shows what the answers are worth."""
        if not self._knows(request):
            return RedirectResponse("owner", 303)
        from qdfeedback.study.analysis.page import page

        return HTMLResponse(page(self._report()), headers={"Content-Security-Policy": REPORT_POLICY})

    def report_json(self, request: Request) -> Response:
        """Gives the report's figures."""
        return JSONResponse(self._report()) if self._knows(request) else RedirectResponse("owner", 303)

    def _report(self) -> dict[str, Any]:
        """Returns the report, made anew where something has changed; one at a time, for it is much work."""
        from qdfeedback.study.analysis.report import report  # these load much, and few look at the report
        from qdfeedback.study.analysis.run_models import run_probabilities

        with self._making:
            last = self.place.database.value(sa.select(sa.func.max(judgments.c.id)))
            refits = self.place.folder / "refits.json"
            now = last, self._figures(), refits.stat().st_mtime_ns if refits.exists() else 0
            if self._made is None or self._made[0] != now:
                found = report(self.place.database, self.place.study, probabilities=run_probabilities(self.place))
                self._made = now, found
            return self._made[1]

    def _knows(self, request: Request) -> bool:
        return is_owner(self.place.database, self.place.study.study_id, request.cookies.get(self._cookie))

    def _figures(self) -> list[tuple[str, int]]:
        this = self.place.study.study_id
        stages = [row["stage"] for row in self.place.database.rows(sa.select(raters).where(raters.c.study_id == this))]
        skipped = (judgments.c.choice == "skip").label("skipped")
        query = sa.select(judgments.c.kind, skipped, sa.func.count().label("n")).where(
            judgments.c.study_id == this, judgments.c.annotator_kind == "person"
        )
        found = self.place.database.rows(query.group_by(judgments.c.kind, skipped))
        given = Counter({row["kind"]: row["n"] for row in found if not row["skipped"]})
        passed = sum(row["n"] for row in found if row["skipped"] and row["kind"] != "practice")
        asked = self.place.database.value(
            sa.select(sa.func.count()).select_from(trials).where(trials.c.study_id == this, trials.c.kind == "main")
        )
        figures = [
            (len(stages), "person", "people"), (stages.count("done"), "finished", "finished"),
            (stages.count("withdrawn"), "withdrawn", "withdrawn"), (asked, "question", "questions"),
            (given["main"], "answer", "answers"), (given["repeat"], "answer to a repeat", "answers to repeats"),
            (given["catch"], "answer to a catch trial", "answers to catch trials"),
            (given["surplus"], "answer too late to count", "answers too late to count"),
            (passed, "skipped", "skipped"),
        ]  # fmt: skip
        return [(one if n == 1 else many, n) for n, one, many in figures]

    def _coverage(self) -> dict[str, list[int]]:
        """Returns for each question how many trials have 0, 1, … answers."""
        study = self.place.study
        given = (
            sa.select(judgments.c.trial_id, sa.func.count().label("n"))
            .where(*counting(study.study_id))
            .group_by(judgments.c.trial_id)
            .subquery()
        )
        query = (
            sa.select(trials.c.question, sa.func.coalesce(given.c.n, 0).label("n"))
            .select_from(trials.outerjoin(given, given.c.trial_id == trials.c.trial_id))
            .where(trials.c.study_id == study.study_id, trials.c.kind == "main")
        )
        found = {question.name: [0] * (study.raters_per_trial + 1) for question in study.questions}
        for row in self.place.database.rows(query):
            if row["question"] in found:
                found[row["question"]][min(row["n"], study.raters_per_trial)] += 1
        return found
