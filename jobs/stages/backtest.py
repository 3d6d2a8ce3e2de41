"""Backtest: published features in; what trainings of past days would have been worth, and a page of it, out."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from jobs.batch import Batches, parse_day
from jobs.errors import UsageError
from jobs.lake import Lake
from jobs.pages import inline, page
from jobs.progress import Steps, steps
from jobs.release.bundle import contract_of
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Library, Model, Project
from jobs.storage import digest_code, digest_of, publish
from jobs.training import backtest as backtests
from jobs.training import fold_plots
from jobs.training.backtest import Backtest, Trained
from jobs.training.candidates import code
from jobs.training.frame import TrainingFrame, outcomes_of, planned, rows_of
from jobs.training.metrics import Outcomes
from jobs.training.sources import Sources
from jobs.training.splits import Plan, plan_of, usable
from jobs.training.tasks import task_of

PAGE, FIGURES = "backtest.html", "backtest.json"


def run(
    project: Project,
    settings: Settings,
    *,
    first: str,
    folds: int,
    learner: str | None = None,
    select: str = "once",
    model: str | None = None,
) -> Result:
    """The folds whose final trainings begin on a day and every `test_days` after it; repeated, it is a no-op.

    Raises UsageError for a learner or a way to select that there is none of, and DataRejected where days are missing.
    """
    one = project.model(model) if model else project.models[-1]
    learners = _learners(one, learner, select, folds)
    day, lake = parse_day(first), Lake(settings.lake_uri)
    plans = [plan_of(one.split, day + timedelta(days=one.split.test_days * fold)) for fold in range(folds)]
    days = Batches(min(plan.days.first for plan in plans), plans[-1].final.test.last)
    sources = Sources.of(project, lake, days)
    plans = [
        usable(plan, sources.spine.keys(), f"for the training of {plan.final.train}", "choose another --from")
        for plan in plans
    ]
    partition = lake.backtest(project.name, f"{one.name}-{day}-{folds}-{learner or 'best'}-{select}")
    inputs = sources.digests | {
        "contract": digest_of(contract_of(project)),
        "code": digest_of([code(), digest_code(backtests, fold_plots)]),
        "options": digest_of([str(day), folds, list(learners), select, one.name]),
    }
    url = settings.optuna_url.get_secret_value() if settings.optuna_url else None

    def write(folder: Path) -> int:
        with tempfile.TemporaryDirectory() as scratch, steps(_total(one, learners, select, folds)) as told:
            of = Backtest(
                project=project, model=one, learners=learners, select="once" if select == "once" else "each",
                studies=f"{project.name}/backtest/{digest_of(inputs)[:12]}",
                storage=url or partition / "tuning" / digest_of(inputs)[:12], scratch=Path(scratch),
            )  # fmt: skip
            frames = _frames(project, one, sources, plans, told)
            trained = backtests.run(of, frames, told)
            document = {"from": str(day), "learner": learner, **backtests.document(of, trained)}
        (folder / FIGURES).write_text(json.dumps(document, indent=1, allow_nan=False))
        _draw(folder, project, one, document, trained)
        return sum(fold["rows"] for fold in document["folds"])

    published = publish(partition, write, inputs=inputs, watermark=str(days.last))
    document = json.loads((published.folder / FIGURES).read_bytes())
    facts = {**document, "page": published.address(PAGE), "made": published.changed}
    return Result(line=_line(document, published.address(PAGE)), facts=facts)


def _learners(model: Model, learner: str | None, select: str, folds: int) -> tuple[Library, ...]:
    known = (*model.learners, *model.baselines)
    if learner is not None and learner not in known:
        raise UsageError(f"model {model.name!r} has no learner {learner!r}; it has {', '.join(known)}")
    if select not in {"each", "once"}:
        raise UsageError(f"--select {select!r} is neither each nor once")
    if folds < 1:
        raise UsageError(f"--folds {folds}: there must be at least one")
    return tuple(library for library in known if library == learner) if learner else model.learners


def _frames(
    project: Project, model: Model, sources: Sources, plans: Sequence[Plan], told: Steps
) -> list[TrainingFrame]:
    told.say(f"joining features to the labels of {sources.days}")
    until = sources.days.last + timedelta(days=project.label.delay_days)
    where = f"the events of {sources.days}"
    rows = rows_of(project, model, sources.frame(model, min(until, date.max)), where)
    return [planned(model, plan, rows, where) for plan in plans]


def _total(model: Model, learners: Sequence[Library], select: str, folds: int) -> int:
    tuned = sum(model.trials for library in learners if library in model.learners)
    if select == "once":
        return tuned + len(learners) + folds - 1 + folds * len(model.baselines)
    return folds * (tuned + len(learners) + len(model.baselines))


def _draw(folder: Path, project: Project, model: Model, document: dict[str, Any], trained: Sequence[Trained]) -> None:
    task = task_of(model)
    happened = Outcomes.of_all([outcomes_of(fold.test) for fold in trained])
    scores = {name: np.concatenate([fold.scores[name] for fold in trained]) for name in trained[0].scores}
    fold_plots.folds(folder / "folds.png", document, task.headline)
    drawn = [("Week by week", inline(folder / "folds.png"))]
    for plot in task.plots:
        plot.draw(folder / f"{plot.name}.png", happened, scores)
        drawn.append((f"{plot.title}, all test days", inline(folder / f"{plot.name}.png")))
    html = page("backtest.html.j2", project=project, result=document, names=task.headline, plots=drawn)
    (folder / PAGE).write_text(html)


def _line(document: dict[str, Any], where: str) -> str:
    def figure(name: str, of: dict[str, Any]) -> str:
        value = of["mean"][name]
        return f"{name} undefined" if value is None else f"{name} {value:.4f} ± {of['std'][name]:.4f}"

    rows = {"/".join(dict.fromkeys(fold["learner"] for fold in document["folds"])): document, **document["baselines"]}
    first, last = document["folds"][0]["test"][0], document["folds"][-1]["test"][1]
    told = "; ".join(
        f"{name}: {', '.join(figure(metric, of) for metric in document['mean'])}" for name, of in rows.items()
    )
    return f"{document['project']}: {len(document['folds'])} folds tested on {first}..{last}; {told}; page: {where}"
