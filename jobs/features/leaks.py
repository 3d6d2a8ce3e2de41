"""Features that know the future, refused where they would first be learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from jobs import mirror, warehouse
from jobs.engines import Engine
from jobs.errors import DataRejected
from jobs.features import vectors
from jobs.features.inputs import CleanDays, days_between
from jobs.features.offline import Partition, available_at, event_marts
from jobs.lake import Lake
from jobs.settings import Settings
from jobs.spec import FeatureView, Project

if TYPE_CHECKING:
    import pyarrow as pa


def check_marts(
    project: Project, settings: Settings, days: CleanDays, stale: Sequence[Partition], marts: Engine
) -> None:
    """Raises DataRejected when a batch of a mart is another one without the days after it, naming its columns.

    A day computed on time cannot know the next; a day computed with many others can. So of the first backfill with
    each version of the models one batch is computed again from what was there by its end. What no request carries, such
    as a label, may be learned later: a window reads it only after the label's delay.
    """
    version, stamp = warehouse.digest(project), Lake(settings.lake_uri).dbt_docs(project.name) / "checked.sha256"
    last = max(one.reads[1] for one in stale)
    later = [one.batch for one in stale if any(days.passed(day) for day in days_between(one.batch, last)[1:])]
    if not later or mirror.read(stamp) == version.encode():
        return
    batch = sorted(later)[len(later) // 2]
    checked = [one for one in stale if one.batch == batch]
    known = days_between(min(one.reads[0] for one in checked), batch)
    asked = {one.mart: [batch] for one in checked}
    faults = []
    with warehouse.build(project, settings, tables=days.files(known), batches=asked) as then:
        for one in checked:
            name = f"{project.name}_{one.mart}"
            now = marts.rows(name, batch, one.order)
            carried = {*vectors.payload_names(project, now.column_names), "event_id", "label_time", "batch"}
            learned = set(now.column_names) - carried if one.mart in event_marts(project) else set()
            difference = _difference(then.rows(name, batch, one.order), now, learned)
            if difference:
                faults.append(f"- {name} of {batch}: {difference}")
    if faults:
        raise DataRejected(
            "\n".join(
                [
                    "features know days that had not happened yet; nothing was published:",
                    *faults,
                    "let the mart read no event after the end of its batch",
                ]
            )
        )
    mirror.write(stamp, version.encode())


def check_views(project: Project, files: Mapping[FeatureView, Sequence[str]]) -> None:
    """Raises DataRejected naming every batch whose values say they were visible before they can have been known."""
    import duckdb

    faults = []
    with duckdb.connect(":memory:") as connection:
        for view, paths in files.items():
            if not paths:
                continue
            first: list[tuple[date, int]] = connection.execute(
                "select batch, epoch_us(min(available_at)) from read_parquet(?, hive_partitioning = false) "
                "group by batch order by batch",
                [list(paths)],
            ).fetchall()
            for batch, visible in first:
                ends = available_at(view, batch)
                early = (ends - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1) - visible
                if early > 0:
                    names = ", ".join(f"{view.name}__{name}" for name in view.features)
                    faults.append(
                        f"- view {view.name!r}, batch {batch}: {names} were visible {timedelta(microseconds=early)} before {ends}, "
                        f"the end of the day plus the lag; `tidemill features --project {project.name} "
                        f"--batch {batch} --force` publishes it again"
                    )
    if faults:
        raise DataRejected(
            "\n".join(["features from after the event would be learned from; nothing was made:", *faults])
        )


def _difference(then: pa.Table, now: pa.Table, learned: set[str]) -> str:
    """How the rows of a batch differ, in words; empty when they do not."""
    if len(then) != len(now):
        return f"{len(now):,} rows, of which {len(then):,} were known by then"
    parts = []
    for name in now.column_names:
        if name not in learned and not now.column(name).equals(then.column(name)):
            pairs = zip(now.column(name).to_pylist(), then.column(name).to_pylist(), strict=True)
            parts.append(f"{name} in {sum(one != other for one, other in pairs):,} of {len(now):,} rows")
    return f"another value without the days after it: {', '.join(parts)}" if parts else ""
