"""Write a producer's daily files of made-up events, and deliver them if asked to."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.batch import Batches
from jobs.ingest.producer import Delivery, delivery
from jobs.progress import track
from jobs.projects import hook
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Project
from jobs.stages import land
from jobs.storage import write_atomically

MEMORY = "producer.json"
"""What the producer remembers between calls: its first day, and when the shift began."""


def run(
    project: Project,
    settings: Settings,
    *,
    batches: Batches,
    out: Path,
    seed: int = 1,
    drift: bool = False,
    mishaps: bool = False,
    deliver: bool = False,
) -> Result:
    """Writes the days' files below `out`; the same seed and days give the same bytes.

    A shift begins with the first day it is asked for and, in the same folder, lasts: later calls go on with it.
    """
    first, drift_from = _remember(out, seed, batches, drift)
    day_of = hook(project, "simulate").day
    events: dict[date, Any] = {}
    counts: Counter[str] = Counter()
    paths: dict[str, list[Path]] = {source.name: [] for source in project.sources}

    def table_of(name: str, day: date) -> pa.Table:
        if day not in events:
            events[day] = day_of(day, seed, drift_from)
        table: pa.Table = events[day][name]
        return table

    for day in track(list(batches), "simulate"):
        for source in project.sources:
            made = delivery(source, day, seed, mishaps, first, partial(table_of, source.name))
            paths[source.name] += _write(out / source.name, made)
            counts.update(made.counts)
        for old in [known for known in events if (day - known).days > 30]:
            del events[old]
    facts: dict[str, Any] = {
        "rows": counts["rows"],
        "files": counts["files"],
        "late_rows": counts["late"],
        "duplicated_rows": counts["duplicated_rows"],
        "duplicated_files": counts["duplicated_files"],
        "rows_of_duplicated_files": counts["rows_of_duplicated_files"],
        "malformed_rows": counts["malformed"],
        "drift_from": drift_from.isoformat() if drift_from else None,
        "seed": seed,
        "out": str(out),
    }
    line = f"simulated {project.name} {batches}: {counts['rows']} rows in {counts['files']} files at {out}"
    if mishaps:
        line += (
            f"; {counts['late']} rows late, {counts['duplicated_rows']} rows and {counts['duplicated_files']} files twice, "
            f"{counts['malformed']} rows malformed"
        )
    if deliver:
        facts["landed"] = {
            name: dict(land.run(project, settings, files=files, source=name).facts)
            for name, files in paths.items()
            if files
        }
        line += "; landed"
    return Result(line=line, facts=facts)


def _remember(out: Path, seed: int, batches: Batches, drift: bool) -> tuple[date, date | None]:
    """The producer's first day and the day its world shifted, with this call taken into account."""
    path = out / MEMORY
    known: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
    if known.get("seed") != seed:
        known = {"seed": seed, "first": batches.first.isoformat(), "drift_from": None}
    known["first"] = min(known["first"], batches.first.isoformat())
    if drift:
        known["drift_from"] = min(known["drift_from"] or "9999", batches.first.isoformat())
    write_atomically(path, json.dumps(known).encode())
    return date.fromisoformat(known["first"]), date.fromisoformat(known["drift_from"]) if known["drift_from"] else None


def _write(folder: Path, made: Delivery) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in made.files.items():
        write_atomically(folder / name, data)
    return [folder / name for name in made.files]
