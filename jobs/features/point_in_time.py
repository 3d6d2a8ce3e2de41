"""The point-in-time join: each event beside the feature values that were visible when it happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jobs.spec import FeatureView

if TYPE_CHECKING:
    import pyarrow as pa

_ROW = "_row"


def join(spine: pa.Table, views: Mapping[FeatureView, pa.Table | Sequence[str]]) -> pa.Table:
    """The spine in its order, with `<view>__<feature>` and `<view>__found` of every view.

    A view is a table or the paths of its Parquet files, with one row per key and `available_at`. A spine row gets
    the newest value with available_at <= event_time < available_at + ttl; without one, zeros and found = false.
    """
    import duckdb
    import pyarrow as pa

    spine = spine.append_column(_ROW, pa.array(range(len(spine)), pa.int64()))
    keep = [name for name in spine.column_names if name != _ROW]
    with duckdb.connect(":memory:") as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("spine", spine)
        selected, joins = [f's."{name}"' for name in keep], []
        for view, source in views.items():
            if isinstance(source, pa.Table):
                connection.register(f"view_{view.name}", source)
            elif source:
                connection.execute(
                    f"create view view_{view.name} as "  # noqa: S608
                    f"select * from read_parquet({list(source)!r}, hive_partitioning = false)"
                )
            else:
                connection.register(f"view_{view.name}", _nothing(spine, view))
            alias = f"v_{view.name}"
            on = " and ".join(f's."{key}" = {alias}."{key}"' for key in view.entity)
            joins.append(f"asof left join view_{view.name} {alias} on {on} and s.event_time >= {alias}.available_at")
            found = f"coalesce(s.event_time < {alias}.available_at + {_interval(view)}, false)"
            selected += [
                f'case when {found} then {alias}."{name}" else 0 end::bigint as {view.name}__{name}'
                for name in view.features
            ]
            selected.append(f"{found} as {view.name}__found")
        query = f"select {', '.join(selected)} from spine s {' '.join(joins)} order by s.{_ROW}"  # noqa: S608
        return connection.sql(query).to_arrow_table()


def _interval(view: FeatureView) -> str:
    return f"to_microseconds({int(view.ttl.total_seconds() * 1_000_000)})"


def _nothing(spine: pa.Table, view: FeatureView) -> pa.Table:
    import pyarrow as pa

    columns = [(key, pa.string()) for key in view.entity]
    columns += [("available_at", spine.schema.field("event_time").type)]
    columns += [(name, pa.int64()) for name in view.features]
    return pa.schema(columns).empty_table()
