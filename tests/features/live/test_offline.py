"""The generated SQL, on DuckDB and on Spark, gives what the declaration says of the lake and the events asked about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from jobs.features.live.offline import windows
from jobs.features.live.sql import query
from jobs.settings import Settings
from jobs.spark import session
from jobs.spec import LiveView
from tests.features.live.streams import HOUR, START, Row, naive, streams
from tests.features.live.views import OF_EACH_KIND, every_view

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

KEYS = (("a", "x"), ("a", "y"), ("ay", ""), ("", "ay"))


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> SparkSession:
    home = tmp_path_factory.mktemp("spark")
    started = session(Settings(_env_file=None, home=home, lake_uri=str(home / "lake")))
    started.conf.set("spark.sql.shuffle.partitions", "1")
    started.conf.set("spark.sql.codegen.wholeStage", "false")  # compiling takes longer than these few rows
    return started


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
@examples(max_examples=20, deadline=None)
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


def test_spark_answers_as_duckdb_does(spark: SparkSession, tmp_path: Path) -> None:
    """The same declaration in the other dialect, on one stream with ties, late events, nulls and every hop."""
    random = Random(20_261_121)
    stream = [
        Row(
            time=START + random.randrange(0, 60) * 6 * HOUR + random.choice([0, 0, 0, 1, -1]),
            id=random.choice(["é", "z", "Z", "😀", "￿", "a", "aa", "10", "9"]),
            cents=random.randrange(500),
            delta=random.randrange(-3, 4),
            place=random.choice(["", "Zürich", "Bern", "B"]),
            key=random.choice(KEYS),
        )
        for _ in range(400)
    ]
    lake, asked = unique(stream[:300]), stream[200:]
    path = tmp_path / "day.parquet"
    pq.write_table(table(lake, labels=True), path)
    requests = table(asked, labels=False).append_column("_row", pa.array(range(len(asked)), pa.int64()))
    pq.write_table(requests, tmp_path / "asked.parquet")
    spark.read.parquet(str(path)).createOrReplaceTempView("lake")
    spark.read.parquet(str(tmp_path / "asked.parquet")).createOrReplaceTempView("asked")
    view = keyed(OF_EACH_KIND)
    sql = query(view, "spark", carried=["cents", "place"], texts=["place"], provenance=True)
    rows = sorted(tuple(row) for row in spark.sql(sql).collect())
    answered = windows([view], table(asked, labels=False), {view: [str(path)]}, provenance=True)
    got = [(*row[1:-3], row[-1], *row[-3:-1]) for row in rows]
    assert got == answers(view, answered) == expected(view, lake, asked)
