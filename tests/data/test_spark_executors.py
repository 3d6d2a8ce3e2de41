"""Spark on executors of its own, as on a cluster: one is killed in the middle of a stage, and S3's jars are missing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from jobs.batch import Batches
from jobs.lake import Lake
from jobs.settings import ROOT, Settings
from jobs.stages import ingest, simulate
from tests.data.deliveries import FRAUD, rows_of

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]
DAYS = Batches.parse("2026-01-01..2026-01-02")
_ETL = """
import json, os, signal, threading, time
from pathlib import Path
from jobs.batch import Batches
from jobs.errors import SettingError
from jobs.projects import find
from jobs.settings import Settings
from jobs.spark import session
from jobs.stages import etl

settings = Settings.load()
context, killed = session(settings).sparkContext, []
driver = f"CoarseGrainedScheduler@127.0.0.1:{context.getConf().get('spark.driver.port')}"

def executors():
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if driver in (folder / "cmdline").read_bytes().decode():
                yield int(folder.name)
        except OSError:
            pass

def kill():
    tracker = context.statusTracker()
    while not killed:
        for stage in tracker.getActiveStageIds():
            found = tracker.getStageInfo(stage)
            if found and found.numActiveTasks and (running := list(executors())):
                os.kill(running[0], signal.SIGKILL)
                killed.append(running[0])
                break
        time.sleep(0.01)

threading.Thread(target=kill, daemon=True).start()
result = etl.run(find("fraud"), settings, batches=Batches.parse("2026-01-01..2026-01-02"))
told = {"code": result.exit_code, "killed": killed, "alive": list(executors())}
for scheme in ("s3", "s3a"):
    try:
        session(settings.model_copy(update={"lake_uri": "s3://lake/prod", "spark_files": scheme}))
    except SettingError as error:
        told[scheme] = str(error)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process says that cleaned two days while an executor was killed."""
    home = tmp_path_factory.mktemp("executors")
    settings = Settings(_env_file=None, home=home, lake_uri=str(home / "lake"))  # type: ignore[call-arg]
    simulate.run(FRAUD, settings, batches=DAYS, out=settings.home / "out", mishaps=True, deliver=True)
    ingest.run(FRAUD, settings, batches=DAYS)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "TIDEMILL_HOME": str(settings.home), "TIDEMILL_LAKE_URI": settings.lake_uri,
        "TIDEMILL_SPARK_MASTER": "local-cluster[2,1,1024]", "SPARK_SCALA_VERSION": "2.13",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", _ETL], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found | {"lake": settings.lake_uri}


@pytest.mark.fault("F13")
def test_an_executor_killed_in_the_middle_of_a_stage_costs_no_row(told: dict[str, Any]) -> None:
    assert told["code"] == 0
    assert len(told["killed"]) == 1
    assert told["killed"][0] not in told["alive"]
    lake = Lake(told["lake"])
    raw = {row["transaction_id"] for day in DAYS for row in rows_of(lake.raw("fraud", "transactions", day))}
    clean = [row["transaction_id"] for day in DAYS for row in rows_of(lake.clean("fraud", "transactions", day))]
    assert sorted(clean) == sorted(raw)


@pytest.mark.parametrize("scheme", ["s3", "s3a"])
def test_a_spark_without_the_jars_says_which_package_to_add(told: dict[str, Any], scheme: str) -> None:
    assert re.search(r"org\.apache\.hadoop:hadoop-aws:\d+\.\d+\.\d+", told[scheme])
