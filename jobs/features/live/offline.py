"""A live view's windows from the lake: the generated SQL in DuckDB over the published event days within reach."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import DataRejected
from jobs.features.live.sql import query, quoted
from jobs.spec import LiveView

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

SLICE_ROWS = 4_000_000
"""About how many events are in memory at a time: the keys are done in slices of so many."""
_MEMORY = "1500MB"


def windows(
    views: Sequence[LiveView],
    asked: pa.Table,
    files: Mapping[LiveView, Sequence[str]],
    *,
    provenance: bool = False,
) -> pa.Table:
    """The asked events in their order, with `<view>__<window>` (int64) and `<view>__found` of every view.

    `asked` has event_id, event_time, the entity keys and of the views' columns those that a request carries. `files`
    are the Parquet files of each view's event days within reach; an event they lack is united with them, so that it is
    in its own windows. With provenance also `<view>__events` and `<view>__checksum`, as `state.read` gives them.
    """
    import pyarrow as pa

    for view in views:
        names = [*view.features, *(("events", "checksum") if provenance else ())]
        answers = {name: np.zeros(len(asked), np.int64) for name in names} | {"found": np.zeros(len(asked), np.bool_)}
        if len(asked):
            _answer(view, asked, list(files.get(view, ())), answers, provenance)
        for name, answer in answers.items():
            asked = asked.append_column(f"{view.name}__{name}", pa.array(answer))
    return asked


def _answer(
    view: LiveView, asked: pa.Table, files: list[str], answers: Mapping[str, NDArray[Any]], provenance: bool
) -> None:
    import duckdb
    import pyarrow as pa
    import pyarrow.compute as pc

    carried = [name for name in view.columns if name in asked.column_names]
    mine = asked.select(
        ["event_time", "event_id", *view.entity, *(name for name in carried if name not in view.entity)]
    )
    mine = mine.append_column("_row", pa.array(np.arange(len(asked))))
    reach = pc.min_max(asked.column("event_time")).as_py()
    with tempfile.TemporaryDirectory(prefix="tidemill-live-") as spill, duckdb.connect(":memory:") as connection:
        connection.execute(f"set timezone = 'UTC'; set memory_limit = '{_MEMORY}'; set temp_directory = '{spill}'")
        connection.execute("set preserve_insertion_order = false")
        connection.register("asked_all", mine)
        rows = _events(connection, view, files, mine, reach["min"] - view.reach, reach["max"])
        texts = _texts(connection, view)
        sql = query(view, "duckdb", carried=carried, texts=texts, provenance=provenance)
        slices = max(1, -(-(rows + len(asked)) // SLICE_ROWS))
        keys = ", ".join(map(quoted, view.entity))
        answered = 0
        for at in range(slices):
            for relation in ("asked", "lake"):
                part = f" where hash({keys}) % {slices} = {at}" if slices > 1 else ""
                connection.execute(f"create or replace temp view {relation} as select * from {relation}_all{part}")  # noqa: S608
            for batch in connection.sql(sql).to_arrow_reader():
                places = batch.column("_row").to_numpy()
                answered += len(places)
                for name, answer in answers.items():
                    answer[places] = batch.column(name).to_numpy(zero_copy_only=False)
    if answered != len(asked):
        raise DataRejected(
            f"{view.events} has an event twice: {len(asked):,} events asked of live view {view.name!r} gave "
            f"{answered:,} rows. Make its mart unique by event id and day, and run `tidemill features` again"
        )


def _events(
    connection: duckdb.DuckDBPyConnection,
    view: LiveView,
    files: list[str],
    asked: pa.Table,
    first: datetime,
    last: datetime,
) -> int:
    """Makes the relation `lake_all` of the events after `first` up to `last`; how many there are, at most."""
    if not files:
        missing = [name for name in view.columns if name not in asked.column_names]
        nothing = asked.slice(0, 0).drop_columns(["_row"])
        for name in missing:
            nothing = nothing.append_column(name, [[]])
        connection.register("lake_all", nothing)
        return 0
    columns = ", ".join(map(quoted, dict.fromkeys((*view.entity, *view.columns))))
    connection.execute(
        f"create temp view lake_all as select event_id, event_time, {columns} "  # noqa: S608
        f"from read_parquet({files!r}, hive_partitioning = false) "
        f"where event_time > '{first.isoformat()}'::timestamptz and event_time <= '{last.isoformat()}'::timestamptz"
    )
    (counted,) = connection.execute("select count(*) from lake_all").fetchall()[0]
    return int(counted)


def _texts(connection: duckdb.DuckDBPyConnection, view: LiveView) -> list[str]:
    types = dict(row[:2] for row in connection.sql("describe lake_all").fetchall())
    return [name for name in view.columns if types[name] == "VARCHAR"]
