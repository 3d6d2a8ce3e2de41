"""The point-in-time join: each event beside the feature values that were visible when it happened.

An event gets, of every batch view, the newest value with available_at <= event_time < available_at + ttl, else zeros
and found = false. A key with a null in it matches nothing, and a row without an event time finds nothing. Of rows with
the same key and available_at the one with the greatest features wins, compared in their declared order, so that the
order of files never matters. `point_in_time_spark` joins the same way on Spark.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.spec import FeatureView

if TYPE_CHECKING:
    import pyarrow as pa

_ROW = "__row"
_SLICE_ROWS = 1_000_000


def join(
    spine: pa.Table, views: Mapping[FeatureView, pa.Table | Sequence[str]], *, provenance: bool = False
) -> pa.Table:
    """The spine in its order, with `<view>__<feature>` and `<view>__found` of every view.

    A view is a table or the paths of its Parquet files. With `provenance` also `<view>__available_at`, null where
    nothing was found.
    """
    import numpy as np
    import pyarrow as pa

    keys = list(dict.fromkeys([*(key for view in views for key in view.entity), "event_time"]))
    joined = spine
    with _connection() as connection:
        connection.register("spine", spine.select(keys).append_column(_ROW, pa.array(np.arange(len(spine)))))
        for view, source in views.items():
            _provide(connection, view, source, spine.schema)
            values, places = _values_and_places(connection, view, len(spine))
            for name in view.features:
                joined = joined.append_column(f"{view.name}__{name}", values[name].take(places))
            found = pa.array(places.to_numpy() < len(values) - 1)
            joined = joined.append_column(f"{view.name}__found", found)
            if provenance:
                joined = joined.append_column(f"{view.name}__available_at", values["available_at"].take(places))
    return joined


def _values_and_places(connection: Any, view: FeatureView, rows: int) -> tuple[pa.Table, pa.Array]:
    """The view's values with a last row of zeros, and for each row of the spine the place of its value in them.

    Only places go through the join: features are gathered from the values once, in the spine's order, where a join
    would carry all of them along and an `order by` sort them.
    """
    import numpy as np
    import pyarrow as pa

    name, features = (
        f"view_{view.name}",
        ", ".join(f"{_quoted(one)}::bigint as {_quoted(one)}" for one in view.features),
    )
    connection.execute(f"create temp table placed as select *, row_number() over () - 1 as __place from {name}")  # noqa: S608
    keys = " and ".join(f"s.{_quoted(key)} = v.{_quoted(key)}" for key in view.entity)
    matched = connection.sql(
        f"select s.{_ROW}, v.__place from spine s asof join placed v on {keys} and s.event_time >= v.available_at "  # noqa: S608
        f"where s.event_time < v.available_at + {_interval(view.ttl)}"
    ).fetchnumpy()
    values = connection.sql(f"select available_at, {features} from placed order by __place").to_arrow_table()  # noqa: S608
    connection.execute("drop table placed")
    places = np.full(rows, len(values), np.int64)
    places[matched[_ROW]] = matched["__place"]
    nothing = pa.table({"available_at": [None], **{one: [0] for one in view.features}}, values.schema)
    return pa.concat_tables([values, nothing]).combine_chunks(), pa.array(places)


def join_files(
    spine: Sequence[str],
    views: Mapping[FeatureView, Sequence[str]],
    folder: Path,
    *,
    provenance: bool = False,
    slice_rows: int = _SLICE_ROWS,
    memory: str = "2GB",
) -> list[str]:
    """The same join for spines larger than memory: Parquet files in a folder, together ordered by event time and id.

    It works in slices of time of about `slice_rows` rows, reads of each view only what a slice can see, and lets
    DuckDB have `memory`, beyond which it spills into the folder.
    """
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    schema = pq.read_schema(spine[0])
    spill, paths = folder / "spill", []
    with _connection(memory=memory, spill=spill) as connection:
        connection.execute(f"create view spine as {_scan(spine)}")
        for view, files in views.items():
            _provide(connection, view, files, schema)
        for number, (first, end) in enumerate(_slices(connection, slice_rows)):
            relations = {
                view: f"(from view_{view.name} where {_between('available_at', first and first - view.ttl, end)})"
                for view in views
            }
            events = f"(from spine where {_between('event_time', first, end)})"
            path = str(folder / f"part-{number:05}.parquet")
            query = _query(schema.names, events, relations, provenance)
            connection.execute(
                f"copy ({query} order by s.event_time nulls first, s.event_id) to {_text(path)} "
                "(format parquet, compression zstd)"
            )
            paths.append(path)
    shutil.rmtree(spill, ignore_errors=True)
    return paths


def _connection(*, memory: str | None = None, spill: Path | None = None) -> Any:
    import duckdb

    connection = duckdb.connect(":memory:")
    connection.execute("set timezone = 'UTC'")
    connection.execute("set enable_progress_bar = false")
    if memory and spill:
        connection.execute(f"set memory_limit = {_text(memory)}")
        connection.execute(f"set temp_directory = {_text(str(spill))}")
    return connection


def _query(columns: Iterable[str], spine: str, views: Mapping[FeatureView, str], provenance: bool) -> str:
    selected, joins = [f"s.{_quoted(name)}" for name in columns], []
    for view, relation in views.items():
        alias = f"v_{view.name}"
        keys = " and ".join(f"s.{_quoted(key)} = {alias}.{_quoted(key)}" for key in view.entity)
        joins.append(f"asof left join {relation} {alias} on {keys} and s.event_time >= {alias}.available_at")
        found = f"coalesce(s.event_time < {alias}.available_at + {_interval(view.ttl)}, false)"
        selected += [
            f"case when {found} then {alias}.{_quoted(name)} else 0 end::bigint as {_quoted(f'{view.name}__{name}')}"
            for name in view.features
        ]
        selected.append(f"{found} as {view.name}__found")
        if provenance:
            selected.append(f"case when {found} then {alias}.available_at end as {view.name}__available_at")
    return f"select {', '.join(selected)} from {spine} s {' '.join(joins)}"  # noqa: S608


def _provide(connection: Any, view: FeatureView, source: pa.Table | Sequence[str], spine: pa.Schema) -> None:
    """A relation `view_<name>` with one row per key and available_at."""
    import pyarrow as pa

    rows, name = f"rows_{view.name}", f"view_{view.name}"
    if isinstance(source, pa.Table):
        connection.register(rows, source)
    elif source:
        connection.execute(f"create view {rows} as {_scan(source)}")
    else:
        connection.register(rows, _nothing(spine, view))
    keys = ", ".join(map(_quoted, (*view.entity, "available_at")))
    twice = f"select 1 from {rows} group by {keys} having count(*) > 1 limit 1"  # noqa: S608
    once = ""
    if connection.sql(twice).fetchall():
        order = ", ".join(f"{_quoted(feature)} desc nulls last" for feature in view.features)
        once = f"qualify row_number() over (partition by {keys} order by {order}) = 1"
    connection.execute(f"create view {name} as select * from {rows} {once}")  # noqa: S608


def _slices(connection: Any, rows: int) -> list[tuple[datetime | None, datetime | None]]:
    """Half-open spans of time that cover every row; None at both ends."""
    counts = connection.sql(
        "select date_trunc('hour', event_time), count(*) from spine where event_time is not null group by 1 order by 1"
    ).fetchall()
    edges, held = [], 0
    for hour, count in counts:
        if held and held + count > rows:
            edges.append(hour)
            held = 0
        held += count
    return list(zip([None, *edges], [*edges, None], strict=True))


def _between(column: str, first: datetime | None, end: datetime | None) -> str:
    after = f"{column} >= timestamptz '{first}'" if first else "true"
    before = f"{column} < timestamptz '{end}'" if end else "true"
    return f"({column} is null or {before})" if first is None else f"{after} and {before}"


def _scan(paths: Sequence[str]) -> str:
    files = ", ".join(map(_text, paths))
    return f"from read_parquet([{files}], hive_partitioning = false, union_by_name = true)"


def _interval(length: timedelta) -> str:
    return f"to_microseconds({length // timedelta(microseconds=1)})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _nothing(spine: pa.Schema, view: FeatureView) -> pa.Table:
    import pyarrow as pa

    columns = [(key, spine.field(key).type) for key in view.entity]
    columns += [("available_at", pa.timestamp("us", "UTC"))]
    columns += [(name, pa.int64()) for name in view.features]
    return pa.schema(columns).empty_table()
