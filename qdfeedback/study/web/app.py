"""The study's web pages: consent, practice, trials, thanks. Each is plain HTML that works without scripts.

    GET /            who comes, and from where → the consent page, or on to where they were
    POST /consent    takes a person in
    GET /task        the next trial, whatever happened before
    POST /answer     stores an answer, then → GET /task
    GET /shown/NAME  a picture

An answer is committed before the page moves on. Whoever comes again (a reload, the back button, a second tab, a retry
after a lost reply) is led to the first trial that they have not answered.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Form, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from qdfeedback.shown import MEDIA, is_name
from qdfeedback.study.desk import Desk, NoAnswerError, Shown
from qdfeedback.study.erase import delete_rater
from qdfeedback.study.place import Place, pace
from qdfeedback.study.register import (
    ENDED,
    CookieTakenError,
    Platform,
    Rater,
    Register,
    StudyFullError,
)
from qdfeedback.study.sessions import NoSessionError
from qdfeedback.study.web import visit
from qdfeedback.study.web.closed import TAKEN, closed
from qdfeedback.study.web.errors import AppError, explainer, message
from qdfeedback.study.web.guard import Buckets, Guard, Limits
from qdfeedback.study.web.owner import Owner
from qdfeedback.study.web.pages import Pages
from qdfeedback.study.web.still import still
from qdfeedback.study.web.view import expected_choice, keys_of, verdict, view

STATIC = Path(__file__).parent / "static"
WAIT, WAIT_LONGER = 2, 10  # seconds between two looks of who waits for questions
LONGEST_MS = 86_400_000.0
LIMITS = Limits()

Text = Annotated[str, Form(max_length=512)]


def create_app(
    place: Place,
    key: bytes,
    *,
    public_url: str = "",
    limits: Limits = LIMITS,
    clock: Callable[[], float] = time.time,
) -> Guard:
    """Returns the pages of a study as an ASGI application.

    Args:
        place: the study.
        key: secret, the same for all processes that serve the study.
        public_url: under which people reach it; with https, cookies are sent by https only.
        limits: how much a visitor may ask.
        clock: seconds since 1970.
    """
    secure = public_url.lower().startswith("https://")
    name = visit.cookie_name("rater", place.study.study_id)
    register = Register(place.database, place.study, key, clock=clock)
    site = Site(place, Desk(register), visit.Cookies(name, secure, place.study.mturk and secure))
    wrong = Buckets(limits.logins / 60, limits.logins, clock)
    owner = Owner(place, site.pages, public_url, secure=secure, wrong=wrong)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for method, path, page in (*site.routes(), *owner.routes()):
        app.add_api_route(path, page, methods=[method], response_model=None)
    app.mount("/static", StaticFiles(directory=STATIC))
    explain = explainer(site.pages)
    for error in (AppError, HTTPException, RequestValidationError, OSError, Exception):
        app.add_exception_handler(error, explain)
    return Guard(app, limits=limits, cookie=name, embedded=place.study.mturk, secure=secure)


class Site:
    """The pages for people."""

    def __init__(self, place: Place, desk: Desk, cookies: visit.Cookies) -> None:
        self.place = place
        self.desk = desk
        self.register = desk.register
        self.study = desk.study
        self.cookies = cookies
        self.pages = Pages(self.study)

    def routes(self) -> list[tuple[str, str, Callable[..., Response]]]:
        """Returns method, path and page."""
        return [
            ("GET", "/", self.home), ("POST", "/consent", self.consent),
            ("GET", "/warning", self.warning), ("POST", "/warning", self.warned),
            ("GET", "/instructions", self.instructions), ("GET", "/task", self.task), ("POST", "/answer", self.answer),
            ("GET", "/feedback", self.feedback), ("GET", "/stop", self.stop), ("POST", "/finish", self.finish),
            ("POST", "/withdraw", self.withdraw), ("GET", "/done", self.done), ("GET", "/shown/{name}", self.shown),
            ("GET", "/still/{name}", self.still),
        ]  # fmt: skip

    # --- coming

    def home(self, request: Request) -> Response:
        """Asks for agreement, or leads on to where the person was."""
        params = request.query_params
        if visit.is_preview(params):
            return message(self.pages, 200, "A preview", f"{self.study.title}. Accept the HIT to take part.")
        platform = self._platform(visit.platform_of(params))
        token = self.cookies.token(request) or visit.new_token()
        rater = self.register.rater(token)
        other = rater and platform.person and rater.rater_id != self.register.pseudonym(platform, token)
        if other or (params.get("new") and rater and rater.stage in ENDED):
            token, rater = visit.new_token(), None
        if platform.person:
            try:
                rater = self.register.returning(platform, token)
            except (CookieTakenError, NoSessionError) as error:
                raise self._refusal(error) from error
        if rater is not None:
            return self.cookies.give(self._to("task"), token)
        page = self.pages(
            "consent.html",
            token=self.register.form_token(token),
            platform=platform,
            closed=closed(self.place, self.desk),
            trials=self.desk.longest(),
            practice=self.desk.practice_left(),
        )
        return self.cookies.give(page, token)

    def consent(
        self,
        request: Request,
        token: Text,
        platform: Text,
        agree: Text = "",
        person: Text = "",
        session: Text = "",
        submit_to: Text = "",
    ) -> Response:
        """Takes a person in who has agreed."""
        cookie = self._cookie(request, token)
        if agree != "yes":
            raise AppError(400, "Please tick the box", "Nobody takes part without agreeing.", ("./", "Go back"))
        who = self._platform(visit.checked(Platform(platform, person, session, submit_to)))
        try:
            rater = who.person and self.register.returning(who, cookie)
            if not rater:
                why = closed(self.place, self.desk) if self.register.rater(cookie) is None else None
                if why is not None:
                    raise AppError(409, why.heading, why.text)
                rater = self.register.join(who, cookie)
        except StudyFullError as error:  # in this moment
            raise AppError(409, TAKEN.heading, TAKEN.text) from error
        except (CookieTakenError, NoSessionError) as error:
            raise self._refusal(error) from error
        return self._to("warning" if rater.stage == "warning" else "instructions")

    def warning(self, request: Request) -> Response:
        """Says what may be seen, before any of it is."""
        rater = self._rater(request)
        if rater.stage != "warning":
            return self._to("task")
        return self._page(request, "warning.html", marked=self.desk.has_marked())

    def warned(self, request: Request, token: Text, see: Text) -> Response:
        """Notes what the person wants to see."""
        self._cookie(request, token)
        rater = self._rater(request)
        if see not in ("all", "filtered"):
            raise AppError(400, "Please choose", "There is no such choice.", ("warning", "Go back"))
        if rater.stage == "warning":
            self.desk.allotment.hide(self.register.warned(rater, filtered=see == "filtered"))
        return self._to("instructions")

    def instructions(self, request: Request) -> Response:
        """Tells what is asked, and how to answer."""
        keys, practice = keys_of(self.study), self.desk.practice_left(self._rater(request))
        return self._page(request, "instructions.html", keys=keys, practice=practice)

    # --- trials

    def task(self, request: Request) -> Response:
        """Shows the first trial that the person has not answered."""
        rater = self._rater(request)
        if rater.stage == "warning":
            return self._to("warning")
        found = self.desk.next(rater)
        if found == "done":
            return self._to("done")
        if found == "waiting":
            done, search = self.desk.progress(rater)[0], pace(self.place)
            if done and self.study.live and search == "over":
                self.register.enter(rater, "done")
                return self._to("done")
            seconds = WAIT if search == "at work" else WAIT_LONGER
            return self._page(
                request,
                "waiting.html",
                seconds=seconds,
                done=done,
                search=search,
                looks=search in ("at work", "paused") or self.desk.allotment.can_come_free(rater),
                filtered=rater.filtered,
                platform=rater.platform,
            )
        return self._trial(request, rater, found)

    def answer(
        self, request: Request, token: Text, position: Annotated[int, Form()], trial: Text, choice: Text, ms: Text = ""
    ) -> Response:
        """Stores an answer, then leads on."""
        self._cookie(request, token)
        rater = self._rater(request)
        shown = self.desk.shown(rater, position) if abs(position) < 1_000_000 else None
        if shown is None or self.register.seal(shown.trial_id) != trial or rater.stage not in ("practice", "trials"):
            return self._to("task")  # an old page: the trial went to somebody else meanwhile, or the study is over
        try:
            self.desk.answer(rater, shown, choice, response_ms=_milliseconds(ms))
        except NoAnswerError as error:
            text = "Please choose one of the answers that are shown."
            raise AppError(400, "That is no answer to this question", text, ("task", "Go on")) from error
        return self._to(f"feedback?position={position}" if position < 0 else "task")

    def feedback(self, request: Request, position: int) -> Response:
        """Shows a practice trial with what was expected."""
        rater = self._rater(request)
        shown = self.desk.shown(rater, position) if -1_000_000 < position < 0 else None
        given = None if shown is None else self.desk.given(rater, shown)
        if shown is None or given is None:
            return self._to("task")
        return self._trial(request, rater, shown, given=given)

    # --- going

    def stop(self, request: Request) -> Response:
        """Says how to pause, and how to leave."""
        rater = self._rater(request)
        if rater.stage in ENDED:
            return self._to("done")
        return self._page(
            request,
            "stop.html",
            rater=rater,
            proven=self.register.is_proven(rater),
            done=self.desk.progress(rater)[0] if rater.stage == "trials" else 0,
            answered=self.desk.has_answered(rater),
        )

    def finish(self, request: Request, token: Text) -> Response:
        """Ends a person's part of a live study, which has no last question."""
        self._cookie(request, token)
        rater = self._rater(request)
        if not self.study.live or rater.stage not in ("practice", "trials"):
            return self._to("done")
        if not self.desk.progress(rater)[0]:
            raise AppError(409, "There is no answer of yours yet", "Please answer a question first.", ("task", "Go on"))
        self.register.enter(rater, "done")
        return self._to("done")

    def withdraw(self, request: Request, token: Text, answers: Text) -> Response:
        """Lets a person leave, with or without their answers."""
        self._cookie(request, token)
        rater = self._rater(request)
        if answers == "delete":
            if not self.register.is_proven(rater):
                text = "Some of the answers were given with another link. Please ask those who make the study."
                raise AppError(403, "These answers cannot be deleted from here", text, ("stop", "Go back"))
            gone = delete_rater(self.place.folder, self.place.database, self.study, rater.rater_id)
            text = "All your answers are deleted." if gone.judgments else "Nothing of you is stored."
            back = "" if rater.platform == "link" else " Please return the task on the platform that sent you here."
            return message(self.pages, 200, "You have left the study", f"{text}{back} Thank you for your time.")
        if rater.stage != "done":
            self.register.leave(rater)
        return self._to("done")

    def done(self, request: Request) -> Response:
        """Thanks, with the code for the platform that the person came from."""
        rater = self._rater(request)
        if rater.stage not in ENDED:
            return self._to("task")
        came, code = self.register.identity(rater), self.register.completion_code(rater)
        return self._page(
            request,
            "done.html",
            rater=rater,
            code=code,
            url=visit.completion_url(self.study, came, code),
            session=came.session,
            submit_to=came.submit_to,
        )

    # --- what is looked at

    def shown(self, name: str) -> Response:
        """Gives what is judged, by the hash of its content, from the study's own folder alone."""
        path = self._file(name)
        return FileResponse(path, media_type=MEDIA[path.suffix], headers={"Cache-Control": "private, max-age=604800"})

    def still(self, name: str) -> Response:
        """Gives the last picture of an animation, for those who want nothing to move."""
        path = self._file(name)
        if path.suffix != ".apng":
            raise HTTPException(404)
        try:
            return Response(still(path), media_type="image/png")
        except ValueError as error:
            raise HTTPException(404) from error

    # --- within

    def _file(self, name: str) -> Path:
        if not is_name(name):
            raise HTTPException(404)
        try:
            return self.place.shown.path(name)
        except ValueError as error:
            raise HTTPException(404) from error

    def _trial(self, request: Request, rater: Rater, shown: Shown, *, given: str | None = None) -> Response:
        seen = view(self.place, self.desk, shown)
        done, total = self.desk.progress(rater)
        expected = expected_choice(seen)
        feedback, told = (None, "") if given is None else verdict(seen, given)
        return self._page(
            request,
            "trial.html",
            view=seen,
            seal=self.register.seal(shown.trial_id),
            done=done,
            total=total,
            feedback=feedback,
            told=told,
            expected=expected,
        )

    def _refusal(self, error: Exception) -> AppError:
        if isinstance(error, NoSessionError):
            text = "Please open the study from the platform that you came from: the link has to be as it is there."
            return AppError(403, "A part of the link is missing", text)
        return AppError(409, "Please begin again", "This form was somebody else's.", ("./", "Begin"))

    def _platform(self, platform: Platform | None) -> Platform:
        if platform is None:
            raise AppError(400, "This link is not right", "Please open the link again as you were given it.")
        return platform

    def _cookie(self, request: Request, form_token: str) -> str:
        """Returns the visitor's cookie if the form was made for it."""
        cookie = self.cookies.token(request)
        if cookie is None:
            text = "The page needs a cookie to know you again, and your browser sent none."
            raise AppError(403, "Cookies are needed", text, ("./", "Begin again"))
        if not hmac.compare_digest(self.register.form_token(cookie).encode(), form_token.encode()):
            raise AppError(403, "This page is out of date", "Please load it again.", ("./", "Load again"))
        return cookie

    def _rater(self, request: Request) -> Rater:
        rater = self.register.rater(self.cookies.token(request))
        if rater is None:
            text = "Open the link that you were given: it leads to where you were, or to the beginning."
            raise AppError(401, "We do not know you in this browser", text, ("./", "Begin"))
        return rater

    def _page(self, request: Request, template: str, **values: Any) -> Response:
        return self.pages(template, token=self.register.form_token(self.cookies.token(request) or ""), **values)

    def _to(self, path: str) -> Response:
        return RedirectResponse(path, 303)


def _milliseconds(text: str) -> float | None:
    """Returns a response time that can be, None for anything else."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return float(text) if float(text) <= LONGEST_MS else None
