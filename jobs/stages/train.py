"""Train: the snapshot's frame in; a published candidate for every baseline and learner out, logged to MLflow."""

from __future__ import annotations

import time
from typing import Any

from jobs.lake import Lake
from jobs.progress import counter
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Library, Model, Project
from jobs.storage import Published, require
from jobs.training.candidates import Run, Training, read_training, train_candidate
from jobs.training.distributed import left_out, trainable
from jobs.training.tracking import track


def run(project: Project, settings: Settings, *, run: str, model: str | None = None) -> Result:
    """Every candidate's validation figures, and whether MLflow shows them; a candidate that exists is kept."""
    folder = Lake(settings.lake_uri).run(project.name, run)
    snapshot = require(folder / "snapshot", f"tidemill snapshot --project {project.name} --run {run}")
    declared, project = project, trainable(project, snapshot, settings)
    this = Run(project=project, settings=settings, name=run, folder=folder, snapshot=snapshot)
    models = [project.model(model)] if model else list(project.models)
    began = time.monotonic()
    published: dict[tuple[Model, Library], Published] = {}
    with counter(sum(one.trials * len(one.learners) for one in models), "tuning") as progress:
        for one in models:
            training = Training(run=this, model=one)
            for library in (*one.baselines, *one.learners):
                published[one, library] = train_candidate(training, library, progress)
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
        document = read_training(candidate)
        facts["models"].setdefault(one.name, {})[library] = {
            "digest": candidate.digest,
            "validation": document["validation"],
            "params": document["params"],
            "rounds": document["rounds"],
            "trials": len(document["trials"]),
            "imbalance": document["imbalance"],
            "calibration": document["model"].get("calibration"),
            "trained": candidate.changed,
        }
    figures = "; ".join(
        f"validation {one.metric}: "
        + ", ".join(
            f"{name} {found['validation'][one.metric]:.4f}" for name, found in facts["models"][one.name].items()
        )
        for one in models
    )
    new = sum(candidate.changed for candidate in published.values())
    rows = f"{snapshot.manifest.rows:,} rows"
    line = f"{run}: {new} of {len(published)} candidates trained on {rows}, {figures}; MLflow: {tracked}"
    line += f"; {short}" if (short := left_out(declared, project)) else ""
    return Result(line=line, facts=facts)
