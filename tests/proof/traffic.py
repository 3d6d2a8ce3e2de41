"""Clients that pay, and who of them was answered by which slot."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from tests.clients import asking
from tests.proof.case import SEED

CLIENTS, CUSTOMERS = 3, 400
"""Clients at once, and different customers of each."""
PAUSE = 0.005


@dataclass
class Traffic:
    """What clients were answered while they kept asking."""

    address: str
    key: str
    favoured: str | None = None
    """A slot whose customers pay five times as often as others, once they are known."""
    statuses: Counter[int] = field(default_factory=Counter)
    answered: dict[str, set[str]] = field(default_factory=dict)
    """Of each slot the customers it answered."""
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:6])
    over: threading.Event = field(default_factory=threading.Event)

    def ask(self, number: int) -> None:
        """One client: payments one after the other, amounts of 40 on average, one in a hundred above 220."""
        drawn, asked, mine = random.Random(SEED + number), 0, list[str]()
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=15)
        while not self.over.is_set():
            asked += 1
            customer = f"c-{self.name}-{number}-{asked % CUSTOMERS}"
            if mine and asked % 6:
                customer = mine[asked % len(mine)]
            status, slot = self._pay(connection, customer, round(drawn.lognormvariate(8.3, 0.73)))
            self.statuses[status] += 1
            if slot:
                self.answered.setdefault(slot, set()).add(customer)
                if slot == self.favoured and len(mine) < CUSTOMERS:
                    mine.append(customer)
            time.sleep(PAUSE)

    def _pay(self, connection: http.client.HTTPConnection, customer: str, cents: int) -> tuple[int, str | None]:
        payment = {
            "transaction_id": uuid.uuid4().hex, "event_time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "customer_id": customer, "terminal_id": f"t-{cents % 50}", "amount_cents": cents,
        }  # fmt: skip
        headers = {"authorization": f"Bearer {self.key}", "x-entity": customer, "content-type": "application/json"}
        connection.request("POST", "/fraud/predict", json.dumps(payment), headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        return answer.status, body.get("slot")


@contextmanager
def traffic(address: str, key: str, favoured: str | None = None) -> Iterator[Traffic]:
    """Clients for as long as the block lasts."""
    made = Traffic(address=address, key=key, favoured=favoured)
    with asking(made.ask, made.over, CLIENTS):
        yield made
