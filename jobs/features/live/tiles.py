"""Events before a hop's exact part, folded into integer tiles of that hop.

Tile k holds the events in (k * hop, (k + 1) * hop], like the windows open on the left. A tile has a row for each UTC
day in it, so that the lake's days can be put in the place of what was scored, whatever the hop.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from jobs.features.live.packed import EMPTY, INTEGER, Ints, Table, unpack
from jobs.features.live.plan import DAY, MASK, Plan

NEVER = -(2**62)
_HEADER = struct.Struct("<qq")
_TILE, _DAY, COUNT, CLOCK, _FIRST = range(5)
_FOLDS = {"sum": np.add, "min": np.minimum, "max": np.maximum}


@dataclass(frozen=True, slots=True)
class Kept:
    """What the windows of one hop need of each tile: (function, column) folded, columns of sets, and the newest event."""

    folds: tuple[tuple[str, int], ...]
    sets: tuple[int, ...]
    newest: bool


@dataclass(frozen=True, slots=True)
class Tiles:
    """The tiles of one hop, sorted: events up to and including `until` are in them, newer ones are not."""

    hop: int
    until: int
    rows: Ints
    """Of each tile and day: tile, day, count, sum of the clock, then what `Kept.folds` says."""
    sets: tuple[Ints, ...]
    """Of each column: tile, day, value; each once."""
    newest: Table
    """The newest event of each tile and day, if a window asks for it."""

    def between(self, first: int, last: int) -> Ints:
        """The rows of the tiles from `first` up to, and without, `last`."""
        tiles = self.rows[:, _TILE]
        return self.rows[tiles.searchsorted(first) : tiles.searchsorted(last)]

    def values(self, place: int, first: int, last: int) -> Ints:
        """The values of a column of sets in the tiles from `first` up to, and without, `last`."""
        known = self.sets[place]
        tiles = known[:, _TILE]
        return known[tiles.searchsorted(first) : tiles.searchsorted(last), 2]

    def last(self, column: int, first: int, last: int) -> list[int]:
        """The value of the newest event in the tiles from `first` up to, and without, `last`; or none."""
        low, high = self.newest.times.searchsorted([first * self.hop, last * self.hop], "right")
        return [int(self.newest.values[high - 1, column])] if high > low else []

    def without(self, days: Collection[int]) -> Tiles:
        """The tiles less what these days brought."""
        gone = np.fromiter(days, np.int64, len(days))
        return replace(
            self,
            rows=self.rows[~np.isin(self.rows[:, _DAY], gone)],
            sets=tuple(known[~np.isin(known[:, _DAY], gone)] for known in self.sets),
            newest=self.newest.take(~np.isin(self.newest.times // DAY, gone)),
        )

    def fold(self, kept: Kept, events: Table, until: int, oldest: int) -> Tiles:
        """The tiles with these events as well, up to `until` and from tile `oldest` on."""
        tile, day = (events.times - 1) // self.hop, events.times // DAY
        columns = [tile, day, np.ones_like(tile), events.times & MASK]
        columns += [events.values[:, column] for _, column in kept.folds]
        rows = np.concatenate([self.rows, np.column_stack(columns)])
        rows = rows[rows[:, _TILE] >= oldest]
        rows = rows[np.lexsort((rows[:, _DAY], rows[:, _TILE]))]
        starts = _starts(rows[:, :2])
        if len(starts) < len(rows):
            folds = [np.minimum, np.minimum, np.add, np.add, *(_FOLDS[function] for function, _ in kept.folds)]
            rows = np.column_stack([fold.reduceat(rows[:, at], starts) for at, fold in enumerate(folds)])
        sets = []
        for known, column in zip(self.sets, kept.sets, strict=True):
            both = np.concatenate([known, np.column_stack([tile, day, events.values[:, column]])])
            both = both[both[:, _TILE] >= oldest]
            both = both[np.lexsort((both[:, 2], both[:, _DAY], both[:, _TILE]))]
            sets.append(both[_starts(both)])
        newest = self.newest
        if kept.newest:
            newest = newest.then(events).sorted()[0]
            newest = newest.take(newest.times > oldest * self.hop)
            places = np.column_stack([(newest.times - 1) // self.hop, newest.times // DAY])
            newest = newest.take(np.append(_starts(places)[1:], len(places))[: len(places)] - 1)
        return Tiles(self.hop, until, rows, tuple(sets), newest)

    def packed(self) -> bytes:
        """The tiles as bytes."""
        parts = [_HEADER.pack(self.until, len(self.rows)), self.rows.astype("<i8").tobytes()]
        for known in self.sets:
            parts += (INTEGER.pack(len(known)), known.astype("<i8").tobytes())
        body = b"".join((*parts, self.newest.packed()))
        return INTEGER.pack(len(body)) + body


@lru_cache(maxsize=256)
def _kept(windows: tuple[tuple[str, int], ...]) -> Kept:
    return Kept(
        folds=tuple(sorted({one for one in windows if one[0] in _FOLDS})),
        sets=tuple(sorted({column for function, column in windows if function == "distinct"})),
        newest=any(function == "last" for function, _ in windows),
    )


def kept(plan: Plan, hop: int) -> Kept:
    """What the plan's windows of a hop need of each tile."""
    return _kept(tuple((one.function, one.column) for one in plan.windows if plan.extents[one.extent].hop == hop))


