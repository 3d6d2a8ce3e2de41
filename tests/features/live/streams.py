"""Views, random streams of events for them, and the plain definition of a window to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from hypothesis import strategies as st

from jobs.features.live.state import Events, Reading, values_of
from jobs.spec import Function, LiveView, Window

HOUR, DAY = 3_600_000_000, 86_400_000_000
START = 17_650 * DAY
NOW = START + 10_000 * DAY
COLUMNS: dict[Function, str | None] = {
    "count": None, "sum": "cents", "min": "cents", "max": "delta", "distinct": "place", "last": "delta",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One event as it is delivered."""

    time: int
    id: str
    cents: int
    delta: int
    place: str
    key: tuple[str, ...] = ("a",)

    @property
    def identity(self) -> tuple[int, str]:
        return self.time, self.id

    @property
    def order(self) -> tuple[int, bytes]:
        return self.time, self.id.encode()


def view_of(*shapes: tuple[timedelta, timedelta, timedelta | None], functions: Sequence[Function] = ()) -> LiveView:
    """A view with a window of every function for each (length, delay, hop)."""
    return LiveView(
        name="spending",
        entity=("who",),
        windows=tuple(
            Window(
                name=f"{function}_{place}",
                function=function,
                column=COLUMNS[function],
                length=length,
                delay=delay,
                hop=hop,
            )
            for place, (length, delay, hop) in enumerate(shapes)
            for function in functions or COLUMNS
        ),
    )


def events(view: LiveView, rows: Sequence[Row]) -> Events:
    columns = {name: [getattr(row, name) for row in rows] for name in view.columns}
    times = np.array([row.time for row in rows], np.int64)
    return Events(times, [row.id for row in rows], values_of(view, columns, len(rows)))


def naive(view: LiveView, rows: Sequence[Row], time: int, event_id: str) -> Reading:
    """The windows as the declaration defines them, event by event; of one identity the first row counts."""
    once = {row.identity: row for row in reversed(rows)}
    ordered = sorted(once.values(), key=lambda row: row.order)
    values, outer = [], {}
    for window in view.windows:
        inside = [row for row in ordered if holds(window, row, time, event_id)]
        values.append(value(window, inside))
        key = (window.delay, window.hop)
        if key not in outer or outer[key][0] < window.length:
            outer[key] = (window.length, inside)
    union = [row.time for _, inside in outer.values() for row in inside]
    return Reading(tuple(values), len(union), sum(at & 0x7FFFFFFF for at in union))


def holds(window: Window, row: Row, time: int, event_id: str) -> bool:
    length, delay, hop = (
        int((one or timedelta(0)) / timedelta(microseconds=1)) for one in (window.length, window.delay, window.hop)
    )
    tail, head = time - delay - length, time - delay
    if hop:
        tail -= tail % hop
        head -= head % hop
    if not delay:
        return tail < row.time and row.order <= (time, event_id.encode())
    return tail < row.time <= head


def value(window: Window, inside: Sequence[Row]) -> int:
    if window.function == "count":
        return len(inside)
    column: list[Any] = [getattr(row, str(window.column)) for row in inside]
    if window.function == "distinct":
        return len(set(column))
    if not column:
        return 0
    return {"sum": sum, "min": min, "max": max, "last": lambda known: known[-1]}[window.function](column)


IDS = st.one_of(st.text(max_size=3), st.sampled_from(["é", "z", "Z", "😀", "￿", "a", "aa", "a\0", "10", "9"])).filter(
    lambda text: text.isprintable() or "\0" in text
)


def moments(step: int, most: int) -> st.SearchStrategy[int]:
    """Times on a grid, so that many are equal or on an edge, some a microsecond beside it."""
    beside = st.sampled_from([0, 0, 0, 1, -1])
    return st.builds(lambda at, off: START + at * step + off, st.integers(0, most), beside)


def streams(
    step: int = 6 * HOUR, most: int = 100, size: int = 25, keys: Sequence[tuple[str, ...]] = (("a",),)
) -> st.SearchStrategy[list[Row]]:
    """Events in the order they arrive: any order of time, some twice."""
    row = st.builds(
        Row,
        time=moments(step, most),
        id=IDS,
        cents=st.integers(0, 500),
        delta=st.integers(-3, 3),
        place=st.sampled_from(["", "Zürich", "Bern", "B"]),
        key=st.sampled_from(list(keys)),
    )
    rows = st.lists(row, max_size=size)
    return st.one_of(rows, st.builds(in_order, rows, st.sets(st.integers(0, 5), max_size=3)))


def in_order(rows: list[Row], stragglers: set[int]) -> list[Row]:
    """The rows by time, but for those at some places, which arrive at the end of their quarter of the stream."""
    ordered = sorted(rows, key=lambda row: row.order)
    quarter = max(1, len(ordered) // 4)
    parts = [ordered[start : start + quarter] for start in range(0, len(ordered), quarter)]
    return [
        row for part in parts for late in (False, True) for at, row in enumerate(part) if (at in stragglers) == late
    ]
