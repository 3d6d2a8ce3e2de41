"""The point-in-time join with Polars."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars

from tests.bench.made_up import TTL
from tests.bench.measure import report


def point_in_time(labels: Path) -> dict[str, Any]:
    """Every label beside the newest value not older than the ttl, in the order of the labels."""
    left = polars.scan_parquet(labels).with_row_index("place").sort("event_time")
    right = polars.scan_parquet(labels.parent / "values.parquet").sort("available_at")
    joined = left.join_asof(
        right,
        left_on="event_time",
        right_on="available_at",
        by="entity_id",
        strategy="backward",
        tolerance=TTL - timedelta(microseconds=1),
        check_sortedness=False,
    )
    return {"rows": joined.sort("place").collect().height}


if __name__ == "__main__":
    report(
        {
            "point_in_time": lambda folder: partial(point_in_time, folder / "labels-1000000.parquet"),
            "point_in_time_10m": lambda folder: partial(point_in_time, folder / "labels-10000000.parquet"),
        }
    )
