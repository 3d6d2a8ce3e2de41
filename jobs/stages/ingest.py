"""Read what landed: accepted rows become typed Parquet, the rest is quarantined with its bytes and a reason."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jobs.batch import Batches
from jobs.ingest import arrays, columns, landed, readers, rows, texts, typed
from jobs.lake import Lake
from jobs.progress import track
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Project, Source
from jobs.storage import current, digest_code, publish


def run(
    project: Project, settings: Settings, *, batches: Batches, source: str | None = None, force: bool = False
) -> Result:
    """Ingests every delivery of these days; exit 1 when a file was refused whole, 99 when no row was accepted."""
    lake = Lake(settings.lake_uri)
    sources = (project.source(source),) if source else project.sources
    code = digest_code(arrays, columns, landed, readers, rows, texts, typed)
    found: list[dict[str, Any]] = []
    for day in track(list(batches), "ingest"):
        for one in sources:
            facts = _ingest(lake, project.name, one, day, code, force)
            if facts is not None:
                found.append({"batch": day.isoformat(), "source": one.name, **facts})
    return _result(project, batches, found)


def _ingest(lake: Lake, project: str, source: Source, day: date, code: str, force: bool) -> Mapping[str, Any] | None:
    """One source and day; None when nothing was delivered."""
    files = landed.landed(lake, project, source.name, day)
    if not files:
        return None
    inputs = {file.key: file.sha16 for file in files}
    inputs |= {"code": code, "source": hashlib.sha256(repr(source).encode()).hexdigest()}
    raw, quarantine = lake.raw(project, source.name, day), lake.quarantine(project, source.name, day)
    before = current(raw)
    if before and dict(before.manifest.inputs) == inputs and not force:
        return {**before.manifest.facts, "changed": False}
    read = rows.read_day(source, day, files)
    facts = read.facts()
    # Landing only grows: more files is newer, so a slow run that saw fewer cannot replace a run that saw all.
    watermark = f"{day.isoformat()}/{len(files):06d}"

    def write_raw(folder: Path) -> int:
        table = read.accepted.drop_columns(["_event_day"])
        pq.write_table(table, folder / "part-00000.parquet", compression="zstd")
        return int(table.num_rows)

    def write_quarantine(folder: Path) -> int:
        pq.write_table(read.refused, folder / "part-00000.parquet", compression="zstd")
        for name, data in read.files.items():
            (folder / f"{name}.bytes").write_bytes(data)
        return int(read.refused.num_rows)

    # Quarantine first: a raw partition that exists accounts for every row of its delivery.
    if read.refused.num_rows or current(quarantine):
        publish(quarantine, write_quarantine, inputs=inputs, watermark=watermark, facts=facts, force=force)
    if not (read.accepted.num_rows or before):
        return {**facts, "changed": False}
    published = publish(raw, write_raw, inputs=inputs, watermark=watermark, facts=facts, force=force)
    return {**published.manifest.facts, "changed": published.changed}


def _result(project: Project, batches: Batches, found: list[dict[str, Any]]) -> Result:
    totals = {name: sum(one[name] for one in found) for name in rows.COUNTS}
    reasons: Counter[str] = sum((Counter(one["reasons"]) for one in found), Counter())
    extra: Counter[str] = sum((Counter(one["extra_columns"]) for one in found), Counter())
    refused = [
        f"{one['source']} {one['batch']}: {name}: {reason}"
        for one in found
        for name, reason in one["refused_files"].items()
    ]
    facts = {
        **totals,
        "reasons": dict(sorted(reasons.items())),
        "extra_columns": dict(sorted(extra.items())),
        "refused_files": refused,
        "uncounted_files": sum(len(one["uncounted_files"]) for one in found),
        "days_without_delivery": len(batches) - len({one["batch"] for one in found}),
        "changed": sum(one["changed"] for one in found),
        "batches": found,
    }
    line = (
        f"ingested {project.name} {batches}: {totals['delivered']} rows delivered = {totals['accepted']} accepted"
        f" + {totals['quarantined']} quarantined + {totals['duplicates']} duplicates"
    )
    if extra:
        names = [name if name.isprintable() else repr(name) for name in sorted(extra)[:5]]
        line += f"; ignored undeclared columns {', '.join(name[:60] for name in names)}"
    if refused:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        line += f"; refused whole: {refused[0]}{more}; see quarantine, then land a corrected file under the same name"
        return Result(line=line, facts=facts, exit_code=1)
    if found and not totals["delivered"]:
        line = f"the deliveries of {project.name} {batches} hold no rows; nothing was published"
    if not found:
        line = f"nothing landed for {project.name} {batches}; deliver files with `tidemill land`"
    return Result(line=line, facts=facts, exit_code=0 if totals["accepted"] else 99)
