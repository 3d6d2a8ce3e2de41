"""MLflow is where people look: what they change there, or its absence, moves no traffic."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from jobs.release.bundle import Bundle
from jobs.release.registry import Logged, Registry
from jobs.settings import ROOT
from tests.ports import free_port_base
from tests.rollout.conftest import PROJECT, Installation

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]
PASSWORD = "password-of-this-test"


@contextmanager
def mlflow(folder: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """The installation's own tracking server, on SQLite instead of PostgreSQL."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder / 'auth.db'}\nadmin_username = admin\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"), "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin", "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of-this-test", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip
    command = [sys.executable, "-m", "jobs.services.mlflow_server", url.rpartition(":")[2]]
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=folder, env=environment)
    try:
        deadline = time.monotonic() + 120
        while not _answers(url):
            assert time.monotonic() < deadline, (folder / "log").read_text()[-2_000:]
            time.sleep(0.2)
        yield server
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=1, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def registered(registry: Registry, *bundles: Bundle) -> dict[str, str]:
    """The version of each release in MLflow."""
    client, inputs = registry.client(), PROJECT.models[-1].inputs
    versions = {}
    for bundle in bundles:
        logged = Logged(
            name=bundle.release, digest=bundle.digest, params={}, metrics={}, tags={},
            dataset={"name": "s", "digest": "d", "source": "lake", "rows": 1}, inputs=inputs,
        )  # fmt: skip
        run, files = registry.log(client, logged), [bundle.folder / "model.json"]
        versions[bundle.release] = registry.register(client, run, bundle.release, bundle.digest, files, inputs, "card")
    return versions


@pytest.mark.fault("F51")
@pytest.mark.fault("F68")
def test_an_alias_changed_by_hand_is_restored_and_nothing_served_notices_or_misses_mlflow(
    installation: Installation,
) -> None:
    champion = installation.become_champion()
    challenger = installation.challenger()
    address = f"http://127.0.0.1:{free_port_base()}"
    known = installation.settings.model_copy(update={"mlflow_url": address, "mlflow_password": SecretStr(PASSWORD)})
    installation = replace(installation, settings=known)
    registry = Registry(known, PROJECT.name)
    with mlflow(installation.scratch / "mlflow", address):
        versions = registered(registry, champion, challenger)
        client = registry.client()
        assert installation.ask("reconcile")[0] == 0
        right = {"champion": versions[champion.release], "challenger": versions[challenger.release]}
        assert registry.aliases(client) == right

        client.set_registered_model_alias(PROJECT.name, "champion", versions[challenger.release])
        installation.slots.restart(PROJECT.name, "blue")
        installation.slots.wait_ready(PROJECT.name, "blue", champion.release, 60)
        code, facts = installation.ask("reconcile")
        changed = {"champion": {"found": challenger.release, "now": champion.release}}
        assert (code, facts["aliases"]) == (0, changed)
        assert registry.aliases(client) == right
        with installation.ledger() as ledger:
            assert ledger.audits(PROJECT.name)[0]["document"] == {"aliases": changed}
        assert installation.ask("reconcile")[1]["aliases"] == {}
    assert installation.ask("reconcile")[0] == 99, "MLflow was killed"
    assert installation.ask("start")[0] == 0
    assert installation.ask("step", percent=5)[0] == 99
    assert installation.weights == {"blue": 95, "green": 5}
    code, facts = installation.ask("abort")
    assert (code, facts["state"], installation.weights) == (0, "aborted", {"blue": 100, "green": 0})
    with mlflow(installation.scratch / "mlflow", address):
        assert installation.ask("reconcile")[0] == 0
        assert registry.aliases(registry.client()) == {"champion": versions[champion.release]}
