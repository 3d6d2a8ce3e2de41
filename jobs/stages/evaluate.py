"""Evaluate: candidates and champion in; their figures on the same hold-out, and its plots, out."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.lake import Lake
from jobs.release.ledger import Champion, champions
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Model, Project
from jobs.storage import Published, digest_code, publish, require
from jobs.training import champion as rivals
from jobs.training import costs, evaluation, explanations, metrics, plots, slices
from jobs.training.distributed import trainable
from jobs.training.frame import Frame, outcomes_of, read_frame
from jobs.training.tasks import binary, task_of


def run(project: Project, settings: Settings, *, run: str, past: Sequence[Champion] | None = None) -> Result:
    """The evaluation of a run; raises MissingBatchError when a candidate has not been trained.

    `past` are the champions of a dated backfill, oldest first, in place of the ledger's.
    """
    lake = Lake(settings.lake_uri)
    folder, again = lake.run(project.name, run), f"--project {project.name} --run {run}"
    snapshot = require(folder / "snapshot", f"tidemill snapshot {again}")
    project = trainable(project, snapshot, settings)
    releases = lake.releases(project.name)
    candidates: dict[str, dict[str, Published]] = {
        model.name: {
            library: require(folder / "candidates" / model.name / library, f"tidemill train {again}")
            for library in (*model.baselines, *model.learners)
        }
        for model in project.models
    }
    history = champions(settings, project.name) if past is None else past
    champion = evaluation.rival_of(history, releases, run)
    inputs = {f"{model}/{library}": one.digest for model, found in candidates.items() for library, one in found.items()}
    inputs |= {"snapshot": snapshot.digest, "champion": champion.digest if champion else "", "spec": project.digest}
    inputs["code"] = digest_code(evaluation, binary, rivals, explanations, slices, metrics, plots)
    frame_of = functools.cache(lambda model: read_frame(project, model, snapshot, settings))
    worth = {}
    for model in project.models:
        picked = candidates[model.name][evaluation.pick(model, candidates[model.name])]
        worth[model.name] = costs.measure_costs(project, model, picked, snapshot, folder / "costs", frame_of)
        inputs[f"costs of {model.name}"] = worth[model.name].digest
    if champion:
        inputs["prediction log"] = rivals.log_digest(project, lake, snapshot.manifest.facts)

    def write(staging: Path) -> int:
        rows, document = 0, _header(run, snapshot)
        for model in project.models:
            frame = frame_of(model)
            test = frame.of("test")
            found = evaluation.evaluate(project, model, frame, candidates[model.name], champion, lake)
            found.document["costs"] = json.loads((worth[model.name].folder / "costs.json").read_bytes())
            document["models"][model.name] = found.document
            _draw(staging, project, model, test, found)
            rows += len(test)
        (staging / "evaluation.json").write_text(json.dumps(document, indent=1))
        return rows

    published = publish(folder / "evaluation", write, inputs=inputs, watermark=snapshot.manifest.watermark)
    facts = read_evaluation(published)
    line = "; ".join(_line(model, facts["models"][model.name]) for model in project.models)
    return Result(line=f"{run}: {line}", facts={**facts, "digest": published.digest, "folder": published.address()})


def read_evaluation(published: Published) -> dict[str, Any]:
    """A published `evaluation.json`."""
    document: dict[str, Any] = json.loads((published.folder / "evaluation.json").read_bytes())
    return document


def _header(run: str, snapshot: Published) -> dict[str, Any]:
    facts = snapshot.manifest.facts
    return {
        "run": run,
        "as_of": facts.get("as_of", snapshot.manifest.watermark),
        "snapshot": snapshot.digest,
        "git": facts.get("git", ""),
        "negative_control": bool(facts.get("negative_control", False)),
        "models": {},
    }


def _draw(folder: Path, project: Project, model: Model, test: Frame, found: evaluation.Evaluated) -> None:
    for plot in task_of(model).plots:
        plot.draw(folder / f"{model.name}-{plot.name}.png", outcomes_of(test), found.scores)
    explained = found.explained
    importance, groups = explained.document["importance"], explained.document["slices"]
    plots.explanation(
        folder / f"{model.name}-explanation.png", model.told, importance, explained.vectors, explained.contributions
    )
    if project.gate.slices:
        plots.slices(folder / f"{model.name}-slices.png", found.document["slices"])
    if groups:
        ordered = sorted(model.told, key=lambda name: -importance[name])
        plots.explained_slices(folder / f"{model.name}-explained-slices.png", ordered, groups)


def _line(model: Model, found: dict[str, Any]) -> str:
    def figure(metrics: dict[str, Any]) -> str:
        value = metrics.get(model.metric)
        return "undefined" if value is None else f"{value:.4f}"

    rivals = {name: figure(metrics) for name, metrics in found["baselines"].items()}
    if found["champion"]:
        rivals["champion"] = figure(found["champion"].get("metrics", {}))
    against = ", ".join(f"{name} {value}" for name, value in rivals.items())
    return (
        f"{model.name}: {found['picked']} has {model.metric} {figure(found['challenger'])} against {against} "
        f"on {found['rows']:,} rows with {found['positives']:,} positives"
    )
