"""The join agrees with the obvious way of doing it, on made-up values that touch every edge."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as configured
from hypothesis import strategies as st

from jobs.features import point_in_time
from jobs.spec import FeatureView

INSTANT = pa.timestamp("us", "UTC")
ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)
ONE = FeatureView(name="one", entity=("a",), features=("x", "y"), lookback_days=1, ttl=timedelta(hours=3))
TWO = FeatureView(name="two", entity=("a", "b"), features=("x",), lookback_days=1, ttl=timedelta(hours=5))

key = st.sampled_from(["", "k", "K", "k "])
hour = st.integers(0, 12)
number = st.integers(-(2**62), 2**62)


def moment(hours: int) -> datetime:
    return ORIGIN + timedelta(hours=hours)


def view_table(view: FeatureView, rows: dict[tuple, tuple[int, ...]]) -> pa.Table:
    schema = pa.schema(
        [(name, pa.string()) for name in view.entity]
        + [("available_at", INSTANT)]
        + [(name, pa.int64()) for name in view.features]
    )
    return pa.Table.from_pylist(
        [
            dict(zip(view.entity, entity, strict=True))
            | {"available_at": moment(at)}
            | dict(zip(view.features, values, strict=True))
            for (*entity, at), values in rows.items()
        ],
        schema,
    )


def brute_force(event: dict, view: FeatureView, rows: dict[tuple, tuple[int, ...]]) -> tuple[tuple[int, ...], bool]:
    best = None
    for (*entity, at), values in rows.items():
        visible = moment(at)
        same = all(event[name] == value for name, value in zip(view.entity, entity, strict=True))
        alive = visible <= event["event_time"] < visible + view.ttl
        if same and alive and (best is None or visible > best[0]):
            best = visible, values
    return (best[1], True) if best else ((0,) * len(view.features), False)


@configured(max_examples=60, deadline=None)
@given(
    events=st.lists(st.tuples(key, key, hour), max_size=12),
    one=st.dictionaries(st.tuples(key, hour), st.tuples(number, number), max_size=12),
    two=st.dictionaries(st.tuples(key, key, hour), st.tuples(number), max_size=12),
)
def test_every_event_gets_what_was_visible_when_it_happened(events: list, one: dict, two: dict) -> None:
    schema = pa.schema({"event_id": pa.int64(), "event_time": INSTANT, "a": pa.string(), "b": pa.string()})
    rows = [{"event_id": i, "event_time": moment(at), "a": a, "b": b} for i, (a, b, at) in enumerate(events)]
    joined = point_in_time.join(
        pa.Table.from_pylist(rows, schema), {ONE: view_table(ONE, one), TWO: view_table(TWO, two)}
    ).to_pylist()
    assert [row["event_id"] for row in joined] == [row["event_id"] for row in rows]
    for event, row in zip(rows, joined, strict=True):
        for view, values in ((ONE, one), (TWO, two)):
            got = tuple(row[f"{view.name}__{name}"] for name in view.features), row[f"{view.name}__found"]
            assert got == brute_force(event, view, values)


@pytest.mark.parametrize(
    ("hours", "found"), [(-1, False), (0, True), (2, True), (3, False)], ids=["before", "at once", "alive", "expired"]
)
def test_a_value_lives_from_its_available_at_until_its_ttl(hours: int, found: bool) -> None:
    event = pa.table({"event_time": pa.array([moment(5 + hours)], INSTANT), "a": ["k"]})
    joined = point_in_time.join(event, {ONE: view_table(ONE, {("k", 5): (7, 8)})})
    assert joined["one__found"].to_pylist() == [found]
    assert joined["one__x"].to_pylist() == [7 if found else 0]


def test_a_view_without_any_partition_is_found_nowhere() -> None:
    event = pa.table({"event_time": pa.array([moment(5)], INSTANT), "a": ["k"]})
    assert point_in_time.join(event, {ONE: []})["one__found"].to_pylist() == [False]
