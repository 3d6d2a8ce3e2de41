"""Misbehaviour on request, to see a rollout catch it. Only a slot whose assignment asks for it loads this."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from bentos.decoding import Refused

Answer = Callable[[bytes, str], Awaitable[bytes]]
_DELAY = 0.15


def rehearsing(kind: str, answer: Answer) -> Answer:
    """The same answers, 150 ms late (`slow`), or with every fifth a failure (`errors`)."""
    asked = 0

    async def slow(body: bytes, request_id: str) -> bytes:
        await asyncio.sleep(_DELAY)
        return await answer(body, request_id)

    async def errors(body: bytes, request_id: str) -> bytes:
        nonlocal asked
        asked += 1
        if asked % 5 == 0:
            raise Refused(500, "this release rehearses errors")
        return await answer(body, request_id)

    kinds: dict[str, Any] = {"slow": slow, "errors": errors}
    return kinds[kind]  # type: ignore[no-any-return]
