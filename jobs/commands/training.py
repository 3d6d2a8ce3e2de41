"""Commands that turn features into a challenger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.commands.shared import JsonOption, ProjectOption, RunOption, run_stage

app = typer.Typer()
approval = typer.Typer(help="Ask a person whether a run that passed the gate may be registered.", no_args_is_help=True)
app.add_typer(approval, name="approval")
ModelOption = Annotated[str | None, typer.Option(help="One model; by default all of the project's, in order.")]


@app.command(epilog="Example: tidemill snapshot --project fraud --run first --as-of 2026-02-22")
def snapshot(
    project: ProjectOption,
    run: RunOption,
    as_of: Annotated[
        str | None, typer.Option(help="What was known by the end of this batch; by default the newest with features.")
    ] = None,
    negative_control: Annotated[
        bool,
        typer.Option("--negative-control", help="Shuffle the training labels: the gate must refuse what comes of it."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Fix what a training uses: batches, git commit, spec, and the point-in-time training frame."""
    run_stage("snapshot", project, as_json, run=run, as_of=as_of or None, negative_control=negative_control)


@app.command(epilog="Example: tidemill train --project fraud --run first")
def train(project: ProjectOption, run: RunOption, model: ModelOption = None, as_json: JsonOption = False) -> None:
    """Tune and train every learner, and the baselines they have to beat."""
    run_stage("train", project, as_json, run=run, model=model)


@app.command(epilog="Example: tidemill evaluate --project fraud --run first")
def evaluate(project: ProjectOption, run: RunOption, as_json: JsonOption = False) -> None:
    """Score the picked challenger, the baselines and the champion on the same hold-out."""
    run_stage("evaluate", project, as_json, run=run)


@app.command(epilog="Example: tidemill gate --project fraud --run first")
def gate(project: ProjectOption, run: RunOption, as_json: JsonOption = False) -> None:
    """Decide whether the challenger may be registered; the verdict is stored win or lose."""
    run_stage("gate", project, as_json, run=run)


@approval.command(epilog="Example: tidemill approval show --project fraud --run first")
def show(project: ProjectOption, run: RunOption, as_json: JsonOption = False) -> None:
    """Print what there is to decide by, the verdict and the model cards, and write it with the plots to a page."""
    run_stage("approval", project, as_json, run=run, action="show")


@approval.command(
    epilog="Example: tidemill approval answer --project fraud --run first --answer approve --by ada --note 'as agreed'"
)
def answer(
    project: ProjectOption,
    run: RunOption,
    answer: Annotated[str, typer.Option(help="approve or reject.")],
    by: Annotated[str, typer.Option(help="Who says so; without a name it is a timeout, and a no.")] = "",
    note: Annotated[str, typer.Option(help="Kept in the ledger.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Keep a person's yes or no in the ledger; the newest about a run counts."""
    run_stage("approval", project, as_json, run=run, action="answer", answer=answer, by=by, note=note)


@app.command(epilog="Example: tidemill register --project fraud --run first")
def register(project: ProjectOption, run: RunOption, as_json: JsonOption = False) -> None:
    """Make a passed challenger a release: bundle, MLflow version and alias, ledger entry."""
    run_stage("register", project, as_json, run=run)


@app.command(epilog="Example: tidemill backtest --project fraud --from 2018-07-25 --folds 4")
def backtest(
    project: ProjectOption,
    first: Annotated[str, typer.Option("--from", help="The day on which the first fold's training begins.")],
    folds: Annotated[int, typer.Option(help="How many, each one test window after the one before.")] = 4,
    learner: Annotated[str | None, typer.Option(help="By default the best of each fold's validation.")] = None,
    select: Annotated[
        str, typer.Option(help="Tune `once`, on the folds before the first, or for `each` fold on those before it.")
    ] = "once",
    model: Annotated[str | None, typer.Option(help="By default the project's last.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train, calibrate and judge as if it were then, fold after fold, and show how a frozen model ages."""
    run_stage("backtest", project, as_json, first=first, folds=folds, learner=learner, select=select, model=model)


@app.command(epilog="Example: tidemill predict --project fraud --batch 2026-02-20 --out scores.parquet")
def predict(
    project: ProjectOption,
    batch: Annotated[str | None, typer.Option(help="Score a published batch: DAY or FROM..TO.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Or score a file of raw events of the project's first source.")
    ] = None,
    release: Annotated[str | None, typer.Option(help="By default the champion.")] = None,
    out: Annotated[
        Path, typer.Option(help="Where the scores are written, as Parquet, CSV or JSON lines by its ending.")
    ] = Path("scores.parquet"),
    as_json: JsonOption = False,
) -> None:
    """Score many events at once with a release."""
    run_stage("predict", project, as_json, batch=batch, file=file, release=release, out=out)
