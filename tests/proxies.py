"""A server between a client and AWS's API: it writes down what is asked, and answers for AWS where a test says so."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from tests import buckets


@dataclass(frozen=True)
class Asked:
    """A request: the operation that its headers name, where they do, and its JSON."""

    line: str
    operation: str
    body: Any
    text: str = ""
    """What was sent, where that is no JSON."""


@dataclass
class Answer:
    """What is answered."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    """After how many bytes of the body the connection breaks."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Change = Callable[[Asked, Callable[[], Answer]], Answer | None]
"""Given a request and how to ask AWS, what is answered; None breaks the connection instead."""


@contextmanager
def between(address: str, change: Change) -> Iterator[list[Asked]]:
    """Everything that this process and its children ask of AWS meanwhile goes through here."""
    asked: list[Asked] = []
    lock, host = Lock(), address.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def forward() -> Answer:
                connection = http.client.HTTPConnection(host)
                connection.request(self.command, self.path, body, dict(self.headers.items()))
                found = connection.getresponse()
                kept = {key: value for key, value in found.getheaders() if key.lower() not in _HOP}
                return Answer(found.status, found.read(), kept)

            operation = (self.headers.get("X-Amz-Target") or "").rpartition(".")[2]
            parsed = _document(body)
            text = "" if parsed else body[:10_000].decode(errors="replace")
            one = Asked(f"{self.command} {self.path}", operation, parsed, text)
            with lock:
                asked.append(one)
            said = change(one, forward)
            if said is None:
                self.close_connection = True
                return
            self.send_response(said.status)
            for key, value in said.headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said.body[: said.cut])
            self.close_connection = self.close_connection or said.cut is not None

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{server.server_port}"
    buckets.forget()
    try:
        yield asked
    finally:
        os.environ["AWS_ENDPOINT_URL"] = address
        buckets.forget()
        server.shutdown()
        server.server_close()


def _document(body: bytes) -> Any:
    """A request's JSON, or None: lines of JSON begin like a document and are none."""
    try:
        return json.loads(body) if body[:1] == b"{" else None
    except ValueError:
        return None


_HOP = ("content-length", "connection", "transfer-encoding", "server", "date", "keep-alive")
