"""The generated SQL, on DuckDB and on Spark, gives what the declaration says of the lake and the events asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from jobs.errors import DataRejected
from jobs.features import vectors
from jobs.features.live import offline
from jobs.features.live.offline import windows
from jobs.features.live.sql import query
from jobs.projects.fraud.spec import TERMINAL
from jobs.settings import Settings
from jobs.spark import session
from jobs.spec import LiveView
from tests.features.live.streams import HOUR, START, Row, naive, streams, view_of
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
@examples(max_examples=30, deadline=None)
@given(stream=streams(most=20, size=60, keys=KEYS[:2]), split=st.integers(0, 60))
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


DAILY = timedelta(days=1)
SPENDING = view_of((DAILY, timedelta(0), None), functions=["count", "sum"])


def test_an_event_without_a_key_has_no_windows() -> None:
    rows = [Row(START + place, f"e{place}", 1, 0, "") for place in range(3)]
    asked = table(
        [replace(row, key=key) for row, key in zip(rows, (("a", None), ("a", "b"), (None, None)), strict=True)],
        labels=False,
    )
    answered = windows([keyed(SPENDING)], asked, {}, provenance=True)
    assert answers(SPENDING, answered) == [
        (0, 0, False, 0, 0),
        (1, 1, True, 1, (START + 1) & 0x7FFFFFFF),
        (0, 0, False, 0, 0),
    ]


def test_an_event_asked_twice_counts_once_and_the_lakes_row_wins(tmp_path: Path) -> None:
    lake = [Row(START, "known", 10, 0, ""), Row(START, "other", 1, 0, "")]
    pq.write_table(table([replace(row, key=("a", "x")) for row in lake], labels=True), tmp_path / "day.parquet")
    asked = [Row(START + 1, "new", 100, 0, ""), Row(START, "known", 999, 0, ""), Row(START + 1, "new", 100, 0, "")]
    answered = windows(
        [keyed(SPENDING)],
        table([replace(row, key=("a", "x")) for row in asked], labels=False),
        {keyed(SPENDING): [str(tmp_path / "day.parquet")]},
    )
    assert answered.column("spending__count_0").to_pylist() == [3, 1, 3]
    assert answered.column("spending__sum_0").to_pylist() == [111, 10, 111]
    assert answered.column_names[-3:] == ["spending__count_0", "spending__sum_0", "spending__found"]


def test_nothing_asked_is_nothing_answered() -> None:
    answered = windows([keyed(SPENDING)], table([], labels=False), {})
    assert answered.num_rows == 0
    assert answered.schema.field("spending__sum_0").type == pa.int64()
    assert answered.schema.field("spending__found").type == pa.bool_()


def test_the_keys_may_be_done_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are when there are more events than fit in memory; the rows keep their order."""
    rows = [Row(START + place * HOUR, f"e{place}", place, 0, "", (f"k{place % 37}", "x")) for place in range(1_000)]
    pq.write_table(table(rows, labels=True), tmp_path / "day.parquet")
    files = {keyed(SPENDING): [str(tmp_path / "day.parquet")]}
    asked = table(rows[::-1], labels=False)
    whole = windows([keyed(SPENDING)], asked, files, provenance=True)
    monkeypatch.setattr(offline, "SLICE_ROWS", 300)
    assert windows([keyed(SPENDING)], asked, files, provenance=True) == whole
    assert answers(SPENDING, whole) == expected(SPENDING, rows, rows[::-1])


def test_a_mart_that_holds_an_event_twice_is_refused(tmp_path: Path) -> None:
    row = Row(START, "twice", 1, 0, "", ("a", "x"))
    pq.write_table(table([row, row], labels=True), tmp_path / "day.parquet")
    with pytest.raises(DataRejected, match=r"spine has an event twice: 1 events asked.*tidemill features"):
        windows([keyed(SPENDING)], table([row], labels=False), {keyed(SPENDING): [str(tmp_path / "day.parquet")]})


def test_the_event_days_within_reach_are_read() -> None:
    day, moment = date(2018, 8, 1), timedelta(microseconds=1)
    assert vectors.event_days(TERMINAL, day, day) == [day - timedelta(days=age) for age in range(37, -1, -1)]
    for length, oldest in ((DAILY - moment, 1), (DAILY, 1), (DAILY + moment, 2)):
        view = view_of((length, timedelta(0), None), functions=["count"])
        assert vectors.event_days(view, day, day + DAILY)[0] == day - timedelta(days=oldest)
        assert vectors.event_days(view, day, day + DAILY)[-1] == day + DAILY
