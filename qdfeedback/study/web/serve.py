"""Serving a study's pages."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from qdfeedback.study.place import Place
from qdfeedback.study.secrets import keep_key, new_token, study_key
from qdfeedback.study.web.app import create_app
from qdfeedback.study.web.connections import Connections, Room

if TYPE_CHECKING:
    import asyncio


def serve(
    place: Place,
    *,
    host: str,
    port: int,
    public_url: str = "",
    fresh_token: bool = False,
    fresh_key: bool = False,
    proxies: Sequence[str] = (),
) -> None:
    """Serves a study until it is stopped; prints where, and at the first start the owner's token.

    Args:
        place: the study.
        host: address to listen on.
        port: 0 = any that is free.
        public_url: under which people reach it, through a proxy with https.
        fresh_token: makes a new token for the owner's pages.
        fresh_key: goes on although people are known under another key.
        proxies: addresses or networks whose word on where a request comes from is taken; without any, those that
            FORWARDED_ALLOW_IPS names in the environment, or this machine.

    Raises:
        ValueError: The port is taken, the public address or a proxy's is none, the key in the environment is too short,
            or it is not the one under which people are known.
    """
    for proxy in proxies:
        _check_network(proxy)
    if public_url and not public_url.lower().startswith(("https://", "http://")):
        raise ValueError(f"the public address must begin with https:// or http://, got {public_url!r}")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    key, public_url = study_key(place.study.study_id), public_url.rstrip("/")
    keep_key(place.database, place.study.study_id, key, replace=fresh_key)
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot listen on {host}:{port}: {reason}; choose another with --port") from error
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    own = f"http://{name}:{listening.getsockname()[1]}"
    print(f"{place.study.title}: people answer at {public_url or own}/", flush=True)  # noqa: T201
    token = new_token(place.database, place.study.study_id, replace=fresh_token)
    if token:
        print(f"your own pages: {public_url or own}/owner, token {token} (it is shown only now)", flush=True)  # noqa: T201
    else:
        print(f"your own pages: {public_url or own}/owner (lost the token? --new-token)", flush=True)  # noqa: T201
    app = create_app(place, key, public_url=public_url)
    server_of(app, Room(), proxies).run(sockets=[listening])
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job in the background: no exception says so
        print("stopped", file=sys.stderr)  # noqa: T201


def server_of(app: Any, room: Room, proxies: Sequence[str] = ()) -> uvicorn.Server:
    """Returns the server of an ASGI application, before it is started.

    Args:
        app: what it serves.
        room: how many connections it takes, fewer where few files may be open, and how long it waits for them.
        proxies: as `serve` takes them.
    """
    total = min(room.total, open_files(4 * room.total) // 2)  # the rest for pictures, the database, and who comes next
    room = replace(room, total=total, per_address=min(room.per_address, total))
    config = uvicorn.Config(
        app,
        access_log=False,  # addresses hold people's platform ids
        log_level="warning",
        server_header=False,
        ws="none",
        backlog=max(total, 100),
        timeout_graceful_shutdown=5,
        forwarded_allow_ips=list(proxies) or None,
    )
    proxy = ProxyHeadersMiddleware(app, config.forwarded_allow_ips).trusted_hosts
    config.http = cast("type[asyncio.Protocol]", Connections(room, proxy.__contains__))
    return uvicorn.Server(config)


def _check_network(text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"a proxy must be an address or a network, e.g. 10.0.0.1 or 10.0.0.0/24: {error}") from error


def open_files(wanted: int) -> int:
    """Returns how many files this process may have open, after asking for so many."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return soft if soft != resource.RLIM_INFINITY else wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
