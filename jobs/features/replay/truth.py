"""What the vectors should have been: the lake's views as of each event, its windows over the lake and the scored events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jobs.features import point_in_time, vectors
from jobs.features.live import running
from jobs.features.replay.log import NONE
from jobs.lake import Lake
from jobs.spec import LiveView, Project

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_HOUR = "INTERVAL 1 HOUR"
"""How far ahead of its answer a scored event may be: the online store keeps none beyond."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the lake says of answers, a row each."""

    joined: pa.Table
    """The events with the features of every view, `<view>__found` and what each was computed from."""
    inputs: NDArray[np.float64]
    """The model inputs, (rows, inputs)."""

    def found(self, view: str) -> NDArray[np.bool_]:
        """Which rows the view has a value for."""
        return np.asarray(self.joined.column(f"{view}__found").to_numpy(), dtype=np.bool_)

    def counter(self, view: str, name: str) -> NDArray[np.int64]:
        """The view's `available_at` in microseconds, `events` or `checksum`; `log.NONE` where there is none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.joined.column(f"{view}__{name}")
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        return np.asarray(pc.fill_null(column, NONE).to_numpy(), dtype=np.int64)

    def take(self, rows: NDArray[np.int64]) -> Truth:
        """These rows."""
        return Truth(joined=self.joined.take(rows), inputs=self.inputs[rows])


def recompute(
    project: Project, lake: Lake, asked: pa.Table, events: Mapping[LiveView, Sequence[str]], first: date, last: date
) -> Truth:
    """The inputs of these events as the lake gives them, with `events` for the windows of the live views."""
    keys = dict.fromkeys(key for view in project.every_view for key in view.entity)
    joined = asked.select(["event_id", "event_time", *(key for key in keys if key not in ("event_id", "event_time"))])
    joined = point_in_time.join(joined, vectors.view_files(project, lake, first, last), provenance=True)
    live = running.windows(project.live_views, asked, events, provenance=True)
    for name in asked.column_names + [name for name in live.column_names if name not in asked.column_names]:
        if name not in joined.column_names:
            joined = joined.append_column(name, live.column(name))
    return Truth(joined=joined, inputs=vectors.inputs(project, joined))


def with_scored(
    connection: duckdb.DuckDBPyConnection,
    project: Project,
    files: Mapping[LiveView, Sequence[str]],
    last: date,
    scratch: Path,
    *,
    but: str = "false",
) -> dict[LiveView, list[str]]:
    """The files with one more for each view: the scored events up to a day that are not in them.

    Answers for which the condition `but` holds are left out: those that are asked about themselves.

    An event that was scored has happened, whether or not it was ever delivered; the lake's row wins where both exist.
    A column that no request carries is as the online store has it until the lake's row arrives: 0.
    """
    united: dict[LiveView, list[str]] = {}
    absent: dict[tuple[str, ...], str] = {}
    for view, paths in files.items():
        if tuple(paths) not in absent:
            name = absent[tuple(paths)] = f"absent_{len(absent)}"
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {_absent(paths, last, but)}")
        path = scratch / f"scored-{view.name}.parquet"
        query = f"SELECT event_time, event_id, {_columns(project, view, paths)} FROM {absent[tuple(paths)]}"  # noqa: S608
        connection.execute(f"COPY ({query}) TO '{_quoted(str(path))}' (FORMAT parquet)")
        united[view] = [*paths, str(path)]
    return united


def _absent(paths: Sequence[str], last: date, but: str) -> str:
    """The scored events that are not in these files, each once: as it was first asked about."""
    lake = f"ANTI JOIN read_parquet({list(paths)!r}, hive_partitioning = false) AS lake USING (event_time, event_id)"
    return (
        "SELECT log.event_time, log.event_id, arg_min(log.payload, log.served_at) AS payload "  # noqa: S608
        f"FROM (SELECT * FROM log WHERE NOT ({but})) AS log {lake if paths else ''} WHERE log.event_time <= TIMESTAMPTZ '{last} 23:59:59.999999Z' "
        f"AND log.event_time <= log.served_at + {_HOUR} GROUP BY ALL"
    )


def _columns(project: Project, view: LiveView, paths: Sequence[str]) -> str:
    request = {column.name: column.type for column in project.sources[0].columns if not column.nullable}
    types = _types(paths)
    columns = []
    for name in dict.fromkeys((*view.entity, *view.columns)):
        kind = types.get(name) or {"string": "VARCHAR", "boolean": "BOOLEAN"}.get(request.get(name, ""), "BIGINT")
        zero = "''" if kind == "VARCHAR" else "0"
        value = f"json_extract_string(payload, '$.\"{name}\"')" if name in request else zero
        columns.append(f'CAST({value} AS {kind}) AS "{name}"')
    return ", ".join(columns)


def _types(paths: Sequence[str]) -> dict[str, str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not paths:
        return {}
    kinds: dict[str, str] = {}
    for field in pq.read_schema(paths[0]):
        if pa.types.is_boolean(field.type):
            kinds[field.name] = "BOOLEAN"
        elif pa.types.is_integer(field.type):
            kinds[field.name] = "BIGINT"
        else:
            kinds[field.name] = "VARCHAR"
    return kinds


def _quoted(text: str) -> str:
    return text.replace("'", "''")
