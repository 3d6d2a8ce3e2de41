"""The packed state of a key answers what the declaration says, whatever arrives and in whatever order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.features.live import state
from jobs.features.live.plan import plan_of
from jobs.spec import LiveView
from tests.features.live.streams import DAY, HOUR, NOW, START, Row, events, naive, streams, view_of
from tests.features.live.views import VIEWS, every_view


def readable(view: LiveView, newest: int, time: int) -> bool:
    """Whether the state promises an answer at a time: up to SLACK late, its own tile still kept event by event."""
    plan = plan_of(view)
    folded = {hop: ((newest - 1) // hop - 1) * hop for hop in plan.hops}
    oldest = min([*folded.values(), *([newest - plan.exact - state.SLACK] if plan.exact else [])])
    whole = []
    for extent in plan.extents:
        late = newest - time <= state.SLACK
        own = (time - 1) // extent.hop * extent.hop if extent.hop else time
        if not extent.hop:
            whole.append(late)
        elif extent.delay:
            whole.append(late or own >= folded[extent.hop])
        else:
            whole.append(own >= folded[extent.hop] or (late and own >= oldest))
    return all(whole)


def kept(view: LiveView, data: bytes | None, row: Row) -> bool:
    known = state.events_in(view, data)
    return row.identity in zip(known.times.tolist(), known.ids, strict=True)


@every_view
@settings(max_examples=150, deadline=None)
@given(rows=streams())
def test_every_arrival_is_answered_as_the_declaration_says(view: LiveView, rows: list[Row]) -> None:
    data: bytes | None = None
    arrived: dict[Any, Row] = {}
    for row in rows:
        if row.identity in arrived and not kept(view, data, row):
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


@every_view
@settings(max_examples=100, deadline=None)
@given(rows=streams(), data=st.data())
def test_the_lakes_days_take_the_place_of_what_was_scored(view: LiveView, rows: list[Row], data: st.DataObject) -> None:
    """Scored events know no `delta`; the lake does, and has some that were never scored."""
    lake = list({row.identity: row for row in rows}.values())
    packed: bytes | None = None
    for row in data.draw(st.lists(st.sampled_from(lake), unique=True) if lake else st.just([])):
        scored = events(view, [replace(row, delta=0)])
        packed = state.add(view, packed, scored, NOW)
    for days in data.draw(st.permutations(batches(lake))):
        mine = [row for row in lake if row.time // DAY in days]
        packed = state.replace(view, packed, events(view, mine), NOW, whole_days=days)
        assert state.replace(view, packed, events(view, mine), NOW, whole_days=days) == packed
        scored = events(view, [replace(row, delta=3, place="again") for row in mine if kept(view, packed, row)])
        assert state.add(view, packed, scored, NOW) == packed
    newest = max((row.time for row in lake), default=0)
    for row in lake:
        if readable(view, newest, row.time):
            assert state.read(view, packed, row.time, row.id) == naive(view, lake, row.time, row.id)


def batches(lake: Sequence[Row]) -> list[list[int]]:
    """The days of events, two to a batch."""
    days = sorted({row.time // DAY for row in lake})
    return [days[start : start + 2] for start in range(0, len(days), 2)]


@every_view
@settings(max_examples=50, deadline=None)
@given(rows=streams(keys=(("a",), ("b",), ("c",))))
def test_packing_many_keys_at_once_is_packing_each(view: LiveView, rows: list[Row]) -> None:
    once = {(row.key, row.identity): row for row in rows}
    ordered = sorted(once.values(), key=lambda row: (row.key, row.order))
    keys = sorted({row.key for row in ordered})
    starts = np.searchsorted([row.key[0] for row in ordered], [key[0] for key in keys])
    all_rows = events(view, ordered)
    packed = state.pack_all(view, starts, all_rows.times, all_rows.ids, all_rows.values, NOW)
    for key, data in zip(keys, packed, strict=True):
        mine = events(view, [row for row in ordered if row.key == key])
        assert data == state.replace(view, None, mine, NOW)


@every_view
def test_nothing_read_is_all_zeros(view: LiveView) -> None:
    nothing = state.Reading((0,) * len(view.windows), 0, 0)
    assert state.read(view, None, START, "a") == nothing
    empty = state.add(view, None, events(view, []), NOW)
    assert state.read(view, empty, START, "a") == nothing


@pytest.mark.fault("F28")
@every_view
def test_an_event_from_the_far_future_is_answered_and_not_kept(view: LiveView) -> None:
    now = START + 3 * DAY
    rows = [Row(START + hour * HOUR, f"e{hour}", 100, 1, "Bern") for hour in range(0, 72, 5)]
    data = state.add(view, None, events(view, rows), now)
    for ahead, kept_too in ((HOUR, True), (HOUR + 1, False), (365 * DAY, False)):
        wild = Row(now + ahead, "wild", 7, 2, "Genf")
        after, reading = state.score(view, data, wild.time, wild.id, events(view, [wild]).values[0].tolist(), now)
        assert kept(view, after, wild) is kept_too
        if not kept_too:
            assert after == data
            assert state.replace(view, data, events(view, [wild]), now) == data
        assert reading == naive(view, [*rows, wild], wild.time, wild.id) or ahead > DAY
        assert reading.values[0] >= 1
        later = Row(now, "later", 1, 0, "Bern")
        read = state.score(view, after, later.time, later.id, events(view, [later]).values[0].tolist(), now)[1]
        assert read == naive(view, [*rows, later], later.time, later.id)


@every_view
def test_a_state_does_not_grow_beyond_its_windows(view: LiveView) -> None:
    data: bytes | None = None
    sizes = []
    for hour in range(24 * 60):
        one = Row(START + hour * HOUR, f"{hour:05}", hour, hour % 7, "Bern")
        data = state.add(view, data, events(view, [one]), NOW)
        sizes.append(len(data))
    assert max(sizes[30 * 24 :]) <= max(sizes[15 * 24 : 30 * 24])
    assert len(state.events_in(view, data)) <= 1 + (view.reach + timedelta(microseconds=state.SLACK)) / timedelta(
        hours=1
    )


def test_what_no_request_carries_is_nothing_until_the_lake_says() -> None:
    view = view_of((timedelta(days=1), timedelta(0), None))
    payload = {"event_time": np.array([START]), "cents": np.array([5], np.int32), "place": np.array(["Zürich"], object)}
    scored = state.events_of(view, payload, ["a"])
    assert dict(zip(view.columns, scored.values[0].tolist(), strict=True)) == {
        "cents": 5, "delta": 0, "place": state.text_hash("Zürich")
    }  # fmt: skip
    nothing = state.values_of(view, {"cents": [None], "delta": [True], "place": [None]}, 1)
    assert dict(zip(view.columns, nothing[0].tolist(), strict=True)) == {"cents": 0, "delta": 1, "place": 0}
    assert state.text_hash("Zürich") != state.text_hash("Bern") != state.text_hash("") == 0


def test_ids_grow_and_keep_their_order() -> None:
    view = view_of((timedelta(days=1), timedelta(0), None), functions=["count", "last"])
    rows = [Row(START, name, 0, place, "") for place, name in enumerate(["b", "a" * 40, "ä", "a\0", "", "a"])]
    data = state.add(view, None, events(view, rows), NOW)
    assert list(state.events_in(view, data).ids) == ["", "a", "a\0", "a" * 40, "b", "ä"]
    for row in rows:
        assert state.read(view, data, START, row.id) == naive(view, rows, START, row.id)
        assert state.add(view, data, events(view, [row]), NOW) == data


def test_a_tie_on_the_edge_of_a_folded_tile_is_not_counted_before_its_turn() -> None:
    """Read again three days later, from what the window without a hop still keeps."""
    view = VIEWS["mixed"]
    tied = [Row(START + DAY, name, 10, 1, "Bern") for name in ("a", "b")]
    rows = [*tied, Row(START + 4 * DAY, "c", 1, 2, "Genf")]
    data = state.add(view, None, events(view, rows), NOW)
    assert readable(view, rows[-1].time, tied[0].time)
    for row in rows:
        assert state.read(view, data, row.time, row.id) == naive(view, rows, row.time, row.id)
