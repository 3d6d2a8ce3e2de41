"""Brings the online store up to date with what is published offline."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING

from jobs.features.inputs import days_between
from jobs.features.offline import available_at
from jobs.features.online import OnlineStore
from jobs.lake import Lake
from jobs.settings import Settings
from jobs.spec import FeatureView, Project
from jobs.storage import current, digest_of

if TYPE_CHECKING:
    import pyarrow as pa


def materialize(project: Project, settings: Settings, first: date, last: date) -> dict[str, int]:
    """How many values of each view were written: each key's newest among the batches from `first` to `last`.

    A value that is newer online stays, and what is already online is not written again.
    """
    lake, store = Lake(settings.lake_uri), OnlineStore.open(settings.online_store_url, project)
    try:
        return {view.name: _materialize(project, lake, store, view, first, last) for view in project.views}
    finally:
        store.close()


def _materialize(project: Project, lake: Lake, store: OnlineStore, view: FeatureView, first: date, last: date) -> int:
    found = {day: current(lake.features(project.name, view.name, day)) for day in days_between(first, last)}
    published = {day: version for day, version in found.items() if version}
    if not published:
        return 0
    alive = max(published) - timedelta(days=view.ttl.days + 1)  # an older value has outlived its ttl
    published = {day: version for day, version in published.items() if day >= alive}
    digest = digest_of([view.schema, str(view.lag), {str(day): version.digest for day, version in published.items()}])
    if store.materialized(view) == digest:
        return 0
    paths = [path for version in published.values() for path in version.paths()]
    written = store.write(view, _rows(view, _newest(view, paths)))
    store.mark(view, digest)
    return written


def _newest(view: FeatureView, paths: list[str]) -> pa.Table:
    import duckdb

    keys = ", ".join(view.entity)
    with duckdb.connect(":memory:") as connection:
        return connection.sql(
            "select * from read_parquet(?, hive_partitioning = false) "  # noqa: S608
            f"qualify row_number() over (partition by {keys} order by batch desc) = 1 order by {keys}",
            params=[paths],
        ).to_arrow_table()


def _rows(view: FeatureView, table: pa.Table) -> Iterator[tuple[tuple[str, ...], int, list[int]]]:
    import numpy as np

    keys = zip(*(table.column(name).to_pylist() for name in view.entity), strict=True)
    batches = table.column("batch").to_pylist()
    visible = {day: int(available_at(view, day).timestamp()) * 1_000_000 for day in set(batches)}
    values = np.column_stack([table.column(name).to_numpy() for name in view.features])
    for key, batch, row in zip(keys, batches, values, strict=True):
        yield key, visible[batch], row
