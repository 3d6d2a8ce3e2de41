"""The same models on DuckDB and on Spark: every partition equal, and what dbt's tests refuse refused by both."""

from __future__ import annotations

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
from jobs.settings import Settings
from jobs.stages import backfill, features, land, simulate
from jobs.storage import Published, current
from tests.features.clean import deliver, payment

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
