"""Deliver files to the landing zone: immutable, named by their content, each content once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from jobs.batch import parse_day
from jobs.errors import UsageError
from jobs.ingest.landed import check_name, known_contents, store
from jobs.lake import Lake
from jobs.progress import track
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Project
from jobs.storage import locked

_DATED = re.compile(r"(?<![0-9])[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")


def run(
    project: Project, settings: Settings, *, files: Sequence[Path], source: str, batch: str | None = None
) -> Result:
    """Lands files as a source's deliveries of a day: `batch`, else the date in each name, else today.

    Raises UsageError, before anything is landed, when a file does not exist or its name cannot be kept.
    """
    lake, name = Lake(settings.lake_uri), project.source(source).name
    for path in files:
        check_name(path)
        if not path.is_file():
            raise UsageError(f"no file at {path}; nothing was landed")
    chosen = parse_day(batch) if batch else None
    days = [chosen or _dated(path) or datetime.now(UTC).date() for path in files]
    root = lake.landing(project.name, name, date.min).parent
    counts: Counter[str] = Counter(landed=0, duplicate=0, unchanged=0)
    with locked(root):
        known = known_contents(lake, project.name, name)
        for path, day in track(list(zip(files, days, strict=True)), "landing"):
            counts[store(path, lake.landing(project.name, name, day), known)] += 1
    undated = sum(1 for path in files if not chosen and not _dated(path))
    facts = {
        "source": name,
        "files": len(files),
        "landed": counts["landed"],
        "duplicates": counts["duplicate"],
        "unchanged": counts["unchanged"],
        "batches": sorted({day.isoformat() for day in days}),
    }
    note = f"; {undated} without a date in their name, taken as today's" if undated else ""
    return Result(
        line=f"landed {counts['landed']} of {len(files)} files of {project.name} {name} for {min(days)}..{max(days)}: "
        f"{counts['duplicate']} delivered before, {counts['unchanged']} already there{note}",
        facts=facts,
    )


def _dated(path: Path) -> date | None:
    """The first ISO date in a file's name."""
    for text in _DATED.findall(path.name):
        try:
            return parse_day(text)
        except UsageError:
            continue
    return None
