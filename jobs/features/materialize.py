"""Brings the online store up to date with what is published offline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from jobs import mirror
from jobs.features.live.state import SLACK, Events, values_of
from jobs.features.offline import available_at
from jobs.features.online import OnlineStore
from jobs.features.online.store import Key, Part
from jobs.features.scored import landed, with_scored
from jobs.lake import Lake
from jobs.settings import Settings
from jobs.spec import FeatureView, LiveView, Project
from jobs.storage import Published, current, digest_of

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

SLICE_ROWS = 1_000_000
"""About how many events are in memory at a time: the keys are done in slices of so many."""
_EPOCH = date(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


def materialize(project: Project, settings: Settings) -> dict[str, int]:
    """How many values of each view were written, from what is published and still counts.

    A batch view's key has its newest value; a value that is newer online stays. A live view's key has the events
    within reach of the newest event day, the lake's in the place of the scored ones, and what was scored and never
    delivered. What is already online is not written again.
    """
    lake, store = Lake(settings.lake_uri), OnlineStore.open(settings.online_store_url, project)
    try:
        return {
            **{view.name: _batch(project, lake, store, view) for view in project.views},
            **{view.name: _live(project, lake, store, view) for view in project.live_views},
        }
    finally:
        store.close()


def _batch(project: Project, lake: Lake, store: OnlineStore, view: FeatureView) -> int:
    published = _published(lake, project.name, view.name, view.ttl + timedelta(days=1))
    digest = digest_of([view.schema, str(view.lag), {str(day): version.digest for day, version in published.items()}])
    if store.materialized(view) == digest:
        return 0
    rows = _rows(view, _newest(view, published)) if published else ()
    written = store.write(view, rows)
    store.mark(view, digest)
    return written


def _live(project: Project, lake: Lake, store: OnlineStore, view: LiveView) -> int:
    import duckdb

    reach = view.reach + SLACK * _MICROSECOND
    published = _published(lake, project.name, view.events, reach)
    digests = {str(day): version.digest for day, version in published.items()}
    mark = store.materialized(view)
    known = {} if mark is None else json.loads(mark)
    changed = {day: version for day, version in published.items() if known.get(str(day)) != digests[str(day)]}
    if mark is not None and not changed:
        return 0
    days = [(day - _EPOCH).days for day in changed]
    with duckdb.connect(":memory:") as connection, TemporaryDirectory(prefix="tidemill-scored-") as scratch:
        paths = _paths(changed)
        if changed and landed(connection, project, lake, changed):
            paths = with_scored(connection, project, {view: paths}, max(changed), Path(scratch))[view]
        parts = _parts(view, connection, paths, sum(version.manifest.rows for version in changed.values()))
        if mark is None:
            written = store.pack(view, parts, whole_days=days)
        else:
            keyed = (one for part in parts for one in zip(part.keys, part.events(), strict=True))
            written = store.merge(view, keyed, whole_days=days)
    store.mark(view, json.dumps(digests, sort_keys=True))
    return written


def _published(lake: Lake, project: str, mart: str, reach: timedelta) -> dict[date, Published]:
    """The mart's published days that are within reach of the newest of them, the oldest first."""
    folder = lake.features(project, mart, _EPOCH).parent
    batches = mirror.partitions(folder)
    days = sorted((date.fromisoformat(one.name.removeprefix("batch=")) for one in batches), reverse=True)
    found: dict[date, Published] = {}
    for day in days:
        if found and day < max(found) + (-reach) // timedelta(days=1) * timedelta(days=1):
            break
        version = current(lake.features(project, mart, day))
        if version is not None:
            found[day] = version
    return dict(sorted(found.items()))


def _newest(view: FeatureView, published: Mapping[date, Published]) -> pa.Table:
    import duckdb

    keys = ", ".join(view.entity)
    with duckdb.connect(":memory:") as connection:
        return connection.sql(
            "select * from read_parquet(?, hive_partitioning = false) "  # noqa: S608
            f"qualify row_number() over (partition by {keys} order by batch desc) = 1 order by {keys}",
            params=[_paths(published)],
        ).to_arrow_table()


def _rows(view: FeatureView, table: pa.Table) -> Iterator[tuple[Key, int, NDArray[np.int64]]]:
    import numpy as np

    keys = zip(*(table.column(name).to_pylist() for name in view.entity), strict=True)
    batches = table.column("batch").to_pylist()
    visible = {day: int(available_at(view, day).timestamp()) * 1_000_000 for day in set(batches)}
    values = np.column_stack([table.column(name).to_numpy() for name in view.features])
    for key, batch, row in zip(keys, batches, values, strict=True):
        yield key, visible[batch], row


def _parts(view: LiveView, connection: duckdb.DuckDBPyConnection, paths: list[str], rows: int) -> Iterator[Part]:
    """The events in these files, about so many, all those of a key together, sorted by key, time and id."""
    if paths:
        slices = max(1, -(-rows // SLICE_ROWS))
        for at in range(slices):
            yield _part(view, connection, paths, slices, at)


def _part(view: LiveView, connection: duckdb.DuckDBPyConnection, paths: list[str], slices: int, at: int) -> Part:
    import numpy as np

    keys = ", ".join(f'"{name}"' for name in view.entity)
    columns = "".join(f', "{name}"' for name in view.columns if name not in view.entity)
    source = f"read_parquet(?, hive_partitioning = false) where hash({keys}) % {slices} = {at}"
    table = connection.sql(
        f"select {keys}, epoch_us(event_time) as _at, event_id{columns} from {source} "  # noqa: S608
        f"order by {keys}, _at, event_id",
        params=[paths],
    ).to_arrow_table()
    counted = connection.sql(
        f"select {keys}, count(*) as _events from {source} group by {keys} order by {keys}",  # noqa: S608
        params=[paths],
    ).to_arrow_table()
    ends = np.cumsum(counted.column("_events").to_numpy(), dtype=np.int64)
    return Part(
        keys=list(zip(*(counted.column(name).to_pylist() for name in view.entity), strict=True)),
        starts=np.append(0, ends)[:-1].astype(np.int64),
        sorted=Events(
            times=table.column("_at").to_numpy(),
            ids=table.column("event_id").to_pylist(),
            values=values_of(view, {name: _plain(table.column(name)) for name in view.columns}, len(table)),
        ),
    )


def _plain(column: pa.ChunkedArray) -> Sequence[Any] | NDArray[Any]:
    import pyarrow as pa

    plain = pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)
    values: NDArray[Any] | list[Any] = column.to_numpy() if plain and not column.null_count else column.to_pylist()
    return values


def _paths(published: Mapping[date, Published]) -> list[str]:
    return [path for version in published.values() for path in version.paths()]
