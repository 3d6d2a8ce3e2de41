"""Commands about this installation and what is declared in it."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.commands.shared import JsonOption, show
from jobs.errors import UsageError
from jobs.settings import Settings

app = typer.Typer()


@app.command(epilog="Example: tidemill projects --json")
def projects(
    as_json: JsonOption = False,
    tfvars: Annotated[
        bool, typer.Option("--tfvars", help="Print what Terraform makes something for, as projects.auto.tfvars.json.")
    ] = False,
) -> None:
    """List the declared model projects."""
    from jobs.services import describe

    if tfvars and as_json:
        raise UsageError("--tfvars prints JSON as it is; leave out --json")
    show(describe.tfvars() if tfvars else describe.projects(), as_json)


@app.command(epilog="Example: tidemill databases")
def databases(as_json: JsonOption = False) -> None:
    """Make the databases and their roles on a PostgreSQL of your own, from TIDEMILL_DATABASES; docs/cloud.md."""
    from jobs.services import databases as server

    show(server.make_on_server(Settings.load()), as_json)


@app.command(epilog="Example: tidemill new churn --like fraud")
def new(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and _.")],
    like: Annotated[str, typer.Option(help="The project whose files are the first draft; see `tidemill projects`.")],
    as_json: JsonOption = False,
) -> None:
    """Write a new model project, which runs at once, from another one's files."""
    from jobs.services import skeleton

    show(skeleton.new(name, like), as_json)


@app.command(epilog="Example: tidemill explain fraud")
def explain(name: Annotated[str, typer.Argument(metavar="PROJECT")], as_json: JsonOption = False) -> None:
    """Show how a project resolves: sources, views, models, gate, canary, hooks, folders."""
    from jobs.projects import find
    from jobs.services import describe

    show(describe.explain(find(name)), as_json)


@app.command(epilog="Example: tidemill status --project fraud")
def status(
    project: Annotated[str | None, typer.Option(help="One project; by default all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Services, newest batches, champion, challenger and rollout."""
    from jobs.services import state

    show(state.status(project), as_json)


@app.command(epilog="Example: tidemill doctor")
def doctor(as_json: JsonOption = False) -> None:
    """Say what this machine lacks and how to get it; exit 1 when something needed is missing."""
    from jobs.services import doctor as checks

    show(checks.examine(), as_json)


@app.command(epilog="Example: tidemill up")
def up(as_json: JsonOption = False) -> None:
    """Start every service of this machine, and wait until each answers; what already runs is left alone."""
    from jobs.services import control

    show(control.up(), as_json)


@app.command(epilog="Example: tidemill down")
def down(as_json: JsonOption = False) -> None:
    """Stop every service, and leave no process behind."""
    from jobs.services import control

    show(control.down(), as_json)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    epilog="Example: tidemill airflow backfill create --dag-id fraud_data --from-date 2026-02-20 --to-date 2026-02-22",
)
def airflow(context: typer.Context) -> None:
    """Run Airflow's own command line against this installation, with its environment set."""
    from jobs.services.airflow import command_line

    command_line(Settings.load(), context.args)
