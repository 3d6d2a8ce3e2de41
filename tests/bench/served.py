"""A made-up month of serving: a lake with two months of payments, and a prediction log with a million vectors."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.features import vectors
from jobs.lake import Lake
from jobs.projects.fraud.spec import FRAUD
from jobs.storage import publish, require

SERVED_DAYS, REACH_DAYS, A_DAY = 30, 38, 33_334
FIRST = date(2026, 1, 1)
_INSTANT, _DAY = pa.timestamp("us", "UTC"), 86_400_000_000
_FLAGS = ("label", "genuine", "small_fraud")


def make(lake: Lake) -> int:
    """Publishes the spine, the batch view and the log's days; returns how many vectors the log holds."""
    random = np.random.default_rng(1)
    days = [FIRST + timedelta(days=offset) for offset in range(REACH_DAYS + SERVED_DAYS)]
    for day in days:
        _put(lake.spine("fraud", day), _spine(day, random))
        _put(lake.features("fraud", FRAUD.views[0].name, day), _profile(day, random))
    log = _log(lake, days[REACH_DAYS:])
    for place, day in enumerate(days[REACH_DAYS:]):
        _put(lake.raw("fraud", "predictions", day), log.slice(place * A_DAY, A_DAY))
    return len(log)


def _midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


def _spine(day: date, random: np.random.Generator) -> pa.Table:
    times = np.sort(_midnight(day) + random.integers(0, 86_400, A_DAY) * 1_000_000)
    read = sorted({column for view in FRAUD.live_views for column in view.columns} | {"label", "amount_cents"})
    values: dict[str, Any] = {
        name: pa.array(random.uniform(size=A_DAY) < 0.01) if name in _FLAGS else random.integers(1, 20_000, A_DAY)
        for name in read
    }
    return pa.table(
        {
            "event_id": [f"{day:%Y%m%d}{number:06d}" for number in range(A_DAY)],
            "event_time": pa.array(times).cast(_INSTANT),
            "customer_id": [f"C{number:05d}" for number in random.integers(0, A_DAY // 2, A_DAY)],
            "terminal_id": [f"T{number:05d}" for number in random.integers(0, A_DAY, A_DAY)],
            "label_time": pa.array(times + 7 * _DAY).cast(_INSTANT),
            **values,
        }
    )


def _profile(day: date, random: np.random.Generator) -> pa.Table:
    keys = [f"C{number:05d}" for number in range(A_DAY // 2)]
    values = {name: random.integers(0, 1_000, len(keys)) for name in FRAUD.views[0].features}
    visible = pa.array([_midnight(day) + _DAY] * len(keys)).cast(_INSTANT)
    return pa.table({"customer_id": keys, "batch": [day] * len(keys), "available_at": visible, **values})


def _log(lake: Lake, days: list[date]) -> pa.Table:
    """Days of serving in which everything went right: the vectors and provenance of the offline join."""
    paths = [path for day in days for path in require(lake.spine("fraud", day), "make").paths()]
    columns = ["event_id", "event_time", "customer_id", "terminal_id", "amount_cents"]
    events = pa.concat_tables([pq.read_table(path, columns=columns, partitioning=None) for path in paths])
    files = (
        vectors.view_files(FRAUD, lake, days[0], days[-1]),
        vectors.event_files(FRAUD, lake, days[0], days[-1]),
    )
    joined = vectors.join(FRAUD, events, *files, provenance=True)
    seen = {f"{view.name}__available_at": view for view in FRAUD.views}
    counted = {view.name: view for view in FRAUD.live_views}
    visible = {name: joined.column(name).cast(pa.int64()).to_pylist() for name in seen}
    numbers = {
        (name, what): joined.column(f"{name}__{what}").to_pylist()
        for name in counted
        for what in ("events", "checksum")
    }
    provenance = [
        json.dumps(
            {view.name: {"schema": view.schema, "available_at": visible[name][row]} for name, view in seen.items()}
            | {
                name: {"schema": view.schema, "events": numbers[name, "events"][row],
                       "checksum": numbers[name, "checksum"][row]}
                for name, view in counted.items()
            },
            separators=(",", ":"),
        )
        for row in range(len(events))
    ]  # fmt: skip
    payloads = events.rename_columns(["transaction_id", *events.column_names[1:]]).to_pylist()
    count, names = len(events), events.column("event_id")
    return pa.table(
        {
            "request_id": pa.array([f"{number:032x}" for number in range(count)]),
            "event_id": names,
            "event_time": events.column("event_time"),
            "served_at": events.column("event_time"),
            "release": ["r-000000000001"] * count,
            "slot": ["blue"] * count,
            "score": np.full(count, 0.5),
            "decision": ["approve"] * count,
            "degraded": np.zeros(count, dtype=bool),
            "entities": ["{}"] * count,
            "payload": [json.dumps({**row, "event_time": row["event_time"].isoformat()}) for row in payloads],
            "vector": [json.dumps(row, separators=(",", ":")) for row in vectors.inputs(FRAUD, joined).tolist()],
            "provenance": provenance,
        }
    )


def _put(partition: Path, table: pa.Table) -> None:
    def write(folder: Path) -> int:
        pq.write_table(table, folder / "part-00000.parquet", compression="zstd")
        return len(table)

    publish(partition, write, inputs={}, watermark="2026-12-31")
