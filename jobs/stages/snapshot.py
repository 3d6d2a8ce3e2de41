"""What a training uses, fixed: which days, which code, and the point-in-time training frame of every model."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.batch import day_start, parse_day
from jobs.errors import MissingBatchError, UsageError
from jobs.features import point_in_time, vectors
from jobs.lake import Lake
from jobs.result import Result
from jobs.settings import ROOT, Settings
from jobs.spec import Model, Project
from jobs.storage import Published, current, digest_of, publish, require
from jobs.training.splits import Parts, parts

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
        published = _publish(project, lake, folder, day or _newest(project, lake), negative_control)
    facts = published.manifest.facts
    if (day and facts["as_of"] != str(day)) or facts["negative_control"] != negative_control:
        kind = ", with shuffled labels" if facts["negative_control"] else ""
        raise UsageError(
            f"run {run!r} already has a snapshot as of {facts['as_of']}{kind}; it was left as it is. "
            "Choose another --run"
        )
    return Result(line=_line(project, run, facts), facts={"run": run, **facts})


def _publish(project: Project, lake: Lake, folder: Path, as_of: date, negative_control: bool) -> Published:
    for view in project.views:
        command = f"tidemill features --project {project.name} --batch {as_of}"
        require(lake.features(project.name, view.name, as_of), command)
    spine = _days(lake.spine(project.name, as_of).parent, as_of)
    frames: dict[str, pa.Table] = {}
    inputs, models = {"spec": project.digest, "negative control": str(negative_control)}, {}
    for model in project.models:
        days = parts(model.split, project.label.delay_days, as_of, spine.keys())
        frames[model.name], read = _frame(project, lake, model, days, spine, as_of)
        if negative_control:
            frames[model.name] = _shuffled(frames[model.name], model.seed)
        models[model.name] = _facts(days, frames[model.name])
        inputs |= read
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
        import pyarrow.parquet as pq

        for name, frame in frames.items():
            pq.write_table(frame, to / frame_name(project, name), compression="zstd")
        (to / "snapshot.json").write_text(json.dumps(facts, indent=1, sort_keys=True))
        return sum(map(len, frames.values()))

    return publish(folder, write, inputs=inputs, watermark=str(as_of), facts=facts)


def frame_name(project: Project, model: str) -> str:
    """The training frame's file in a snapshot."""
    return "frame.parquet" if len(project.models) == 1 else f"frame-{model}.parquet"


def _frame(
    project: Project, lake: Lake, model: Model, days: Parts, spine: Mapping[date, Published], as_of: date
) -> tuple[pa.Table, dict[str, str]]:
    """The model's training frame, and the digest of every partition it was read from."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    part_of = {day: name for name, part in days.items() for day in part}
    read, pieces = {}, []
    for day, part in part_of.items():
        read[f"spine/{day}"] = spine[day].digest
        for path in spine[day].paths():
            table = pq.read_table(path, partitioning=None)
            pieces.append(table.append_column("part", pa.repeat(pa.scalar(part), len(table))))
    events = pa.concat_tables(pieces)
    known = pa.scalar(day_start(as_of) + timedelta(days=1), pa.timestamp("us", "UTC"))
    events = events.filter(pc.less_equal(events.column("label_time"), known))
    events = events.sort_by([("event_time", "ascending"), ("event_id", "ascending")])
    views = {}
    for view in project.views:
        seen = {day: current(lake.features(project.name, view.name, day))
                for day in vectors.view_days(view, min(part_of), max(part_of))}  # fmt: skip
        read |= {f"{view.name}/{day}": version.digest for day, version in seen.items() if version}
        views[view] = [path for version in seen.values() if version for path in version.paths()]
    joined = point_in_time.join(events.drop_columns(["part"]), views)
    matrix = vectors.inputs(project, joined)
    names = ["event_id", *vectors.payload_names(project, events.drop_columns(["part"]).column_names)]
    frame = events.select([*names, "label", "part"])
    for index, name in enumerate(model.inputs):
        frame = frame.append_column(name, pa.array(matrix[:, index]))
    return frame.replace_schema_metadata(None).combine_chunks(), read


def _shuffled(frame: pa.Table, seed: int) -> pa.Table:
    """The frame with the labels of all parts but the test in another order."""
    import numpy as np
    import pyarrow as pa

    labels = frame.column("label").to_numpy().copy()
    learned = np.flatnonzero(frame.column("part").to_numpy() != "test")
    labels[learned] = np.random.default_rng(seed).permutation(labels[learned])
    return frame.set_column(frame.column_names.index("label"), "label", pa.array(labels, pa.bool_()))


def _facts(days: Parts, frame: pa.Table) -> dict[str, Any]:
    import pyarrow.compute as pc

    labels = {name: frame.filter(pc.equal(frame.column("part"), name)).column("label") for name, _ in days.items()}
    return {
        "batches": {name: [str(part[0]), str(part[-1])] for name, part in days.items() if part},
        "rows": {name: len(column) for name, column in labels.items()},
        "positives": {name: int(pc.sum(column).as_py() or 0) for name, column in labels.items()},
    }


def _days(folder: Path, last: date) -> dict[date, Published]:
    """The published partitions beside one, up to a day."""
    found = {}
    for path in sorted(folder.glob("batch=*")):
        day = parse_day(path.name.removeprefix("batch="))
        published = current(path) if day <= last else None
        if published:
            found[day] = published
    return found


def _newest(project: Project, lake: Lake) -> date:
    last = date.max
    folders = [lake.features(project.name, view.name, project.start).parent for view in project.views]
    folders.append(lake.spine(project.name, project.start).parent)
    common = set.intersection(*(set(_days(folder, last)) for folder in folders))
    if not common:
        raise MissingBatchError(
            f"no batch of {project.name} has all its features; run `tidemill features --project {project.name}` first"
        )
    return max(common)


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
    return f"snapshot {project.name} {run} as of {facts['as_of']}{shuffled}: {parts}"
