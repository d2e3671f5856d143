"""What a visitor is told when something goes wrong: what it is and what to do, never how the server works."""

from __future__ import annotations

import logging
from collections.abc import Callable

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from qdfeedback.sqlite_files import StoreError
from qdfeedback.study.web.pages import Pages

AGAIN = ("task", "Go on")


class AppError(Exception):
    """Says to a visitor what is wrong, and what to do."""

    def __init__(self, status: int, heading: str, text: str, link: tuple[str, str] | None = None) -> None:
        super().__init__(text)
        self.page = {"heading": heading, "text": text, "link": link}
        self.status = status


def message(pages: Pages, status: int, heading: str, text: str, link: tuple[str, str] | None = None) -> Response:
    """Returns a page with a heading, a sentence, and perhaps a way on."""
    return pages("message.html", status=status, heading=heading, text=text, link=link)


def explainer(pages: Pages) -> Callable[[Request, Exception], Response]:
    """Returns what makes a page of an error."""

    def explain(_: Request, error: Exception) -> Response:
        if isinstance(error, AppError):
            return pages("message.html", status=error.status, **error.page)
        if isinstance(error, RequestValidationError):
            return message(
                pages, 400, "That did not work", "What was sent is not complete, or not as the page sends it.", AGAIN
            )
        if isinstance(error, HTTPException) and error.status_code == 413:
            return message(pages, 413, "Too much", "This is too much for one form.")
        if isinstance(error, HTTPException):
            heading = "There is no such page" if error.status_code == 404 else "That did not work"
            return message(pages, error.status_code, heading, "Please go back to where you were.", AGAIN)
        if isinstance(error, StoreError):
            logging.getLogger(__name__).error("%s", error)
            text = "Your last answer may not have been stored. Please try again later, or tell who invited you."
            return message(pages, 503, "The study is closed for the moment", text, ("task", "Try again"))
        logging.getLogger(__name__).error("a page could not be made", exc_info=error)
        text = (
            "Something went wrong on our side: what you sent just now may not be stored. Please try again in a moment."
        )
        status = 503 if isinstance(error, OSError) else 500
        return message(pages, status, "That did not work", text, ("task", "Try again"))

    return explain
