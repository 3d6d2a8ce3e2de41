"""Ingest, etl, validate and features for a range of batches, in one process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

from jobs.batch import Batches
from jobs.errors import DataRejected, MissingBatchError, StalePublishError, TamperedError
from jobs.ingest.landed import landed
from jobs.ingest.rows import COUNTS
from jobs.lake import Lake
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Project
from jobs.storage import current


def run(project: Project, settings: Settings, *, batches: Batches, force: bool = False) -> Result:
    """Runs the four stages over the range; what is refused or fails expectations is told at the end with exit 1."""
    from jobs.stages import etl, features, ingest, validate

    lake = Lake(settings.lake_uri)
    skipped = [
        day.isoformat()
        for day in batches
        if not any(landed(lake, project.name, source.name, day) for source in project.sources)
    ]
    if len(skipped) == len(batches):
        return Result(
            line=f"nothing landed for {project.name} {batches}; deliver files with `tidemill land`",
            facts={"batches": 0, "skipped": skipped},
            exit_code=99,
        )
    results: dict[str, Result] = {}
    seconds: dict[str, float] = {}
    for place, (name, stage) in enumerate(
        (("ingest", ingest.run), ("etl", etl.run), ("validate", validate.run), ("features", features.run)), start=1
    ):
        if sys.stderr.isatty():
            print(f"[{place}/4] {name} {project.name} {batches}", file=sys.stderr)
        began = time.monotonic()
        parts = _judged(lake, project, batches) if name == "features" else [batches]
        results[name] = _joined([_run(stage, project, settings, part, force) for part in parts])
        seconds[name] = round(time.monotonic() - began, 2)
        if results[name].exit_code == 99:
            break
    return _result(project, batches, skipped, results, seconds)


def _run(stage: Callable[..., Result], project: Project, settings: Settings, batches: Batches, force: bool) -> Result:
    """A stage's result; a refusal becomes a result too, so that one bad part does not stop the rest."""
    try:
        return stage(project, settings, batches=batches, force=force)
    except (DataRejected, MissingBatchError, StalePublishError, TamperedError) as error:
        return Result(line=f"{type(error).__name__}: {error}", facts={"error": str(error)}, exit_code=error.exit_code)


def _judged(lake: Lake, project: Project, batches: Batches) -> list[Batches]:
    """The unbroken stretches of days that have a verdict: days without data are no fault of the features."""
    days = [day for day in batches if current(lake.validation(project.name, day))]
    breaks = [0, *(i for i in range(1, len(days)) if days[i] - days[i - 1] != timedelta(days=1)), len(days)]
    return [Batches(days[a], days[b - 1]) for a, b in pairwise(breaks) if a < b]


def _joined(parts: list[Result]) -> Result:
    """One result of several stretches of days."""
    if len(parts) == 1:
        return parts[0]
    return Result(
        line="; ".join(part.line for part in parts) or "no day passed validation",
        facts={"parts": [dict(part.facts) for part in parts]},
        exit_code=max((part.exit_code for part in parts if part.exit_code != 99), default=99 if not parts else 0),
    )


def _result(
    project: Project, batches: Batches, skipped: list[str], results: dict[str, Result], seconds: dict[str, float]
) -> Result:
    totals = results["ingest"].facts
    counts = {name: totals.get(name, 0) for name in COUNTS}
    failed = {name: result.line for name, result in results.items() if result.exit_code == 1}
    facts: dict[str, Any] = {
        **counts,
        "batches": len(batches) - len(skipped),
        "skipped": skipped,
        "seconds": seconds,
        "failed": failed,
        "stages": {name: {k: v for k, v in result.facts.items() if k != "batches"} for name, result in results.items()},
    }
    line = (
        f"backfilled {project.name} {batches}: {facts['batches']} days in {sum(seconds.values()):.0f} s, "
        f"{counts['delivered']} rows = {counts['accepted']} accepted + {counts['quarantined']} quarantined "
        f"+ {counts['duplicates']} duplicates"
    )
    if skipped:
        line += f"; {len(skipped)} days without a delivery skipped"
    if failed:
        return Result(line=f"{line}; {'; '.join(failed.values())}", facts=facts, exit_code=1)
    return Result(line=line, facts=facts, exit_code=0 if counts["accepted"] else 99)
