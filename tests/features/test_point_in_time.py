"""The join agrees with the obvious way of doing it, in memory, in slices and on Spark, on values at every edge."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as configured
from hypothesis import strategies as st

from jobs import spark
from jobs.features import point_in_time, point_in_time_spark
from jobs.features.offline import available_at
from jobs.settings import ROOT, Settings
from jobs.spec import FeatureView
from tests.bench import made_up

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

INSTANT = pa.timestamp("us", "UTC")
ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
ONE = FeatureView(name="one", entity=("a",), features=("x", "y"), lookback_days=1, ttl=timedelta(hours=3))
TWO = FeatureView(name="two", entity=("a", "b"), features=("x",), lookback_days=1, ttl=timedelta(hours=5))
VIEWS = (ONE, TWO)
SPINE = pa.schema({"event_id": pa.string(), "event_time": INSTANT, "a": pa.string(), "b": pa.string()})

Rows = list[tuple[Any, ...]]
Join = Callable[[pa.Table, dict[FeatureView, pa.Table]], pa.Table]

key = st.sampled_from([None, "", "k", "K", "k ", "k|", "|k", "k\x1f", "é", "e\u0301", "\U0001f4b3", "'\"\\"])
moment = st.builds(
    lambda hours, microseconds: ORIGIN + timedelta(hours=hours, microseconds=microseconds),
    st.integers(0, 12),
    st.sampled_from([-1, 0, 0, 1]),
)
number = st.integers(-(2**62), 2**62) | st.integers(0, 1)
events = st.lists(st.tuples(moment, key, key), max_size=12)
ones = st.lists(st.tuples(key, moment, number, number), max_size=12)
twos = st.lists(st.tuples(key, key, moment, number), max_size=12)


def spine_table(rows: Rows) -> pa.Table:
    columns = [{"event_id": str(i), "event_time": at, "a": a, "b": b} for i, (at, a, b) in enumerate(rows)]
    return pa.Table.from_pylist(columns, SPINE)


def view_table(view: FeatureView, rows: Rows) -> pa.Table:
    names = [*view.entity, "available_at", *view.features]
    types = [*(pa.string() for _ in view.entity), INSTANT, *(pa.int64() for _ in view.features)]
    columns = [dict(zip(names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(columns, pa.schema(zip(names, types, strict=True)))


def brute_force(event: dict[str, Any], view: FeatureView, rows: Rows) -> dict[str, Any]:
    """The newest value visible at the event and not expired, of equally new ones the greatest."""
    best: tuple[datetime, tuple[int, ...]] | None = None
    for row in rows:
        entity, at, values = row[: len(view.entity)], row[len(view.entity)], row[len(view.entity) + 1 :]
        same = all(event[name] == value is not None for name, value in zip(view.entity, entity, strict=True))
        if same and at <= event["event_time"] and (best is None or (at, values) > best):
            best = at, values
    if best and event["event_time"] >= best[0] + view.ttl:
        best = None
    found = dict(zip(view.features, best[1] if best else [0] * len(view.features), strict=True))
    return {**found, "found": best is not None, "available_at": best and best[0]}


def expected(spine: pa.Table, views: dict[FeatureView, Rows]) -> list[dict[str, Any]]:
    return [
        event
        | {
            f"{view.name}__{name}": value
            for view in views
            for name, value in brute_force(event, view, views[view]).items()
        }
        for event in spine.to_pylist()
    ]


def in_memory(spine: pa.Table, views: dict[FeatureView, pa.Table]) -> pa.Table:
    return point_in_time.join(spine, views, provenance=True)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> SparkSession:
    home = tmp_path_factory.mktemp("spark")
    session = spark.session(Settings(_env_file=None, home=home, lake_uri=str(home / "lake")))
    session.conf.set("spark.sql.shuffle.partitions", "2")
    return session


@pytest.fixture
def on_spark(session: SparkSession) -> Join:
    def join(spine: pa.Table, views: dict[FeatureView, pa.Table]) -> pa.Table:
        values = {view: session.createDataFrame(table) for view, table in views.items()}
        joined = point_in_time_spark.join(session.createDataFrame(spine), values, provenance=True).toArrow()
        order = [int(one) for one in joined["event_id"].to_pylist()]
        return joined.take(pa.array(sorted(range(len(order)), key=order.__getitem__), pa.int64()))

    return join


@configured(max_examples=150, deadline=None)
@given(events=events, one=ones, two=twos)
def test_every_event_gets_what_was_visible_when_it_happened(events: Rows, one: Rows, two: Rows) -> None:
    spine, views = spine_table(events), {ONE: one, TWO: two}
    joined = in_memory(spine, {view: view_table(view, rows) for view, rows in views.items()})
    assert joined.to_pylist() == expected(spine, views)


@configured(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=events, one=ones, two=twos, slice_rows=st.integers(1, 6))
def test_files_joined_in_slices_hold_the_same(
    tmp_path_factory: pytest.TempPathFactory, events: Rows, one: Rows, two: Rows, slice_rows: int
) -> None:
    folder, views = tmp_path_factory.mktemp("slices"), {ONE: one, TWO: two}
    spine = spine_table(events)
    files = written(folder, spine, {view: view_table(view, rows) for view, rows in views.items()})
    paths = point_in_time.join_files(*files, folder / "joined", provenance=True, slice_rows=slice_rows)
    pieces = [pq.read_table(path) for path in paths]
    got = [row for piece in pieces for row in piece.to_pylist()]
    assert got == sorted(expected(spine, views), key=lambda row: (row["event_time"], row["event_id"]))
    assert len(pieces) > 1 or len(events) <= slice_rows or len({at.replace(minute=0) for at, *_ in events}) < 3
    assert sorted(path.name for path in (folder / "joined").iterdir()) == [path.rpartition("/")[2] for path in paths]


def written(folder: Path, spine: pa.Table, views: dict[FeatureView, pa.Table]) -> tuple[list[str], dict]:
    """Everything as Parquet, every table in two files."""

    def halves(name: str, table: pa.Table) -> list[str]:
        paths = [str(folder / f"{name}-{half}.parquet") for half in (0, 1)]
        for path, piece in zip(paths, (table.slice(0, len(table) // 2), table.slice(len(table) // 2)), strict=True):
            pq.write_table(piece, path)
        return paths

    return halves("spine", spine), {view: halves(view.name, table) for view, table in views.items()}


many = {"min_size": 30, "max_size": 90}  # a job on Spark costs seconds: few and large examples, not shrunk


@configured(
    max_examples=5,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large, HealthCheck.too_slow],
)
@given(
    events=st.lists(st.tuples(moment, key, key), **many),
    one=st.lists(st.tuples(key, moment, number, number), **many),
    two=st.lists(st.tuples(key, key, moment, number), **many),
)
def test_spark_and_duckdb_agree_on_every_cell(on_spark: Join, events: Rows, one: Rows, two: Rows) -> None:
    spine = spine_table(events)
    views = {view: view_table(view, rows) for view, rows in ((ONE, one), (TWO, two))}
    theirs, ours = on_spark(spine, views), in_memory(spine, views)
    assert theirs.to_pylist() == ours.to_pylist()
    assert theirs.schema.names == ours.schema.names
    assert [field.type for field in theirs.schema] == [field.type for field in ours.schema]


@pytest.fixture(params=["duckdb", "slices", "spark"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Join:
    """Each way of joining, as the same function of tables."""

    def in_slices(spine: pa.Table, views: dict[FeatureView, pa.Table]) -> pa.Table:
        paths = point_in_time.join_files(*written(tmp_path, spine, views), tmp_path / "joined", slice_rows=1)
        return pa.concat_tables([pq.read_table(path) for path in paths])

    return {"duckdb": in_memory, "slices": in_slices}.get(request.param) or request.getfixturevalue("on_spark")


EDGES = {
    "before": (-MICROSECOND, False),
    "at once": (timedelta(0), True),
    "last instant": (ONE.ttl - MICROSECOND, True),
    "expired": (ONE.ttl, False),
}


@pytest.mark.parametrize(("age", "found"), EDGES.values(), ids=EDGES.keys())
def test_a_value_lives_from_its_available_at_until_its_ttl(engine: Join, age: timedelta, found: bool) -> None:
    at = ORIGIN + timedelta(hours=5)
    joined = engine(spine_table([(at + age, "k", "")]), {ONE: view_table(ONE, [("k", at, 7, 8)])})
    assert joined["one__found"].to_pylist() == [found]
    assert joined["one__x"].to_pylist() == [7 if found else 0]


def test_a_batch_becomes_visible_at_its_end_plus_the_lag(engine: Join) -> None:
    late = replace(ONE, lag=timedelta(hours=2))
    at = available_at(late, ORIGIN.date())
    assert at == ORIGIN + timedelta(days=1, hours=2)
    times = [at - timedelta(hours=2), at - MICROSECOND, at]
    joined = engine(spine_table([(one, "k", "") for one in times]), {late: view_table(late, [("k", at, 7, 8)])})
    assert joined["one__found"].to_pylist() == [False, False, True]


def test_the_newest_visible_value_counts_and_a_later_one_is_not_seen(engine: Join) -> None:
    values = [("k", ORIGIN, 1, 1), ("k", ORIGIN + timedelta(hours=1), 2, 2), ("k", ORIGIN + timedelta(hours=9), 3, 3)]
    times = [ORIGIN + timedelta(hours=hours) for hours in (0, 1, 3, 4, 8, 9)]
    joined = engine(spine_table([(at, "k", "") for at in times]), {ONE: view_table(ONE, values)})
    assert joined["one__x"].to_pylist() == [1, 2, 2, 0, 0, 3]


def test_the_same_key_and_time_twice_gives_the_greatest_whatever_the_order(engine: Join) -> None:
    rows = [("k", ORIGIN, 2, 1), ("k", ORIGIN, 2, 9), ("k", ORIGIN, 1, 99), ("k", ORIGIN, None, 999)]
    for order in (rows, rows[::-1]):
        joined = engine(spine_table([(ORIGIN, "k", "")]), {ONE: view_table(ONE, order)})
        assert (joined["one__x"].to_pylist(), joined["one__y"].to_pylist()) == ([2], [9])


def test_nothing_matches_a_null(engine: Join) -> None:
    nothing = spine_table([(ORIGIN, None, "k"), (ORIGIN, "k", None), (None, "k", "k"), (ORIGIN, "k", "k")])
    values = [(None, "k", ORIGIN, 1), ("k", None, ORIGIN, 2), ("k", "k", None, 3), ("k", "k", ORIGIN, 4)]
    joined = engine(nothing, {TWO: view_table(TWO, values)})
    found = dict(zip(joined["event_id"].to_pylist(), joined["two__x"].to_pylist(), strict=True))
    assert found == {"0": 0, "1": 0, "2": 0, "3": 4}


def test_keys_are_compared_one_by_one(engine: Join) -> None:
    values = [("a|", "b", ORIGIN, 1), ("a", "|b", ORIGIN, 2), ("ab", "", ORIGIN, 3)]
    joined = engine(
        spine_table([(ORIGIN, "a", "|b"), (ORIGIN, "a|", "b"), (ORIGIN, "", "ab")]), {TWO: view_table(TWO, values)}
    )
    assert joined["two__x"].to_pylist() == [2, 1, 0]


def test_without_events_or_values_the_columns_are_still_there(engine: Join) -> None:
    nobody = engine(spine_table([(ORIGIN, "k", "k")]), {view: view_table(view, []) for view in VIEWS})
    assert (nobody["one__found"].to_pylist(), nobody["two__x"].to_pylist()) == ([False], [0])
    nothing = engine(spine_table([]), {view: view_table(view, []) for view in VIEWS})
    assert (len(nothing), nothing.schema.names) == (0, nobody.schema.names)


def test_a_view_without_any_partition_is_found_nowhere() -> None:
    joined = point_in_time.join(spine_table([(ORIGIN, "k", "k")]), {ONE: []})
    assert joined["one__found"].to_pylist() == [False]


MEASURED = """
import re, sys
from pathlib import Path
from jobs.features import point_in_time
from jobs.spec import FeatureView
from tests.bench import made_up

folder = Path(sys.argv[1])
view = FeatureView(name="v", entity=("entity_id",), features=made_up.FEATURES, lookback_days=1, ttl=made_up.TTL)
paths = point_in_time.join_files(
    [str(folder / "labels-2000000.parquet")], {view: [str(folder / "values.parquet")]}, folder / "joined", slice_rows=250_000
)
# Not ru_maxrss, which a process has from the one that started it.
kilobytes = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(len(paths), kilobytes // 1024)
"""


def test_a_join_in_slices_needs_the_memory_of_a_slice(tmp_path: Path) -> None:
    """Two million labels beside 24 features, a gigabyte and a half as a table; in a process of its own."""
    made_up.values(tmp_path, 20_000)
    made_up.labels(tmp_path, 2_000_000, 20_000)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    slices, megabytes = map(int, done.stdout.split())
    assert slices >= 8
    assert megabytes < 700
    assert sum(pq.read_metadata(path).num_rows for path in (tmp_path / "joined").iterdir()) == 2_000_000
