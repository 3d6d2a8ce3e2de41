"""Misbehaviour on request, to see a rollout catch it. Only a slot whose assignment asks for it loads this."""

from __future__ import annotations

import asyncio
from typing import Any

from bentos.asking import Answer, Asking
from bentos.decoding import Refused

_DELAY = 0.15


def rehearsing(kind: str, answer: Answer) -> Answer:
    """The same answers, 150 ms late (`slow`), or with every fifth a failure (`errors`)."""
    asked = 0

    async def slow(asking: Asking) -> bytes:
        await asyncio.sleep(_DELAY)
        return await answer(asking)

    async def errors(asking: Asking) -> bytes:
        nonlocal asked
        asked += 1
        if asked % 5 == 0:
            raise Refused(500, "this release rehearses errors")
        return await answer(asking)

    kinds: dict[str, Any] = {"slow": slow, "errors": errors}
    return kinds[kind]  # type: ignore[no-any-return]
