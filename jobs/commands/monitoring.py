"""Commands that watch what was served."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.commands.shared import BatchOption, ForceOption, JsonOption, ProjectOption, run_stage

app = typer.Typer()


@app.command(epilog="Example: tidemill labels --project fraud --batch 2026-03-01")
def labels(project: ProjectOption, batch: BatchOption, force: ForceOption = False, as_json: JsonOption = False) -> None:
    """Join served predictions with the labels that matured by the end of the batch."""
    run_stage("labels", project, as_json, batch=batch, force=force)


@app.command(epilog="Example: tidemill drift --project fraud --batch 2026-03-01")
def drift(project: ProjectOption, batch: BatchOption, force: ForceOption = False, as_json: JsonOption = False) -> None:
    """Compare the days up to the batch with the champion's reference window; writes an HTML report."""
    run_stage("drift", project, as_json, batch=batch, force=force)


@app.command(epilog="Example: tidemill performance --project fraud --batch 2026-03-01")
def performance(
    project: ProjectOption, batch: BatchOption, force: ForceOption = False, as_json: JsonOption = False
) -> None:
    """Measure the champion on matured labels; writes an HTML report."""
    run_stage("performance", project, as_json, batch=batch, force=force)


@app.command(epilog="Example: tidemill replay --project fraud --batch 2026-02-22..2026-02-23 --json")
def replay(
    project: ProjectOption,
    batch: BatchOption,
    release: Annotated[
        str | None, typer.Option(help="Only what this release served; printed, and not published.")
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compute every served vector once more from the lake, compare bit for bit, and name each mismatch's cause.

    Exit 1 when fewer are identical than the project asks for, or a mismatch has no known cause; 99 when nothing was served.
    """
    run_stage("replay", project, as_json, batch=batch, release=release, force=force)


@app.command("request-retrain", epilog="Example: tidemill request-retrain --project fraud --batch 2026-03-01")
def request_retrain(
    project: ProjectOption,
    batch: BatchOption,
    force: Annotated[
        bool, typer.Option("--force", help="Ask although nothing calls for it, or it is early or pointless; audited.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask for a training when the batch's drift or performance calls for one.

    Exit 99 when nothing does, within the cool-down, and when there is nothing new to learn from.
    """
    run_stage("request-retrain", project, as_json, batch=batch, force=force)
