"""Where a visitor comes from, and how they are known again: address parameters and the cookie."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from qdfeedback.feedback.study import Study
from qdfeedback.study.register import Platform
from qdfeedback.study.web.guard import SUBMIT

PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"  # what MTurk sends before a HIT is accepted
PROLIFIC = "https://app.prolific.com/submissions/complete?cc={code}"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
_ID = re.compile(r"[\w.:@+=-]{1,128}")


def platform_of(params: Mapping[str, str]) -> Platform | None:
    """Returns the platform that the address parameters are of, None where they cannot be right."""
    if "PROLIFIC_PID" in params:
        return checked(Platform("prolific", params["PROLIFIC_PID"], params.get("SESSION_ID", "")))
    if "workerId" in params:
        submit_to = params.get("turkSubmitTo", "").rstrip("/")
        return checked(Platform("mturk", params["workerId"], params.get("assignmentId", ""), submit_to))
    return Platform("link")


def checked(platform: Platform) -> Platform | None:
    """Returns a platform with nothing in it that cannot be, else None."""
    if platform.name == "link":
        return Platform("link")
    if platform.name not in ("prolific", "mturk") or not _ID.fullmatch(platform.person):
        return None
    if platform.session and not _ID.fullmatch(platform.session):
        return None
    return None if platform.submit_to and platform.submit_to not in SUBMIT else platform


def is_preview(params: Mapping[str, str]) -> bool:
    """True where MTurk shows the page to somebody who has not accepted the HIT."""
    return params.get("assignmentId") == PREVIEW


def completion_url(study: Study, platform: Platform, code: str) -> str:
    """Returns where a person goes at the end, "" where nowhere."""
    if study.completion_url:
        return study.completion_url.replace("{code}", code)
    return PROLIFIC.replace("{code}", code) if platform.name == "prolific" and study.completion_code else ""


def new_token() -> str:
    """Returns a cookie that nobody can guess."""
    return secrets.token_urlsafe(24)


def cookie_name(kind: str, study_id: str) -> str:
    """Returns the name of a study's cookie: studies on one host, which ports do not tell apart, must not share it."""
    return f"{kind}-{hashlib.sha256(study_id.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Cookies:
    """How the cookie is given and taken.

    Attributes:
        name: of the cookie.
        secure: by https only.
        embedded: within a page of another site, as MTurk does it.
    """

    name: str
    secure: bool
    embedded: bool

    def token(self, request: Request) -> str | None:
        """Returns the visitor's cookie, None where there is none that `new_token` could have made."""
        found = request.cookies.get(self.name, "")
        return found if _TOKEN.fullmatch(found) else None

    def give(self, response: Response, token: str) -> Response:
        """Returns the response with the cookie, which lasts for 60 days."""
        rules = "SameSite=None; Partitioned" if self.embedded else "SameSite=Lax"
        secure = "; Secure" if self.secure else ""
        response.headers.append(
            "Set-Cookie", f"{self.name}={token}; Path=/; Max-Age=5184000; HttpOnly; {rules}{secure}"
        )
        return response
