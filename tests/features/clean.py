"""Clean partitions as `etl` and `validate` leave them, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.lake import Lake
from jobs.storage import digest_of, publish, require

INSTANT = pa.timestamp("us", "UTC")
TRANSACTIONS = pa.schema(
    {"transaction_id": pa.string(), "event_time": INSTANT, "customer_id": pa.string(), "terminal_id": pa.string(),
     "amount_cents": pa.int64(), "is_fraud": pa.bool_()}
)  # fmt: skip
REPORTS = pa.schema(
    {"report_id": pa.string(), "reported_at": INSTANT, "transaction_id": pa.string(), "is_fraud": pa.bool_()}
)


def at(day: date, hour: int = 12, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), tzinfo=UTC)


def payment(day: date, event: str, customer: str, terminal: str, cents: int, is_fraud: bool | None = None) -> dict:
    return {"transaction_id": event, "event_time": at(day), "customer_id": customer, "terminal_id": terminal,
            "amount_cents": cents, "is_fraud": is_fraud}  # fmt: skip


def report(day: date, event: str, is_fraud: bool = True) -> dict:
    return {"report_id": f"r-{event}", "reported_at": at(day, 10), "transaction_id": event, "is_fraud": is_fraud}


def deliver(
    lake: Lake,
    day: date,
    payments: Sequence[Mapping] | pa.Table,
    reports: Sequence[Mapping] = (),
    *,
    passed: bool = True,
    watermark: date | None = None,
    force: bool = False,
    judged: bool = True,
) -> None:
    """A clean day and its verdict, as made from deliveries up to the watermark."""
    table = payments if isinstance(payments, pa.Table) else pa.Table.from_pylist(list(payments), TRANSACTIONS)
    reach = str(watermark or day)
    for name, rows in (("transactions", table), ("fraud_reports", pa.Table.from_pylist(list(reports), REPORTS))):
        publish(
            lake.clean("fraud", name, day),
            lambda folder, rows=rows: pq.write_table(rows, folder / "part-00000.parquet") or len(rows),
            inputs={"made up": digest_of([rows.num_rows, str(rows.to_pylist()) if rows.num_rows < 100 else "", reach])},
            watermark=reach,
            force=force,
        )
    if judged:
        verdict(lake, day, passed=passed, watermark=reach, force=force)


def verdict(lake: Lake, day: date, *, passed: bool, watermark: str, force: bool = False) -> None:
    publish(
        lake.validation("fraud", day),
        lambda folder: (folder / "verdict.json").write_text('{"made up": true}') and 1,
        inputs={
            table: require(lake.clean("fraud", table, day), "the test").digest
            for table in ("transactions", "fraud_reports")
        }
        | {"made up": str(passed)},
        watermark=watermark,
        facts={"passed": passed},
        force=force,
    )


def handbook(path: Path) -> pa.Table:
    """A public handbook file as a clean day of transactions."""
    raw = pq.read_table(path)
    columns = [
        raw["TRANSACTION_ID"].cast(pa.string()),
        raw["TX_DATETIME"].cast(pa.timestamp("us")).cast(pa.int64()).cast(INSTANT),
        raw["CUSTOMER_ID"].cast(pa.string()),
        raw["TERMINAL_ID"].cast(pa.string()),
        pc.round(pc.multiply(raw["TX_AMOUNT"], 100.0)).cast(pa.int64()),
        pc.equal(raw["TX_FRAUD"], 1),
    ]
    return pa.table(columns, schema=TRANSACTIONS)


def offline(lake: Lake, view: str, day: date) -> pa.Table:
    """A published partition of a view, or of the spine."""
    (path,) = require(lake.features("fraud", view, day), "the test").paths()
    return pq.read_table(path, partitioning=None)
