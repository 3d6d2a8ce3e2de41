"""Airflow is not installed beside pytest: it is asked through its own environment, once a session."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from jobs.settings import ROOT, Settings
from tests.dags.airflow_here import ORCHESTRATE, Airflow


@pytest.fixture(scope="session")
def bag(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow makes of the DAG folder: `errors`, `dags` and `seconds` a file."""
    return parsed(tmp_path_factory.mktemp("bag"))


def parsed(home: Path, *path: Path, more: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The same, with more folders on Python's path, and more in the environment."""
    environment = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT])),
        "PATH": os.environ["PATH"],
        **(more or {}),
    }
    answer = subprocess.run(
        [ORCHESTRATE / "python", Path(__file__).with_name("dump_dags.py"), ROOT / "dags"],
        env=environment, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="session")
def dags(bag: dict[str, Any]) -> dict[str, Any]:
    assert bag["errors"] == {}
    found: dict[str, Any] = bag["dags"]
    return found


@pytest.fixture(scope="package")
def airflow(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """A running Airflow with the project's DAGs, whose `tidemill` answers what a test lays down."""
    home = tmp_path_factory.mktemp("airflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        base = free.getsockname()[1] - 2  # airflow listens on the base plus two
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        home=home,
        lake_uri=str(home / "lake"),
        online_store_url=f"sqlite:///{home / 'online'}",
        port_base=base,
    )
    with Airflow(settings, postgres) as here:
        yield here
