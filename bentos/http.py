"""The slot's HTTP: an ASGI application without a framework, because a framework costs more than the answer."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import re
import time
from typing import Any

import msgspec

from bentos import metrics
from bentos.asking import Asking
from bentos.decoding import Refused
from bentos.keys import Keys
from bentos.openapi import document, page
from bentos.runtime import Runtime
from jobs.settings import Settings

MAXIMUM_BYTES = 1_048_576
_SECONDS = 10
"""How long the rest of a body may take."""
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:\-]{1,64}\Z")
_JSON = (b"content-type", b"application/json")
SHADOW = b"x-tidemill-shadow"
"""What the router adds to a mirrored request, and takes from every other; a load balancer takes nothing from any."""
_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_PAGE = (b"content-type", b"text/html; charset=utf-8")
_READ = ("GET", "HEAD")
log = logging.getLogger("tidemill.http")


class Application:
    """Answers POST /<project>/predict and /explain, and GET /livez, /readyz and (with a key) /metrics and /docs."""

    def __init__(self, runtime: Runtime, settings: Settings) -> None:
        self.runtime = runtime
        self._keys = Keys(settings)
        self._mirrored = settings.routing != "weights"
        self._deadline = runtime.project.serving.deadline_milliseconds / 1000
        self.paths = {f"/{runtime.project.name}/{route}": route for route in ("predict", "explain")}
        self._numbers, self._prefix = itertools.count(1), os.urandom(8).hex()
        self._seconds = metrics.SECONDS.labels("predict", "200")
        self._shown = {"/docs.json": msgspec.json.encode(document(runtime.project)), "/docs": page(runtime.project)}
        self._kinds = {"/metrics": _TEXT, "/docs": _PAGE}
        self._read = ("/livez", "/readyz", "/metrics", *self._shown)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = self._request_id(headers)
        try:
            status, extra = 200, []
            body = await self._respond(scope, headers, receive, request_id)
        except Refused as refused:
            status, extra = refused.status, _refusal_headers(refused)
            body = msgspec.json.encode({**refused.body, "request_id": request_id})
        except Exception:
            log.exception("request %s failed", request_id)
            status, extra = 500, []
            body = msgspec.json.encode({"error": "internal error", "request_id": request_id})
        if body is None:
            return
        kind = self._kinds.get(scope["path"], _JSON) if status == 200 else _JSON
        sent = [kind, (b"content-length", b"%d" % len(body)), (b"x-request-id", request_id.encode()), *extra]
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": body})
        route = self.paths.get(scope["path"], "other")
        if route == "predict" and self._mirrored and SHADOW in headers:
            route = "shadow"
        usual = status == 200 and route == "predict"
        seconds = self._seconds if usual else metrics.SECONDS.labels(route, str(status))
        seconds.observe(time.perf_counter() - began)

    async def _respond(self, scope: Any, headers: dict[bytes, bytes], receive: Any, request_id: str) -> bytes | None:
        path, method = scope["path"], scope["method"]
        route = self.paths.get(path)
        if route is None and path not in self._read:
            raise Refused(404, f"there is no {path[:100]}; POST to {' or '.join(self.paths)}")
        allowed = _READ if route is None else ("POST",)
        if method not in allowed:
            raise Refused(405, f"{method[:20]} is not allowed here", allow=", ".join(allowed))
        if route is None:
            return self._told(path, headers)
        key = self._authorize(headers)
        body = await _body(headers, receive)
        if body is None:
            return None
        self.runtime.guard.request(key)
        answer = self.runtime.explain if route == "explain" else self.runtime.answer
        until = time.perf_counter() + self._deadline
        return await answer(Asking(body, request_id, key, until, self._mirrored and SHADOW in headers))

    def _told(self, path: str, headers: dict[bytes, bytes]) -> bytes:
        if path == "/livez":
            return b'{"live":true}'
        if path != "/readyz":
            self._authorize(headers)
            return metrics.text() if path == "/metrics" else self._shown[path]
        state = self.runtime.state()
        if state["ready"]:
            return msgspec.json.encode(state)
        refused = Refused(503, "no release", retry_after=5)
        refused.body |= state
        raise refused

    def _authorize(self, headers: dict[bytes, bytes]) -> str:
        key = self._keys.name(headers.get(b"authorization", b""))
        if key is None:
            raise Refused(401, "present one of this installation's keys as `Authorization: Bearer KEY`")
        return key

    def _request_id(self, headers: dict[bytes, bytes]) -> str:
        given = headers.get(b"x-request-id", b"")
        if _REQUEST_ID.match(given):
            return given.decode()
        return f"{self._prefix}{next(self._numbers):08x}"


class Doors:
    """Leads start and stop through BentoML, and every request past it to the application.

    BentoML's index page, schema and own health routes would answer without a key, and its layers, of which a
    request needs none, take a fifth of a prediction's time.
    """

    def __init__(self, app: Any, application: Application) -> None:
        self._app, self._application = app, application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await (self._app if scope["type"] == "lifespan" else self._application)(scope, receive, send)


async def _body(headers: dict[bytes, bytes], receive: Any) -> bytes | None:
    """The request's body, or None when the client is gone; raises Refused once it is over the limit."""
    stated = headers.get(b"content-length", b"0")
    if stated.isdigit() and int(stated) > MAXIMUM_BYTES:
        raise _too_large()
    message = await receive()
    if not message.get("more_body"):
        return None if message["type"] == "http.disconnect" else _within_limit(message.get("body", b""))
    try:
        async with asyncio.timeout(_SECONDS):
            return await _rest(message["body"], receive)
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {_SECONDS} seconds") from None


async def _rest(body: bytes, receive: Any) -> bytes | None:
    parts, size, more = [body], len(body), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAXIMUM_BYTES:
            raise _too_large()
        more = message.get("more_body", False)
    return b"".join(parts)


def _within_limit(body: bytes) -> bytes:
    if len(body) > MAXIMUM_BYTES:
        raise _too_large()
    return body


def _too_large() -> Refused:
    return Refused(413, f"the body is over {MAXIMUM_BYTES} bytes; send fewer rows at a time")


def _refusal_headers(refused: Refused) -> list[tuple[bytes, bytes]]:
    """A refusal before the body was read ends the connection: what follows on it is not another request."""
    if refused.status == 401:
        return [(b"www-authenticate", b"Bearer"), (b"connection", b"close")]
    if refused.retry_after is not None:
        return [(b"retry-after", b"%d" % refused.retry_after)]
    if refused.allow is not None:
        return [(b"allow", refused.allow.encode()), (b"connection", b"close")]
    return [(b"connection", b"close")] if refused.status in (404, 408, 413) else []
