"""The windows of `offline` for views without `distinct`, from sorted arrays: the same numbers, several times faster.

An event's place among those of its key is a binary search in one sorted array of whole numbers, key and time together;
a window is then a range of places. A count or a sum over it is the difference of two running totals, the newest is its
last place, and a least or greatest is that of two overlapping ranges whose lengths are powers of two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.features.live import offline
from jobs.features.live.plan import MASK, Extent, plan_of
from jobs.spec import LiveView

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Ints = NDArray[np.int64]
_ROWS = 12_000_000
"""Of more events than this the generated SQL is asked, which spills."""


class _NotHere(Exception):
    """What the generated SQL has to answer, or to refuse."""


def windows(
    views: Sequence[LiveView], asked: pa.Table, files: Mapping[LiveView, Sequence[str]], *, provenance: bool = False
) -> pa.Table:
    """As `offline.windows`, which also answers what cannot be answered here."""
    import pyarrow as pa

    for view in views:
        try:
            answers = _answers(view, asked, list(files.get(view, ())), provenance)
        except _NotHere:
            asked = offline.windows([view], asked, files, provenance=provenance)
            continue
        for name, answer in answers.items():
            asked = asked.append_column(f"{view.name}__{name}", pa.array(answer))
    return asked


@dataclass(frozen=True)
class _Rows:
    """Events as they were read: the code of the key, time, id, a hash of it, and the view's columns."""

    codes: Ints
    times: Ints
    hashes: NDArray[np.uint64]
    ids: pa.ChunkedArray
    values: tuple[Ints, ...]

    @classmethod
    def of(cls, table: pa.Table) -> _Rows:
        values = tuple(table[name].to_numpy() for name in table.column_names if name.startswith("c_"))
        return cls(table["code"].to_numpy(), table["time"].to_numpy(), table["hash"].to_numpy(), table["id"], values)

    def and_also(self, other: _Rows, rows: Ints) -> _Rows:
        """These, and after them some of the others."""
        import pyarrow as pa

        def both(mine: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate((mine, theirs[rows]))

        return _Rows(
            both(self.codes, other.codes),
            both(self.times, other.times),
            both(self.hashes, other.hashes),
            pa.chunked_array([*self.ids.chunks, *other.ids.take(pa.array(rows)).chunks], pa.string()),
            tuple(both(mine, theirs) for mine, theirs in zip(self.values, other.values, strict=True)),
        )

    def rising(self) -> Ints:
        """Their order by key and time, of those alike in both as they come."""
        order = np.arange(len(self.times))
        if (self.times[1:] < self.times[:-1]).any():
            order = np.argsort(self.times, kind="stable")
        for shift in range(0, max(1, int(self.codes.max(initial=0)).bit_length()), 16):
            digits = (self.codes >> shift).astype(np.uint16)  # of 16 bits numpy sorts without comparing
            order = order[np.argsort(digits[order], kind="stable")]
        return order


@dataclass(frozen=True)
class _Scale:
    """Key and time as one number: the keys one after the other, each with room for every time."""

    low: int
    span: int

    def places(self, codes: Ints, times: Ints) -> Ints:
        """Times outside of the scale are at its ends."""
        return np.asarray(codes * self.span + np.clip(times - self.low, -1, self.span - 2), dtype=np.int64)


@dataclass(frozen=True)
class _Events:
    """Events by (key, time, id); `places` are their keys and times."""

    places: Ints
    hashes: NDArray[np.uint64]
    order: Ints
    """Where each stands in `rows`."""
    rows: _Rows

    @classmethod
    def sorted(cls, scale: _Scale, rows: _Rows) -> tuple[_Events, NDArray[np.bool_]]:
        """The rows in order, and which of them are the same event as the one before."""
        import pyarrow as pa

        order = rows.rising()
        places = scale.places(rows.codes, rows.times)[order]
        again = np.zeros(len(order), dtype=np.bool_)
        same = np.flatnonzero(places[1:] == places[:-1])
        if len(same):
            tied = np.union1d(same, same + 1)
            names = [str(name).encode() for name in rows.ids.take(pa.array(order[tied])).to_pylist()]
            where = places[tied].tolist()
            within = sorted(range(len(tied)), key=lambda at: (where[at], names[at]))
            order[tied] = order[tied][within]
            identities = [(where[at], names[at]) for at in within]
            again[tied[1:]] = [one == other for one, other in pairwise(identities)]
        return cls(places, rows.hashes[order], order, rows), again

    def find(self, asked: _Events) -> Ints:
        """Where each of these events stands, -1 for one that is not there."""
        if not len(self.places):
            return np.full(len(asked.places), -1, dtype=np.int64)
        first = np.searchsorted(self.places, asked.places, "left")
        last = np.searchsorted(self.places, asked.places, "right")
        at = np.minimum(first, len(self.places) - 1)
        # Of one key at one microsecond: there a hash of 64 bits tells ids apart as well as the ids themselves.
        found = np.where((last > first) & (self.hashes[at] == asked.hashes), first, -1)
        for row in np.flatnonzero((found < 0) & (last - first > 1)).tolist():
            mine = np.flatnonzero(self.hashes[first[row] : last[row]] == asked.hashes[row])
            found[row] = first[row] + mine[0] if len(mine) else -1
        return np.asarray(found, dtype=np.int64)


def _answers(view: LiveView, asked: pa.Table, files: list[str], provenance: bool) -> dict[str, NDArray[Any]]:
    import duckdb

    plan = plan_of(view)
    if not len(asked) or any(window.function == "distinct" for window in view.windows):
        raise _NotHere
    with duckdb.connect(":memory:") as connection:
        connection.execute("set timezone = 'UTC'")
        table, lake = _read(connection, view, asked, files)
    mine, known = _Rows.of(table), _Rows.of(lake)
    times = [one.times for one in (mine, known) if len(one.times)] or [np.zeros(1, np.int64)]
    low = min(int(one.min()) for one in times)
    scale = _Scale(low, max(int(one.max()) for one in times) - low + 2)
    if (len(asked) + 1) * scale.span >= 2**63:
        raise _NotHere
    # All in the order of the events: who looks up one row after the other walks through them and does not jump about.
    wanted, _ = _Events.sorted(scale, mine)
    rows, at, codes = table["row"].to_numpy()[wanted.order], mine.times[wanted.order], mine.codes[wanted.order]
    events = _united(scale, known, wanted, rows)
    own = events.find(wanted)

    def until(times: Ints) -> Ints:
        """How many events of earlier keys, and of each row's own up to a time, there are."""
        return np.searchsorted(events.places, scale.places(codes, times), "right")

    bounds = [_bounds(extent, at, own, until) for extent in plan.extents]
    columns = [column[events.order] for column in events.rows.values]
    sums: dict[int, Ints] = {}
    found: dict[str, Ints] = {}
    for window, one in zip(view.windows, plan.windows, strict=True):
        tail, head = bounds[one.extent]
        if one.function == "count":
            found[window.name] = head - tail
        elif one.function == "sum":
            if one.column not in sums:
                sums[one.column] = _totals(columns[one.column])
            found[window.name] = sums[one.column][head] - sums[one.column][tail]
        else:
            found[window.name] = _over(one.function, columns[one.column], tail, head)
    outer = [bounds[index] for index in plan.outer]
    counted = np.sum([head - tail for tail, head in outer], axis=0)
    if provenance:
        clock = _totals(events.rows.times[events.order] & MASK)
        found["events"] = counted
        found["checksum"] = np.sum([clock[head] - clock[tail] for tail, head in outer], axis=0)
    answers: dict[str, NDArray[Any]] = {}
    for name, answer in {**found, "found": counted > 0}.items():
        answers[name] = np.zeros(len(asked), dtype=answer.dtype)
        answers[name][rows] = answer
    return answers


def _united(scale: _Scale, known: _Rows, wanted: _Events, asked: Ints) -> _Events:
    """The known events and those only asked about, of those with one identity the one with the least of `asked`."""
    events, again = _Events.sorted(scale, known)
    if again.any():
        raise _NotHere  # an event is published twice, which is refused there
    absent = np.flatnonzero(events.find(wanted) < 0)
    if not len(absent):
        return events
    absent = wanted.order[absent[np.argsort(asked[absent])]]
    every, again = _Events.sorted(scale, known.and_also(wanted.rows, absent))
    if again.any():
        fresh = every.order[~again] - len(known.times)
        every, _ = _Events.sorted(scale, known.and_also(wanted.rows, absent[np.sort(fresh[fresh >= 0])]))
    return every


def _bounds(extent: Extent, times: Ints, own: Ints, until: Any) -> tuple[Ints, Ints]:
    """How many events of the sorted ones lie before an extent of each row, and before its end."""
    head, tail = times - extent.delay, times - extent.delay - extent.length
    if extent.hop:
        head, tail = head // extent.hop * extent.hop, tail // extent.hop * extent.hop
    return until(tail), until(head) if extent.delay else own + 1


def _totals(column: Ints) -> Ints:
    """The running total before each event and after the last."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(column)))


def _over(function: str, column: Ints, tail: Ints, head: Ints) -> Ints:
    """The newest, least or greatest value of each range of places, 0 of an empty one."""
    found, lengths = np.zeros(len(tail), dtype=np.int64), head - tail
    if function == "last":
        found[lengths > 0] = column[head[lengths > 0] - 1]
        return found
    better, level, width = (np.minimum if function == "min" else np.maximum), column, 1
    while (lengths >= width).any():  # level: of each place and those after it, `width` together
        rows = np.flatnonzero((lengths >= width) & (lengths < 2 * width))
        found[rows] = better(level[tail[rows]], level[head[rows] - width])
        level, width = better(level[:-width], level[width:]) if len(level) > width else level[:0], 2 * width
    return found


def _read(
    connection: duckdb.DuckDBPyConnection, view: LiveView, asked: pa.Table, files: list[str]
) -> tuple[pa.Table, pa.Table]:
    """The asked events with their row and the known ones of their keys: code of the key, time, id, c_0, c_1 and so on."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = list(dict.fromkeys((*view.entity, *(name for name in view.columns if name in asked.column_names))))
    mine = asked.select(["event_time", "event_id", *names]).append_column("_row", pa.array(np.arange(len(asked))))
    connection.register("asked", mine)
    quoted = [_quoted(key) for key in view.entity]
    keys, given = ", ".join(quoted), " and ".join(f"{key} is not null" for key in quoted)
    connection.execute(
        f"create temp table keys as select {keys}, row_number() over () - 1 as code "  # noqa: S608
        f"from (select distinct {keys} from asked where {given})"
    )
    own = f"select _row as row, {_chosen(view, names)} from asked join keys using ({keys})"  # noqa: S608
    wanted = connection.sql(own).to_arrow_table()
    if not files:
        return wanted, wanted.slice(0, 0).drop_columns(["row"])
    times = pc.min_max(asked.column("event_time")).as_py()
    first, last = (times["min"] - view.reach).isoformat(), times["max"].isoformat()
    lake = (
        f"from read_parquet({files!r}, hive_partitioning = false) "
        f"where event_time > '{first}'::timestamptz and event_time <= '{last}'::timestamptz"
    )
    if connection.sql(f"select count(*) {lake}").fetchall()[0][0] > _ROWS:
        raise _NotHere
    known = f"select {_chosen(view, view.columns)} from (select * {lake}) join keys using ({keys})"  # noqa: S608
    return wanted, connection.sql(known).to_arrow_table()


def _chosen(view: LiveView, there: Sequence[str]) -> str:
    columns = [
        f"coalesce(cast({_quoted(name)} as bigint), 0) as c_{index}" if name in there else f"0::bigint as c_{index}"
        for index, name in enumerate(view.columns)
    ]
    return ", ".join(["code", "epoch_us(event_time) as time", "event_id as id", "hash(event_id) as hash", *columns])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
