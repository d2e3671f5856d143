"""Connections that keep the server waiting lock nobody out."""

from __future__ import annotations

import asyncio
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from qdfeedback.study.place import open_study
from qdfeedback.study.web.connections import Connections, Room
from qdfeedback.study.web.serve import open_files, serve, server_of
from tests.study import visitor
from tests.study.plain import plain_study
from tests.study.served import served

HALF = b"POST /consent HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n"
NO_PROXY = ("192.0.2.1",)  # nobody here
AMPLE = Room(request=60.0, reply=60.0)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers after the whole request; at /slow later, at /large with much."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/slow":
        await asyncio.sleep(0.6)
    body = b"x" * (30_000_000 if scope["path"] == "/large" else 2)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Running:
    """A server in a thread of this process, and what is open to it."""

    def __init__(self, app: Any, room: Room, proxies: tuple[str, ...]) -> None:
        self.server = server_of(app, room, proxies)
        self.connections: Connections = self.server.config.http
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.stack = ExitStack()

    def open(self, sent: bytes = HALF, address: str = "127.0.0.1") -> socket.socket:
        connected = socket.create_connection(("127.0.0.1", self.port), 10, source_address=(address, 0))
        connected.sendall(sent)
        return self.stack.enter_context(connected)

    def get(self, path: str = "/", address: str = "127.0.0.1", **headers: str) -> httpx.Response:
        transport = httpx.HTTPTransport(local_address=address)
        with httpx.Client(transport=transport, timeout=10, headers=headers) as client:
            return client.get(f"http://127.0.0.1:{self.port}{path}")


@contextmanager
def running(room: Room, proxies: tuple[str, ...] = NO_PROXY, served: Any = app) -> Iterator[Running]:
    found = Running(served, room, proxies)
    thread = threading.Thread(target=found.server.run, kwargs={"sockets": [found.listening]})
    thread.start()
    try:
        with found.stack:
            yield found
    finally:
        found.server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


def is_open(connected: socket.socket, seconds: float = 0.0) -> bool:
    """False where the server has ended a connection, or does so within some seconds."""
    end = time.monotonic() + seconds
    while select.select([connected], [], [], max(end - time.monotonic(), 0.0))[0]:
        try:
            if not connected.recv(65_536):
                return False
        except ConnectionError:
            return False
    return True


def test_half_sent_requests_lock_nobody_out() -> None:
    with running(replace(AMPLE, total=10)) as server:
        half = [server.open() for _ in range(40)]
        assert server.get().status_code == 200
        assert len(server.connections) <= 10
        assert not is_open(half[0], 5), "the first of them made way"
        assert is_open(half[-1])


def test_one_address_has_its_share_of_the_connections() -> None:
    with running(replace(AMPLE, total=20, per_address=5)) as server:
        mine = server.open(address="127.0.0.2")
        theirs = [server.open() for _ in range(30)]
        assert not is_open(theirs[24], 5)
        assert [is_open(one) for one in theirs[-5:]] == [True] * 5
        assert is_open(mine), "another address keeps what it has"
        assert server.get().status_code == server.get(address="127.0.0.2").status_code == 200


def test_addresses_of_one_network_have_one_share() -> None:
    connections = Connections(Room(per_address=2))
    made = [_Idle(connections) for _ in range(5)]
    for i, one in enumerate(made):
        assert connections.admit(one, f"2001:db8::{i}")
    assert [one.dropped for one in made] == [True, True, True, False, False]
    assert connections.admit(_Idle(connections), "2001:db8:0:1::1")
    assert not made[3].dropped


class _Idle:
    waits, since, dropped = True, 0.0, False

    def __init__(self, connections: Connections) -> None:
        self.connections = connections

    def drop(self) -> None:
        self.dropped = True
        self.connections.forget(self)


def test_all_behind_a_proxy_are_not_counted_as_one() -> None:
    with running(replace(AMPLE, per_address=3), ("127.0.0.1",)) as server:
        half = [server.open() for _ in range(12)]
        for one in half:
            one.sendall(b"\r\n0123456789")
            assert one.recv(15) == b"HTTP/1.1 200 OK"


def told(server: Running, *people: str) -> list[int]:
    return [server.get("/nothing", **{"X-Forwarded-For": person}).status_code for person in people]


