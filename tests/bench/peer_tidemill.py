"""Ours on the same files: the point-in-time join, materialization and reads, as the stages call them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb  # noqa: F401 - imported before the measurement
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.features import point_in_time as joining
from jobs.features.materialize import materialize
from jobs.features.online import OnlineStore
from jobs.lake import Lake
from jobs.projects.fraud.spec import FRAUD
from jobs.settings import Settings
from jobs.spec import FeatureView, Project
from jobs.storage import publish
from tests.bench.made_up import FEATURES, LAST, TTL
from tests.bench.measure import repeated, report

Work = Callable[[], dict[str, Any] | None]
VIEW = FeatureView(name="values", entity=("entity_id",), features=FEATURES, lookback_days=1, ttl=TTL)
PROJECT: Project = replace(FRAUD, name="bench", views=(VIEW,), live_views=())


def point_in_time(labels: Path) -> dict[str, Any]:
    """Every label beside the newest value not older than the ttl, in the order of the labels."""
    return {"rows": len(joining.join(pq.read_table(labels), {VIEW: [str(labels.parent / "values.parquet")]}))}


def point_in_time_in_files(labels: Path) -> dict[str, Any]:
    """The same as Parquet files, in order of time, a slice of it at a time: for more rows than a table should have."""
    with tempfile.TemporaryDirectory(dir=labels.parent) as folder:
        files = joining.join_files([str(labels)], {VIEW: [str(labels.parent / "values.parquet")]}, Path(folder))
        return {"rows": sum(pq.read_metadata(file).num_rows for file in files)}


def _settings(folder: Path, kind: str) -> Settings:
    url = f"redis://{os.environ.get('BENCH_REDIS', '')}/1" if kind == "redis" else f"sqlite:///{folder / 'online'}"
    return Settings(home=folder, lake_uri=str(folder / "lake"), online_store_url=url)


def _materialize(folder: Path, kind: str) -> Work:
    settings = _settings(folder, kind)
    return lambda: {"values": sum(materialize(PROJECT, settings).values())}


def published(folder: Path) -> None:
    """Publishes the made-up values as the view's partitions, a day each: what materialization reads."""
    table = pq.read_table(folder / "values.parquet")
    for day in pc.unique(table.column("batch")).to_pylist():
        rows = table.filter(pc.equal(table.column("batch"), day))
        _publish(folder, day, rows)


def _publish(folder: Path, day: date, rows: Any) -> None:
    def write(to: Path) -> int:
        pq.write_table(rows, to / "part-00000.parquet")
        return len(rows)

    publish(Lake(str(folder / "lake")).features("bench", "values", day), write, inputs={}, watermark=str(day))


def _read(folder: Path, kind: str, count: int, times: int) -> Work:
    store = OnlineStore.open(_settings(folder, kind).online_store_url, PROJECT)
    keys = [(f"e{number * 7}",) for number in range(count)]
    at = int((datetime(LAST.year, LAST.month, LAST.day, tzinfo=UTC) + timedelta(days=1, hours=1)).timestamp() * 1e6)
    found = store.read(VIEW, keys, [at] * count)[1]
    if not found.all():
        raise SystemExit("no value for a key that was materialized")
    return lambda: repeated(lambda: store.read(VIEW, keys, [at] * count), times)


if __name__ == "__main__":
    report(
        {
            "point_in_time": lambda folder: partial(point_in_time, folder / "labels-1000000.parquet"),
            "point_in_time_10m": lambda folder: partial(point_in_time_in_files, folder / "labels-10000000.parquet"),
            "materialize_sqlite": lambda folder: _materialize(folder, "sqlite"),
            "materialize_redis": lambda folder: _materialize(folder, "redis"),
            "read_1_sqlite": lambda folder: _read(folder, "sqlite", 1, 3_000),
            "read_100_sqlite": lambda folder: _read(folder, "sqlite", 100, 500),
            "read_1_redis": lambda folder: _read(folder, "redis", 1, 3_000),
            "read_100_redis": lambda folder: _read(folder, "redis", 100, 500),
        }
    )
