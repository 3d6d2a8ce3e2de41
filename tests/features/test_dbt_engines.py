"""The same models on DuckDB and on Spark: every partition equal, and what dbt's tests refuse refused by both."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq
import pytest

from jobs.batch import Batches
from jobs.errors import DataRejected
from jobs.features.offline import event_marts
from jobs.lake import Lake
from jobs.projects.fraud.spec import FRAUD
from jobs.services import credentials
from jobs.services.ports import port
from jobs.services.programs import programs
from jobs.settings import ROOT, Settings
from jobs.stages import backfill, features, land, simulate
from jobs.storage import Published, current
from tests.features.clean import deliver, payment
from tests.ports import free_port_base

pytestmark = pytest.mark.timeout(900)  # dbt's thirty statements and tests are jobs of Spark, a second each

MARTS = (*(view.name for view in FRAUD.views), *event_marts(FRAUD))
Both = Mapping[str, Lake]


def installation(home: Path, warehouse: Literal["duckdb", "spark"]) -> Settings:
    return Settings(
        _env_file=None,
        home=home,
        lake_uri=str(home / "lake"),
        online_store_url=f"sqlite:///{home / 'online'}",
        warehouse=warehouse,
    )


def partitions(lake: Lake, mart: str) -> dict[str, Published]:
    found = {path.name: current(path) for path in lake.features("fraud", mart, date.min).parent.glob("batch=*")}
    return {name: published for name, published in sorted(found.items()) if published}


def assert_equal(duckdb: Lake, spark: Lake, batches: Batches) -> None:
    """Every partition has the same cells in the same order and types; its bytes, then, have the same digest."""
    for mart in MARTS:
        one, other = partitions(duckdb, mart), partitions(spark, mart)
        assert set(one) == set(other) >= {f"batch={day}" for day in batches}, mart
        for name in one:
            (left,), (right,) = (
                [pq.read_table(path, partitioning=None) for path in published[name].paths()]
                for published in (one, other)
            )
            assert left.schema.equals(right.schema), (mart, name, left.schema, right.schema)
            assert left.equals(right), (mart, name)
            assert one[name].digest == other[name].digest, (mart, name)
        assert sum(published.manifest.rows for published in one.values()), mart


def on_spark_too(made: Settings, home: Path, batches: Batches) -> Lake:
    """The same clean days, with features made on Spark."""
    settings = installation(home, "spark")
    Path(settings.lake_uri).mkdir(parents=True)
    for zone in ("clean", "validation"):
        (Path(settings.lake_uri) / zone).symlink_to(Path(made.lake_uri) / zone)
    assert features.run(FRAUD, settings, batches=batches).exit_code == 0
    assert not list((settings.home / "dbt").iterdir())
    assert not list(Path(settings.lake_uri).glob("scratch/fraud/*"))
    return Lake(settings.lake_uri)


def test_simulated_days_give_the_same_marts_on_both(tmp_path: Path) -> None:
    batches, made = Batches(date(2026, 1, 1), date(2026, 1, 3)), installation(tmp_path / "one", "duckdb")
    simulate.run(FRAUD, made, batches=batches, out=tmp_path / "files", mishaps=True, deliver=True)
    assert backfill.run(FRAUD, made, batches=batches).exit_code == 0
    assert_equal(Lake(made.lake_uri), on_spark_too(made, tmp_path / "other", batches), batches)


@pytest.mark.slow
def test_days_of_the_handbook_give_the_same_marts_on_both(tmp_path: Path, handbook_raw: Path) -> None:
    """Three days of real rows, landed and cleaned; skipped where the public files are absent."""
    batches, made = Batches(date(2018, 4, 1), date(2018, 4, 3)), installation(tmp_path / "one", "duckdb")
    land.run(FRAUD, made, files=[handbook_raw / f"{day}.parquet" for day in batches], source="transactions")
    assert backfill.run(FRAUD, made, batches=batches).exit_code == 0
    assert_equal(Lake(made.lake_uri), on_spark_too(made, tmp_path / "other", batches), batches)


def test_what_dbt_refuses_on_duckdb_it_refuses_on_spark(tmp_path: Path) -> None:
    settings, day = installation(tmp_path, "spark"), date(2026, 1, 1)
    lake = Lake(settings.lake_uri)
    deliver(lake, day, [payment(day, "same", "c", "t", 100), payment(day, "same", "c", "t", 200)])
    with pytest.raises(DataRejected, match="unique_key_stg_fraud__transactions"):
        features.run(FRAUD, settings, batches=Batches(day, day))
    assert not any(partitions(lake, mart) for mart in MARTS)


@pytest.mark.services
def test_a_warm_server_is_used_and_its_catalog_left_as_it_was(tmp_path: Path) -> None:
    settings = installation(tmp_path, "spark").model_copy(update={"port_base": free_port_base()})
    lake, day = Lake(settings.lake_uri), date(2026, 1, 1)
    deliver(lake, day, [payment(day, f"e{number}", f"c{number % 3}", "t", 100 + number) for number in range(9)])
    (server,) = (one for one in programs(settings) if one.name == "spark-connect")
    known = {
        "TIDEMILL_HOME": str(settings.home),
        "TIDEMILL_LAKE_URI": settings.lake_uri,
        "TIDEMILL_ONLINE_STORE_URL": settings.online_store_url,
        "TIDEMILL_WAREHOUSE": "spark",
        "TIDEMILL_SPARK_REMOTE": credentials.values(settings)["TIDEMILL_SPARK_REMOTE"],
    }
    schemas = (
        "from jobs import settings, spark; s = spark.session(settings.Settings.load()); "
        "print([row[0] for row in s.sql('show schemas').collect()])"
    )
    command = [sys.executable, "-m", "jobs", "features", "--project", "fraud", "--batch", str(day), "--json"]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            server.command, env=os.environ | server.environment, cwd=server.folder, stdout=log, stderr=log
        )
        try:
            wait_for_port(port(settings, "spark-connect"))
            for arguments in (command, [sys.executable, "-c", schemas]):
                answer = subprocess.run(
                    arguments,
                    cwd=ROOT,
                    env=os.environ | known,
                    capture_output=True,
                    text=True,
                    timeout=600,
                    check=False,
                )
                assert answer.returncode == 0, answer.stderr
        finally:
            process.terminate()
            process.wait(60)
    assert answer.stdout.strip() == "['default']"
    one = installation(tmp_path / "one", "duckdb")
    deliver(
        Lake(one.lake_uri),
        day,
        [payment(day, f"e{number}", f"c{number % 3}", "t", 100 + number) for number in range(9)],
    )
    features.run(FRAUD, one, batches=Batches(day, day))
    assert_equal(Lake(one.lake_uri), lake, Batches(day, day))


def wait_for_port(number: int, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", number)) == 0:
                return
        time.sleep(0.5)
    raise AssertionError(f"nothing listens on {number} after {seconds:.0f} s")