def test_a_proxy_that_is_known_says_who_asks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain_study(tmp_path / "s")
    limits = replace(visitor.AMPLE, per_host=1e-9, host_burst=2)
    app = visitor.site(tmp_path / "s", limits=limits)[1]
    people = ("192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.9, 192.0.2.7", "192.0.2.8")
    with running(AMPLE, ("127.0.0.0/8",), app) as server:
        assert told(server, *people) == [404, 404, 429, 404, 429, 404], "whoever it names last, not whom they name"
    assert caplog.text == ""
    app = visitor.site(tmp_path / "s", limits=limits)[1]
    with running(AMPLE, NO_PROXY, app) as server:
        assert told(server, *people) == [404, 404, 429, 429, 429, 429], "of another nothing is believed"
    assert caplog.text.count("name its address with --proxy") == 1
    assert "192.0.2" not in caplog.text


@pytest.mark.parametrize("proxy", ["", "proxy.example", "10.0.0.1/8", "10.0.0.0/99", "10.0.0.1:80"])
def test_what_is_no_address_of_a_proxy_is_refused(tmp_path: Path, proxy: str) -> None:
    plain_study(tmp_path / "s")
    with pytest.raises(ValueError, match="a proxy must be an address or a network"):
        serve(open_study(tmp_path / "s"), host="127.0.0.1", port=0, proxies=("10.0.0.1", proxy))


@pytest.mark.parametrize("sent", [b"", b"GET / HT", HALF, HALF + b"\r\n01234"], ids=["none", "line", "head", "body"])
@pytest.mark.parametrize("drips", [False, True])
def test_a_request_has_so_much_time(sent: bytes, drips: bool) -> None:
    with running(Room(request=0.3)) as server:
        slow = server.open(sent)
        if drips and sent:  # a byte now and then is no whole request
            for _ in range(4):
                time.sleep(0.05)
                slow.sendall(b"x" if sent.endswith(b"4") else b"G")
        assert not is_open(slow, 10)
        assert len(server.connections) == 0


def test_the_time_for_a_request_is_not_the_servers_own() -> None:
    with running(Room(request=0.3)) as server:
        assert server.get("/slow").status_code == 200
        with httpx.Client() as client:
            for _ in range(4):  # each request of a connection has its own time
                assert client.get(f"http://127.0.0.1:{server.port}/").status_code == 200
                time.sleep(0.15)
        again = server.open(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert again.recv(15) == b"HTTP/1.1 200 OK"
        again.sendall(b"G")
        assert not is_open(again, 10), "and so has the second one"


def test_a_reply_that_nobody_takes_ends() -> None:
    with running(Room(reply=0.3)) as server:
        server.open(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        end = time.monotonic() + 10
        while len(server.connections) and time.monotonic() < end:
            time.sleep(0.05)
        assert len(server.connections) == 0


def test_who_takes_a_reply_slowly_gets_it() -> None:
    with running(Room(reply=0.3)) as server:
        slow = server.open(b"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        read = 0
        while got := len(slow.recv(4_000_000)):
            read += got
            time.sleep(0.05)
        assert read > 30_000_000


def test_what_is_being_answered_does_not_make_way() -> None:
    with running(replace(AMPLE, total=2)) as server:
        busy = [server.open(b"GET /slow HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n") for _ in range(2)]
        time.sleep(0.1)
        refused = server.open(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        told = b""
        while got := refused.recv(1_000):
            told += got
        head, _, text = told.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 10" in head
        assert head.endswith(f"Content-Length: {len(text)}".encode())
        assert [one.recv(15) for one in busy] == [b"HTTP/1.1 200 OK"] * 2


def test_so_many_connections_as_files_can_be_open_for() -> None:
    code = (
        "import resource; from qdfeedback.study.web.connections import Room\n"
        "from qdfeedback.study.web.serve import open_files, server_of\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))\n"
        "server = server_of(None, Room())\n"
        "print(server.config.http.room.total, server.config.http.room.per_address, open_files(200), open_files(9000))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["150", "150", "300", "300"]
    assert open_files(1) == resource.getrlimit(resource.RLIMIT_NOFILE)[0], "never fewer"


def test_eleven_hundred_half_sent_requests_before_the_study(tmp_path: Path) -> None:
    if open_files(4_000) < 1_500:
        pytest.skip("this process may not open so many connections")
    plain_study(tmp_path / "s", title="Pictures")
    with served(tmp_path / "s") as address, ExitStack() as stack:
        url = httpx.URL(address)
        for _ in range(1_100):
            stack.enter_context(socket.create_connection((url.host, url.port), 10)).sendall(HALF)
        page = httpx.get(address, timeout=20)
        assert page.status_code == 200
        assert "Pictures" in page.text
