"""The demo's clients: of one entity one request at a time and in order, of many entities many at once."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from demo.traffic import CONNECTIONS, Live, send
from jobs.projects import find
from jobs.settings import Settings
from tests.ports import free_port_base

FRAUD = find("fraud")


class Seen:
    """What arrived, in its order, and how many requests were under way at once: of one entity, and in all."""

    def __init__(self, entity: str = "customer_id") -> None:
        self.entity = entity
        self.lock = threading.Lock()
        self.arrived: dict[str, list[int]] = {}
        self.under_way: Counter[str] = Counter()
        self.most_of_one = self.most = 0

    def begin(self, event: dict[str, Any]) -> None:
        with self.lock:
            self.arrived.setdefault(event[self.entity], []).append(event["number"])
            self.under_way[event[self.entity]] += 1
            self.most_of_one = max(self.most_of_one, self.under_way[event[self.entity]])
            self.most = max(self.most, self.under_way.total())

    def end(self, event: dict[str, Any]) -> None:
        with self.lock:
            self.under_way[event[self.entity]] -= 1


@contextmanager
def server(number: int, seen: Seen) -> Iterator[None]:
    """Answers every prediction after a moment; one event it answers with an error, and one not at all."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer

        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert self.headers["x-entity"] in event.values()
            seen.begin(event)
            time.sleep(0.02)
            seen.end(event)
            if event["number"] == 50:
                self.close_connection = True
                return
            body = json.dumps({"slot": "blue", "decision": "approve", "release": "r-1"}).encode()
            self.send_response(503 if event["number"] == 49 else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing to standard error."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 64

    made = Server(("127.0.0.1", number), Handler)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    try:
        yield
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[Settings, Seen]]:
    number, seen = free_port_base(), Seen()
    update = {"serving_url": f"http://127.0.0.1:{number}", "api_key": SecretStr("key")}
    with server(number, seen):
        yield settings.model_copy(update=update), seen


def test_a_customers_payments_follow_one_another(served: tuple[Settings, Seen]) -> None:
    settings, seen = served
    busy = [{"customer_id": f"c{number % 40}" if number % 5 else "busy", "number": number} for number in range(300)]
    tally = send(settings, FRAUD, busy, rate=1e6)
    assert seen.most_of_one == 1
    assert CONNECTIONS / 4 < seen.most <= CONNECTIONS
    assert {name: sorted(numbers) for name, numbers in seen.arrived.items()} == seen.arrived
    assert sum(map(len, seen.arrived.values())) == 300
    facts = tally.facts()
    assert (facts["requests"], facts["failed"], facts["statuses"]["503"]) == (300, 2, 1)


def test_impressions_of_one_ad_follow_one_another_whoever_sees_it(served: tuple[Settings, Seen]) -> None:
    settings, seen = served
    seen.entity = "ad_id"
    shown = [{"user_id": f"u{number}", "ad_id": f"a{number * number % 23}", "number": number} for number in range(100)]
    send(settings, find("ads"), shown, rate=1e6)
    assert seen.most_of_one == 1
    assert seen.most > CONNECTIONS / 4
    assert {name: sorted(numbers) for name, numbers in seen.arrived.items()} == seen.arrived
    assert sum(map(len, seen.arrived.values())) == 100


def test_live_clients_send_until_they_are_stopped_and_others_go_on(served: tuple[Settings, Seen]) -> None:
    settings, seen = served
    upcoming = iter([{"customer_id": f"c{number}", "number": number} for number in range(100_000)])
    for _ in range(2):
        with Live(settings, FRAUD, upcoming, rate=2_000) as live:
            while sum(live.tally.statuses.values()) < 100:
                time.sleep(0.01)
    assert max(map(len, seen.arrived.values())) == 1, "a payment was sent twice"
    assert 200 <= sum(map(len, seen.arrived.values())) < 100_000
