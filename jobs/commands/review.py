"""Commands for people who judge what a model answered, whose verdicts are learned from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.batch import Batches
from jobs.commands.shared import BatchOption, JsonOption, ProjectOption, show
from jobs.projects import find
from jobs.settings import Settings

app = typer.Typer()
review = typer.Typer(no_args_is_help=True, help="Which answers people should look at, their verdicts, their agreement.")
app.add_typer(review, name="review")


@review.command(
    "list", epilog="Example: tidemill review list --project NAME --batch 2026-02-01 --reviewer ann --out ann.csv"
)
def items(
    project: ProjectOption,
    batch: BatchOption,
    reviewer: Annotated[str, typer.Option(help="Leave out what this reviewer has judged already.")] = "",
    out: Annotated[Path | None, typer.Option(help="Also write the items as CSV, to be filled in.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What to look at: answers decided to be reviewed, the least certain, and some by chance."""
    from jobs.stages import review as stage

    show(stage.items(find(project), Settings.load(), batches=Batches.parse(batch), reviewer=reviewer, out=out), as_json)


@review.command("import", epilog="Example: tidemill review import --project NAME ann.csv")
def take(
    project: ProjectOption,
    file: Annotated[Path, typer.Argument(help="A CSV file as `tidemill review list --out` writes it, filled in.")],
    reviewer: Annotated[str | None, typer.Option(help="Whose verdicts, where the file does not say.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Deliver verdicts as a source's file; they become labels like any other delivery."""
    from jobs.stages import review as stage

    show(stage.take(find(project), Settings.load(), file=file, reviewer=reviewer), as_json)


@review.command("agreement", epilog="Example: tidemill review agreement --project NAME --batch 2026-02-01..2026-02-07")
def agreement(project: ProjectOption, batch: BatchOption, as_json: JsonOption = False) -> None:
    """How far reviewers agree beyond chance; exit 1 where that is too little to learn from."""
    from jobs.stages import review as stage

    show(stage.agree(find(project), Settings.load(), batches=Batches.parse(batch)), as_json)
