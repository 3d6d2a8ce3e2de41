"""Train: the snapshot's frame in; a published candidate for every baseline and learner out, logged to MLflow."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobs.lake import Lake
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Library, Model, Project
from jobs.storage import Published, require
from jobs.training.candidates import read_training, train_candidate
from jobs.training.frame import TrainingFrame, read_frame
from jobs.training.tracking import track


def run(project: Project, settings: Settings, *, run: str, model: str | None = None) -> Result:
    """Every candidate's validation figures, and whether MLflow shows them; a candidate that exists is kept."""
    folder = Lake(settings.lake_uri).run(project.name, run)
    snapshot = require(folder / "snapshot", f"tidemill snapshot --project {project.name} --run {run}")
    models = [project.model(model)] if model else list(project.models)
    began = time.monotonic()
    published: dict[tuple[Model, Library], Published] = {}
    with _progress(sum(one.trials * len(one.learners) for one in models)) as progress:
        for one in models:
            frame = functools.cache(lambda one=one: read_frame(project, one, snapshot))
            for library in (*one.baselines, *one.learners):
                published[one, library] = _candidate(
                    project, settings, one, library, frame, run=run, snapshot=snapshot, folder=folder, progress=progress
                )
    seconds = round(time.monotonic() - began, 1)
    tracked = track(project, settings, run, snapshot, folder, published)
    facts: dict[str, Any] = {
        "run": run,
        "snapshot": snapshot.digest,
        "mlflow": tracked,
        "seconds": seconds,
        "models": {},
    }
    for (one, library), candidate in published.items():
        training = read_training(candidate)
        facts["models"].setdefault(one.name, {})[library] = {
            "digest": candidate.digest,
            "validation": training["validation"],
            "params": training["params"],
            "rounds": training["rounds"],
            "trials": len(training["trials"]),
            "trained": candidate.changed,
        }
    figures = ", ".join(
        f"{library} {found['validation'][one.metric]:.4f}"
        for one in models
        for library, found in facts["models"][one.name].items()
    )
    new = sum(candidate.changed for candidate in published.values())
    rows = f"{snapshot.manifest.rows:,} rows"
    line = f"{run}: {new} of {len(published)} candidates trained on {rows}, validation {models[0].metric}: {figures}; MLflow: {tracked}"
    return Result(line=line, facts=facts)


def _candidate(
    project: Project,
    settings: Settings,
    model: Model,
    library: Library,
    frame: Callable[[], TrainingFrame],
    *,
    run: str,
    snapshot: Published,
    folder: Path,
    progress: Callable[[], None],
) -> Published:
    return train_candidate(
        project,
        settings,
        model,
        library,
        frame,
        run=run,
        snapshot=snapshot,
        partition=folder / "candidates" / model.name / library,
        progress=progress,
    )


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    import sys

    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("tuning", total=total)
        yield lambda: bar.advance(task)
