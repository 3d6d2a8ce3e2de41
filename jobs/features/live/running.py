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
            answers = _answers(view, asked, list(files.get(view, ())))
        except _NotHere:
            asked = offline.windows([view], asked, files, provenance=provenance)
            continue
        if not provenance:
            del answers["events"], answers["checksum"]
        for name, answer in answers.items():
            asked = asked.append_column(f"{view.name}__{name}", pa.array(answer))
    return asked


@dataclass(frozen=True)
class _Events:
    """Events by (key, time, id); `places` is key and time in one number."""

    places: Ints
    order: Ints
    """Where each stands in `table`, which is as it was read."""
    table: pa.Table

    @classmethod
    def sorted(cls, places: Ints, table: pa.Table) -> tuple[_Events, NDArray[np.bool_]]:
        """The rows in order, and which of them are the same event as the one before."""
        import pyarrow as pa

        order = np.argsort(places, kind="stable")
        ordered = places[order]
        again = np.zeros(len(order), dtype=np.bool_)
        same = np.flatnonzero(ordered[1:] == ordered[:-1])
        if len(same):
            tied = np.union1d(same, same + 1)
            names = [str(name).encode() for name in table["id"].take(pa.array(order[tied])).to_pylist()]
            where = ordered[tied].tolist()
            within = sorted(range(len(tied)), key=lambda at: (where[at], names[at]))
            order[tied] = order[tied][within]
            identities = [(where[at], names[at]) for at in within]
            again[tied[1:]] = [one == other for one, other in pairwise(identities)]
        return cls(ordered, order, table), again

    def find(self, places: Ints, ids: pa.Array) -> Ints:
        """Where each of these events stands, -1 for one that is not there; fastest when asked in order."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not len(self.places):
            return np.full(len(places), -1, dtype=np.int64)
        first, last = np.searchsorted(self.places, places, "left"), np.searchsorted(self.places, places, "right")
        at = self.order[np.minimum(first, len(self.places) - 1)]
        same = pc.equal(self.table["id"].take(pa.array(at)), ids).to_numpy().astype(np.bool_)
        found = np.where((last > first) & same, first, -1)
        for row in np.flatnonzero((found < 0) & (last - first > 1)).tolist():
            names = self.table["id"].take(pa.array(self.order[first[row] : last[row]])).to_pylist()
            if ids[row].as_py() in names:
                found[row] = first[row] + names.index(ids[row].as_py())
        return np.asarray(found, dtype=np.int64)


def _answers(view: LiveView, asked: pa.Table, files: list[str]) -> dict[str, NDArray[Any]]:
    import duckdb
    import pyarrow as pa

    plan = plan_of(view)
    if not len(asked) or any(window.function == "distinct" for window in view.windows):
        raise _NotHere
    with duckdb.connect(":memory:") as connection:
        connection.execute("set timezone = 'UTC'")
        mine, known = _read(connection, view, asked, files)
    times = [table["time"].to_numpy() for table in (mine, known)]
    low = min(int(one.min(initial=np.iinfo(np.int64).max)) for one in times)
    span = max(int(one.max(initial=low)) for one in times) - low + 2
    if (len(asked) + 1) * span >= 2**63:
        raise _NotHere

    def placed(table: pa.Table) -> Ints:
        return np.asarray(table["code"].to_numpy() * span + (table["time"].to_numpy() - low), dtype=np.int64)

    # In the order of the events: a search for every row then walks through them instead of jumping about.
    mine = mine.take(pa.array(np.argsort(placed(mine), kind="stable")))
    places, own_times, starts = placed(mine), mine["time"].to_numpy(), mine["code"].to_numpy() * span
    events = _united(known, mine, placed)
    own = events.find(places, mine["id"])

    def until(wanted: Ints) -> Ints:
        """How many events of earlier keys, and of each row's own up to a time, there are."""
        at = starts + np.clip(wanted - low, -1, span - 2)
        return np.asarray(np.searchsorted(events.places, at, "right"), dtype=np.int64)

    bounds = [_bounds(extent, own_times, own, until) for extent in plan.extents]
    columns = [events.table[f"c{index}"].to_numpy()[events.order] for index in range(len(plan.columns))]
    clock = _totals(events.table["time"].to_numpy()[events.order] & MASK)
    found: dict[str, Ints] = {}
    sums: dict[int, Ints] = {}
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
    found["events"] = np.sum([head - tail for tail, head in outer], axis=0)
    found["checksum"] = np.sum([clock[head] - clock[tail] for tail, head in outer], axis=0)
    answers: dict[str, NDArray[Any]] = {name: np.zeros(len(asked), np.int64) for name in found}
    for name, answer in found.items():
        answers[name][mine["row"].to_numpy()] = answer
    return {**answers, "found": answers["events"] > 0}


def _united(known: pa.Table, mine: pa.Table, placed: Any) -> _Events:
    """The known events and those only asked about, of those with one identity the first."""
    import pyarrow as pa

    events, again = _Events.sorted(placed(known), known)
    if again.any():
        raise _NotHere  # an event is published twice, which is refused there
    absent = np.flatnonzero(events.find(placed(mine), mine["id"]) < 0)
    if not len(absent):
        return events
    fresh = mine.take(pa.array(absent[np.argsort(mine["row"].to_numpy()[absent])])).drop_columns(["row"])
    asked, again = _Events.sorted(placed(fresh), fresh)
    united = pa.concat_tables([known, fresh.take(pa.array(asked.order[~again]))])
    return _Events.sorted(placed(united), united)[0]


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
    """The asked events with their row and the known ones of their keys: code of the key, time, id, c0, c1 and so on."""
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
        f"coalesce(cast({_quoted(name)} as bigint), 0) as c{index}" if name in there else f"0::bigint as c{index}"
        for index, name in enumerate(view.columns)
    ]
    return ", ".join(["code", "epoch_us(event_time) as time", "event_id as id", *columns])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
