"""Dated backfill of everything: the data of past days, the weekly trainings they allow, and their verdicts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from jobs import mirror
from jobs.batch import Batches, day_end, parse_day
from jobs.errors import DataRejected, MissingBatchError
from jobs.lake import Lake, address
from jobs.release.ledger import Champion
from jobs.result import Result
from jobs.rollout.verdict import Decision
from jobs.settings import Settings
from jobs.spec import Project
from jobs.stages import backfill, evaluate, gate, register, snapshot, train
from jobs.storage import POINTER, current

DIGESTS = "digests.txt"


def run(project: Project, settings: Settings, *, until: str, train_weekly: bool, force: bool = False) -> Result:
    """Everything up to the end of a day, and the file that lists the digest of all of it.

    A week's challenger is held against the one that passed its gate last, so verdicts come out as they would have
    then; the present champion and the ledger have no part in it. The same deliveries and code give the same file.
    """
    last, lake = parse_day(until), Lake(settings.lake_uri)
    batches = Batches(_first(project, lake, last), last)
    data = backfill.run(project, settings, batches=batches, force=force)
    weeks = list(_weeks(project, settings, batches)) if train_weekly and data.exit_code == 0 else []
    lines = sorted(_digests(project, lake, batches, [week["run"] for week in weeks]))
    path = lake.history(project.name, last) / DIGESTS
    mirror.write(path, "".join(f"{digest}  {name}\n" for name, digest in lines).encode())
    facts = {**data.facts, "until": until, "weeks": weeks, "digests": address(path), "partitions": len(lines)}
    verdicts = ", ".join(f"{week['as_of']} {week['verdict']}" for week in weeks)
    line = f"{data.line}; {len(weeks)} weekly trainings{f' ({verdicts})' if weeks else ''}; digests in {address(path)}"
    return Result(line=line, facts=facts, exit_code=data.exit_code)


def _first(project: Project, lake: Lake, last: date) -> date:
    """The first day on which something landed."""
    folders = [lake.landing(project.name, source.name, last).parent for source in project.sources]
    days = [parse_day(path.name.removeprefix("batch=")) for folder in folders for path in mirror.partitions(folder)]
    if not days or min(days) > last:
        raise MissingBatchError(
            f"nothing landed for {project.name} up to {last}; deliver files with `tidemill land --project {project.name}`"
        )
    return min(days)


def _weeks(project: Project, settings: Settings, batches: Batches) -> Iterator[dict[str, Any]]:
    """Every seventh day back from the last, oldest first: its training, held against the last that passed."""
    past: list[Champion] = []
    for age in range((len(batches) - 1) // 7, -1, -1):
        as_of = batches.last - timedelta(days=7 * age)
        name = f"weekly-{as_of}"
        try:
            snapshot.run(project, settings, run=name, as_of=str(as_of), negative_control=False)
        except (DataRejected, MissingBatchError):
            if not past:
                continue  # too early: not enough labelled days yet
            raise
        print(f"weekly training as of {as_of}", file=sys.stderr)
        train.run(project, settings, run=name)
        evaluate.run(project, settings, run=name, past=past)
        verdict = gate.run(project, settings, run=name, past=past).facts["verdict"]
        found: dict[str, Any] = {"as_of": str(as_of), "run": name, "verdict": verdict, "release": None}
        if verdict == Decision.PROMOTE:
            bundle = register.assembled(project, settings, name)[0]
            epoch = len(past) + 1
            past.append(Champion(epoch=epoch, release=bundle.release, digest=bundle.digest, at=day_end(as_of)))
            found["release"] = bundle.release
        yield found


def _digests(project: Project, lake: Lake, batches: Batches, runs: list[str]) -> Iterator[tuple[str, str]]:
    """Each partition's path in the lake and its digest."""
    name = project.name
    partitions = [lake.raw(name, source.name, day) for source in project.sources for day in batches]
    partitions += [lake.clean(name, table, day) for table in project.tables for day in batches]
    partitions += [lake.features(name, view.name, day) for view in project.views for day in batches]
    partitions += [lake.spine(name, day) for day in batches]
    for one in runs:
        partitions += sorted(pointer.parent for pointer in mirror.files_named(lake.run(name, one), POINTER))
    for partition in partitions:
        published = current(partition)
        if published:
            yield partition.relative_to(lake.folder).as_posix(), published.digest
