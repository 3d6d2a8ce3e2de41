"""Candidates as MLflow shows them: logged once each, and again later when the server was away."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs import mirror
from jobs.release.registry import Logged, Registry, attempt
from jobs.settings import Settings
from jobs.spec import Library, Model, Project
from jobs.storage import Published
from jobs.training.candidates import read_training


def track(
    project: Project,
    settings: Settings,
    run: str,
    snapshot: Published,
    folder: Path,
    published: Mapping[tuple[Model, Library], Published],
) -> str:
    """`logged`, or `unreachable`: then nothing is lost, and the next call logs what is missing."""
    registry, missing = Registry(settings, project.name), {}
    for (model, library), candidate in published.items():
        record = folder / "tracking" / f"{model.name}-{library}.json"
        kept = mirror.read(record)
        if kept is None or json.loads(kept)["digest"] != candidate.digest:
            missing[record] = _logged(run, model, library, candidate, snapshot)
    if not missing:
        return "logged"

    def act(client: Any) -> str:
        for record, logged in missing.items():
            identifier = registry.log(client, logged)
            mirror.write(record, json.dumps({"run_id": identifier, "digest": logged.digest}).encode())
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
        params={**training["params"], "rounds": training["rounds"], "library": library, "seed": model.seed,
                "calibration": entry.get("calibration", {}).get("method", "none")},
        metrics={f"validation_{name}": value for name, value in training["validation"].items() if value is not None},
        tags={
            "tidemill.run": run,
            "tidemill.model": model.name,
            "tidemill.library": library,
            "tidemill.role": "learner" if library in model.learners else "baseline",
            "tidemill.negative_control": str(bool(facts.get("negative_control"))).lower(),
            "mlflow.source.git.commit": str(facts.get("git", "")),
        },
        dataset={"name": f"{run} snapshot", "digest": snapshot.digest, "source": snapshot.address(), "rows": snapshot.manifest.rows},
        plots=tuple(sorted(candidate.folder.glob("*.png"))),
        files=tuple(candidate.folder / name for name in names if name),
        inputs=model.inputs,
    )  # fmt: skip
