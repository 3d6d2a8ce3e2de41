"""What a training uses, fixed: which days, which code, and the point-in-time training frame of every model."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.batch import day_start, parse_day
from jobs.errors import UsageError
from jobs.lake import Lake
from jobs.result import Result
from jobs.settings import ROOT, Settings
from jobs.spec import Model, Project
from jobs.storage import Published, current, digest_of, publish, require
from jobs.training.frame import codes_of, days_of
from jobs.training.sources import Sources, marts, newest_batch, published_days
from jobs.training.splits import Plan, judged, learned, plan
from jobs.training.tasks import task_of

if TYPE_CHECKING:
    import pyarrow as pa


def run(project: Project, settings: Settings, *, run: str, as_of: str | None, negative_control: bool) -> Result:
    """The run's snapshot: made once, then the same for every later call of the run.

    Raises UsageError when the run already has a snapshot of another day or kind, MissingBatchError when there are
    no features as of that day, and DataRejected when there are too few labelled days.
    """
    lake = Lake(settings.lake_uri)
    folder = lake.run(project.name, run) / "snapshot"
    day = parse_day(as_of) if as_of else None
    published = current(folder)
    if published is None:
        published = _publish(project, lake, folder, day or newest_batch(project, lake), negative_control)
    facts = published.manifest.facts
    if (day and facts["as_of"] != str(day)) or facts["negative_control"] != negative_control:
        kind = ", with shuffled labels" if facts["negative_control"] else ""
        raise UsageError(
            f"run {run!r} already has a snapshot as of {facts['as_of']}{kind}; it was left as it is. "
            "Choose another --run"
        )
    return Result(line=_line(project, run, facts), facts={"run": run, **facts})


def _publish(project: Project, lake: Lake, folder: Path, as_of: date, negative_control: bool) -> Published:
    import pyarrow.parquet as pq

    for mart in marts(project):
        command = f"tidemill features --project {project.name} --batch {as_of}"
        require(lake.features(project.name, mart, as_of), command)
    known = published_days(lake.spine(project.name, as_of).parent, as_of)
    scratch = lake.scratch(project.name, uuid.uuid4().hex)
    scratch.mkdir(parents=True)
    try:
        inputs, models = {"spec": project.digest, "negative control": str(negative_control)}, {}
        for model in project.models:
            planned = plan(model.split, project.label.delay_days, as_of, known.keys())
            sources, file = Sources.of(project, lake, planned.days), scratch / frame_name(project, model.name)
            _write(file, sources.frames(model, as_of))
            if negative_control:
                _shuffle(file, planned, model.seed)
            models[model.name] = _facts(project, model, planned, file)
            inputs |= sources.digests
        facts = {
            "project": project.name,
            "as_of": str(as_of),
            **next(iter(models.values())),
            "models": models,
            "negative_control": negative_control,
            "spec": project.digest,
            "git": _commit(),
            "digests": {"inputs": digest_of(inputs)},
        }

        def write(to: Path) -> int:
            rows = 0
            for file in sorted(scratch.iterdir()):
                rows += pq.read_metadata(file).num_rows
                file.rename(to / file.name)
            (to / "snapshot.json").write_text(json.dumps(facts, indent=1, sort_keys=True))
            return rows

        return publish(folder, write, inputs=inputs, watermark=str(as_of), facts=facts)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def frame_name(project: Project, model: str) -> str:
    """The training frame's file in a snapshot."""
    return "frame.parquet" if len(project.models) == 1 else f"frame-{model}.parquet"


def _write(file: Path, pieces: Iterator[pa.Table]) -> None:
    import pyarrow.parquet as pq

    first = next(pieces)
    with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for piece in pieces:
            writer.write_table(piece)


def _shuffle(file: Path, planned: Plan, seed: int) -> None:
    """Puts the labels of all days before the final test into another order."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    narrow = pq.read_table(file, columns=["event_time", "label"])
    labels = narrow.column("label").to_numpy().copy()
    begins = pa.scalar(day_start(planned.final.test.first), pa.timestamp("us", "UTC"))
    before = np.flatnonzero(pc.less(narrow.column("event_time"), begins).to_numpy())
    labels[before] = np.random.default_rng(seed).permutation(labels[before])
    honest = file.rename(file.with_suffix(".honest"))

    def pieces() -> Iterator[pa.Table]:
        done = 0
        with pq.ParquetFile(honest) as source:
            for group in range(source.num_row_groups):
                piece = source.read_row_group(group)
                mine = pa.array(labels[done : done + len(piece)], narrow.schema.field("label").type)
                done += len(piece)
                yield piece.set_column(piece.column_names.index("label"), "label", mine)

    _write(file, pieces())
    honest.unlink()


def _facts(project: Project, model: Model, planned: Plan, file: Path) -> dict[str, Any]:
    """The plan, and how many rows and positives the final fold learns from and is judged on."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = dict.fromkeys(["event_time", "label", project.entity, *filter(None, [model.group])])
    frame = pq.read_table(file, columns=list(columns))
    task, entity = task_of(model), codes_of(frame.column(project.entity))
    positive = task.positive(task.labels(frame.column("label")))
    times = frame.column("event_time").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    day = days_of(times, codes_of(frame.column(model.group)) if model.group else None)
    parts = {
        "train": learned(planned.final, day),
        "test": judged(planned.final, model.split, day, entity, positive),
    }
    return {
        **planned.document(),
        "rows": {name: int(rows.sum()) for name, rows in parts.items()},
        "positives": {name: int(positive[rows].sum()) for name, rows in parts.items()},
    }


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    answer = subprocess.run([git, "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else "unknown"


def _line(project: Project, run: str, facts: Mapping[str, Any]) -> str:
    parts = ", ".join(
        f"{name} {first}..{last} {facts['rows'][name]:,} rows {facts['positives'][name]:,} positive"
        for name, (first, last) in facts["batches"].items()
    )
    shuffled = " with shuffled labels" if facts["negative_control"] else ""
    folds, short = len(facts["validation"]), len(facts["left_out"])
    earlier = f"{folds} earlier fold{'s' if folds > 1 else ''} to tune and calibrate on"
    missing = f" ({short} more left out: their days are not known)" if short else ""
    return f"snapshot {project.name} {run} as of {facts['as_of']}{shuffled}: {parts}; {earlier}{missing}"
