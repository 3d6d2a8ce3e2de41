"""The SQL of a live view, from the declaration that `state` reads packed events by; DuckDB's or Spark's.

Counts and sums are a running total up to the event, by (time, id), less the running total up to the window's tail, by
time: linear, however long the window. The other functions join a frame over earlier times with one over the event's
own: its microsecond, or with a hop its tile.
"""

# ruff: noqa: S608  # every name in the SQL is from a declaration, and quoted
from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from jobs.features.live.plan import MASK, Aggregate, Extent, Plan, plan_of
from jobs.spec import LiveView

Dialect = Literal["duckdb", "spark"]
_TO_PRESENT = "rows between unbounded preceding and current row"
_WHOLE = "rows between unbounded preceding and unbounded following"


def query(
    view: LiveView,
    dialect: Dialect,
    *,
    carried: Collection[str],
    texts: Collection[str] = (),
    provenance: bool = False,
) -> str:
    """A select of `_row`, every window and `found`, and with provenance of `events` and `checksum`, as `Reading` has them.

    It reads two relations: `lake` (entity keys, event_time, event_id, the view's columns), and `asked`, the events to
    answer (the same with `_row`, of the view's columns only the `carried`). Those the lake lacks are united with it;
    one whose key is null has empty windows. `texts` are the columns that hold text.
    """
    return _Query(view, plan_of(view), dialect, frozenset(carried), frozenset(texts)).select(provenance)


