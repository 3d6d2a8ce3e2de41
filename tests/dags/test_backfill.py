"""The data DAG for real: Airflow, Spark, Great Expectations and dbt over days a producer delivered."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from jobs import storage
from jobs.projects import PROJECTS
from jobs.settings import ROOT
from tests.dags.airflow_here import Airflow

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]
PROJECT = next(iter(PROJECTS.values()))
DATA = f"{PROJECT.name}_data"
FIRST, LAST, DAYS = "2026-01-05", "2026-01-07", 3


def digests(lake: Path) -> dict[str, str]:
    """The digest of every published partition, by its place in the lake."""
    found = {}
    for pointer in sorted(lake.rglob(storage.POINTER)):
        published = storage.current(pointer.parent)
        assert published is not None
        found[pointer.parent.relative_to(lake).as_posix()] = published.digest
    return found


def backfill(airflow: Airflow, *options: str) -> None:
    """Creates it and waits until each day's run has succeeded."""
    airflow.run("backfill", "create", "--dag-id", DATA, "--from-date", FIRST, "--to-date", LAST, *options)
    ended = "SELECT state FROM dag_run WHERE dag_id = %s AND run_type = 'backfill' AND logical_date BETWEEN %s AND %s"
    open_ = "SELECT 1 FROM backfill WHERE completed_at IS NULL"
    airflow.until(lambda: not airflow.query(open_), 600)
    assert [state for (state,) in airflow.query(ended, DATA, FIRST, LAST)] == ["success"] * DAYS


def test_a_backfill_run_twice_leaves_identical_digests(airflow: Airflow, tmp_path: Path) -> None:
    environment = {
        "TIDEMILL_HOME": str(airflow.folder),
        "TIDEMILL_LAKE_URI": airflow.settings.lake_uri,
        "PATH": os.environ["PATH"],
    }
    arguments = ["--project", PROJECT.name, "--batch", f"{FIRST}..{LAST}", "--out", tmp_path, "--land", "--mishaps"]
    subprocess.run(
        [ROOT / ".venv" / "jobs" / "bin" / "tidemill", "simulate", *arguments], env=environment, check=True, timeout=120
    )
    lake = Path(airflow.settings.lake_uri)
    with airflow.real_stages():
        backfill(airflow)
        once = digests(lake)
        backfill(airflow, "--reprocess-behavior", "completed")
    assert digests(lake) == once
    for view in PROJECT.views:
        assert f"features/{PROJECT.name}/{view.name}/batch={LAST}" in once
