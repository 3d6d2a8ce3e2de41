"""A Spark executor killed in the middle of a stage: its work is done again, and no row is lost or there twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from jobs.batch import Batches
from jobs.lake import Lake
from jobs.settings import ROOT, Settings
from jobs.stages import ingest, simulate
from tests.data.deliveries import FRAUD, rows_of

DAYS = Batches.parse("2026-01-01..2026-01-02")
_ETL = """
import json, os, signal, threading, time
from pathlib import Path
from jobs.batch import Batches
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
print(json.dumps({"code": result.exit_code, "killed": killed, "alive": list(executors())}))
"""


@pytest.mark.services
@pytest.mark.timeout(300)
@pytest.mark.fault("F13")
def test_an_executor_killed_in_the_middle_of_a_stage_costs_no_row(settings: Settings) -> None:
    simulate.run(FRAUD, settings, batches=DAYS, out=settings.home / "out", mishaps=True, deliver=True)
    ingest.run(FRAUD, settings, batches=DAYS)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "TIDEMILL_HOME": str(settings.home), "TIDEMILL_LAKE_URI": settings.lake_uri,
        "TIDEMILL_SPARK_MASTER": "local-cluster[2,1,512]", "SPARK_SCALA_VERSION": "2.13",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", _ETL], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["code"] == 0
    assert len(told["killed"]) == 1
    assert told["killed"][0] not in told["alive"]
    lake = Lake(settings.lake_uri)
    raw = {row["transaction_id"] for day in DAYS for row in rows_of(lake.raw("fraud", "transactions", day))}
    clean = [row["transaction_id"] for day in DAYS for row in rows_of(lake.clean("fraud", "transactions", day))]
    assert sorted(clean) == sorted(raw)
