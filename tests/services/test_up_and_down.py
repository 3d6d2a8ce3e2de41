"""Every service of a machine, started, looked at, killed and stopped: `tidemill up` and `tidemill down`."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from jobs.projects import PROJECTS
from jobs.rollout.slots import assignment_path
from jobs.services import credentials, health, places, processes, supervisor
from jobs.services.ports import offsets, port
from jobs.settings import Settings
from tests.ports import free_port_base
from tests.services import doors

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]
TIDEMILL = places.environment_python("jobs").with_name("tidemill")
IN_USE = "serve-fraud-blue"
"""The one slot here that was given something to serve; the others wait for their first release."""
LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


class Installation:
    """A home of its own, on ports nobody uses, driven by the command line."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(_env_file=None, home=home, port_base=free_port_base())  # type: ignore[call-arg]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
        self._environment = inherited | {
            "TIDEMILL_HOME": str(home),
            "TIDEMILL_PORT_BASE": str(self.settings.port_base),
        }

    def tidemill(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(TIDEMILL), *arguments], env=self._environment, capture_output=True, text=True, check=False
        )

    def facts(self, *arguments: str) -> dict[str, Any]:
        ran = self.tidemill(*arguments, "--json")
        assert ran.returncode == 0, ran.stderr
        found: dict[str, Any] = json.loads(ran.stdout)
        return found

    def pid(self, name: str) -> int:
        return int(supervisor.rpc(self.settings).getProcessInfo(name)["pid"])

    def is_gone(self) -> bool:
        mine = {port(self.settings, name) for name in offsets()}
        return processes.ours(self.settings) == [] and not mine & set(processes.listening())


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("installation") / "var")
    given = assignment_path(made.settings, "fraud", "blue")
    given.parent.mkdir(parents=True)
    given.write_text("{}")  # of no release: the slot runs, and refuses it
    yield made
    made.tidemill("down")


@pytest.fixture(scope="module")
def first(installation: Installation) -> dict[str, Any]:
    """What the first `up` answered; the tests below it in this file share its services."""
    return installation.facts("up")


def test_up_starts_every_service_and_each_answers(installation: Installation, first: dict[str, Any]) -> None:
    airflow = {"airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"}
    wanted = {"postgres", "spark-connect", "mlflow", "router", IN_USE} | airflow
    assert set(first["started"]) == set(first["services"]) == wanted
    assert [name for name in wanted if not health.ready(installation.settings, name)] == []


@pytest.mark.fault("F62")
def test_everything_listens_on_loopback_only(installation: Installation, first: dict[str, Any]) -> None:
    listening = _sockets_of([process.pid for process in processes.ours(installation.settings)])
    assert {number for _, number in listening} >= {
        port(installation.settings, name) for name in offsets() if name == IN_USE or not name.startswith("serve-")
    }
    assert [found for found in listening if found[0] not in LOOPBACK] == []


