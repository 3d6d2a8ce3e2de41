"""Simulated clients: they send payments to the prediction endpoint over HTTP and count what comes back."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from jobs.settings import Settings


@dataclass
class Tally:
    """What clients saw: answers by status, by slot and by decision, and the milliseconds they waited."""

    statuses: Counter[str] = field(default_factory=Counter)
    slots: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    releases: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """Counts and quantiles for the summary."""
        waits = sorted(self.milliseconds)
        return {
            "requests": sum(self.statuses.values()),
            "failed": sum(count for status, count in self.statuses.items() if status != "200"),
            "statuses": dict(self.statuses),
            "slots": dict(self.slots),
            "releases": dict(self.releases),
            "decisions": dict(self.decisions),
            "p50_milliseconds": round(waits[len(waits) // 2], 2) if waits else None,
            "p99_milliseconds": round(waits[int(len(waits) * 0.99)], 2) if waits else None,
        }


async def _send(client: httpx.AsyncClient, path: str, payment: dict[str, Any], tally: Tally) -> None:
    began = time.perf_counter()
    try:
        answer = await client.post(path, json=payment, headers={"x-entity": payment["customer_id"]})
    except httpx.TransportError as error:
        tally.statuses[type(error).__name__] += 1
        return
    tally.milliseconds.append((time.perf_counter() - began) * 1000)
    tally.statuses[str(answer.status_code)] += 1
    if answer.status_code == 200:
        body = answer.json()
        tally.slots[body["slot"]] += 1
        tally.decisions[body["decision"]] += 1
        tally.releases[body["release"]] += 1


async def _clients(
    settings: Settings,
    path: str,
    payments: Sequence[dict[str, Any]],
    tally: Tally,
    rate: float,
    stop: threading.Event | None,
) -> None:
    """Sends each payment once; with `stop`, goes round and round until it is set."""
    headers = {"Authorization": f"Bearer {settings.need('api_key')}"}
    limits = httpx.Limits(max_connections=16, max_keepalive_connections=16)
    endless = itertools.cycle(payments) if stop else iter(payments)
    async with httpx.AsyncClient(base_url=settings.serving_url, headers=headers, limits=limits, timeout=10) as client:
        began, under_way = time.perf_counter(), set[asyncio.Task[None]]()
        for sent, payment in enumerate(endless):
            if stop and stop.is_set():
                break
            early = began + sent / rate - time.perf_counter()
            if early > 0:
                await asyncio.sleep(early)
            if len(under_way) >= 16:
                _, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            under_way.add(asyncio.create_task(_send(client, path, payment, tally)))
        if under_way:
            await asyncio.wait(under_way)


def send(settings: Settings, path: str, payments: Sequence[dict[str, Any]], rate: float = 600) -> Tally:
    """Sends each payment once, at most `rate` a second, and returns what clients saw."""
    tally = Tally()
    asyncio.run(_clients(settings, path, payments, tally, rate, None))
    return tally


class Live:
    """Clients that keep sending in the background for as long as the `with` block lasts."""

    def __init__(self, settings: Settings, path: str, payments: Sequence[dict[str, Any]], rate: float = 250) -> None:
        self.tally = Tally()
        self._stop = threading.Event()
        clients = _clients(settings, path, payments, self.tally, rate, self._stop)
        self._thread = threading.Thread(target=asyncio.run, args=(clients,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=30)
