"""The generated SQL, on DuckDB and on Spark, gives what the declaration says of the lake and the events asked about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.errors import DataRejected
from jobs.features.live.offline import windows
from jobs.features.live.sql import query
from jobs.spec import LiveView, Window
from tests.features.live.streams import NOW, START, Row, naive, streams, view_of
from tests.features.live.views import VIEWS, every_view

KEYS = (("a", "x"), ("a", "y"), ("ay", ""), ("", "ay"))
PAIR = LiveView(
    name="spending", entity=("who", 'wh"`ere'), windows=VIEWS["mixed"].windows + VIEWS["hourly"].windows[:0]
)


def keyed(view: LiveView) -> LiveView:
    """The same windows for an entity of two columns, one of them with an awkward name."""
    return LiveView(name=view.name, entity=("who", 'wh"`ere'), windows=view.windows)


def table(rows: Sequence[Row], *, labels: bool) -> pa.Table:
    """Events as the lake has them, or as a request carries them: without `delta`."""
    columns: dict[str, Any] = {
        "event_id": pa.array([row.id for row in rows], pa.string()),
        "event_time": pa.array([row.time for row in rows], pa.int64()).cast(pa.timestamp("us", "UTC")),
        "who": pa.array([row.key[0] for row in rows], pa.string()),
        'wh"`ere': pa.array([row.key[1] for row in rows], pa.string()),
        "cents": pa.array([row.cents for row in rows], pa.int32()),
        "place": pa.array([row.place or None for row in rows], pa.string()),
    }
    if labels:
        columns["delta"] = pa.array([row.delta or None for row in rows], pa.int64())
    return pa.table(columns)


def expected(view: LiveView, lake: Sequence[Row], asked: Sequence[Row]) -> list[tuple[Any, ...]]:
    fresh = [Row(row.time, row.id, row.cents, 0, row.place, row.key) for row in asked]
    found = []
    for row in asked:
        mine = [one for one in (*lake, *fresh) if one.key == row.key]
        reading = naive(view, mine, row.time, row.id)
        found.append((*reading.values, reading.events > 0, reading.events, reading.checksum))
    return found


def unique(rows: Sequence[Row]) -> list[Row]:
    return list({(row.key, row.identity): row for row in rows}.values())


def answers(view: LiveView, answered: pa.Table) -> list[tuple[Any, ...]]:
    names = [f"{view.name}__{name}" for name in (*view.features, "found", "events", "checksum")]
    return list(zip(*(answered.column(name).to_pylist() for name in names), strict=True))


@every_view
@settings(max_examples=20, deadline=None)
@given(stream=streams(keys=KEYS), split=st.integers(0, 25))
def test_duckdb_answers_as_the_declaration_says(
    view: LiveView, stream: list[Row], split: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    view, lake = keyed(view), unique(stream[:split])
    asked = stream[split // 2 :]
    path = tmp_path_factory.mktemp("lake") / "day.parquet"
    pq.write_table(table(lake, labels=True), path)
    answered = windows([view], table(asked, labels=False), {view: [str(path)]}, provenance=True)
    assert answered.column("event_id").to_pylist() == [row.id for row in asked]
    assert answers(view, answered) == expected(view, lake, asked)
    assert all(answered.column(f"{view.name}__{name}").type == pa.int64() for name in view.features)
