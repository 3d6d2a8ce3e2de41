"""Reads a view's windows from packed events and tiles."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jobs.features.live.packed import Ints, Rows
from jobs.features.live.plan import MASK, Plan
from jobs.features.live.tiles import CLOCK, COUNT, Kept, Tiles, fold_place, kept, unpack_all


class Reading(NamedTuple):
    """The windows of a view at one event, in the order of `view.features`.

    `events` counts the events in the longest window of each delay and hop, which together hold all the others, and
    `checksum` is the sum of their `time & 0x7fffffff`: two sides that read other events differ in one of them.
    """

    values: tuple[int, ...]
    events: int
    checksum: int


_SIMPLE = ("count", "sum")
"""Functions of windows without a hop that are read off running sums, made once for all of them."""


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
    times, spans = rows.times, []
    parts = _parts(plan, rows, time_us) if plan.hops else [None] * len(plan.extents)
    for extent, part in zip(plan.extents, parts, strict=True):
        length, delay, hop = extent
        tail = time_us - delay - length
        if part is not None:
            tail = max(tail // hop * hop, min(part.tiles.until, part.last * hop))
        last = bisect_right(times, extent.head(time_us)) if delay else end
        spans.append((bisect_right(times, tail, 0, last), last, None if delay else present))
    sums: dict[int, Ints] = {}
    values = []
    for function, column, index in plan.windows:
        first, last, own = spans[index]
        part = parts[index]
        if part is not None or function not in _SIMPLE:
            values.append(_value(rows, function, column, first, last, own, part))
            continue
        total = last - first
        if function == "sum":
            if column not in sums:
                sums[column] = np.add.accumulate(rows.column(column))
            total = _between(sums[column], first, last)
        if own is not None:
            total += own[column] if function == "sum" else 1
        values.append(total)
    events = checksum = 0
    clock = np.add.accumulate(rows.column(-1) & MASK)
    for index in plan.outer:
        first, last, own = spans[index]
        part = parts[index]
        events += last - first
        checksum += _between(clock, first, last)
        if own is not None:
            events += 1
            checksum += time_us & MASK
        if part is not None:
            events += int(part.rows[:, COUNT].sum())
            checksum += int(part.rows[:, CLOCK].sum())
    return Reading(tuple(values), events, checksum)


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


def _value(
    rows: Rows, function: str, column: int, first: int, last: int, own: Sequence[int] | None, part: _Part | None
) -> int:
    if function == "count":
        value = last - first + (own is not None)
        return value + int(part.rows[:, COUNT].sum()) if part else value
    more = [] if own is None else [int(own[column])]
    here = rows.column(column)[first:last]
    folded = part.values(function, column) if part else []
    if function == "sum":
        return int(here.sum()) + sum(folded) + sum(more)
    if function == "last":
        known = [*folded, *here[-1:].tolist(), *more]
        return known[-1] if known else 0
    if function == "distinct":
        return len({*folded, *here.tolist(), *more})
    known = [*folded, *more]
    if last > first:
        known.append(int(here.min() if function == "min" else here.max()))
    return (min if function == "min" else max)(known, default=0)


def _between(running: Ints, first: int, last: int) -> int:
    """The sum of the rows from `first` up to `last`, from the running sums of all."""
    if last <= first:
        return 0
    total: int = running.item(last - 1)
    return total - running.item(first - 1) if first else total
