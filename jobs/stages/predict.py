"""Predict: events of a published batch or a raw file in; their probabilities and decisions, in one file, out."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.batch import Batches
from jobs.errors import DataRejected, MissingBatchError, TamperedError, UsageError
from jobs.features import vectors
from jobs.lake import Lake
from jobs.release.bundle import same_contract, verify_bundle
from jobs.release.decisions import decide
from jobs.release.ledger import Ledger
from jobs.release.probability import score_of
from jobs.release.scorer import Scorer
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Project
from jobs.storage import digest_file, require

if TYPE_CHECKING:
    import pyarrow as pa

ENDINGS = (".parquet", ".csv", ".jsonl")
_LAST_DAY, _ANY_AGE = date(2199, 12, 31), 366 * 300


def run(
    project: Project,
    settings: Settings,
    *,
    out: Path,
    file: Path | None = None,
    release: str | None = None,
    batches: Batches | None = None,
) -> Result:
    """Scores every event; rows of a file that were refused are counted and named, and the others scored.

    Raises UsageError unless exactly one of file and batch is given, DataRejected for a file that is
    refused whole, and TamperedError for a release that is not what the ledger names or was made for
    other features.
    """
    if out.suffix not in ENDINGS:
        raise UsageError(f"--out {out} must end in one of {', '.join(ENDINGS)}")
    lake = Lake(settings.lake_uri)
    refused: list[dict[str, Any]] = []
    if file is not None and batches is None:
        events, refused = _of_file(project, file)
    elif batches is not None and file is None:
        events = _of_batches(project, lake, batches)
    else:
        raise UsageError("give either --batch or --file")
    name, digest = _release(project, settings, release)
    folder = lake.release(project.name, name)
    manifest = verify_bundle(folder, digest)
    if not same_contract(project, manifest, project.models[-1].inputs):
        raise TamperedError(
            f"release {name} was made for other feature views or another features.py than this code has; nothing was "
            "scored. Train again, or score with the code it was made with"
        )
    matrix, found = vectors.offline(project, lake, events)
    scores = Scorer.load(folder, manifest).score(matrix)
    ruled = np.asarray(vectors.rule(project)(vectors.payload(project, events)), dtype=np.bool_)
    decided, scores = decide(ruled, scores, manifest["decisions"]), score_of(scores)
    _write(out, events, scores, decided, name)
    facts: dict[str, Any] = {
        "release": name,
        "rows": len(events),
        "refused": len(refused),
        "refusals": refused[:100],
        "unknown": {view: int((~seen).sum()) for view, seen in found.items()},
        "mean": float(scores.mean()) if len(scores) else None,
        "out": str(out),
    }
    first = f", the first at line {refused[0]['line']}: {refused[0]['reason']}" if refused else ""
    line = f"predict: {len(events):,} events scored by {name} into {out}; {len(refused):,} rows refused{first}"
    return Result(line=line, facts=facts)


def _release(project: Project, settings: Settings, wanted: str | None) -> tuple[str, str]:
    with Ledger(settings.need("database_url")) as ledger:
        champion, challenger = ledger.champion(project.name), ledger.challenger(project.name)
        known = {one.release: one.digest for one in ledger.history(project.name)}
    if challenger:
        known[challenger.release] = challenger.digest
    name = wanted or (champion.release if champion else None)
    if name is None:
        raise MissingBatchError(
            f"project {project.name!r} has no champion yet; roll one out with `tidemill rollout start`, or name the "
            f"challenger with --release {challenger.release if challenger else 'NAME'}"
        )
    if name not in known:
        raise UsageError(f"the ledger knows no release {name[:80]!r} of {project.name}; it knows {', '.join(known)}")
    return name, known[name]


def _of_batches(project: Project, lake: Lake, batches: Batches) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for day in batches:
        published = require(lake.spine(project.name, day), f"tidemill features --project {project.name} --batch {day}")
        tables += [pq.ParquetFile(path).read() for path in published.paths()]
    events = pa.concat_tables(tables).drop_columns(["label", "label_time"])
    return events.sort_by([("event_time", "ascending"), ("event_id", "ascending")])


def _of_file(project: Project, file: Path) -> tuple[pa.Table, list[dict[str, Any]]]:
    """The accepted rows of a raw file as events, whatever their day, and the refused ones."""
    from jobs.ingest.landed import LandedFile
    from jobs.ingest.rows import read_day

    if not file.is_file():
        raise UsageError(f"--file {file} is not a file")
    source = project.sources[0]
    landed = LandedFile(path=file, key=f"{digest_file(file)[:16]}-{file.name}", name=file.name)
    day = read_day(replace(source, lateness_days=_ANY_AGE), _LAST_DAY, [landed])
    if day.unresolved:
        raise DataRejected(
            f"{file} was refused: {day.unresolved[file.name]}; nothing was scored. Correct it and try again"
        )
    keep = [column.name for column in source.columns if column.name != project.label.column]
    events = day.accepted.select(keep)
    named = {source.event_id: "event_id", source.event_time: "event_time"}
    events = events.rename_columns([named.get(name, name) for name in keep])
    refused = day.refused.select(["line", "reason", "column", "value"]).to_pylist()
    return events.sort_by([("event_time", "ascending"), ("event_id", "ascending")]), refused


def _write(out: Path, events: pa.Table, scores: Any, decisions: list[str], release: str) -> None:
    import pyarrow as pa
    import pyarrow.csv as arrow_csv
    import pyarrow.parquet as pq

    table = events.select(["event_id", "event_time"])
    table = table.append_column("probability", pa.array(scores, pa.float64()))
    table = table.append_column("decision", pa.array(decisions, pa.string()))
    table = table.append_column("release", pa.repeat(pa.scalar(release), len(table)))
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.part")
    if out.suffix == ".parquet":
        pq.write_table(table, beside)
    elif out.suffix == ".csv":
        arrow_csv.write_csv(table, beside)
    else:
        rows = ({**row, "event_time": row["event_time"].isoformat()} for row in table.to_pylist())
        beside.write_text("".join(json.dumps(row) + "\n" for row in rows))
    beside.replace(out)
