"""Train: the snapshot's frame in; a published candidate for every baseline and learner out, logged to MLflow."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobs.lake import Lake
from jobs.release.registry import Logged, Registry, attempt
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Library, Model, Project
from jobs.storage import Published, require, write_atomically
from jobs.training.candidates import read_training, train_candidate
from jobs.training.frame import Frame, read_frame
from jobs.training.learners import LEARNERS


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
    tracked = _track(project, settings, run, snapshot, folder, published)
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
    frame: Callable[[], Frame],
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


def _track(
    project: Project,
    settings: Settings,
    run: str,
    snapshot: Published,
    folder: Path,
    published: dict[tuple[Model, Library], Published],
) -> str:
    registry, missing = Registry(settings, project.name), {}
    for (model, library), candidate in published.items():
        record = folder / "tracking" / f"{model.name}-{library}.json"
        if not record.exists() or json.loads(record.read_bytes())["digest"] != candidate.digest:
            missing[record] = _logged(run, model, library, candidate, snapshot)
    if not missing:
        return "logged"

    def act(client: Any) -> str:
        for record, logged in missing.items():
            identifier = registry.log(client, logged)
            write_atomically(record, json.dumps({"run_id": identifier, "digest": logged.digest}).encode())
        return "logged"

    return attempt(registry, act) or "unreachable"


def _logged(run: str, model: Model, library: str, candidate: Published, snapshot: Published) -> Logged:
    training = read_training(candidate)
    facts = snapshot.manifest.facts
    entry = training["model"]
    names = [entry["file"], entry["scorer_file"], "training.json"] if entry["file"] else []
    return Logged(
        name=f"{run}/{model.name}/{library}",
        digest=candidate.digest,
        params={**training["params"], "rounds": training["rounds"], "library": library, "seed": model.seed},
        metrics={f"validation_{name}": value for name, value in training["validation"].items() if value is not None},
        tags={
            "tidemill.run": run,
            "tidemill.model": model.name,
            "tidemill.library": library,
            "tidemill.role": "learner" if library in LEARNERS else "baseline",
            "tidemill.negative_control": str(bool(facts.get("negative_control"))).lower(),
            "mlflow.source.git.commit": str(facts.get("git", "")),
        },
        dataset={"name": f"{run} snapshot", "digest": snapshot.digest, "source": str(snapshot.folder), "rows": snapshot.manifest.rows},
        plots=tuple(sorted(candidate.folder.glob("*.png"))),
        files=tuple(candidate.folder / name for name in names if name),
        inputs=model.inputs,
    )  # fmt: skip


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
