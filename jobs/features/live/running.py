"""The windows of `offline` for views without `distinct`, from sorted arrays: the same numbers, several times faster.

An event's place among those of its key is a binary search in one sorted array of whole numbers, key and time together;
a window is then a range of places. A count or a sum over it is the difference of two running totals, the newest is its
last place, and a least or greatest is that of two overlapping ranges whose lengths are powers of two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

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
    """Events as they were read: the code of the key, time, id and the view's columns."""

    codes: Ints
    times: Ints
    ids: pa.ChunkedArray
    values: tuple[Ints, ...]

    @classmethod
    def of(cls, table: pa.Table) -> _Rows:
        values = [table[name].to_numpy() for name in table.column_names if name.startswith("c_")]
        return cls(table["code"].to_numpy(), table["time"].to_numpy(), table["id"], tuple(values))

    def __len__(self) -> int:
        return len(self.times)

    def and_also(self, other: _Rows, some: Ints) -> _Rows:
        """These, and after them some of the others."""
        import pyarrow as pa

        return _Rows(
            np.concatenate((self.codes, other.codes[some])),
            np.concatenate((self.times, other.times[some])),
            pa.chunked_array([*self.ids.chunks, *other.ids.take(pa.array(some)).chunks], pa.string()),
            tuple(np.concatenate((one, more[some])) for one, more in zip(self.values, other.values, strict=True)),
        )


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
    """Rows by (key, time, id)."""

    places: Ints
    order: Ints
    """Where each stands among `rows`."""
    rows: _Rows

    @classmethod
    def sorted(cls, scale: _Scale, rows: _Rows) -> tuple[_Events, NDArray[np.bool_]]:
        """The rows in order, and which of them are the same event as the one before."""
        import pyarrow as pa

        places = scale.places(rows.codes, rows.times)
        order = np.argsort(places, kind="stable")
        ordered = places[order]
        again = np.zeros(len(order), dtype=np.bool_)
        same = np.flatnonzero(ordered[1:] == ordered[:-1])
        if len(same):
            tied = np.union1d(same, same + 1)
            names = [str(name).encode() for name in rows.ids.take(pa.array(order[tied])).to_pylist()]
            where = ordered[tied].tolist()
            within = sorted(range(len(tied)), key=lambda at: (where[at], names[at]))
            order[tied] = order[tied][within]
            identities = [(where[at], names[at]) for at in within]
            again[tied[1:]] = [one == other for one, other in pairwise(identities)]
        return cls(ordered, order, rows), again

    def find(self, places: Ints, rising: Ints, ids: pa.ChunkedArray) -> Ints:
        """Where each of these events stands, -1 for one that is not there; `rising` is an order of theirs by place."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not len(self.places):
            return np.full(len(places), -1, dtype=np.int64)
        first, last = (self.before(places, rising, side) for side in ("left", "right"))
        at = self.order[np.minimum(first, len(self.places) - 1)]
        same = pc.equal(self.rows.ids.take(pa.array(at)), ids).to_numpy().astype(np.bool_)
        found = np.where((last > first) & same, first, -1)
        for row in np.flatnonzero((found < 0) & (last - first > 1)).tolist():
            names = self.rows.ids.take(pa.array(self.order[first[row] : last[row]])).to_pylist()
            if ids[row].as_py() in names:
                found[row] = first[row] + names.index(ids[row].as_py())
        return np.asarray(found, dtype=np.int64)

    def before(self, places: Ints, rising: Ints, side: Literal["left", "right"]) -> Ints:
        """How many events are before each place, with `right` also those at it.

        A search for one after the other walks through the events instead of jumping about: several times as fast.
        """
        found = np.empty(len(places), dtype=np.int64)
        found[rising] = np.searchsorted(self.places, places[rising], side)
        return found


def _answers(view: LiveView, asked: pa.Table, files: list[str], provenance: bool) -> dict[str, NDArray[Any]]:
    import duckdb

    plan = plan_of(view)
    if not len(asked) or any(window.function == "distinct" for window in view.windows):
        raise _NotHere
    with duckdb.connect(":memory:") as connection:
        connection.execute("set timezone = 'UTC'")
        table, lake = _read(connection, view, asked, files)
    mine, known = _Rows.of(table), _Rows.of(lake)
    times = [one.times for one in (mine, known) if len(one)] or [np.zeros(1, np.int64)]
    low = min(int(one.min()) for one in times)
    scale = _Scale(low, max(int(one.max()) for one in times) - low + 2)
    if (len(asked) + 1) * scale.span >= 2**63:
        raise _NotHere
    places = scale.places(mine.codes, mine.times)
    rising = np.argsort(places, kind="stable")
    rows = table["row"].to_numpy()
    events, own = _united(scale, known, mine, rows, places, rising)

    def until(wanted: Ints) -> Ints:
        """How many events of earlier keys, and of each row's own up to a time, there are."""
        return events.before(scale.places(mine.codes, wanted), rising, "right")

    bounds = [_bounds(extent, mine.times, own, until) for extent in plan.extents]
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


def _united(scale: _Scale, known: _Rows, mine: _Rows, asked: Ints, places: Ints, rising: Ints) -> tuple[_Events, Ints]:
    """The known events and those only asked about, of those with one identity the first; where each asked one stands."""
    events, again = _Events.sorted(scale, known)
    if again.any():
        raise _NotHere  # an event is published twice, which is refused there
    own = events.find(places, rising, mine.ids)
    absent = np.flatnonzero(own < 0)
    if not len(absent):
        return events, own
    absent = absent[np.argsort(asked[absent])]
    every, again = _Events.sorted(scale, known.and_also(mine, absent))
    if again.any():
        first = np.delete(every.order, np.flatnonzero(again))
        fresh = absent[np.sort(first[first >= len(known)]) - len(known)]
        every, _ = _Events.sorted(scale, known.and_also(mine, fresh))
    return every, every.find(places, rising, mine.ids)


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
    return ", ".join(["code", "epoch_us(event_time) as time", "event_id as id", *columns])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
