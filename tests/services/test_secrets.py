"""A secret that every command is given, and that none of them writes down or says, least of all when it fails."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.__main__ import app
from jobs.errors import TidemillError, of_machine
from tests.data.deliveries import csv, payment

CANARY = "canary-7b2e-of-these-tests"
AWAY = "127.0.0.1:1"
ENVIRONMENT = {
    "TIDEMILL_DATABASE_URL": f"postgresql://tidemill:{CANARY}@{AWAY}/tidemill?connect_timeout=1",
    "TIDEMILL_OPTUNA_URL": f"postgresql+psycopg2://optuna:{CANARY}@{AWAY}/optuna",
    "TIDEMILL_ONLINE_STORE_URL": f"redis://:{CANARY}@{AWAY}/0",
    "TIDEMILL_API_KEY": CANARY,
    "TIDEMILL_MLFLOW_PASSWORD": CANARY,
    "TIDEMILL_MLFLOW_URL": f"http://{AWAY}",
    "TIDEMILL_AIRFLOW_PASSWORD": CANARY,
    "TIDEMILL_AIRFLOW_URL": f"http://{AWAY}",
    "AWS_SECRET_ACCESS_KEY": CANARY,
}
COMMANDS = [
    "ingest --project fraud --batch 2026-01-10 --json",
    "doctor --json", "status --json", "explain fraud --json",
    "features --project fraud --batch 2026-01-10",
    "gate --project fraud --run first",
    "register --project fraud --run first",
    "rollout status --project fraud", "rollout start --project fraud",
    "request-retrain --project fraud --batch 2026-01-10",
]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TIDEMILL_HOME", str(tmp_path))
    monkeypatch.setenv("TIDEMILL_LAKE_URI", str(tmp_path / "lake"))
    yield tmp_path
    logging.disable(logging.NOTSET)


@pytest.mark.fault("F64")
def test_no_command_says_or_keeps_a_secret_it_was_given(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    delivered = home / "day-2026-01-10.csv"
    delivered.write_bytes(csv([payment(1)]))
    said, failed = {}, 0
    for command in [f"land --project fraud --source transactions {delivered}", *COMMANDS]:
        result = CliRunner().invoke(app, command.split())
        told = f"{result.output}\n{_shown(result.exception)}"
        failed += isinstance(result.exception, TidemillError)
        said[command] = told
    assert failed >= 3, "what is away was asked for: the paths of errors were taken"
    assert [command for command, told in said.items() if CANARY in told] == []
    assert CANARY not in caplog.text
    kept = [path for path in home.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert kept == []


def _shown(error: BaseException | None) -> str:
    """What the command line prints of an error: one line, or for one that nobody expected everything."""
    if isinstance(error, TidemillError):
        return str(error)
    if error is None or isinstance(error, SystemExit):
        return ""
    return str(of_machine(error) or "".join(traceback.format_exception(error)))
