"""The options that stages share, and how a stage's result is printed."""

from __future__ import annotations

import importlib
import json
from typing import Annotated, Any

import typer

from jobs.batch import Batches, parse_run
from jobs.projects import find
from jobs.result import Result
from jobs.settings import Settings

ProjectOption = Annotated[str, typer.Option("--project", help="A declared model project; see `tidemill projects`.")]
BatchOption = Annotated[str, typer.Option("--batch", help="A UTC day, DAY, or a range, FROM..TO.")]
RunOption = Annotated[str, typer.Option("--run", help="The training's id.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace even what is newer; leaves an audit record.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def run_stage(
    stage: str, project: str, as_json: bool, *, batch: str | None = None, run: str | None = None, **options: Any
) -> None:
    """Runs `jobs.stages.<stage>.run` for a project and prints its result; the stage is imported only now."""
    if batch is not None:
        options["batches"] = Batches.parse(batch)
    if run is not None:
        options["run"] = parse_run(run)
    found, settings = find(project), Settings.load()
    module = importlib.import_module(f"jobs.stages.{stage.replace('-', '_')}")
    show(module.run(found, settings, **options), as_json)


def show(result: Result, as_json: bool) -> None:
    """Prints a result, its line or its facts as JSON, and exits with its code when that is not 0."""
    print(json.dumps(dict(result.facts), default=str) if as_json else result.line)
    if result.exit_code:
        raise typer.Exit(result.exit_code)
