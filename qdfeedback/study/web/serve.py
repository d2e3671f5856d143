"""Serving a study's pages."""

from __future__ import annotations

import logging
import signal
import socket
import sys

import uvicorn

from qdfeedback.study.place import Place
from qdfeedback.study.secrets import keep_key, new_token, study_key
from qdfeedback.study.web.app import create_app


def serve(
    place: Place,
    *,
    host: str,
    port: int,
    public_url: str = "",
    fresh_token: bool = False,
    fresh_key: bool = False,
) -> None:
    """Serves a study until it is stopped; prints where, and at the first start the owner's token.

    Args:
        place: the study.
        host: address to listen on.
        port: 0 = any that is free.
        public_url: under which people reach it, through a proxy with https.
        fresh_token: makes a new token for the owner's pages.
        fresh_key: goes on although people are known under another key.

    Raises:
        ValueError: The port is taken, the public address is none, the key in the environment is too short, or it is
            not the one under which people are known.
    """
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
    # no access log: addresses hold people's platform ids
    config = uvicorn.Config(app, access_log=False, log_level="warning", server_header=False)
    uvicorn.Server(config).run(sockets=[listening])
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job in the background: no exception says so
        print("stopped", file=sys.stderr)  # noqa: T201
