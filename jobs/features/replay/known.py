"""Which of the events that an answer should have counted were known when it was given: scored or delivered before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jobs.features.live.plan import Extent, plan_of
from jobs.features.replay.log import Logged
from jobs.lake import Lake
from jobs.spec import LiveView, Project
from jobs.storage import current

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Ints = NDArray[np.int64]
LOOKED_AT = 20_000
"""Of so many answers the events are looked at one by one; of more than that, the first."""
_TOGETHER = "INTERVAL 1 SECOND"
"""Answers this close to each other may have been under way together: which came first is not known."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """Of each answer the other events in a view's windows; 0 where nothing was looked at."""

    events: Ints
    before: Ints
    """Those that had been scored, or delivered on an earlier day than the answer's event."""
    after: Ints
    """Those that had been neither, as far as log and deliveries tell."""


def look(
    connection: duckdb.DuckDBPyConnection,
    project: Project,
    lake: Lake,
    view: LiveView,
    logged: Logged,
    files: Sequence[str],
) -> Known:
    """What was known of the other events of these answers; `files` hold the lake's and the scored events."""
    counts = {name: np.zeros(len(logged), dtype=np.int64) for name in ("events", "before", "after")}
    if len(logged) and files:
        import pyarrow as pa

        asked = logged.asked.slice(0, LOOKED_AT)
        rows = asked.select(["event_time", "event_id", *view.entity])
        rows = rows.append_column("served_at", logged.about.column("served_at").slice(0, LOOKED_AT))
        rows = rows.append_column("row", pa.array(np.arange(len(asked))))
        connection.register("answers", rows)
        first, last = _span(asked, view)
        _deliveries(connection, project, lake, first, last)
        found = connection.execute(_query(view, files)).fetchnumpy()
        for name, count in counts.items():
            count[found["row"]] = found[name]
        connection.unregister("answers")
    return Known(**counts)


def _span(asked: pa.Table, view: LiveView) -> tuple[date, date]:
    import pyarrow.compute as pc

    times = pc.min_max(asked.column("event_time")).as_py()
    return (times["min"] - view.reach).date(), times["max"].date()


def _deliveries(connection: duckdb.DuckDBPyConnection, project: Project, lake: Lake, first: date, last: date) -> None:
    """Makes the table `deliveries` of the first day on which each event of any source was delivered."""
    parts = []
    for source in project.sources:
        for offset in range((last - first).days + 1 + source.lateness_days):
            day = first + timedelta(days=offset)
            published = current(lake.raw(project.name, source.name, day))
            if published and published.paths():
                files = f"read_parquet({published.paths()!r}, hive_partitioning = false)"
                parts.append(f"SELECT \"{source.event_id}\" AS event_id, DATE '{day}' AS day FROM {files}")  # noqa: S608
    every = " UNION ALL ".join(parts) or "SELECT NULL::VARCHAR AS event_id, NULL::DATE AS day WHERE false"
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE deliveries AS SELECT event_id, min(day) AS day "  # noqa: S608
        f"FROM ({every}) GROUP BY event_id"
    )


def _query(view: LiveView, files: Sequence[str]) -> str:
    plan = plan_of(view)
    keys = [f'"{key}"' for key in view.entity]
    extents = " UNION ALL ".join(_extent(plan.extents[index]) for index in plan.outer)
    same = " AND ".join(f"e.{key} = s.{key}" for key in keys)
    return f"""
        WITH spans AS ({extents}),
        near AS (
            SELECT s.row, s.served_at, s.event_time AS asked_at, e.event_time, e.event_id FROM spans s
            JOIN read_parquet({list(files)!r}, hive_partitioning = false) e
            ON {same} AND epoch_us(e.event_time) > s.tail AND epoch_us(e.event_time) <= s.head
            AND (s.past OR (e.event_time, e.event_id) < (s.event_time, s.event_id))
        ),
        answered AS (
            SELECT event_time, event_id, min(served_at) AS scored_at
            FROM log WHERE (event_time, event_id) IN (SELECT (event_time, event_id) FROM near) GROUP BY ALL
        ),
        marked AS (
            SELECT n.row, coalesce(c.scored_at <= n.served_at - {_TOGETHER}, false)
                OR coalesce(d.day < CAST(n.asked_at AS DATE), false) AS before,
                (c.scored_at > n.served_at OR c.scored_at IS NULL)
                AND coalesce(d.day >= CAST(n.asked_at AS DATE), c.scored_at IS NOT NULL) AS after
            FROM near n LEFT JOIN answered c USING (event_time, event_id) LEFT JOIN deliveries d USING (event_id)
        )
        SELECT row, count(*) AS events, count(*) FILTER (before) AS before,
            count(*) FILTER (after AND NOT before) AS after
        FROM marked GROUP BY row
    """  # noqa: S608


def _extent(extent: Extent) -> str:
    def floored(edge: str) -> str:
        return f"({edge} - (({edge}) % {extent.hop} + {extent.hop}) % {extent.hop})" if extent.hop else edge

    time = "epoch_us(event_time)"
    head = floored(f"{time} - {extent.delay}") if extent.delay else time
    tail = floored(f"{time} - {extent.delay + extent.length}")
    return f"SELECT *, {tail} AS tail, {head} AS head, {'true' if extent.delay else 'false'} AS past FROM answers"  # noqa: S608
