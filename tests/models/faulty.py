"""A server on loopback that speaks enough of the OpenAI API, and does on request what servers should not do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Faulty:
    """What the server does, and what it saw.

    `faults` are used up one request each, None = a proper answer; `lacks` names fields that it refuses.
    """

    faults: list[Fault | None] = field(default_factory=list)
    lacks: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()
    chat: bool = True
    text: Callable[[dict[str, Any]], str] = lambda body: f"about {asked(body)[:20]}"
    logprobs: dict[str, float] = field(
        default_factory=lambda: {" yes": -0.2, "no": -2.0, "x": -5.0, "q": -6.0, "z": -7.0}
    )
    ends: Callable[[dict[str, Any]], str] = lambda body: "stop"
    cut_answers: Callable[[dict[str, Any]], bool] = lambda body: False
    counts: bool = True
    total: int = 15
    seen: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    url: str = ""
    together: int = 0
    most_together: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        chat = path.endswith("/chat/completions")
        if chat and not self.chat:
            return 404, {"error": {"message": "no such path"}}
        if refused := [name for name in self.lacks if name in body]:
            return 422, {"error": {"message": f"unknown: {refused}"}}
        text = self.text(body)
        if "response_format" in body and not self.cut_answers(body) and "response_format" not in self.ignores:
            enum = body["response_format"]["json_schema"]["schema"]["properties"]["answer"]["enum"]
            text = json.dumps({"answer": enum[body.get("seed", 0) % len(enum)]})
        choice: dict[str, Any] = {"index": 0, "finish_reason": self.ends(body)}
        choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        if "logprobs" in body and "logprobs" not in self.ignores:
            if chat:
                tops = [{"token": token, "logprob": value, "bytes": None} for token, value in self.logprobs.items()]
                choice["logprobs"] = {"content": [tops[0] | {"top_logprobs": tops}]}
            else:
                choice["logprobs"] = {"top_logprobs": [self.logprobs], "tokens": ["yes"], "token_logprobs": [-0.2]}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": self.total} if self.counts else None
        kind = "chat.completion" if chat else "text_completion"
        return 200, {"id": "1", "object": kind, "created": 0, "model": body["model"], "choices": [choice],
                     "usage": usage}  # fmt: skip


def asked(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"] if "messages" in body else body["prompt"])


def send(handler: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def status(code: int, headers: dict[str, str] | None = None) -> Fault:
    body = json.dumps({"error": {"message": "no", "code": code}}).encode()
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
def serving(faulty: Faulty) -> Iterator[Faulty]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with faulty.lock:
                faulty.seen.append(body)
                faulty.times.append(time.monotonic())
                faulty.together += 1
                faulty.most_together = max(faulty.most_together, faulty.together)
                fault = faulty.faults.pop(0) if faulty.faults else None
            try:
                if fault is not None:
                    fault(self)
                else:
                    code, found = faulty.answer(self.path, body)
                    send(self, code, json.dumps(found).encode(), {"Content-Type": "application/json"})
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

    server = Server(("127.0.0.1", 0), Handler)
    faulty.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield faulty
    finally:
        server.shutdown()
        server.server_close()
