"""The packed state of a key answers what the declaration says, whatever arrives and in whatever order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings

from jobs.features.live import state
from jobs.spec import LiveView
from tests.features.live.streams import DAY, HOUR, NOW, START, Row, events, naive, streams, view_of
from tests.features.live.views import VIEWS, every_view


def readable(view: LiveView, newest: int, time: int) -> bool:
    """Whether the state promises an answer at a time: up to an hour late, or in the two newest tiles."""
    hops = [int(window.hop / timedelta(microseconds=1)) for window in view.windows if window.hop]
    late = [] if all(window.hop for window in view.windows) else [time >= newest - HOUR]
    return all([*late, *((time - 1) // hop >= (newest - 1) // hop - 1 for hop in hops)])


def kept_one_by_one(view: LiveView, data: bytes | None, row: Row) -> bool:
    known = state.events_in(view, data)
    return row.identity in zip(known.times.tolist(), known.ids, strict=True)


@every_view
@settings(max_examples=150, deadline=None)
@given(rows=streams())
def test_every_arrival_is_answered_as_the_declaration_says(view: LiveView, rows: list[Row]) -> None:
    data: bytes | None = None
    arrived: dict[Any, Row] = {}
    for row in rows:
        if row.identity in arrived and not kept_one_by_one(view, data, row):
            continue  # a late duplicate is the limit that the module states
        arrived.setdefault(row.identity, row)
        one = events(view, [row])
        data, reading = state.score(view, data, row.time, row.id, one.values[0].tolist(), NOW)
        newest = max(time for time, _ in arrived)
        if readable(view, newest, row.time):
            assert reading == naive(view, list(arrived.values()), row.time, row.id)
            assert state.read(view, data, row.time, row.id) == reading
    for row in rows:
        if readable(view, newest, row.time):
            assert state.read(view, data, row.time, row.id) == naive(view, list(arrived.values()), row.time, row.id)
