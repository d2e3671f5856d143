"""A PostgreSQL server of one's own on loopback, for load tests and tests: made empty, gone at the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def postgres_programs() -> Path | None:
    """Returns the folder with PostgreSQL's server programs, None where it is not installed."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


@contextmanager
def postgres_server() -> Iterator[str]:
    """Gives the URL of a fresh server, which is stopped afterwards.

    Raises:
        RuntimeError: PostgreSQL is not installed, or does not start.
    """
    programs = postgres_programs()
    if programs is None:
        raise RuntimeError("PostgreSQL is not installed: there is no initdb")
    folder = Path(tempfile.mkdtemp(prefix="qdfeedback-postgres-"))
    as_user: list[str | Path] = []
    if os.getuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "nobody")
        as_user = ["setpriv", "--reuid=nobody", "--clear-groups", "--"]
    make = [*as_user, programs / "initdb", "-D", folder / "data", "-U", "test", "-A", "trust"]
    subprocess.run(make, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    port = free_port()
    start = [*as_user, programs / "postgres", "-D", folder / "data", "-p", str(port), "-k", folder, "-h", "127.0.0.1"]
    server = subprocess.Popen(start, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        time.sleep(0.5)
        yield f"postgresql+psycopg://test@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # do not wait for clients
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """Returns a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, seconds: float = 20.0) -> None:
    """Returns when somebody listens on a port of loopback.

    Raises:
        RuntimeError: Nobody did in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port} after {seconds:.0f} s")
