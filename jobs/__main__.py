"""`tidemill`, also `python -m jobs`: every stage of every project, by hand or by Airflow."""

from __future__ import annotations

import sys

import typer

from jobs.commands import data, experiments, monitoring, releases, review, services, training
from jobs.errors import TidemillError, of_machine

app = typer.Typer(
    name="tidemill",
    help="Keeps machine-learned models alive in production: events in, decisions out, the loop closed.",
    epilog="Example: tidemill explain fraud. Exit codes: 0 done, 1 failed, 2 usage, 99 nothing to do.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)
for group in (services, data, training, releases, experiments, monitoring, review):
    for command in group.app.registered_commands:
        app.registered_commands.append(command)
    for subgroup in group.app.registered_groups:
        app.registered_groups.append(subgroup)


def main() -> None:
    """Runs the command line; a TidemillError, or a machine that is full, is one line on standard error and its exit code."""
    try:
        app()
    except Exception as error:
        told = error if isinstance(error, TidemillError) else of_machine(error)
        if told is None:
            raise
        print(f"{type(told).__name__}: {told}", file=sys.stderr)
        raise SystemExit(told.exit_code) from None


if __name__ == "__main__":
    main()
