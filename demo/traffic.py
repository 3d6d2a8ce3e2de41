"""Simulated clients: they send events to the prediction endpoint over HTTP and count what comes back.

An entity's events are sent in their order, the next once the one before it was answered: whoever does two things does
them one after the other, and live features count what came before. That holds for what is offered as for who is: hours
of a day pass here in a moment, and what was far apart must not become one instant.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from operator import itemgetter
from types import TracebackType
from typing import Any, Self

import httpx

from jobs.projects import hook
from jobs.settings import Settings
from jobs.spec import Project

CONNECTIONS = 16
_TAKEN = 256
"""How many requests may wait for a connection or for an earlier one."""


def events_of(project: Project, day: date, seed: int, drift_from: date | None = None) -> list[dict[str, Any]]:
    """A simulated day's events of the first source, in time order, as a client asks about them: what it requires."""
    source = project.sources[0]
    asked = [column.name for column in source.columns if not column.nullable]
    table = hook(project, "simulate").day(day, seed, drift_from)[source.name]
    rows: list[dict[str, Any]] = table.select(asked).sort_by(source.event_time).to_pylist()
    return [{name: _text(value) for name, value in row.items()} for row in rows]


def requests_of(project: Project, events: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The events that are asked about at once: each by itself, or what a model ranks together, which must be in a row."""
    group = project.models[-1].group
    if group is None:
        yield from ([event] for event in events)
    else:
        yield from (list(rows) for _, rows in itertools.groupby(events, key=itemgetter(group)))


def ordered_by(project: Project) -> set[tuple[str, ...]]:
    """The entities whose events must be answered in their order: of the windows that reach up to the present."""
    present = {
        view.entity for view in project.live_views for window in view.windows if window.delay < timedelta(days=1)
    }
    return {(project.entity,)} | present


def _text(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


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


class _Clients:
    """At most 16 requests under way, and of two that share an entity only the first."""

    def __init__(self, client: httpx.AsyncClient, project: Project, tally: Tally) -> None:
        self._client, self._tally = client, tally
        self._path, self._entity = f"/{project.name}/predict", project.entity
        self._entities = ordered_by(project)
        self._free, self._taken = asyncio.Semaphore(CONNECTIONS), asyncio.Semaphore(_TAKEN)
        self._last: dict[tuple[Any, ...], asyncio.Task[None]] = {}
        """Of every entity with a request under way, the task of its newest."""
        self._tasks = set[asyncio.Task[None]]()

    async def take(self, rows: list[dict[str, Any]]) -> None:
        """Sends the rows as soon as what shares an entity with them is answered; waits while too many wait."""
        await self._taken.acquire()
        keys = {(entity, *(row[name] for name in entity)) for row in rows for entity in self._entities}
        earlier = {self._last[key] for key in keys if key in self._last}
        task = asyncio.create_task(self._follow(earlier, keys, rows))
        self._last |= dict.fromkeys(keys, task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Returns when everything taken is answered."""
        await asyncio.gather(*self._tasks)

    async def _follow(
        self, earlier: set[asyncio.Task[None]], keys: set[tuple[Any, ...]], rows: list[dict[str, Any]]
    ) -> None:
        try:
            if earlier:
                await asyncio.wait(earlier)
            async with self._free:
                await self._send(rows)
        finally:
            for key in keys:
                if self._last[key] is asyncio.current_task():
                    del self._last[key]
            self._taken.release()

    async def _send(self, rows: list[dict[str, Any]]) -> None:
        began, tally = time.perf_counter(), self._tally
        asked = rows[0] if len(rows) == 1 else {"rows": rows}
        try:
            answer = await self._client.post(self._path, json=asked, headers={"x-entity": rows[0][self._entity]})
        except httpx.TransportError as error:
            tally.statuses[type(error).__name__] += 1
            return
        tally.milliseconds.append((time.perf_counter() - began) * 1000)
        tally.statuses[str(answer.status_code)] += 1
        if answer.status_code == 200:
            body = answer.json()
            body = body["rows"][0] if "rows" in body else body
            tally.slots[body["slot"]] += 1
            tally.decisions[body.get("decision", "none")] += 1
            tally.releases[body["release"]] += 1


async def _send_all(
    settings: Settings,
    project: Project,
    events: Iterable[dict[str, Any]],
    tally: Tally,
    rate: float,
    stop: threading.Event | None,
) -> None:
    """Sends each event once, until there are no more or `stop` is set."""
    headers = {"Authorization": f"Bearer {settings.need('api_key')}"}
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx.AsyncClient(base_url=settings.serving_url, headers=headers, limits=limits, timeout=10) as client:
        clients = _Clients(client, project, tally)
        began = time.perf_counter()
        for sent, rows in enumerate(requests_of(project, events)):
            if stop and stop.is_set():
                break
            early = began + sent / rate - time.perf_counter()
            if early > 0:
                await asyncio.sleep(early)
            await clients.take(rows)
        await clients.finish()


def send(settings: Settings, project: Project, events: Iterable[dict[str, Any]], rate: float = 600) -> Tally:
    """Sends each event once, at most `rate` a second, and returns what clients saw."""
    tally = Tally()
    asyncio.run(_send_all(settings, project, events, tally, rate, None))
    return tally


class Live:
    """Clients that keep sending in the background for as long as the `with` block lasts."""

    def __init__(
        self, settings: Settings, project: Project, events: Iterable[dict[str, Any]], rate: float = 250
    ) -> None:
        self.tally = Tally()
        self._stop = threading.Event()
        clients = _send_all(settings, project, events, self.tally, rate, self._stop)
        self._thread = threading.Thread(target=asyncio.run, args=(clients,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=30)
