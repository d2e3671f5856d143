"""What stands before every page: limits on sizes and rates, headers, and errors that tell a visitor nothing."""

from __future__ import annotations

import ipaddress
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MTURK = ("https://worker.mturk.com", "https://workersandbox.mturk.com")
SUBMIT = ("https://www.mturk.com", "https://workersandbox.mturk.com")


@dataclass(frozen=True)
class Limits:
    """How much a visitor may ask of the server.

    Attributes:
        body: bytes of a form.
        address: bytes of an address with its parameters.
        per_person: pages and forms a second of one cookie, over a longer time.
        person_burst: and how many at once.
        per_host: requests a second of one network address, behind which many people may be.
        host_burst: and how many at once.
        logins: wrong tokens for the owner's pages in a minute, of one network address.
    """

    body: int = 16_384
    address: int = 4_096
    per_person: float = 20.0
    person_burst: int = 100
    per_host: float = 400.0
    host_burst: int = 4_000
    logins: int = 10


@dataclass
class Buckets:
    """Counts requests by key; what is over the limit is refused.

    Attributes:
        rate: a second.
        burst: at once.
        clock: seconds.
    """

    rate: float
    burst: float
    clock: Callable[[], float] = time.monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, key: str) -> bool:
        """True where the request is within the limit."""
        now, left = self.clock(), self._now(key)
        if len(self._left) > 20_000:  # full ones say nothing
            full = self.burst / self.rate
            self._left = {name: entry for name, entry in self._left.items() if now - entry[1] < full}
        self._left[key] = (left - 1 if left >= 1 else left, now)
        return left >= 1

    def wait(self, key: str) -> float:
        """Returns the seconds until a request is within the limit again, 0 where one is now."""
        return max(1 - self._now(key), 0.0) / self.rate

    def _now(self, key: str) -> float:
        now = self.clock()
        left, since = self._left.get(key, (self.burst, now))
        return min(self.burst, left + max(now - since, 0.0) * self.rate)


class Guard:
    """Middleware around the study's pages.

    Args:
        app: what is guarded.
        limits: how much a visitor may ask.
        cookie: name of the one by which people are known.
        embedded: MTurk shows the pages within its own.
        secure: the pages are reached by https only.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, cookie: str, embedded: bool, secure: bool) -> None:
        self.app = app
        self.limits = limits
        self.cookie = cookie
        self.people = Buckets(limits.per_person, limits.person_burst)
        self.hosts = Buckets(limits.per_host, limits.host_burst)
        self.headers = headers(embedded=embedded, secure=secure)
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or refuses to."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        refused = self._refused(request)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                if request.scope["path"].startswith("/static/") and message["status"] in (200, 304):
                    found.setdefault("Cache-Control", "public, max-age=600")
                for name, value in self.headers.items():
                    found.setdefault(name, value)
            await send(message)

        if refused is not None:
            await refused(scope, receive, with_headers)
            return
        await self.app(scope, _limited(receive, self.limits.body), with_headers)

    def _refused(self, request: Request) -> PlainTextResponse | None:
        if len(request.scope.get("query_string", b"")) + len(request.scope["path"]) > self.limits.address:
            return PlainTextResponse("This address is too long.", 414)
        length = request.headers.get("content-length", "0")
        if not re.fullmatch("[0-9]{1,9}", length) or int(length) > self.limits.body:
            return PlainTextResponse("This is too much for one form.", 413)
        self._warn_of_a_proxy(request)
        host = network_of(request)
        cookie = request.cookies.get(self.cookie, "")
        is_page = not request.scope["path"].startswith(("/static/", "/shown/", "/still/"))
        if not self.hosts.take(host) or (is_page and cookie and not self.people.take(cookie[:64])):
            return PlainTextResponse("Too many requests: wait a little and try again.", 429, {"Retry-After": "5"})
        return None

    def _warn_of_a_proxy(self, request: Request) -> None:
        """Says once that people are counted together because the proxy before them is not believed."""
        said = request.headers.get("x-forwarded-for")
        if said and not self._warned and request.client and request.client.host not in said:
            self._warned = True
            logging.getLogger(__name__).warning(
                "requests come through a proxy that is not known, so that all behind it count as one address: "
                "name its address with --proxy"
            )


def network_of(request: Request) -> str:
    """Returns what counts as the address of who asks."""
    return network(request.client.host if request.client else "")


def network(host: str) -> str:
    """Returns what counts as one address: of IPv6, whose users have 2^64 and more, the first half."""
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return str(address.ipv4_mapped or ipaddress.IPv6Address(int(address) >> 64 << 64))


class TooLargeError(HTTPException):
    """A body without a stated length turned out too long."""

    def __init__(self) -> None:
        super().__init__(413)


def _limited(receive: Receive, limit: int) -> Receive:
    """Returns a receiver that stops at so many bytes."""
    read = 0

    async def limited() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > limit:
            raise TooLargeError
        return message

    return limited


def headers(*, embedded: bool, secure: bool) -> dict[str, str]:
    """Returns what every answer carries."""
    forms, frames = ("'self'", *SUBMIT) if embedded else ("'self'",), MTURK if embedded else ("'none'",)
    policy = [
        "default-src 'none'", "img-src 'self'", "style-src 'self'", "script-src 'self'", "base-uri 'none'",
        f"form-action {' '.join(forms)}", f"frame-ancestors {' '.join(frames)}",
    ]  # fmt: skip
    found = {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
        "Cache-Control": "no-store",
    }
    if not embedded:
        found |= {"X-Frame-Options": "DENY", "Cross-Origin-Opener-Policy": "same-origin"}
    if secure:
        found["Strict-Transport-Security"] = "max-age=31536000"
    return found
