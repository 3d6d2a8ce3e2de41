"""A router and two slots under a supervisor of their own, and a ledger: what a rollout moves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from jobs.errors import TidemillError
from jobs.features.materialize import materialize
from jobs.lake import Lake
from jobs.release.bundle import Bundle
from jobs.release.ledger import Ledger
from jobs.rollout.router import Router
from jobs.rollout.slots import Slots
from jobs.services import places, programs, supervisor
from jobs.services.ports import SLOTS, url
from jobs.settings import ROOT, Settings
from jobs.spec import Project
from jobs.stages import rollout
from tests import buckets
from tests.clients import asking
from tests.ports import free_port_base
from tests.releases import release
from tests.rollout.policies import PROJECTS

KEY = "test-key-of-the-rollout"
PROJECT = PROJECTS["walk"]
PAYMENT = {"terminal_id": "t-1", "amount_cents": 1_250}


@dataclass
class Installation:
    """Services of one home; `ask` is what a person or the orchestrator would have done to them."""

    settings: Settings
    scratch: Path
    made: int = 0
    policy: str = "walk"
    """Under which of the policies of these tests it rolls out."""
    project: Project = PROJECT

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_uri)

    @property
    def declared(self) -> Project:
        """The project under this test's shorter policy."""
        return PROJECTS[self.policy]

    @property
    def weights(self) -> dict[str, int]:
        return Router(self.settings).weights(self.project.name)

    @property
    def slots(self) -> Slots:
        return Slots(self.settings)

    def ledger(self) -> Ledger:
        return Ledger(self.settings.need("database_url"))

    def challenger(self, weights: Mapping[str, object] | None = None) -> Bundle:
        """Another release, registered; with weights that are drawn, or given."""
        self.made += 1
        scratch = self.scratch / f"bundle-{self.made}"
        bundle = release(self.lake, self.project, scratch, seed=self.made, weights=weights)
        with self.ledger() as ledger:
            ledger.set_challenger(self.project.name, bundle.release, bundle.digest, "test")
        return bundle

    def reset(self) -> None:
        """A new ledger database, so that no test depends on another's champion; slots are told to serve nothing."""
        import psycopg

        url = self.settings.need("database_url")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS tidemill CASCADE")
        for slot in SLOTS:
            self.slots.clear(self.project.name, slot)
            folder = self.settings.home / "serving" / self.project.name
            (folder / f"{slot}.verified.json").unlink(missing_ok=True)
        Router(self.settings).set_weights(self.project.name, {"blue": 100, "green": 0}, stable="blue")

    def environment(self, **more: str) -> dict[str, str]:
        return {**supervisor.environment(self.settings), "PYTHONPATH": str(ROOT), **more}

    def ask(self, action: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """The exit code and the facts of `tidemill rollout <action>`, under this test's shorter policy."""
        try:
            result = rollout.run(self.declared, self.settings, action=action, **options)
        except TidemillError as error:
            return error.exit_code, {"error": str(error)}
        return result.exit_code, json.loads(json.dumps(dict(result.facts), default=str))

    def command(self, *arguments: str) -> list[str]:
        """The same as a command, for a process that can be killed."""
        return [sys.executable, "-m", "tests.rollout.command", self.policy, *arguments]

    def killed_at(self, phase: str, *arguments: str) -> int:
        """The exit code of a command that was killed when it stood at a phase."""
        process = subprocess.Popen(
            self.command(*arguments), env=self.environment(TIDEMILL_FAULT_PAUSE=phase),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), f"it ended before {phase}"
        process.kill()
        return process.wait(20)

    def walk(self, percent: int, seconds: float = 60) -> tuple[int, dict[str, Any]]:
        """Asks for a step's verdict until it is no longer HOLD, as the orchestrator does."""
        return self.decided("step", seconds, percent=percent)

    def promoted(self, seconds: float = 60) -> tuple[int, dict[str, Any]]:
        """Asks for the promotion until it is no longer HOLD."""
        return self.decided("promote", seconds)

    def decided(self, action: str, seconds: float = 60, **options: Any) -> tuple[int, dict[str, Any]]:
        """Asks for what may hold until it no longer does."""
        deadline = time.monotonic() + seconds
        while True:
            code, facts = self.ask(action, **options)
            if code != 99 or time.monotonic() > deadline:
                return code, facts
            time.sleep(min(float(facts["wait_seconds"]), 1))

    def become_champion(self, weights: Mapping[str, object] | None = None) -> Bundle:
        """A first release, walked to champion."""
        bundle = self.challenger(weights)
        assert self.ask("start")[0] == 0
        assert self.walk(100)[0] == 0
        assert self.ask("promote")[0] == 0
        return bundle


@dataclass
class Load:
    """Clients that keep asking, and what they were answered.

    Every other request is for a customer whom the watched slot answered before: customers stick to a slot, so a
    small share of them that is busy makes evidence sooner than a small share of everybody. A customer's payments
    come one after the other, from one client and as they happen: live features count what came before.
    """

    address: str
    statuses: dict[int, int] = field(default_factory=dict)
    releases: dict[str, int] = field(default_factory=dict)
    slot: str = "green"
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:6])
    """What tells its customers from those of other tests."""
    watched: dict[int, list[str]] = field(default_factory=dict)
    """For each client its customers that the slot has answered."""
    key: str = KEY
    over: threading.Event = field(default_factory=threading.Event)

    def ask(self, number: int) -> None:
        asked, mine = 0, self.watched.setdefault(number, [])
        with httpx.Client(base_url=self.address, headers={"authorization": f"Bearer {self.key}"}, timeout=15) as client:
            while not self.over.is_set():
                asked += 1
                customer = mine[asked % len(mine)] if asked % 2 and mine else f"c-{self.name}-{number}-{asked % 400}"
                now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
                payment = {
                    **PAYMENT,
                    "event_time": now,
                    "customer_id": customer,
                    "transaction_id": f"{uuid.uuid4().hex}-{number}",
                }
                answer = client.post(f"/{PROJECT.name}/predict", json=payment, headers={"x-entity": customer})
                self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
                if answer.status_code == 200:
                    name = answer.json()["release"]
                    self.releases[name] = self.releases.get(name, 0) + 1
                    if answer.json()["slot"] == self.slot and len(mine) < 100:
                        mine.append(customer)
                time.sleep(0.004)


