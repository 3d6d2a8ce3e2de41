"""Hold what arrived against the project's expectations; a day that fails is kept out of the features."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from jobs import mirror
from jobs.batch import Batches
from jobs.expectations import Checker, Verdict, suites_digest
from jobs.lake import Lake, address
from jobs.progress import track
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Project
from jobs.storage import Published, current, publish, verify
from jobs.volumes import unusual

if TYPE_CHECKING:
    import pandas as pd


def run(project: Project, settings: Settings, *, batches: Batches, force: bool = False) -> Result:
    """The verdicts of these days and of those that late events changed; exit 1 when one failed, 99 without data."""
    lake = Lake(settings.lake_uri)
    lateness = max(source.lateness_days for source in project.sources)
    suites = suites_digest(project.name, project.tables)
    days = Batches(batches.first - timedelta(days=lateness), batches.last)
    found = {day: tables for day in days if (tables := _cleaned(lake, project, day))}
    cleaned = {day: tables for day, tables in found.items() if day in batches or _whole(project, day, tables)}
    if not any(day in batches for day in cleaned):
        return Result(
            line=f"nothing cleaned for {project.name} {batches}; `tidemill etl` comes first",
            facts={"passed": 0, "failed": 0, "changed": 0, "failures": {}, "unusual": {}, "batches": []},
            exit_code=99,
        )
    inputs = {day: {name: one.digest for name, one in tables.items()} | suites for day, tables in cleaned.items()}
    known = {day: current(lake.validation(project.name, day)) for day in cleaned}
    stale = [day for day, one in known.items() if force or one is None or dict(one.manifest.inputs) != inputs[day]]
    for day in stale:
        for one in cleaned[day].values():
            verify(one)
    if stale:
        began, docs = time.time_ns(), mirror.fetch_all(lake.data_docs())
        checker = Checker(project.name, docs)
        for day in track(stale, "validate"):
            known[day] = _judge(checker, lake, project, day, cleaned[day], inputs[day], force)
        checker.build_docs()
        mirror.send(docs, since_ns=began)
    return _result(project, batches, lake, {day: one for day, one in known.items() if one}, len(stale))


def _whole(project: Project, day: date, tables: dict[str, Published]) -> bool:
    """Whether the day's own deliveries are in what was cleaned: late events alone do not make it a day to judge yet."""
    own = {f"{source.name}/{day}" for source in project.sources if source.required}
    return all(own <= published.manifest.inputs.keys() for published in tables.values())


def _cleaned(lake: Lake, project: Project, day: date) -> dict[str, Published]:
    found = {table: current(lake.clean(project.name, table, day)) for table in project.tables}
    return {table: published for table, published in found.items() if published}


def _read(published: Published) -> pd.DataFrame:
    frame: pd.DataFrame = pq.read_table(published.paths(), partitioning=None).to_pandas()
    return frame


def _judge(
    checker: Checker,
    lake: Lake,
    project: Project,
    day: date,
    tables: dict[str, Published],
    inputs: dict[str, str],
    force: bool,
) -> Published:
    verdicts = {
        table: checker.check(table, day, _read(tables[table]))
        if table in tables
        else Verdict(evaluated=0, expected=0, failures=[f"table {table!r} is missing"])
        for table in project.tables
    }
    passed = all(verdict.passed for verdict in verdicts.values())
    document = {"passed": passed, "tables": {name: asdict(verdict) for name, verdict in verdicts.items()}}

    def write(folder: Path) -> int:
        (folder / "verdict.json").write_text(json.dumps(document, sort_keys=True, indent=1))
        return sum(verdict.evaluated for verdict in verdicts.values())

    watermark = max(published.manifest.watermark for published in tables.values())
    partition = lake.validation(project.name, day)
    return publish(partition, write, inputs=inputs, watermark=watermark, facts=document, force=force)


def _result(project: Project, batches: Batches, lake: Lake, known: dict[date, Published], changed: int) -> Result:
    failures = {
        day.isoformat(): [
            f"{table}: {failure}"
            for table, verdict in sorted(one.manifest.facts["tables"].items())
            for failure in verdict["failures"]
        ]
        for day, one in sorted(known.items())
        if not one.manifest.facts["passed"]
    }
    expectations = sum(one.manifest.rows for one in known.values())
    facts: dict[str, Any] = {
        "passed": len(known) - len(failures),
        "failed": len(failures),
        "expectations": expectations,
        "changed": changed,
        "failures": failures,
        "unusual": unusual(project, lake, [day for day in known if day in batches]),
        "docs": address(lake.data_docs() / "index.html"),
        "batches": [
            {"batch": day.isoformat(), "passed": one.manifest.facts["passed"]} for day, one in sorted(known.items())
        ],
    }
    line = f"validated {project.name} {batches}: {facts['passed']} days passed, {len(failures)} failed, {expectations} expectations"
    for batch, told in facts["unusual"].items():
        line += f"; {batch}: {', '.join(told)}"
    if not failures:
        return Result(line=line, facts=facts)
    day, reasons = next(iter(failures.items()))
    others = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
    line += f"; held out of features: {day}{others}; {day}: {'; '.join(reasons)}"
    return Result(line=line, facts=facts, exit_code=1)
