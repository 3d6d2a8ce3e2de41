"""Features of batches: read the clean days their windows reach over, let dbt compute, publish offline and online."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from jobs import warehouse
from jobs.batch import Batches
from jobs.errors import DataRejected, MissingBatchError
from jobs.features.inputs import CleanDays, days_between
from jobs.features.leaks import check_marts
from jobs.features.materialize import materialize
from jobs.features.offline import Partition, event_marts, save, wanted
from jobs.lake import Lake
from jobs.progress import track
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Project
from jobs.storage import current

_ROUNDS = 3


def run(project: Project, settings: Settings, *, batches: Batches, force: bool = False) -> Result:
    """The batch views and events of the batches, and of those around them that what arrived changed.

    Raises DataRejected or MissingBatchError when no batch may be read; of a range, the rest goes on and the
    result's exit code is 1.
    """
    started = time.monotonic()
    lake = Lake(settings.lake_uri)
    days = CleanDays(project=project, lake=lake)
    held = [day for day in batches if days[day].verdict is False]
    missing = [day for day in batches if days[day].verdict is None]
    if len(held) + len(missing) == len(batches):
        _refuse(project, lake, held, missing)
    models, computed = warehouse.digest(project), 0
    for _ in range(_ROUNDS):
        partitions = wanted(project, days, models, batches.first, batches.last)
        stale = [one for one in partitions if not one.fresh or (force and not computed and one.batch in batches)]
        if not stale:
            break
        _compute(project, settings, days, stale, force)
        computed += len(stale)
        days = CleanDays(project=project, lake=lake)  # another run may have let a day in meanwhile
    materialized = materialize(project, settings)
    rows = dict.fromkeys((*(view.name for view in project.views), *event_marts(project)), 0)
    for one in partitions:
        published = current(one.path)
        if published and one.batch in batches:
            rows[one.mart] += published.manifest.rows
    facts = {
        "project": project.name,
        "batches": str(batches),
        "rows": rows,
        "published": computed,
        "unchanged": max(0, len(partitions) - computed),
        "materialized": materialized,
        "held": [str(day) for day in held],
        "missing": [str(day) for day in missing],
        "seconds": round(time.monotonic() - started, 2),
    }
    return Result(line=_line(facts), facts=facts, exit_code=1 if held or missing else 0)


def _compute(project: Project, settings: Settings, days: CleanDays, stale: Sequence[Partition], force: bool) -> None:
    asked: dict[str, list[date]] = defaultdict(list)
    read: set[date] = set()
    for one in stale:
        asked[one.mart].append(one.batch)
        read.update(days_between(*one.reads))
    with warehouse.build(project, settings, tables=days.files(read), batches=asked) as marts:
        check_marts(project, settings, days, stale, marts)
        for one in track(stale, "publish"):
            rows = marts.rows(f"{project.name}_{one.mart}", one.batch, one.order)
            save(project, one, rows, force)


def _refuse(project: Project, lake: Lake, held: Sequence[date], missing: Sequence[date]) -> None:
    validate = f"tidemill validate --project {project.name} --batch"
    if held:
        verdict = lake.validation(project.name, held[0])
        raise DataRejected(
            f"{_days(held)} of {project.name} failed validation and stays out of the features; "
            f"why is in {verdict}. Deliver the data again, or see `{validate} {held[0]}`"
            + (f"; nothing is validated for {_days(missing)}" if missing else "")
        )
    raise MissingBatchError(
        f"no passed validation of {project.name} for {_days(missing)} below {lake.validation(project.name, missing[0])}; "
        f"it is written by `{validate} {missing[0]}`"
    )


def _line(facts: Mapping[str, Any]) -> str:
    line = (
        f"features {facts['project']} {facts['batches']}: "
        + ", ".join(f"{count:,} {mart}" for mart, count in facts["rows"].items())
        + f" rows; {facts['published']} partitions published, {facts['unchanged']} unchanged, "
        f"{sum(facts['materialized'].values()):,} values online, {facts['seconds']} s"
    )
    if facts["held"]:
        line += f"; held out, validation failed: {_days(facts['held'])}"
    if facts["missing"]:
        line += f"; not validated: {_days(facts['missing'])}"
    return line


def _days(days: Sequence[object]) -> str:
    shown = ", ".join(str(day) for day in days[:10])
    return shown if len(days) <= 10 else f"{shown} and {len(days) - 10} more"
