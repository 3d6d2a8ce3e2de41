"""What was served, and which of it has a label that is known for certain by now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import mirror
from jobs.batch import day_end, day_start
from jobs.features.labels import matured
from jobs.lake import Lake
from jobs.spec import PREDICTIONS, Project
from jobs.storage import Published, current

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MATURED_DAYS = 30
"""How many days of maturing labels one batch looks back on."""
_SERVED = """
    CREATE OR REPLACE TEMP TABLE served AS
    WITH of_these_days AS (SELECT * FROM read_parquet(?, hive_partitioning = false, union_by_name = true) WHERE event_time >= ? AND event_time < ?),
    requests AS (
        SELECT * FROM of_these_days
        QUALIFY row_number() OVER (PARTITION BY request_id ORDER BY served_at DESC, event_id) = 1
    )
    SELECT * FROM requests
    QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY served_at DESC, request_id) = 1
"""
_SINCE = """
    SELECT * EXCLUDE (filename) FROM read_parquet(?, hive_partitioning = false, filename = true, union_by_name = true)
    WHERE served_at >= ?
    QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY list_position(?, filename) DESC) = 1
    ORDER BY event_time, event_id
"""
_MATURED = """
    SELECT served.request_id, served.event_id, served.event_time, served.served_at, served.release, served.slot,
           served.score, served.decision, served.degraded, served.classes, served.beside, spine.{entity} AS entity, {group} AS group_id, spine.label, spine.label_time
    FROM served JOIN spine USING (event_id)
    WHERE spine.label IS NOT NULL
    ORDER BY served.event_time, served.event_id
"""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The partitions that one batch is computed from."""

    predictions: tuple[Published, ...]
    spines: tuple[Published, ...]
    first: date
    """The first event day that counts."""
    last: date

    @property
    def digests(self) -> dict[str, str]:
        """What the result depends on, by names a person recognises."""
        return {f"{one.partition.parent.name}/{one.partition.name}": one.digest for one in self._all}

    @property
    def watermark(self) -> str:
        """The newest batch among them."""
        return max((one.partition.name.removeprefix("batch=") for one in self._all), default="")

    @property
    def _all(self) -> tuple[Published, ...]:
        return (*self.predictions, *self.spines)


def matured_inputs(lake: Lake, project: Project, batch: date) -> Inputs:
    """What exists by the end of the batch of the predictions and spines whose labels mature in its window."""
    last = batch - timedelta(days=project.label.delay_days)
    first = last - timedelta(days=MATURED_DAYS - 1)
    return Inputs(
        predictions=predictions(lake, project, first, last, batch),
        spines=published(lake.spine(project.name, day) for day in days(first, last)),
        first=first,
        last=last,
    )


def predictions(lake: Lake, project: Project, first: date, last: date, batch: date) -> tuple[Published, ...]:
    """The deliveries up to the batch that can hold predictions of these event days."""
    late = min(batch, last + timedelta(days=PREDICTIONS.lateness_days))
    return published(lake.raw(project.name, PREDICTIONS.name, day) for day in days(first, late))


def load_served(connection: duckdb.DuckDBPyConnection, inputs: Inputs) -> int:
    """The rows of the table `served` it creates: of each event of these days the last request, each request once.

    Columns that older logs do not have are there, and null.
    """
    connection.execute("SET TimeZone = 'UTC'")
    files = [path for one in inputs.predictions for path in one.paths()]
    connection.execute(_SERVED, [files, day_start(inputs.first), day_end(inputs.last)])
    for column in PREDICTIONS.columns:
        if column.nullable:
            connection.execute(f'ALTER TABLE served ADD COLUMN IF NOT EXISTS "{column.name}" VARCHAR')
    return int(connection.sql("SELECT count(*) FROM served").fetchall()[0][0])


def write_matured(project: Project, inputs: Inputs, batch: date, path: Path) -> dict[str, int]:
    """Counts of the predictions, and of the rows and positives written to the Parquet file, a row an event."""
    import duckdb
    import pyarrow.parquet as pq

    with duckdb.connect() as connection:
        served = load_served(connection, inputs)
        files = [file for one in inputs.spines for file in one.paths()]
        connection.register("spine", matured(files, by=batch, after=batch - timedelta(days=MATURED_DAYS)))
        group = project.models[-1].group
        grouped = f"spine.{group}::VARCHAR" if group else "NULL::VARCHAR"
        wanted = _MATURED.format(entity=project.entity, group=grouped)
        table = connection.sql(wanted).to_arrow_table()
    pq.write_table(table, path)
    positives = sum(1 for label in table.column("label").to_pylist() if label)
    return {"predictions": served, "matured": table.num_rows, "positives": positives}


def label_batches(lake: Lake, project: Project) -> tuple[Published, ...]:
    """The newest batch of the label table and those before it that its window leaves out, oldest first.

    Each holds `MATURED_DAYS` of maturing labels, so that together they are every matured prediction.
    """
    folder = lake.labels(project.name, date.min).parent
    known = sorted(date.fromisoformat(path.name.removeprefix("batch=")) for path in mirror.partitions(folder))
    chosen: list[date] = []
    while known:
        chosen.append(known[-1])
        reached = known[-1] - timedelta(days=MATURED_DAYS)
        inside = [one for one in known[:-1] if one >= reached]
        known = known[: known.index(inside[0]) + 1] if inside else known[:-1]
    return published(lake.labels(project.name, day) for day in reversed(chosen))


def read_labels(
    batches: Iterable[Published], since: datetime | None = None, *, interleaved: bool = False
) -> pa.Table:  # fmt: skip
    """The label table: of every event its last answer, by which release, and the label that is known for certain.

    What performance, canary and experiment measure by; with `since` only what was served from then on. Rows of lists that
    two releases made together say nothing of either alone: they are left out, or are what is read.
    """
    import duckdb

    files = [path for one in batches for path in one.paths()]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        moment = since or datetime(1, 1, 1, tzinfo=UTC)
        found = connection.sql(_SINCE, params=[files, moment, files]).to_arrow_table()
    if "beside" not in found.column_names:  # joined before there were such lists
        return found.slice(0, 0) if interleaved else found
    import pyarrow.compute as pc

    return found.filter(pc.is_valid(found["beside"]) if interleaved else pc.is_null(found["beside"]))


def days(first: date, last: date) -> Iterator[date]:
    """Every day from the first to the last, both included."""
    for offset in range((last - first).days + 1):
        yield first + timedelta(days=offset)


def published(partitions: Iterable[Path]) -> tuple[Published, ...]:
    return tuple(one for partition in partitions if (one := current(partition)) is not None)
