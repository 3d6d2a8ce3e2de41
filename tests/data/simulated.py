"""Deliveries of any project: a simulated day's events of its first source, as a producer would write them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.batch import Batches
from jobs.lake import Lake
from jobs.projects import PROJECTS, hook
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Project
from jobs.stages import ingest, land
from jobs.storage import current

Row = dict[str, Any]
AFTER = timedelta(days=40)


def day_of(project: Project) -> date:
    """The day that is delivered."""
    return project.start + AFTER


@cache
def tables(name: str) -> Mapping[str, pa.Table]:
    """All that the project's producer knows by the end of that day, by source."""
    project = PROJECTS[name]
    found: Mapping[str, pa.Table] = hook(project, "simulate").day(day_of(project), 1, None)
    return found


@cache
def events(name: str, rows: int) -> tuple[Row, ...]:
    """The first events of the day, as a producer writes them."""
    kept = tables(name)[PROJECTS[name].sources[0].name].slice(0, rows).to_pylist()
    return tuple({key: _plain(value) for key, value in row.items() if value is not None} for row in kept)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def required(project: Project) -> list[str]:
    """The columns that every row of the first source has."""
    return [column.name for column in project.sources[0].columns if not column.nullable]


def csv(project: Project, rows: Sequence[Row], without: Collection[str] = ()) -> bytes:
    """The rows with every required column but those left out."""
    names = [name for name in required(project) if name not in without]
    told = [",".join('"' + str(row[name]).replace('"', '""') + '"' for name in names) for row in rows]
    return "\n".join([",".join(names), *told]).encode()


def lines(rows: Sequence[Row]) -> bytes:
    """The rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(table: pa.Table) -> bytes:
    """The table as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def take_in(project: Project, settings: Settings, files: Mapping[str, bytes]) -> Result:
    """Lands and ingests; checks that every row of the day is accounted for."""
    day, source = day_of(project), project.sources[0].name
    folder = settings.home / "out"
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    land.run(project, settings, files=[folder / name for name in files], source=source, batch=day.isoformat())
    result = ingest.run(project, settings, batches=Batches(day, day), source=source)
    facts = result.facts
    assert facts["accepted"] + facts["quarantined"] + facts["duplicates"] == facts["delivered"]
    return result


def quarantined(project: Project, settings: Settings) -> list[Row]:
    """What of the day was put aside, and why."""
    day, source = day_of(project), project.sources[0].name
    published = current(Lake(settings.lake_uri).quarantine(project.name, source, day))
    found: list[Row] = pq.read_table(published.paths(), partitioning=None).to_pylist() if published else []
    return found
