"""Connections to the study's page: so many at once, and to each so much time for a whole request.

uvicorn waits without end for a request that comes bit by bit, and takes connections from one address until the process
has no file left. So what it makes of a connection is wrapped here. Where there is no room for a new connection, the one
that has waited longest for its next request makes way, never one that is being answered. A proxy's connections are
everybody's: they count together with all, not by address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from qdfeedback.study.web.guard import network

BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nConnection: close\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 62\r\n\r\n"
    b"Too many people are here at this moment: try again in a minute"
)
LINGER = 1.0  # seconds: what is closed before its request was read loses what it was told


@dataclass(frozen=True)
class Room:
    """How many connections there may be, and how long one may keep the server waiting.

    Attributes:
        total: at once.
        per_address: of them from one network address, behind which many people may be.
        request: seconds for a whole request, from the first moment to the last byte of its form.
        reply: seconds in which some of a reply is taken.
    """

    total: int = 2_000
    per_address: int = 200
    request: float = 20.0
    reply: float = 30.0


class Connections:
    """The connections of a server; uvicorn calls it for each new one, as it would call its own protocol's class.

    Args:
        room: how many, and how long.
        is_proxy: tells a proxy's address.
    """

    def __init__(self, room: Room, is_proxy: Callable[[str], bool] = lambda _: False) -> None:
        self.room = room
        self._is_proxy = is_proxy
        self._all: dict[Connection, str] = {}  # → what counts as its address; "" = a proxy's

    def __call__(self, **made: Any) -> Connection:
        """Returns what handles a new connection."""
        return Connection(self, H11Protocol(**made))

    def __len__(self) -> int:
        """Returns how many are open."""
        return len(self._all)

    def admit(self, new: Connection, host: str) -> bool:
        """Takes a connection in, if need be in another's place; False where all others are being answered."""
        address = "" if self._is_proxy(host) else network(host)
        mine = [one for one, other in self._all.items() if address and other == address]
        full = mine if len(mine) >= self.room.per_address else self._all
        if len(mine) >= self.room.per_address or len(self._all) >= self.room.total:
            longest = _longest_waiting(full)
            if longest is None:
                return False
            longest.drop()
        self._all[new] = address
        return True

    def forget(self, gone: Connection) -> None:
        """Notes that a connection is over."""
        self._all.pop(gone, None)


class Connection(asyncio.Protocol):
    """One connection, with a limit on how long it may keep the server waiting.

    Args:
        others: all connections of the server.
        http: what does the work.
    """

    def __init__(self, others: Connections, http: H11Protocol) -> None:
        self._others = others
        self._http = http
        self._transport: asyncio.Transport | None = None
        self._refused = False
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._loop = http.loop
        self.since = self._loop.time()

    @property
    def waits(self) -> bool:
        """True between requests, and while one is not whole."""
        return self._http.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def drop(self) -> None:
        """Ends the connection at once, whatever is still to be sent."""
        self._others.forget(self)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection in, or says that there is no room."""
        assert isinstance(transport, asyncio.Transport), "HTTP comes over streams"
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._refused = not self._others.admit(self, str(peer[0]) if isinstance(peer, tuple) else "")
        if self._refused:
            transport.write(BUSY)
            transport.write_eof()
            self._timer = self._loop.call_later(LINGER, transport.abort)
            return
        transport.set_write_buffer_limits(0)  # so that all that is not taken is noticed
        self._http.connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Passes on what came; a request that is whole has kept its time."""
        if self._refused:
            return
        self._http.data_received(data)
        self._watch()

    def _watch(self) -> None:
        if not self.waits:
            self.since = self._loop.time()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif self._timer is None:
            self._timer = self._loop.call_later(self._others.room.request, self.drop)

    def pause_writing(self) -> None:
        """Notes that the visitor does not take what is sent."""
        if self._refused:
            return
        self._http.pause_writing()
        self._look_again()

    def resume_writing(self) -> None:
        """Notes that they do."""
        if self._refused:
            return
        self._http.resume_writing()
        if self._writing is not None:
            self._writing.cancel()

    def _look_again(self) -> None:
        assert self._transport is not None, "something was sent"
        before = self._transport.get_write_buffer_size()
        self._writing = self._loop.call_later(self._others.room.reply, self._is_taken, self._transport, before)

    def _is_taken(self, transport: asyncio.Transport, before: int) -> None:
        if transport.get_write_buffer_size() < before:
            self._look_again()
        else:
            self.drop()

    def eof_received(self) -> bool | None:
        """Passes on that nothing more will come."""
        if not self._refused:
            self._http.eof_received()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._others.forget(self)
        for timer in (self._timer, self._writing):
            if timer is not None:
                timer.cancel()
        if not self._refused:
            self._http.connection_lost(exc)


def _longest_waiting(connections: Iterable[Connection]) -> Connection | None:
    return min((one for one in connections if one.waits), key=lambda one: one.since, default=None)
