"""Commands that move a release through traffic."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.commands.shared import JsonOption, ProjectOption, run_stage

app = typer.Typer()
rollout = typer.Typer(help="Walk a release from no traffic to all of it, or back.", no_args_is_help=True)
app.add_typer(rollout, name="rollout")


@rollout.command(epilog="Example: tidemill rollout start --project fraud")
def start(
    project: ProjectOption,
    release: Annotated[str | None, typer.Option(help="By default the registered challenger.")] = None,
    rehearse: Annotated[
        str | None,
        typer.Option(
            help="slow, errors, crash or leak: make the candidate misbehave, to see it rolled back. Never promoted."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Load a release into the idle slot and check it; exit 99 when there is none to start."""
    run_stage("rollout", project, as_json, action="start", release=release or None, rehearse=rehearse or None)


@rollout.command(epilog="Example: tidemill rollout shadow --project fraud")
def shadow(project: ProjectOption, as_json: JsonOption = False) -> None:
    """Send the candidate a copy of every request, then decide on its answers, which nobody gets: exit 0, 99 or 1."""
    run_stage("rollout", project, as_json, action="shadow")


@rollout.command(epilog="Example: tidemill rollout step --project fraud --percent 25")
def step(
    project: ProjectOption,
    percent: Annotated[int, typer.Option(min=1, max=100, help="The step of the release's walk.")],
    as_json: JsonOption = False,
) -> None:
    """Bring the weight to a step, then decide: advance (exit 0), hold (99, ask again) or rolled back (1)."""
    run_stage("rollout", project, as_json, action="step", percent=percent)


@rollout.command(epilog="Example: tidemill rollout bake --project fraud")
def bake(project: ProjectOption, as_json: JsonOption = False) -> None:
    """Watch a release that has all the traffic once more before it is champion: exit 0, 99 (ask again) or 1."""
    run_stage("rollout", project, as_json, action="bake")


@rollout.command(epilog="Example: tidemill rollout promote --project fraud")
def promote(project: ProjectOption, as_json: JsonOption = False) -> None:
    """Make the release that has all the traffic the champion, by compare-and-set."""
    run_stage("rollout", project, as_json, action="promote")


@rollout.command(epilog="Example: tidemill rollout abort --project fraud --reason 'support calls'")
def abort(
    project: ProjectOption,
    reason: Annotated[str, typer.Option(help="Kept in the ledger.")] = "by hand",
    as_json: JsonOption = False,
) -> None:
    """Give all traffic back to the champion, now."""
    run_stage("rollout", project, as_json, action="abort", reason=reason)


@rollout.command(epilog="Example: tidemill rollout reconcile --project fraud")
def reconcile(project: ProjectOption, as_json: JsonOption = False) -> None:
    """Put MLflow's aliases back to what the ledger says, and keep a record of what was changed by hand."""
    run_stage("rollout", project, as_json, action="reconcile")


@rollout.command(epilog="Example: tidemill rollout status --project fraud --json")
def status(project: ProjectOption, as_json: JsonOption = False) -> None:
    """Where the present or last rollout is, and every verdict on the way."""
    run_stage("rollout", project, as_json, action="status")
