"""Made-up payments with a few compromised terminals, published day by day as the features stage does."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.batch import Batches, day_start
from jobs.lake import Lake
from jobs.projects.fraud.spec import FRAUD
from jobs.storage import publish

INSTANT = pa.timestamp("us", "UTC")
DAY = 86_400_000_000


def payments(day: date, rows: int = 300) -> pa.Table:
    """A day's spine: a third of the payments at terminals that are compromised for two weeks is not genuine."""
    random = np.random.default_rng(day.toordinal())
    terminal = random.integers(0, 60, rows)
    compromised = (terminal + day.toordinal() // 14) % 12 == 0
    cents = np.round(np.exp(random.normal(8.3, 0.8, rows))).astype(np.int64)
    label = (random.random(rows) < 0.35 * compromised + 0.6 * (cents > 22_000)) | (random.random(rows) < 0.004)
    start = int(day_start(day).timestamp() * 1_000_000)
    time = start + np.sort(random.integers(0, DAY, rows))
    return pa.table(
        {
            "event_id": [f"{day}-{row:04}" for row in range(rows)],
            "event_time": pa.array(time, INSTANT),
            "customer_id": [f"c{one}" for one in random.integers(0, 900, rows)],
            "terminal_id": [f"t{one}" for one in terminal],
            "amount_cents": cents,
            "label": label,
            "label_time": pa.array(time + FRAUD.label.delay_days * DAY, INSTANT),
        }
    )


def publish_days(lake: Lake, days: Batches, rows: int = 300) -> None:
    """Their spines."""
    for day in days:
        publish_spine(lake, day, payments(day, rows))


def publish_spine(lake: Lake, day: date, table: pa.Table) -> None:
    """A day's spine; a column that a live view reads and the table lacks is 0."""
    for name in sorted({column for view in FRAUD.live_views for column in view.columns} - set(table.column_names)):
        table = table.append_column(name, pa.array(np.zeros(len(table), dtype=np.int64)))

    def write(folder) -> int:
        pq.write_table(table, folder / "part-00000.parquet")
        return len(table)

    publish(lake.spine(FRAUD.name, day), write, inputs={"made up": str(len(table))}, watermark=str(day))