@pytest.mark.fault("F62")
def test_nothing_but_health_is_answered_without_credentials(installation: Installation, first: dict[str, Any]) -> None:
    settings = installation.settings
    names = {port(settings, name): name for name in offsets()}
    listening = {number for _, number in _sockets_of([process.pid for process in processes.ours(settings)])}
    asked = [names[number] for number in sorted(listening & names.keys())]
    assert {"airflow", "mlflow", "router", "router-admin", IN_USE} <= set(asked)
    opened = [way for name in asked if name != "spark-connect" for way in doors.opened(name, port(settings, name))]
    assert opened == []
    others = listening - names.keys()  # of Spark's driver, for its own threads, and no HTTP
    assert [number for number in others if doors.status(number, "/")] == []
    for role in ("postgres", "tidemill", "airflow"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(credentials.server_url(settings, role, "", "tidemill"))


@pytest.mark.fault("F63")
def test_forged_tokens_hosts_and_origins_are_refused(installation: Installation, first: dict[str, Any]) -> None:
    settings, known = installation.settings, credentials.ensure(installation.settings)
    number, path = port(settings, "airflow"), "/api/v2/dags"
    body = {"username": "admin", "password": known.airflow}
    given = httpx.post(f"http://127.0.0.1:{number}/auth/token", json=body, timeout=60).json()["access_token"]
    claims, secret = doors.claims_of(given), known.airflow_jwt
    forged = {
        "as it was given": (given, 200), "signed as Airflow does": (doors.token(claims, secret), 200),
        "without a signature": (doors.token(claims, "", "none"), 403), "by another key": (doors.token(claims, "x" * 64), 403),
        "expired": (doors.token(claims | {"exp": claims["iat"] - 60, "iat": claims["iat"] - 120}, secret), 401),
        "not for it": (doors.token(claims | {"aud": "somebody-else"}, secret), 403),
    }  # fmt: skip
    told = {
        name: doors.status(number, path, headers={"authorization": f"Bearer {one}"})
        for name, (one, _) in forged.items()
    }
    assert told == {name: code for name, (_, code) in forged.items()}

    number, path = port(settings, "mlflow"), "/api/2.0/mlflow/experiments/get?experiment_id=0"
    mine = {"authorization": "Basic " + base64.b64encode(f"admin:{known.mlflow}".encode()).decode()}
    assert doors.status(number, path, headers=mine) == 200
    assert doors.status(number, path, headers=mine | {"host": "evil.example"}) == 403
    create = "/api/2.0/mlflow/experiments/create"
    assert doors.status(number, create, "POST", mine | {"origin": "https://evil.example"}) == 403
    for name, path in (("airflow", "/api/v2/dags"), ("router", "/fraud/predict"), (IN_USE, "/fraud/predict")):
        for forged_header in (
            {"host": "evil.example"},
            {"origin": "https://evil.example"},
            {"x-forwarded-for": "127.0.0.1"},
        ):
            url = f"http://127.0.0.1:{port(settings, name)}{path}"
            answer = httpx.request("GET" if name == "airflow" else "POST", url, headers=forged_header, timeout=60)
            assert answer.status_code in (401, 403, 404, 503), (name, forged_header)
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.fault("F64")
def test_secrets_are_in_private_files_and_nowhere_else(installation: Installation, first: dict[str, Any]) -> None:
    home = installation.settings.home
    known = credentials.ensure(installation.settings)
    private = [
        home / "credentials.json",
        home / "settings.env",
        *(home / "run").glob("*.conf"),
        *(home / "run").glob("*.ini"),
    ]
    assert len(private) == 4
    assert [path.name for path in private if path.stat().st_mode & 0o077] == []
    secrets = [known.postgres, known.airflow, known.airflow_jwt, known.mlflow, known.spark, known.api_key]
    secrets += known.databases.values()
    seen = {path.name: path.read_text(errors="replace") for path in (home / "logs").iterdir()}
    for process in processes.ours(installation.settings):
        seen[f"command line of {process.pid}"] = Path(f"/proc/{process.pid}/cmdline").read_text(errors="replace")
    assert [name for name, text in seen.items() if any(secret in text for secret in secrets)] == []


@pytest.mark.fault("F62")
def test_spark_takes_its_token_only(installation: Installation, first: dict[str, Any]) -> None:
    remote = credentials.values(installation.settings)["TIDEMILL_SPARK_REMOTE"]
    assert _counted_by_spark(remote).stdout.split() == ["7"]
    refused = _counted_by_spark(remote.partition(";")[0] + ";token=wrong")
    assert refused.returncode == 1
    assert "authentication token" in refused.stderr.lower()


def test_a_second_up_leaves_alone_what_runs(installation: Installation, first: dict[str, Any]) -> None:
    before = installation.pid("postgres")
    again = installation.facts("up")
    assert again["started"] == []
    assert again["seconds"] < 15
    assert installation.pid("postgres") == before


def test_a_killed_service_is_back_by_itself(installation: Installation, first: dict[str, Any]) -> None:
    before = installation.pid("router")
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if installation.pid("router") not in (0, before) and health.ready(installation.settings, "router"):
            break
        time.sleep(0.2)
    assert installation.pid("router") not in (0, before)


def test_status_and_doctor_see_the_services(installation: Installation, first: dict[str, Any]) -> None:
    end = time.monotonic() + 60  # what an earlier test killed is being started again
    while set((status := installation.facts("status"))["services"].values()) != {"RUNNING"}:
        assert time.monotonic() < end, status["services"]
        time.sleep(1)
    for project in PROJECTS:
        assert status["projects"][project]["release"] == {
            "champion": None, "challenger": None, "rollout": None, "verdicts": [],
        }  # fmt: skip
    checks = {
        check["name"]: check["ok"] for check in json.loads(installation.tidemill("doctor", "--json").stdout)["checks"]
    }
    assert (checks["services"], checks["ports"], checks["credentials"]) == (True, True, True)


def test_down_leaves_no_process_and_no_port(installation: Installation, first: dict[str, Any]) -> None:
    answer = installation.facts("down")
    assert answer["stopped"] == len(first["services"])
    assert installation.is_gone()
    assert not places.sockets_path(installation.settings).exists()
    assert installation.facts("down")["stopped"] == 0


def test_down_ends_what_a_killed_supervisor_left_behind(installation: Installation, first: dict[str, Any]) -> None:
    installation.facts("up")
    os.kill(int(supervisor.rpc(installation.settings).getPID()), signal.SIGKILL)
    assert len(processes.ours(installation.settings)) > len(first["services"]) / 2
    answer = installation.facts("down")
    assert answer["ended"] > len(first["services"]) / 2
    assert installation.is_gone()


def test_a_taken_port_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    here = Installation(tmp_path / "var")
    with socket.socket() as held:
        held.bind(("127.0.0.1", port(here.settings, "mlflow")))
        held.listen()
        refused = here.tidemill("up")
    assert refused.returncode == 1
    assert f"port {port(here.settings, 'mlflow')} held by pid {os.getpid()}" in refused.stderr
    assert f"TIDEMILL_PORT_BASE={here.settings.port_base + 100}" in refused.stderr
    assert here.is_gone()
    assert here.facts("down")["stopped"] == 0


def _counted_by_spark(remote: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what uses a session once, keeps to it."""
    code = "import sys; from pyspark.sql import SparkSession; print(SparkSession.builder.remote(sys.argv[1]).create().range(7).count())"
    return subprocess.run(
        [sys.executable, "-c", code, remote], capture_output=True, text=True, check=False, timeout=240
    )


def _sockets_of(pids: list[int]) -> set[tuple[str, int]]:
    """The addresses and ports that these processes listen on, from /proc."""
    inodes = set()
    for pid in pids:
        try:
            inodes |= {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        except OSError:
            continue  # it ended while it was looked at
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                address, _, number = fields[1].rpartition(":")
                found.add((address, int(number, 16)))
    return found
