"""Clean with Spark: each event once, on its own day, one partition a day."""

from __future__ import annotations

import shutil
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs import mirror
from jobs.batch import Batches
from jobs.lake import Lake
from jobs.projects import hook
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Project, Source
from jobs.storage import Published, current, digest_code, digest_of, publish, verify

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_DAY = "tidemill_event_day"
_ABANDONED_SECONDS = 86_400
Raw = Mapping[tuple[str, date], Published]


def run(project: Project, settings: Settings, *, batches: Batches, force: bool = False) -> Result:
    """Cleans every event day that the deliveries of these days reach; exit 99 when nothing was ingested for them."""
    lake = Lake(Lake(settings.lake_uri).folder.resolve())
    lateness = max(source.lateness_days for source in project.sources)
    reached = Batches(batches.first - timedelta(days=lateness), batches.last)
    raw = _raw(lake, project, Batches(reached.first, reached.last + timedelta(days=lateness)))
    if not any(day in batches for _, day in raw):
        return Result(
            line=f"nothing ingested for {project.name} {batches}; `tidemill ingest` comes first",
            facts={"rows": 0, "changed": 0, "batches": []},
            exit_code=99,
        )
    inputs = _inputs(project, raw, reached)
    stale = [day for day in inputs if force or _is_stale(lake, project, day, inputs[day])]
    changed = _clean(project, settings, lake, raw, {day: inputs[day] for day in stale}, force) if stale else 0
    return _result(project, batches, lake, sorted(inputs), changed)


def _raw(lake: Lake, project: Project, days: Batches) -> Raw:
    found = {
        (source.name, day): current(lake.raw(project.name, source.name, day))
        for source in project.sources
        for day in days
    }
    return {key: published for key, published in found.items() if published}


def _inputs(project: Project, raw: Raw, days: Batches) -> dict[date, dict[str, str]]:
    """What each event day that has events is made of: the deliveries of its own day and of those it may be late by."""
    code = {"code": digest_code(hook(project, "etl"), sys.modules[__name__]), "sources": _declared(project)}
    inputs: dict[date, dict[str, str]] = {}
    for day in days:
        reach = {
            (source.name, day + timedelta(days=late))
            for source in project.sources
            for late in range(source.lateness_days + 1)
        }
        read = {key: raw[key] for key in reach if key in raw}
        if any(day.isoformat() in published.manifest.facts["event_days"] for published in read.values()):
            inputs[day] = {f"{name}/{delivered}": one.digest for (name, delivered), one in sorted(read.items())} | code
    return inputs


def _declared(project: Project) -> str:
    return digest_of(
        [[source.name, source.event_id, source.event_time, source.lateness_days] for source in project.sources]
    )


def _is_stale(lake: Lake, project: Project, day: date, inputs: Mapping[str, str]) -> bool:
    now = [current(lake.clean(project.name, table, day)) for table in project.tables]
    return any(one is None or dict(one.manifest.inputs) != dict(inputs) for one in now)


def _clean(
    project: Project, settings: Settings, lake: Lake, raw: Raw, days: Mapping[date, Mapping[str, str]], force: bool
) -> int:
    """One Spark job for all the days; returns how many partitions it changed."""
    from jobs.spark import place, session

    read = {key for inputs in days.values() for key in raw if f"{key[0]}/{key[1]}" in inputs}
    if settings.spark_files == "local":
        for key in read:
            verify(raw[key])
    spark = session(settings)
    tables = {
        source.name: _events(
            spark,
            source,
            [path for key in sorted(read) if key[0] == source.name for path in _places(raw[key], settings)],
        )
        for source in project.sources
    }
    cleaned = hook(project, "etl").clean(tables)
    if set(cleaned) != set(project.tables):
        raise TypeError(
            f"{project.name} etl.clean returned tables {sorted(cleaned)}, declared are {sorted(project.tables)}"
        )
    scratch = lake.scratch(project.name, uuid.uuid4().hex)
    for left in scratch.parent.glob("*"):  # by a job that was killed
        if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    try:
        changed = 0
        for name, table in cleaned.items():
            empty = _write(project, name, table, list(days), place(scratch / name, settings))
            if settings.spark_files != "local":
                mirror.fetch_all(scratch / name)
            for day, inputs in days.items():
                published = publish(
                    lake.clean(project.name, name, day),
                    partial(_take, scratch / name, day, empty),
                    inputs=inputs,
                    watermark=max(key.partition("/")[2] for key in inputs if "/" in key),
                    force=force,
                )
                changed += published.changed
        return changed
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if settings.spark_files != "local":
            mirror.remove_all(scratch)


