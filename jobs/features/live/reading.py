"""Reads a view's windows from packed events and tiles."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jobs.features.live.packed import Ints, Rows
from jobs.features.live.plan import MASK, Aggregate, Plan
from jobs.features.live.tiles import CLOCK, COUNT, Kept, Tiles, fold_place, kept, unpack_all


@dataclass(frozen=True, slots=True)
class Reading:
    """The windows of a view at one event, in the order of `view.features`.

    `events` counts the events in the longest window of each delay and hop, which together hold all the others, and
    `checksum` is the sum of their `time & 0x7fffffff`: two sides that read other events differ in one of them.
    """

    values: tuple[int, ...]
    events: int
    checksum: int


@dataclass(frozen=True, slots=True)
class _Span:
    """Where an extent's events are: rows from `first` up to `last`, and `own`, the scored event if it is no row."""

    first: int
    last: int
    own: Sequence[int] | None


@dataclass(frozen=True, slots=True)
class _Part:
    """The tiles of an extent, from `first` up to `last`."""

    tiles: Tiles
    kept: Kept
    first: int
    last: int
    rows: Ints

    def values(self, function: str, column: int) -> list[int]:
        """What stands for a column in the tiles: the fold of each, or the values themselves."""
        if function == "distinct":
            values: list[int] = self.tiles.values(self.kept.sets.index(column), self.first, self.last).tolist()
        elif function == "last":
            values = self.tiles.last(column, self.first, self.last)
        else:
            values = self.rows[:, fold_place(self.kept, function, column)].tolist()
        return values


def windows_at(plan: Plan, rows: Rows, time_us: int, end: int, present: Sequence[int] | None) -> Reading:
    """The windows over the first `end` rows, and `present`: the values of the event at `time_us` if it is no row."""
    parts: list[_Part | None] = [None] * len(plan.extents)
    spans = []
    if plan.hops:
        parts = _parts(plan, rows, time_us)
    times = rows.times
    for extent, part in zip(plan.extents, parts, strict=True):
        tail = extent.tail(time_us)
        if part:
            tail = max(tail, min(part.tiles.until, part.last * extent.hop))
        if extent.delay:
            last = bisect_right(times, extent.head(time_us))
            spans.append(_Span(min(bisect_right(times, tail), last), last, None))
        else:
            spans.append(_Span(bisect_right(times, tail, 0, end), end, present))
    sums: dict[int, Ints] = {}
    values = tuple([_value(rows, sums, one, spans[one.extent], parts[one.extent]) for one in plan.windows])
    events = checksum = 0
    clock = np.add.accumulate(rows.column(-1) & MASK)
    for index in plan.outer:
        span, part = spans[index], parts[index]
        events += span.last - span.first
        checksum += _between(clock, span)
        if span.own is not None:
            events += 1
            checksum += time_us & MASK
        if part:
            events += int(part.rows[:, COUNT].sum())
            checksum += int(part.rows[:, CLOCK].sum())
    return Reading(values, events, checksum)


def _parts(plan: Plan, rows: Rows, time_us: int) -> list[_Part | None]:
    tiles = {one.hop: one for one in unpack_all(plan, rows.data, rows.end)}
    parts: list[_Part | None] = []
    for extent in plan.extents:
        if not extent.hop:
            parts.append(None)
            continue
        first = extent.tail(time_us) // extent.hop
        last = (extent.head(time_us) if extent.delay else time_us - 1) // extent.hop
        mine = tiles[extent.hop]
        parts.append(_Part(mine, kept(plan, extent.hop), first, last, mine.between(first, last)))
    return parts


def _value(rows: Rows, sums: dict[int, Ints], window: Aggregate, span: _Span, part: _Part | None) -> int:
    function, column = window.function, window.column
    if function == "count":
        value = span.last - span.first + (span.own is not None)
        return value + int(part.rows[:, COUNT].sum()) if part else value
    own = [] if span.own is None else [int(span.own[column])]
    if function == "sum":
        if column not in sums:
            sums[column] = np.add.accumulate(rows.column(column))
        value = _between(sums[column], span) + sum(own)
        return value + sum(part.values(function, column)) if part else value
    here = rows.column(column)[span.first : span.last]
    folded = part.values(function, column) if part else []
    if function == "last":
        known = [*folded, *here[-1:].tolist(), *own]
        return known[-1] if known else 0
    if function == "distinct":
        return len({*folded, *here.tolist(), *own})
    known = [*folded, *own]
    if len(here):
        known.append(int(here.min() if function == "min" else here.max()))
    return (min if function == "min" else max)(known, default=0)


def _between(sums: Ints, span: _Span) -> int:
    """The sum of the span's rows, from the running sums of all."""
    if span.last <= span.first:
        return 0
    return int(sums[span.last - 1]) - (int(sums[span.first - 1]) if span.first else 0)
