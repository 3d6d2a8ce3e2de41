"""Seeded data for the benchmarks, written with DuckDB: entities with a value a day, and labels to join them to."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

DAYS = 10
FIRST = date(2026, 1, 1)
LAST = FIRST + timedelta(days=DAYS - 1)
FEATURES = tuple(f"f{number:02d}" for number in range(24))
TTL = timedelta(days=3)


def values(folder: Path, entities: int) -> Path:
    """A Parquet file with a row per entity and day: its key, `available_at`, `batch` and 24 integers."""
    path = folder / "values.parquet"
    columns = ", ".join(
        f"(hash(e * 31 + d * 7 + {number}) % 100000)::bigint as {name}" for number, name in enumerate(FEATURES)
    )
    _write(
        f"select 'e' || e as entity_id, cast(date '{FIRST}' + cast(d as integer) as date) as batch, "
        f"timestamptz '{FIRST} 00:00:00+00' + interval 1 day * (d + 1) as available_at, "
        f"{columns} "
        f"from range({entities}) t(e), range({DAYS}) u(d) order by d, e",
        path,
    )
    return path


def labels(folder: Path, rows: int, entities: int) -> Path:
    """A Parquet file with an event id, a key, an `event_time` and a label in each row."""
    path = folder / f"labels-{rows}.parquet"
    _write(
        f"select i::varchar as event_id, 'e' || (hash(i) % {entities}) as entity_id, "
        f"timestamptz '{FIRST + timedelta(days=2)} 00:00:00+00' + "
        f"to_microseconds((hash(i + 1) % {(DAYS - 2) * 86_400_000_000})::bigint) as event_time, "
        f"hash(i + 2) % 100 = 0 as label "
        f"from range({rows}) t(i)",
        path,
    )
    return path


def _write(query: str, path: Path) -> None:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"copy ({query}) to '{path}' (format parquet, row_group_size 100000)")