def _places(published: Published, settings: Settings) -> list[str]:
    from jobs.spark import place

    if settings.spark_files == "local":
        return published.paths()
    names = (name for name in sorted(published.manifest.files) if name.endswith(".parquet"))
    return [place(published.partition / published.version / name, settings) for name in names]


def _events(spark: SparkSession, source: Source, paths: list[str]) -> DataFrame:
    """Each event of a source once: the latest by event time, then by delivery, file and line.

    A row gives way only to one delivered within its own day's lateness: so that what a day holds
    depends on that day's deliveries alone, however many days one job cleans.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.window import Window

    if not paths:
        return spark.createDataFrame([], schema=_spark_schema(source))
    columns = [column.name for column in source.columns]
    frame = spark.read.schema(_spark_schema(source, files=True)).parquet(*paths)
    delivered = F.to_date(F.regexp_extract(F.col("_metadata.file_path"), r"batch=(\d{4}-\d{2}-\d{2})", 1))
    later = (
        Window.partitionBy(source.event_id)
        .orderBy(source.event_time, "_delivered", "_file", "_line")
        .rowsBetween(1, Window.unboundedFollowing)
    )
    return (
        frame.withColumn("_delivered", delivered)
        .withColumn("_replaced", F.min("_delivered").over(later))
        .where(
            F.col("_replaced").isNull()
            | (F.col("_replaced") > F.date_add(F.to_date(source.event_time), source.lateness_days))
        )
        .select(*columns)
    )


def _spark_schema(source: Source, *, files: bool = False) -> str:
    types = {
        "string": "string",
        "integer": "bigint",
        "number": "double",
        "boolean": "boolean",
        "timestamp": "timestamp",
    }
    columns = [(column.name, types[column.type]) for column in source.columns]
    columns += [("_file", "string"), ("_line", "bigint")] if files else []
    return ", ".join(f"`{name}` {type_}" for name, type_ in columns)


def _write(project: Project, name: str, table: DataFrame, days: list[date], folder: str) -> pa.Schema:
    """Writes a table as one sorted file a day, and returns its schema for the days that have no rows."""
    from pyspark.sql import functions as F
    from pyspark.sql.pandas.types import to_arrow_schema

    source = next((source for source in project.sources if source.name == name), None)
    time, key = (source.event_time, source.event_id) if source else ("event_time", "event_id")
    dated = table.withColumn(_DAY, F.to_date(time)).where(F.col(_DAY).isin(days))
    spread = dated.repartition(min(len(days), 8), _DAY).sortWithinPartitions(_DAY, time, key)
    spread.write.partitionBy(_DAY).mode("overwrite").parquet(folder)
    return to_arrow_schema(table.schema, timezone="UTC")


def _take(written: Path, day: date, empty: pa.Schema, folder: Path) -> int:
    """One day's rows, written anew: Spark's own files differ from process to process in the order of a footer's set."""
    files = sorted((written / f"{_DAY}={day.isoformat()}").glob("*.parquet"))
    tables = [pq.read_table(file, partitioning=None) for file in files]
    table = pa.concat_tables(tables).replace_schema_metadata(None) if tables else empty.empty_table()
    pq.write_table(table, folder / "part-00000.parquet", compression="zstd")
    return int(table.num_rows)


def _result(project: Project, batches: Batches, lake: Lake, days: list[date], changed: int) -> Result:
    rows: dict[str, int] = dict.fromkeys(project.tables, 0)
    found: list[dict[str, Any]] = []
    for day in days:
        one: dict[str, Any] = {"batch": day.isoformat()}
        for table in project.tables:
            published = current(lake.clean(project.name, table, day))
            one[table] = published.manifest.rows if published else 0
            if day in batches:
                rows[table] += one[table]
        found.append(one)
    text = ", ".join(f"{count} {table}" for table, count in rows.items())
    return Result(
        line=f"cleaned {project.name} {batches}: {text}; {changed} partitions changed",
        facts={"rows": sum(rows.values()), "tables": rows, "changed": changed, "batches": found},
    )
