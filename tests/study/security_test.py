"""What a hostile visitor tries, or hostile content."""

from __future__ import annotations

import ast
import hashlib
import hmac
import json
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
import sqlalchemy as sa
import uvicorn

import qdfeedback
from qdfeedback.feedback.database import Database
from qdfeedback.feedback.tables import identities, meta, raters
from qdfeedback.study import secrets
from qdfeedback.study.erase import delete_rater
from qdfeedback.study.guard import SUBMIT, Buckets, Limits
from qdfeedback.study.place import Place, open_study
from qdfeedback.study.serve import serve
from qdfeedback.study.settings import Question, Study, read_study
from tests.study import small_study as small
from tests.study.plain import ALIKE, plain_study
from tests.study.visitor import AMPLE, KEY, Visitor, forms, site

PID = "5f8e7d6c5b4a39281706f5e4"
SQL = ("' OR '1'='1", "x'; DROP TABLE raters; --", '" OR 1=1 --', "1 UNION SELECT token_hash FROM owners", "%' OR 1=1#")
POLICY = {"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "base-uri": "'none'"}
SAID = re.compile(r"Traceback|Error|\.py\b|/home/|sqlite|SELECT|INSERT|judgments\.db|/tmp|secret", re.I)
FORMS = {
    "consent": {"agree": "yes"}, "warning": {"see": "all"}, "answer": {"choice": "left"}, "finish": {},
    "withdraw": {"answers": "delete"},
}  # fmt: skip


def raw(app: Any, path: str, *headers: tuple[str, bytes], body: bytes = b"", **more: Any) -> tuple[int, str, bytes]:
    """Asks without a client that tidies the request up; returns status, headers and body."""
    given = [(name.encode(), value) for name, value in ((("host", b"testserver"), *headers))]
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path, "headers": given,
             "raw_path": path.encode(), "query_string": b"", "server": ("testserver", 80), "client": ("::1", 1)}  # fmt: skip
    received = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        return received.pop() if received else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    anyio.run(app, scope | more, receive, send)
    return sent[0]["status"], str(httpx.Headers(sent[0]["headers"])), b"".join(m.get("body", b"") for m in sent)


def stored(place: Place) -> dict[str, list[Any]]:
    """All that the database holds."""
    return {table.name: [tuple(row.values()) for row in place.database.rows(sa.select(table))] for table in meta.sorted_tables}


def opened(tmp_path: Path, *, limits: Limits = AMPLE, public_url: str = "", **rules: Any) -> tuple[Place, Any]:
    plain_study(tmp_path / "s", **rules)
    return site(tmp_path / "s", limits=limits, public_url=public_url)
