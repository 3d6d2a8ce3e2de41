"""What a live view's declaration comes to, in integers: the same for the packed state and for the SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from jobs.spec import Function, LiveView

MASK = 0x7FFFFFFF
DAY = 86_400_000_000
"""Microseconds of a day."""


class Extent(NamedTuple):
    """A stretch of time before an event: (t - delay - length, t - delay], its past edges floored to `hop` if not 0."""

    length: int
    delay: int
    hop: int

    def tail(self, time_us: int) -> int:
        """The left edge, not itself inside."""
        edge = time_us - self.delay - self.length
        return edge // self.hop * self.hop if self.hop else edge

    def head(self, time_us: int) -> int:
        """The right edge, itself inside; of an extent without delay the event's own time."""
        edge = time_us - self.delay
        return edge // self.hop * self.hop if self.hop and self.delay else edge


class Aggregate(NamedTuple):
    """A window: a function of a column (-1: of the events themselves) over one of the plan's extents."""

    function: Function
    column: int
    extent: int


@dataclass(frozen=True)
class Plan:
    """A live view in integers; times are microseconds."""

    columns: tuple[str, ...]
    extents: tuple[Extent, ...]
    windows: tuple[Aggregate, ...]
    outer: tuple[int, ...]
    """The longest extent of each delay and hop: together they hold every event of any window."""
    hops: tuple[int, ...]
    exact: int
    """How far back the events themselves are needed by windows without a hop; 0 if there are none."""

    def reach(self, hop: int) -> int:
        """How far back the tiles of a hop are needed."""
        return max(extent.delay + extent.length for extent in self.extents if extent.hop == hop)


_plans: dict[int, tuple[LiveView, Plan]] = {}


def plan_of(view: LiveView) -> Plan:
    """The view's plan; made once for each declaration, because hashing one takes longer than reading by it."""
    known = _plans.get(id(view))
    if known is None or known[0] is not view:
        known = _plans[id(view)] = (view, _plan(view))
    return known[1]


def _plan(view: LiveView) -> Plan:
    columns = view.columns
    extents: list[Extent] = []
    windows = []
    for window in view.windows:
        extent = Extent(_us(window.length), _us(window.delay), _us(window.hop or timedelta(0)))
        if extent not in extents:
            extents.append(extent)
        column = columns.index(window.column) if window.column else -1
        windows.append(Aggregate(window.function, column, extents.index(extent)))
    longest: dict[tuple[int, int], int] = {}
    for index, extent in enumerate(extents):
        known = longest.get((extent.delay, extent.hop))
        if known is None or extents[known].length < extent.length:
            longest[extent.delay, extent.hop] = index
    return Plan(
        columns=columns,
        extents=tuple(extents),
        windows=tuple(windows),
        outer=tuple(longest.values()),
        hops=tuple(sorted({extent.hop for extent in extents if extent.hop})),
        exact=max((extent.delay + extent.length for extent in extents if not extent.hop), default=0),
    )


def _us(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
