"""Commands that compare two releases on their labels."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.commands.shared import JsonOption, ProjectOption, run_stage
from jobs.errors import UsageError

app = typer.Typer()
experiment = typer.Typer(help="Compare a release with the champion on matured labels: half of the entities each, or both in one list.",
                         no_args_is_help=True)  # fmt: skip
app.add_typer(experiment, name="experiment")


@experiment.command(
    epilog="Example: tidemill experiment plan --project fraud --effect 0.01 --baseline 0.2 --per-day 5000"
)
def plan(
    project: ProjectOption,
    effect: Annotated[float | None, typer.Option(help="By default the declared minimum effect.")] = None,
    baseline: Annotated[
        float | None, typer.Option(help="The primary metric now; by default the champion's on the label table.")
    ] = None,
    variance: Annotated[
        float | None, typer.Option(help="Of one event's value; by default that of a share, baseline (1 - baseline).")
    ] = None,
    per_day: Annotated[
        float | None, typer.Option(help="Events a day that the metric is about; lists with a preference.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many labels, or interleaved lists, and days an experiment needs, and what looking at any time costs."""
    known = None
    if per_day is not None:
        from jobs.experiment.comparison import Known

        known = Known(mean=baseline, variance=variance, per_day=per_day)
    elif baseline is not None:
        raise UsageError("--baseline needs --per-day: the events a day that the metric is about")
    run_stage("experiment", project, as_json, action="plan", effect=effect, known=known)


@experiment.command(epilog="Example: tidemill experiment start --project fraud")
def start(
    project: ProjectOption,
    release: Annotated[str | None, typer.Option(help="By default the registered challenger.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Begin the release's rollout as an experiment: it stays at half of the traffic until it is decided."""
    run_stage("experiment", project, as_json, action="start", release=release or None)


@experiment.command(epilog="Example: tidemill experiment read --project fraud --json")
def read(project: ProjectOption, as_json: JsonOption = False) -> None:
    """Decide on the labels that have matured, and write the report: PROMOTE (exit 0), HOLD (99) or ROLL BACK (1)."""
    run_stage("experiment", project, as_json, action="read")


@experiment.command(epilog="Example: tidemill experiment stop --project fraud --reason 'the campaign is over'")
def stop(
    project: ProjectOption,
    reason: Annotated[str, typer.Option(help="Kept in the ledger.")] = "by hand",
    as_json: JsonOption = False,
) -> None:
    """End it by its newest verdict: a winner may go on, everything else gives the traffic back to the champion."""
    run_stage("experiment", project, as_json, action="stop", reason=reason)
