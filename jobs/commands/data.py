"""Commands that turn raw events into features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.commands.shared import BatchOption, ForceOption, JsonOption, ProjectOption, run_stage, show
from jobs.errors import UsageError
from jobs.lake import Lake
from jobs.projects import find
from jobs.settings import Settings

app = typer.Typer()


@app.command(
    epilog="Example: tidemill simulate --project fraud --batch 2026-01-01..2026-03-01 --out /tmp/delivery --land"
)
def simulate(
    project: ProjectOption,
    batch: BatchOption,
    out: Annotated[Path, typer.Option(help="The folder the producer's files are written to.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 1,
    drift: Annotated[bool, typer.Option("--drift", help="Inject the project's shift into these days.")] = False,
    mishaps: Annotated[bool, typer.Option("--mishaps", help="Some files late, some twice, some malformed.")] = False,
    deliver: Annotated[bool, typer.Option("--land", help="Also deliver the files to the landing zone.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a producer's daily files of made-up events."""
    run_stage(
        "simulate", project, as_json, batch=batch, out=out, seed=seed, drift=drift, mishaps=mishaps, deliver=deliver
    )


@app.command(
    epilog="Example: tidemill land --project fraud --source transactions 2018-04-01.parquet 2018-04-02.parquet"
)
def land(
    project: ProjectOption,
    files: Annotated[list[Path], typer.Argument(help="CSV, JSON lines or Parquet files.")],
    source: Annotated[str, typer.Option(help="The source they belong to.")],
    batch: Annotated[
        str | None, typer.Option(help="The delivery day; by default the ISO date in each file's name, or today.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Deliver files to the landing zone, unchanged; a file that is already there is a no-op."""
    run_stage("land", project, as_json, batch=batch, files=files, source=source)


@app.command(epilog="Example: tidemill ingest --project fraud --batch 2018-04-01 --json")
def ingest(
    project: ProjectOption,
    batch: BatchOption,
    source: Annotated[str | None, typer.Option(help="One source; by default all of the project's.")] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Read landed files: accepted rows become typed Parquet, the rest is quarantined with bytes and reason."""
    run_stage("ingest", project, as_json, batch=batch, source=source, force=force)


@app.command(epilog="Example: tidemill etl --project fraud --batch 2018-04-01..2018-04-30")
def etl(project: ProjectOption, batch: BatchOption, force: ForceOption = False, as_json: JsonOption = False) -> None:
    """Clean with Spark: each event once, on its own day."""
    run_stage("etl", project, as_json, batch=batch, force=force)


@app.command(epilog="Example: tidemill validate --project fraud --batch 2018-04-01")
def validate(
    project: ProjectOption, batch: BatchOption, force: ForceOption = False, as_json: JsonOption = False
) -> None:
    """Hold what arrived against the project's expectations; a batch that fails is kept out of the features."""
    run_stage("validate", project, as_json, batch=batch, force=force)


@app.command(epilog="Example: tidemill features --project fraud --batch 2018-04-01..2018-04-30")
def features(
    project: ProjectOption,
    batch: Annotated[
        str | None, typer.Option("--batch", help="A UTC day, DAY, or a range, FROM..TO; needed unless --audit.")
    ] = None,
    audit: Annotated[
        bool, typer.Option("--audit", help="Compute nothing: list which model inputs read each feature.")
    ] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compute feature views with dbt, publish them offline, then bring the online store up to date."""
    if audit:
        from jobs.features.audit import report

        if batch or force:
            raise UsageError("--audit computes no batch; leave out --batch and --force")
        return show(report(find(project), Lake(Settings.load().lake_uri)), as_json)
    if batch is None:
        raise UsageError("--batch is missing: which days, DAY or FROM..TO? (or --audit)")
    return run_stage("features", project, as_json, batch=batch, force=force)


@app.command(epilog="Example: tidemill backfill --project fraud --until 2018-08-14 --train-weekly")
def backfill(
    project: ProjectOption,
    batch: Annotated[str | None, typer.Option(help="A UTC day, DAY, or a range, FROM..TO.")] = None,
    until: Annotated[str | None, typer.Option(help="Or everything from the first landed day to this one.")] = None,
    train_weekly: Annotated[
        bool,
        typer.Option("--train-weekly", help="With --until: also train and judge a challenger for every week."),
    ] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ingest, etl, validate and features for a range of batches in one process; with --until, models as well."""
    if (batch is None) == (until is None) or (train_weekly and until is None):
        raise UsageError("give either --batch, or --until with or without --train-weekly")
    if until is None:
        run_stage("backfill", project, as_json, batch=batch, force=force)
    else:
        run_stage("history", project, as_json, until=until, train_weekly=train_weekly, force=force)
