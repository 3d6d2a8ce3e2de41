"""Views get the numbers of their declaration from sorted arrays too, as the SQL does (see test_offline)."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from jobs.errors import DataRejected
from jobs.features.live import running
from jobs.spec import Function, LiveView
from tests.features.live.streams import Row, streams, view_of
from tests.features.live.test_offline import KEYS, answers, expected, keyed, table, unique

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
VIEWS = {
    "exact": view_of((HOUR, 0 * HOUR, None), (DAY, 0 * HOUR, None), functions=("count", "sum")),
    "delayed": view_of((DAY, DAY, None), (HOUR, 2 * DAY, None), functions=("count", "sum")),
    "hops": view_of((2 * HOUR, HOUR, HOUR), (DAY, 0 * HOUR, HOUR), (HOUR, 0 * HOUR, None), functions=("sum", "count")),
    "least, greatest, newest": view_of(
        (DAY, 0 * HOUR, None),
        (2 * DAY, DAY, None),
        (2 * HOUR, HOUR, HOUR),
        (DAY, 0 * HOUR, HOUR),
        functions=("min", "max", "last"),
    ),
    "all": view_of((DAY, 0 * HOUR, None)),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
@examples(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.data())
def test_any_stream_has_the_declared_windows(view: LiveView, seed: int, rows: Any) -> None:
    of_keys, random = keyed(view), Random(seed)
    stream = [
        Row(row.time, row.id, row.cents, row.delta, row.place, random.choice(KEYS)) for row in rows.draw(streams())
    ]
    lake = unique([row for row in stream if random.random() < 0.7])
    asked = [row for row in stream if random.random() < 0.6]
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number in range(2):
            path = f"{folder}/{number}.parquet"
            pq.write_table(table([row for at, row in enumerate(lake) if at % 2 == number], labels=True), path)
            files.append(path)
        request = table(asked, labels=False)
        found = running.windows([of_keys], request, {of_keys: files}, provenance=True)
        assert answers(of_keys, found) == expected(of_keys, lake, asked)


@pytest.mark.parametrize("function", ["min", "max", "last"])
def test_long_windows(function: Function, tmp_path: Path) -> None:
    """Windows of every length up to several hundred events, so that ranges of all powers of two are met."""
    random = Random(7)
    rows = [Row(number * 1_000, f"{number:04d}", random.randrange(10**6), random.randrange(-500, 500), "", KEYS[0])
            for number in range(300)]  # fmt: skip
    lengths = [timedelta(milliseconds=one) for one in (1, 2, 3, 31, 32, 33, 500, 1_000)]
    view = keyed(view_of(*((one, 0 * HOUR, None) for one in lengths), functions=(function,)))
    pq.write_table(table(rows, labels=True), tmp_path / "rows.parquet")
    found = running.windows(
        [view], table(rows, labels=False), {view: [str(tmp_path / "rows.parquet")]}, provenance=True
    )
    assert answers(view, found) == expected(view, rows, rows)


def test_without_files_and_without_events() -> None:
    view = keyed(VIEWS["exact"])
    nothing = running.windows([view], table([], labels=False), {view: []})
    assert len(nothing) == 0
    assert {f"{view.name}__{name}" for name in (*view.features, "found")} <= set(nothing.column_names)
    one = Row(0, "a", 5, 0, "", KEYS[0])
    assert answers(view, running.windows([view], table([one], labels=False), {}, provenance=True)) == expected(
        view, [], [one]
    )


def test_an_event_without_a_key_has_empty_windows(tmp_path: Path) -> None:
    view = keyed(VIEWS["exact"])
    rows = table([Row(0, "a", 5, 0, "", KEYS[0])], labels=False)
    rows = rows.set_column(rows.column_names.index("who"), "who", pa.array([None], pa.string()))
    assert answers(view, running.windows([view], rows, {}, provenance=True)) == [(0,) * 4 + (False, 0, 0)]


def test_an_event_that_is_published_twice_is_refused(tmp_path: Path) -> None:
    view, row = keyed(VIEWS["exact"]), Row(0, "a", 5, 0, "", KEYS[0])
    pq.write_table(table([row, row], labels=True), tmp_path / "twice.parquet")
    with pytest.raises(DataRejected, match="has an event twice"):
        running.windows([view], table([row], labels=False), {view: [str(tmp_path / "twice.parquet")]})
