"""The offline store: which partitions are out of date, and how a mart's rows become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.batch import day_start
from jobs.features.inputs import CleanDays, days_between
from jobs.spec import FeatureView, Project
from jobs.storage import Published, current, publish

if TYPE_CHECKING:
    import pyarrow as pa

SPINE = "spine"


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A partition of a batch view, or of a mart of events, as it should be."""

    mart: str
    """The view's name, or the mart's: `spine`, or what a live view reads."""
    batch: date
    path: Path
    reads: tuple[date, date]
    """The first and last event day that its rows depend on."""
    inputs: Mapping[str, str]
    watermark: str
    order: Sequence[str]

    @property
    def fresh(self) -> bool:
        """Whether what is published was made from the same inputs."""
        published = current(self.path)
        return published is not None and dict(published.manifest.inputs) == dict(self.inputs)


def event_marts(project: Project) -> tuple[str, ...]:
    """The marts that hold events, published by event day: the spine, and those that live views name."""
    return tuple(dict.fromkeys((SPINE, *(view.events for view in project.live_views))))


def wanted(project: Project, days: CleanDays, models: str, first: date, last: date) -> list[Partition]:
    """Every partition that what arrived on the batches from `first` to `last` can have changed.

    An event may be late by as much as a source allows, and a report reaches back over the label delay as well.
    Later batches whose windows hold these days follow if they are published already: days may come in any order.
    Days that did not pass validation have no partitions. `models` is a digest of the code.
    """
    late = timedelta(days=max(source.lateness_days for source in project.sources))
    delay = timedelta(days=project.label.delay_days)
    found = []
    for view in project.views:
        code = {"models": models, "view": f"{view.schema} lag {view.lag}"}
        reach = timedelta(days=view.lookback_days - 1)
        for batch in days_between(max(project.start, first - late), last + reach):
            path = days.lake.features(project.name, view.name, batch)
            if batch <= last or current(path):
                found.append((view.name, batch, path, (batch - reach, batch), code, view.entity))
    for mart in event_marts(project):
        code = {"models": models, "label": str(project.label)}
        for batch in days_between(max(project.start, first - late - delay), last):
            path = days.lake.features(project.name, mart, batch)
            found.append((mart, batch, path, (batch, batch + delay), code, ("event_time", "event_id")))
    return [_partition(days, *one) for one in found if days.passed(one[1])]


def _partition(
    days: CleanDays,
    mart: str,
    batch: date,
    path: Path,
    reads: tuple[date, date],
    code: Mapping[str, str],
    order: Sequence[str],
) -> Partition:
    digests, watermark = days.inputs(*reads)
    return Partition(
        mart=mart, batch=batch, path=path, reads=reads, inputs={**digests, **code}, watermark=watermark, order=order
    )


def save(project: Project, partition: Partition, rows: pa.Table, force: bool) -> Published:
    """The partition, published with a mart's rows of its batch; raises StalePublishError as `publish` does."""
    events = partition.mart in event_marts(project)
    table = _events(rows) if events else _view(project.view(partition.mart), partition.batch, rows)

    def write(folder: Path) -> int:
        import pyarrow.parquet as pq

        pq.write_table(table, folder / "part-00000.parquet", compression="zstd")
        return len(table)

    return publish(partition.path, write, inputs=partition.inputs, watermark=partition.watermark, force=force)


def available_at(view: FeatureView, batch: date) -> datetime:
    """From when on the batch's values are visible: its end, plus the view's lag."""
    return day_start(batch) + timedelta(days=1) + view.lag


def _view(view: FeatureView, batch: date, rows: pa.Table) -> pa.Table:
    import pyarrow as pa

    instant = pa.timestamp("us", "UTC")
    visible = pa.repeat(pa.scalar(available_at(view, batch), instant), len(rows))
    rows = rows.append_column(pa.field("available_at", instant), visible)
    return rows.select([*view.entity, "batch", "available_at", *view.features]).replace_schema_metadata(None)


def _events(rows: pa.Table) -> pa.Table:
    return rows.drop_columns(["batch"]).replace_schema_metadata(None)
