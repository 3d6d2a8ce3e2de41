"""Feast on the same files: historical features, materialization and reads, with its local defaults."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import feast
import pandas as pd
from feast.repo_config import RegistryConfig, RepoConfig
from feast.types import Int64

from tests.bench.made_up import FEATURES, FIRST, LAST, TTL
from tests.bench.measure import repeated, report

Work = Callable[[], dict[str, Any] | None]
VIEW = "values"
REFERENCES = [f"{VIEW}:{name}" for name in FEATURES]


def _store(folder: Path, online: Mapping[str, Any], place: Path) -> Any:
    config = RepoConfig(
        project="bench",
        provider="local",
        registry=RegistryConfig(path=str(place / "registry.db")),
        online_store=dict(online),
        offline_store={"type": "file"},
        entity_key_serialization_version=3,
    )
    store = feast.FeatureStore(config=config)
    entity = feast.Entity(name="entity", join_keys=["entity_id"], value_type=feast.ValueType.STRING)
    source = feast.FileSource(path=str(folder / "values.parquet"), timestamp_field="available_at")
    fields = [feast.Field(name=name, dtype=Int64) for name in FEATURES]
    store.apply([entity, feast.FeatureView(name=VIEW, entities=[entity], ttl=TTL, schema=fields, source=source)])
    return store


def point_in_time(folder: Path) -> Work:
    """Every label beside the newest value not older than the ttl."""
    place = Path(tempfile.mkdtemp(dir=folder))
    store = _store(folder, {"type": "sqlite", "path": str(place / "online.db")}, place)

    def work() -> dict[str, Any]:
        labels = pd.read_parquet(folder / "labels-1000000.parquet").rename(columns={"event_time": "event_timestamp"})
        return {"rows": len(store.get_historical_features(entity_df=labels, features=REFERENCES).to_df())}

    return work


def _online(folder: Path, kind: str) -> dict[str, Any]:
    place = folder / f"feast-{kind}"
    place.mkdir(exist_ok=True)
    if kind == "redis":
        return {"type": "redis", "connection_string": os.environ["BENCH_REDIS"]}
    return {"type": "sqlite", "path": f"{place}/online.db"}


def _materialize(folder: Path, kind: str) -> Work:
    store = _store(folder, _online(folder, kind), folder / f"feast-{kind}")
    start = datetime.combine(FIRST, time(), tzinfo=UTC)
    return lambda: store.materialize(start, datetime.combine(LAST, time(), tzinfo=UTC) + timedelta(days=2))


def _read(folder: Path, kind: str, count: int, times: int) -> Work:
    store = _store(folder, _online(folder, kind), folder / f"feast-{kind}")
    rows = [{"entity_id": f"e{number * 7}"} for number in range(count)]
    answer = store.get_online_features(features=REFERENCES, entity_rows=rows).to_dict()
    if any(value is None for value in answer[FEATURES[0]]):
        raise SystemExit("Feast found no value for a key that was materialized")
    return lambda: repeated(lambda: store.get_online_features(features=REFERENCES, entity_rows=rows), times)


if __name__ == "__main__":
    report(
        {
            "point_in_time": point_in_time,
            "materialize_sqlite": lambda folder: _materialize(folder, "sqlite"),
            "materialize_redis": lambda folder: _materialize(folder, "redis"),
            "read_1_sqlite": lambda folder: _read(folder, "sqlite", 1, 300),
            "read_100_sqlite": lambda folder: _read(folder, "sqlite", 100, 50),
            "read_1_redis": lambda folder: _read(folder, "redis", 1, 300),
            "read_100_redis": lambda folder: _read(folder, "redis", 100, 50),
        }
    )
