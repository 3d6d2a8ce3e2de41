"""The point-in-time join as one would write it by hand for DuckDB."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from tests.bench.made_up import FEATURES, TTL
from tests.bench.measure import report


def point_in_time(labels: Path) -> dict[str, Any]:
    """Every label beside the newest value not older than the ttl."""
    values = labels.parent / "values.parquet"
    ttl = f"interval {TTL.days} day"
    columns = ", ".join(
        f"case when l.event_time < v.available_at + {ttl} then v.{name} end as {name}" for name in FEATURES
    )
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        table = connection.sql(
            f"select l.*, {columns} from read_parquet('{labels}') l asof left join "
            f"read_parquet('{values}') v "
            "on l.entity_id = v.entity_id and l.event_time >= v.available_at"
        ).to_arrow_table()
    return {"rows": len(table)}


if __name__ == "__main__":
    report(
        {
            "point_in_time": lambda folder: partial(point_in_time, folder / "labels-1000000.parquet"),
            "point_in_time_10m": lambda folder: partial(point_in_time, folder / "labels-10000000.parquet"),
        }
    )
