"""Small deliveries of payments, as a producer would write them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.batch import Batches
from jobs.lake import Lake
from jobs.projects import find
from jobs.result import Result
from jobs.settings import Settings
from jobs.stages import ingest, land
from jobs.storage import current

DAY = date(2026, 1, 10)
FRAUD = find("fraud")
HEADER = "transaction_id,event_time,customer_id,terminal_id,amount_cents"
Row = dict[str, Any]


def payment(number: int, **changes: Any) -> Row:
    """A payment of `DAY`, with what a case changes about it."""
    row = {
        "transaction_id": f"t{number}",
        "event_time": f"2026-01-10T10:00:{number % 60:02d}Z",
        "customer_id": f"c{number % 7}",
        "terminal_id": f"m{number % 5}",
        "amount_cents": 1_000 + number,
    }
    return row | changes


def csv(rows: Iterable[Mapping[str, Any]]) -> bytes:
    lines = [",".join("" if value is None else str(value) for value in row.values()) for row in rows]
    return "".join(f"{line}\n" for line in [HEADER, *lines]).encode()


def jsonl(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(path: Path, rows: list[Row], **types: pa.DataType) -> bytes:
    table = pa.Table.from_pylist(rows)
    times = pa.array([row["event_time"] for row in rows]).cast(pa.timestamp("us", "UTC"))
    table = table.set_column(table.schema.get_field_index("event_time"), "event_time", times)
    for name, type_ in types.items():
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(type_))
    pq.write_table(table, path)
    return path.read_bytes()


def deliver(settings: Settings, files: Mapping[str, bytes], day: date = DAY, source: str = "transactions") -> Result:
    """Lands files under their names."""
    folder = settings.home / "out"
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return land.run(FRAUD, settings, files=[folder / name for name in files], source=source, batch=day.isoformat())


def take_in(settings: Settings, files: Mapping[str, bytes], day: date = DAY, source: str = "transactions") -> Result:
    """Lands files and ingests their day; checks that every row is accounted for."""
    deliver(settings, files, day, source)
    result = ingest.run(FRAUD, settings, batches=Batches(day, day), source=source)
    facts = result.facts
    assert facts["accepted"] + facts["quarantined"] + facts["duplicates"] == facts["delivered"]
    return result


def rows_of(partition: Path) -> list[Row]:
    published = current(partition)
    if published is None:
        return []
    found: list[Row] = pq.read_table(published.paths(), partitioning=None).to_pylist()
    return found


def accepted(settings: Settings, day: date = DAY, source: str = "transactions") -> list[Row]:
    return rows_of(Lake(settings.lake_uri).raw("fraud", source, day))


def quarantined(settings: Settings, day: date = DAY, source: str = "transactions") -> list[Row]:
    return rows_of(Lake(settings.lake_uri).quarantine("fraud", source, day))
