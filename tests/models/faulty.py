"""A server on loopback that speaks enough of the OpenAI API, and does on request what servers do in the wild.

    with serving(Faulty(lacks=("stop",))) as faulty: …             refuses a parameter
    with serving(Faulty(choice={"finish_reason": "abort"})) …      ends so
    with serving(Faulty(faults=[status(500), cut])) …              fails twice, then answers

docs/servers.md tells which habits there are; each has a test that names it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = Callable[[BaseHTTPRequestHandler], None]
COUNTED: Any = object()
LEFT_OUT: Any = object()


@dataclass
class Faulty:
    """What the server does, and what it saw.

    `faults` are used up one request each, None = a proper answer. `lacks` names fields that it refuses, `refuses` tells
    (or does not) status and body of a refusal in words of its own, `ignores` names fields that it takes and does not
    keep to. `message`, `choice` and `whole` are put over what it would say there, `usage` in place of its counts.
    """

    faults: list[Fault | None] = field(default_factory=list)
    lacks: tuple[str, ...] = ()
    refuses: Callable[[dict[str, Any]], tuple[int, Any] | None] = lambda body: None
    message: dict[str, Any] = field(default_factory=dict)
    choice: dict[str, Any] = field(default_factory=dict)
    whole: dict[str, Any] = field(default_factory=dict)
    usage: Any = COUNTED
    ignores: tuple[str, ...] = ()
    chat: bool = True
    text: Callable[[dict[str, Any]], str] = lambda body: f"about {asked(body)[:20]}"
    logprobs: dict[str, float] = field(
        default_factory=lambda: {" yes": -0.2, "no": -2.0, "x": -5.0, "q": -6.0, "z": -7.0}
    )
    ends: Callable[[dict[str, Any]], str] = lambda body: "stop"
    cut_answers: Callable[[dict[str, Any]], bool] = lambda body: False
    total: int = 15
    seen: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    together: int = 0
    most_together: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        chat = path.endswith("/chat/completions")
        if chat and not self.chat:
            return 404, {"error": {"message": "no such path"}}
        if refused := [name for name in self.lacks if name in body]:
            return 422, {"error": {"message": f"unknown: {refused}"}}
        if words := self.refuses(body):
            return words
        text = self.text(body)
        if "response_format" in body and not self.cut_answers(body) and "response_format" not in self.ignores:
            enum = body["response_format"]["json_schema"]["schema"]["properties"]["answer"]["enum"]
            text = json.dumps({"answer": enum[body.get("seed", 0) % len(enum)]})
        choice: dict[str, Any] = {"index": 0, "finish_reason": self.ends(body)}
        message = {"role": "assistant", "content": text} | self.message
        choice |= {"message": message} if chat else {"text": text}
        if "logprobs" in body and "logprobs" not in self.ignores:
            if chat:
                tops = [{"token": token, "logprob": value, "bytes": None} for token, value in self.logprobs.items()]
                choice["logprobs"] = {"content": [tops[0] | {"top_logprobs": tops}]}
            else:
                choice["logprobs"] = {"top_logprobs": [self.logprobs], "tokens": ["yes"], "token_logprobs": [-0.2]}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": self.total}
        kind = "chat.completion" if chat else "text_completion"
        said = {"id": "1", "object": kind, "created": 0, "model": body["model"], "choices": [choice | self.choice]}
        said |= {"usage": usage if self.usage is COUNTED else self.usage} | self.whole
        return 200, {name: value for name, value in said.items() if value is not LEFT_OUT}


def asked(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"] if "messages" in body else body["prompt"])


def send(handler: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def status(code: int, headers: dict[str, str] | None = None, *, said: Any = None) -> Fault:
    """Answers with a status, and an error in the words and the shape given."""
    error = {"error": {"message": "no", "code": code}} if said is None else said
    body = error.encode() if isinstance(error, str) else json.dumps(error).encode()
    return lambda handler: send(handler, code, body, {"Content-Type": "application/json"} | (headers or {}))


def hang(seconds: float) -> Fault:
    """Says a little again and again, so that no wait for the next byte ever ends."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until:
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass
        handler.close_connection = True

    return drip


def cut(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def garbage(content: bytes = b"<html>not what you think</html>", kind: str = "application/json") -> Fault:
    return lambda handler: send(handler, 200, content, {"Content-Type": kind})


@contextmanager
def stage() -> Iterator[Callable[[Faulty], AbstractContextManager[Faulty]]]:
    """Yields a server on which one behaviour after the other can be played: to start one takes longest."""
    playing: list[Faulty] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or each answer waits 40 ms

        def do_POST(self) -> None:
            faulty = playing[-1]
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with faulty.lock:
                faulty.seen.append(body)
                faulty.together += 1
                faulty.most_together = max(faulty.most_together, faulty.together)
                fault = faulty.faults.pop(0) if faulty.faults else None
            try:
                if fault is not None:
                    fault(self)
                else:
                    code, found = faulty.answer(self.path, body)
                    content = found if isinstance(found, bytes) else json.dumps(found).encode()
                    send(self, code, content, {"Content-Type": "application/json"})
            finally:
                with faulty.lock:
                    faulty.together -= 1

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            pass

    @contextmanager
    def play(faulty: Faulty) -> Iterator[Faulty]:
        faulty.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        playing.append(faulty)
        try:
            yield faulty
        finally:
            playing.remove(faulty)

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield play
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def serving(faulty: Faulty) -> Iterator[Faulty]:
    """Yields the same with a server of its own."""
    with stage() as play, play(faulty):
        yield faulty
