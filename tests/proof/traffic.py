"""Clients that keep asking, and who of them was answered by which slot."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from demo.traffic import events_of, requests_of
from jobs.projects import PROJECTS
from jobs.spec import Project
from tests.clients import asking
from tests.data.simulated import day_of

CLIENTS, CUSTOMERS = 3, 400
"""Clients at once, and different entities of each."""
PAUSE = 0.005
Rows = list[dict[str, Any]]


@cache
def requests(name: str) -> list[Rows]:
    """What a simulated day's clients ask, one after the other."""
    return list(requests_of(PROJECTS[name], events_of(PROJECTS[name], day_of(PROJECTS[name]), 1)))


@dataclass
class Traffic:
    """What clients were answered while they kept asking."""

    project: Project
    address: str
    key: str
    favoured: str | None = None
    """A slot whose entities ask five times as often as others, once they are known."""
    statuses: Counter[int] = field(default_factory=Counter)
    answered: dict[str, set[str]] = field(default_factory=dict)
    """Of each slot the entities it answered."""
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:6])
    over: threading.Event = field(default_factory=threading.Event)

    def ask(self, number: int) -> None:
        """One client: requests as they are simulated, one after the other, by entities of its own and now."""
        asked, mine, simulated = 0, list[str](), requests(self.project.name)
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=15)
        while not self.over.is_set():
            asked += 1
            entity = f"c-{self.name}-{number}-{asked % CUSTOMERS}"
            if mine and asked % 6:
                entity = mine[asked % len(mine)]
            status, slot = self._ask(connection, entity, simulated[(asked * CLIENTS + number) % len(simulated)])
            self.statuses[status] += 1
            if slot:
                self.answered.setdefault(slot, set()).add(entity)
                if slot == self.favoured and len(mine) < CUSTOMERS:
                    mine.append(entity)
            time.sleep(PAUSE)

    def _ask(self, connection: http.client.HTTPConnection, entity: str, simulated: Rows) -> tuple[int, str | None]:
        source, group = self.project.sources[0], self.project.models[-1].group
        same = {
            source.event_time: datetime.now(UTC).isoformat().replace("+00:00", "Z"), self.project.entity: entity,
            **({group: uuid.uuid4().hex} if group else {}),
        }  # fmt: skip
        rows = [{**row, **same, source.event_id: uuid.uuid4().hex} for row in simulated]
        headers = {"authorization": f"Bearer {self.key}", "x-entity": entity, "content-type": "application/json"}
        told = json.dumps(rows[0] if len(rows) == 1 else {"rows": rows})
        connection.request("POST", f"/{self.project.name}/predict", told, headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        return answer.status, body.get("slot") or next((row["slot"] for row in body.get("rows", ())), None)


@contextmanager
def traffic(project: Project, address: str, key: str, favoured: str | None = None) -> Iterator[Traffic]:
    """Clients for as long as the block lasts."""
    made = Traffic(project=project, address=address, key=key, favoured=favoured)
    with asking(made.ask, made.over, CLIENTS):
        yield made