@dataclass(frozen=True)
class _Query:
    view: LiveView
    plan: Plan
    dialect: Dialect
    carried: frozenset[str]
    texts: frozenset[str]

    def select(self, provenance: bool) -> str:
        answers = {window.name: f"w{index}" for index, window in enumerate(self.view.windows)}
        answers |= {"events": "w_events", "checksum": "w_checksum"} if provenance else {}
        chosen = [f"coalesce(w.{column}, 0) as {quoted(name, self.dialect)}" for name, column in answers.items()]
        keys = [quoted(key, self.dialect) for key in self.view.entity]
        stages = [*self.united(keys), *self.marked(keys), f"windows as (select {self.windows(keys)} from events)"]
        return "with {}\nselect {}\nfrom wanted a left join windows w on {}".format(
            ",\n".join(stages),
            ", ".join(["a._row", *chosen, "coalesce(w.w_events, 0) > 0 as found"]),
            _same("w", "a", [*keys, "_time", "_id"]),
        )

    def united(self, keys: list[str]) -> Iterable[str]:
        """`united`: the lake's events of the keys asked about, and the asked ones it lacks, each once."""
        clock = "epoch_us(event_time)" if self.dialect == "duckdb" else "unix_micros(event_time)"
        named = ", ".join([*keys, f"{clock} as _time", "event_id as _id"])
        columns = ", ".join([*keys, "_time", "_id", *(f"c{index}" for index in range(len(self.plan.columns)))])
        known = " and ".join(f"{key} is not null" for key in keys)
        yield f"wanted as (select _row, {named}{self.values(self.carried)} from asked)"
        yield f"keys as (select distinct {', '.join(keys)} from asked)"
        yield (
            f"known as (select {named}{self.values(self.plan.columns)} from lake l"
            f" where exists (select 1 from keys a where {_same('l', 'a', keys)}))"
        )
        yield (
            f"fresh as (select {columns}, row_number() over (partition by {', '.join([*keys, '_time', '_id'])}"
            f" order by _row) as _place from wanted a where {known}"
            f" and not exists (select 1 from known l where {_same('l', 'a', [*keys, '_time', '_id'])}))"
        )
        yield (
            f"united as (select {columns}{self.tiles()} from"
            f" (select {columns} from known union all select {columns} from fresh where _place = 1) u)"
        )

    def marked(self, keys: list[str]) -> Iterable[str]:
        """`events`: the united ones with what a second pass over them needs."""
        marks: dict[str, str] = {}
        for window in self.plan.windows:
            extent = self.plan.extents[window.extent]
            if window.function == "last" and extent.delay:
                place, order = ("_time", "_id") if not extent.hop else (f"t{extent.hop}", "_time, _id")
                over = f"partition by {', '.join([*keys, place])} order by {order} {_WHOLE}"
                marks[f"l{window.column}_{extent.hop}"] = f"last_value(c{window.column}) over ({over})"
            if window.function == "distinct" and not extent.delay and self.dialect == "duckdb":
                marks[f"n{window.extent}"] = self.total(keys, "count(*)", extent)
        yield f"events as (select {', '.join(['*', *(f'{mark} as {name}' for name, mark in marks.items())])} from united)"

    def windows(self, keys: list[str]) -> str:
        outer = [self.plan.extents[index] for index in self.plan.outer]
        events = " + ".join(self.total(keys, "count(*)", extent) for extent in outer)
        checksum = " + ".join(self.total(keys, f"sum(_time & {MASK})", extent) for extent in outer)
        answers = {f"w{index}": self.window(keys, window) for index, window in enumerate(self.plan.windows)}
        answers |= {"w_events": events, "w_checksum": checksum}
        found = [f"cast(coalesce({answer}, 0) as bigint) as {name}" for name, answer in answers.items()]
        return ", ".join([*keys, "_time", "_id", *found])

    def window(self, keys: list[str], window: Aggregate) -> str:
        extent, column = self.plan.extents[window.extent], f"c{window.column}"
        if window.function == "count":
            return self.total(keys, "count(*)", extent)
        if window.function == "sum":
            return self.total(keys, f"sum({column})", extent)
        if window.function == "last":
            mark = f"l{window.column}_{extent.hop}"
            return self.earlier(keys, extent, f"last_value({mark})") if extent.delay else column
        if window.function == "distinct":
            return self.distinct(keys, window)
        earlier = self.earlier(keys, extent, f"{window.function}({column})")
        if extent.delay:
            return earlier
        both = "least" if window.function == "min" else "greatest"
        return f"{both}({earlier}, {window.function}({column}) over ({self.own(keys, extent)}))"

    def distinct(self, keys: list[str], window: Aggregate) -> str:
        extent, column = self.plan.extents[window.extent], f"c{window.column}"
        if self.dialect == "spark":
            earlier = self.earlier(keys, extent, f"collect_set({column})")
            if extent.delay:
                return f"size(coalesce({earlier}, array()))"
            return f"size(array_union(coalesce({earlier}, array()), collect_set({column}) over ({self.own(keys, extent)})))"
        if extent.delay:
            return self.earlier(keys, extent, f"count(distinct {column})")
        over = f"partition by {', '.join(keys)} order by _time, _id rows between n{window.extent} - 1 preceding and current row"
        return f"count(distinct {column}) over ({over})"

    def total(self, keys: list[str], aggregate: str, extent: Extent) -> str:
        """A count or sum over an extent, as the difference of two running totals."""
        head = f"{aggregate} over (partition by {', '.join(keys)} order by _time, _id {_TO_PRESENT})"
        if extent.delay:
            head = f"coalesce({self.running(keys, aggregate, extent, extent.delay)}, 0)"
        return f"({head} - coalesce({self.running(keys, aggregate, extent, extent.delay + extent.length)}, 0))"

    def running(self, keys: list[str], aggregate: str, extent: Extent, before: int) -> str:
        """The running total up to and including `before` microseconds earlier, floored to the hop."""

        def frame(order: str, upper: int) -> str:
            until = f"range between unbounded preceding and {upper} preceding"
            return f"{aggregate} over (partition by {', '.join(keys)} order by {order} {until})"

        if not extent.hop:
            return frame("_time", before)
        tiles = before // extent.hop
        return self.on_edge(extent.hop, lambda edge: frame(f"t{extent.hop}", tiles if edge else tiles + 1))

    def earlier(self, keys: list[str], extent: Extent, aggregate: str) -> str:
        """An aggregate over an extent; of one without delay only over what is before the event's own frame."""

        def frame(order: str, lower: int, upper: int) -> str:
            between = f"range between {lower} preceding and {upper} preceding"
            over = f"partition by {', '.join(keys)} order by {order} {between}"
            return f"{aggregate} over ({over})" if lower >= upper else "null"

        if not extent.hop:
            return frame("_time", extent.delay + extent.length - 1, extent.delay or 1)
        head, tail = extent.delay // extent.hop, (extent.delay + extent.length) // extent.hop
        return self.on_edge(
            extent.hop,
            lambda edge: frame(f"t{extent.hop}", tail - edge, head + (not edge) if head else 1),
        )

    def own(self, keys: list[str], extent: Extent) -> str:
        """The frame of the event's own microsecond, or tile, up to itself."""
        place, order = (f"t{extent.hop}", "_time, _id") if extent.hop else ("_time", "_id")
        return f"partition by {', '.join([*keys, place])} order by {order} {_TO_PRESENT}"

    def on_edge(self, hop: int, expression: Callable[[bool], str]) -> str:
        """An event on an edge of the hop is the last of its tile: floored, the others are a tile earlier."""
        return f"case when e{hop} then {expression(True)} else {expression(False)} end"

    def tiles(self) -> str:
        """Of each hop: whether an event is on an edge of it, and its tile, which is open on the left."""
        divide, found = "//" if self.dialect == "duckdb" else "div", []
        for hop in self.plan.hops:
            past = f"((_time % {hop} + {hop}) % {hop})"
            tile = f"(_time - {past}) {divide} {hop} + case when {past} = 0 then 0 else 1 end"
            found.append(f", {past} = 0 as e{hop}, cast({tile} as bigint) as t{hop}")
        return "".join(found)

    def values(self, there: Collection[str]) -> str:
        """The view's columns as c0, c1, …: a missing one and a null are 0, or the empty text."""
        text, found = "varchar" if self.dialect == "duckdb" else "string", []
        for index, name in enumerate(self.plan.columns):
            kind, nothing = (text, "''") if name in self.texts else ("bigint", "0")
            value = f"coalesce(cast({quoted(name, self.dialect)} as {kind}), {nothing})" if name in there else nothing
            found.append(f", cast({value} as {kind}) as c{index}")
        return "".join(found)


def quoted(name: str, dialect: Dialect = "duckdb") -> str:
    """The identifier as the dialect quotes it."""
    quote = '"' if dialect == "duckdb" else "`"
    return quote + name.replace(quote, quote * 2) + quote


def _same(one: str, other: str, columns: Iterable[str]) -> str:
    return " and ".join(f"{one}.{column} = {other}.{column}" for column in columns)
