"""What the monitoring stages say: a line and facts for the day, a page for the batch, an index of all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from jobs import mirror
from jobs.batch import Batches
from jobs.lake import Lake
from jobs.pages import page
from jobs.progress import track
from jobs.result import Result
from jobs.spec import Project
from jobs.storage import current

RESULT, REPORT = "result.json", "report.html"
KINDS = ("drift", "performance", "replay")


@dataclass(frozen=True, kw_only=True)
class Day:
    """One batch's outcome: a line and facts, or the reason why there was nothing to do."""

    line: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


def summarise(stage: str, batches: Batches, one: Callable[[date], Day]) -> Result:
    """The result of a stage over its batches, in order; a range adds up the counts. Exit 99 when no day had any."""
    days = {str(batch): one(batch) for batch in track(list(batches), stage)}
    done = {name: day for name, day in days.items() if not day.reason}
    skipped = {name: day.reason for name, day in days.items() if day.reason}
    if len(batches) == 1:
        (name, day), *_ = days.items()
        facts = {"batch": name, **day.facts, **({"reason": day.reason} if day.reason else {})}
        line = f"{stage} {name}: {day.line or 'nothing to do, ' + day.reason}"
    else:
        totals = _totals(day.facts for day in done.values())
        facts = {"batch": str(batches), **totals, "days": {name: dict(day.facts) for name, day in done.items()},
                 "skipped": skipped}  # fmt: skip
        counted = ", ".join(f"{value} {name}" for name, value in totals.items())
        line = f"{stage} {batches}: {len(done)} of {len(days)} days" + (f", {counted}" if counted else "")
        if skipped:
            newest = max(skipped)
            line += f"; nothing to do on {len(skipped)}, the last {newest}: {skipped[newest]}"
    return Result(line=line, facts=facts, exit_code=0 if done else 99)


def result_of(lake: Lake, project: Project, kind: str, batch: date) -> dict[str, Any] | None:
    """What a batch's drift or performance stage published, or None."""
    published = current(lake.monitoring(project.name, kind, batch))
    if published is None:
        return None
    result: dict[str, Any] = json.loads((published.folder / RESULT).read_bytes())
    return result


def write_index(lake: Lake, project: Project) -> Path:
    """The path of the page that links every batch's reports, brought up to date."""
    home = lake.monitoring(project.name, KINDS[0], date(2000, 1, 1)).parents[1]
    rows: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        for partition in mirror.partitions(home / kind):
            published = current(partition)
            if published is not None:
                batch = partition.name.removeprefix("batch=")
                link = (partition / published.version / REPORT).relative_to(home).as_posix()
                facts = published.manifest.facts
                rows.setdefault(batch, {})[kind] = {"link": link, "says": facts.get("says", "")}
    path = home / "index.html"
    mirror.write(
        path, page("index.html.j2", project=project, kinds=KINDS, rows=sorted(rows.items(), reverse=True)).encode()
    )
    return path


def _totals(facts: Iterator[Mapping[str, Any]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for one in facts:
        for name, value in one.items():
            if isinstance(value, int) and not isinstance(value, bool):
                totals[name] = totals.get(name, 0) + value
    return totals
