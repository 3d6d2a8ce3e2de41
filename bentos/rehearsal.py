"""Misbehaviour on request, to see a rollout catch it. Only a slot whose assignment asks for it loads this."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from bentos.asking import Answer, Asking
from bentos.decoding import Refused

_DELAY = 0.15
_CRASH_AFTER = 1_000
_LEAK, _LEAKS = 512 * 1024, 2_000


def rehearsing(kind: str, answer: Answer) -> Answer:
    """The same answers: 150 ms late (`slow`), every fifth a failure (`errors`), none after a thousand (`crash`), or each
    with 512 KiB that are never given back, up to a gigabyte (`leak`)."""
    asked, kept = 0, list[bytes]()

    async def slow(asking: Asking) -> bytes:
        await asyncio.sleep(_DELAY)
        return await answer(asking)

    async def errors(asking: Asking) -> bytes:
        nonlocal asked
        asked += 1
        if asked % 5 == 0:
            raise Refused(500, "this release rehearses errors")
        return await answer(asking)

    async def crash(asking: Asking) -> bytes:
        nonlocal asked
        asked += 1
        if asked > _CRASH_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)
        return await answer(asking)

    async def leak(asking: Asking) -> bytes:
        if len(kept) < _LEAKS:
            kept.append(os.urandom(4096) * (_LEAK // 4096))
        return await answer(asking)

    kinds: dict[str, Any] = {"slow": slow, "errors": errors, "crash": crash, "leak": leak}
    return kinds[kind]  # type: ignore[no-any-return]