@contextmanager
def load(installation: Installation, clients: int = 2) -> Iterator[Load]:
    """Requests through the router for as long as the block lasts."""
    made = Load(url(installation.settings, "router"))
    with asking(made.ask, made.over, clients):
        yield made


@contextmanager
def installed(
    home: Path, postgres: str, project: Project = PROJECT, *, policy: str = "walk", lake_uri: str | None = None
) -> Iterator[Installation]:
    """A router and two slots of a project below a folder, for as long as the block lasts; the lake is there too, or where
    it says."""
    import psycopg

    name = f"rollout_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    head, _, query = postgres.partition("?")
    values = {
        "home": home,
        "lake_uri": lake_uri or str(home / "lake"),
        "online_store_url": f"sqlite:///{home / 'online'}",
        "port_base": free_port_base(),
        "database_url": f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else ""),
        "api_key": KEY,
        "supervisor_socket": None,
        "mlflow_url": "http://127.0.0.1:1",
    }
    settings = Settings(_env_file=None, **values)  # type: ignore[call-arg, arg-type]
    values["supervisor_socket"] = places.supervisor_socket(settings)
    text = "".join(f"TIDEMILL_{key.upper()}={value}\n" for key, value in values.items())
    places.write_private(home / "settings.env", text)
    settings = settings.model_copy(
        update={"supervisor_socket": values["supervisor_socket"], "api_key": SecretStr(KEY)}
    )  # fmt: skip
    materialize(project, settings)  # nothing is published: every view is there, and empty
    slots = [one for one in programs.slots(settings) if one.environment["TIDEMILL_PROJECT"] == project.name]
    wanted = [programs._router(settings), *slots]
    supervisor.start(settings, wanted)
    rpc = supervisor.rpc(settings)
    try:
        for program in wanted:
            rpc.startProcess(program.name, False)
        yield Installation(settings=settings, scratch=home / "scratch", policy=policy, project=project)
    finally:
        rpc.stopAllProcesses()
        rpc.shutdown()
        shutil.rmtree(places.sockets_path(settings), ignore_errors=True)


@pytest.fixture(scope="session")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres: str
) -> Iterator[Installation]:
    """The lake of it is where `--lake` says."""
    home, lake_uri = tmp_path_factory.mktemp("rollout"), None
    with pytest.MonkeyPatch.context() as patch:
        if request.config.getoption("--lake") == "s3":
            request.getfixturevalue("aws")
            patch.setattr("jobs.lake.HOME", home)
            lake_uri = f"s3://{buckets.new_bucket()}/lake"
        with installed(home, postgres, lake_uri=lake_uri) as made:
            yield made


@pytest.fixture
def installation(running: Installation) -> Installation:
    running.policy = "walk"
    running.reset()
    return running