def fold_place(keeps: Kept, function: str, column: int) -> int:
    """Which column of `Tiles.rows` holds a function of a column."""
    return _FIRST + keeps.folds.index((function, column))


def none(plan: Plan, hop: int) -> Tiles:
    """No tiles yet."""
    keeps = kept(plan, hop)
    rows = np.zeros((0, _FIRST + len(keeps.folds)), np.int64)
    sets = tuple(np.zeros((0, 3), np.int64) for _ in keeps.sets)
    return Tiles(hop, NEVER, rows, sets, unpack(EMPTY, len(plan.columns))[0])


def unpack_all(plan: Plan, data: bytes, start: int) -> list[Tiles]:
    """The tiles of every hop of the plan, which begin at `start`; none yet if the data ends there."""
    found = []
    for hop in plan.hops:
        if start >= len(data):
            found.append(none(plan, hop))
            continue
        (size,) = INTEGER.unpack_from(data, start)
        found.append(_unpack(plan, hop, data[start + INTEGER.size : start + INTEGER.size + size]))
        start += INTEGER.size + size
    return found


def untils(plan: Plan, data: bytes, start: int) -> list[int]:
    """Up to when the events are in tiles, by hop, without unpacking them."""
    found = []
    for _ in plan.hops:
        if start >= len(data):
            found.append(NEVER)
            continue
        size, until = _HEADER.unpack_from(data, start)
        found.append(until)
        start += INTEGER.size + size
    return found


def _unpack(plan: Plan, hop: int, data: bytes) -> Tiles:
    keeps = kept(plan, hop)
    until, count = _HEADER.unpack_from(data)
    width, at = _FIRST + len(keeps.folds), _HEADER.size
    rows = np.frombuffer(data, "<i8", count * width, at).reshape(count, width)
    at += 8 * count * width
    sets = []
    for _ in keeps.sets:
        (count,) = INTEGER.unpack_from(data, at)
        sets.append(np.frombuffer(data, "<i8", count * 3, at + INTEGER.size).reshape(count, 3))
        at += INTEGER.size + 24 * count
    return Tiles(hop, until, rows, tuple(sets), unpack(data[at:], len(plan.columns))[0])


def _starts(rows: NDArray[np.int64]) -> Ints:
    """The first of each run of equal rows."""
    if not len(rows):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.append(True, (rows[1:] != rows[:-1]).any(axis=1)))
