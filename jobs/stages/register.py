"""Register: a run that passed its gate in; a release that can be rolled out, and the challenger's place, out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jobs import mirror
from jobs.errors import GateRejected
from jobs.lake import Lake, address
from jobs.release import assemble as assembling
from jobs.release import bundle as bundling
from jobs.release.bundle import Bundle, contract_of
from jobs.release.ledger import Ledger
from jobs.release.registry import Registry, attempt, set_aliases
from jobs.result import Result
from jobs.rollout.verdict import Decision
from jobs.settings import Settings
from jobs.spec import Project
from jobs.stages.approval import require_approval
from jobs.stages.evaluate import read_evaluation
from jobs.storage import MANIFEST, Published, current, digest_code, digest_of, publish, require, verify
from jobs.training import card as cards
from jobs.training.candidates import read_training
from jobs.training.costs import read_times
from jobs.training.tracking import track


def run(project: Project, settings: Settings, *, run: str) -> Result:
    """The release of a run; raises GateRejected unless the verdict about its present evaluation is PROMOTE.

    Where the project asks for an approval, somebody has to have agreed to that evaluation as well.
    """
    folder = Lake(settings.lake_uri).run(project.name, run)
    if project.approval:
        evaluation = require(folder / "evaluation", f"tidemill evaluate --project {project.name} --run {run}")
        with Ledger(settings.need("database_url")) as ledger:
            require_approval(project, ledger, run, evaluation.digest)
    bundle, candidates, snapshot = assembled(project, settings, run)
    with Ledger(settings.need("database_url")) as ledger:
        known = [bundle.release == champion.release for champion in ledger.history(project.name)]
        if not any(known):
            ledger.set_challenger(project.name, bundle.release, bundle.digest, run)
        champion, challenger = ledger.champion(project.name), ledger.challenger(project.name)
    before = mirror.exists(folder / "tracking" / "release.json")
    version = _show(project, settings, bundle, candidates, folder, snapshot)
    if version and not before:
        names = [one.release if one else None for one in (champion, challenger)]
        set_aliases(settings, project.name, *names)
    place = "is already promoted" if any(known) else "is the challenger"
    shown = f"version {version}" if version else "unreachable"
    line = f"{run}: release {bundle.release} {place} ({len(bundle.manifest['files'])} files); MLflow: {shown}"
    facts = {
        "run": run,
        "release": bundle.release,
        "digest": bundle.digest,
        "folder": address(bundle.folder),
        "challenger": not any(known),
        "mlflow": "registered" if version else "unreachable",
        "mlflow_version": version,
        "metrics": bundle.manifest["metrics"],
    }
    return Result(line=line, facts=facts)


def assembled(project: Project, settings: Settings, run: str) -> tuple[Bundle, dict[str, Published], Published]:
    """The bundle of a run that passed its gate, its picked candidates by model, and its snapshot.

    Raises GateRejected unless the verdict about its present evaluation is PROMOTE.
    """
    folder, again = Lake(settings.lake_uri).run(project.name, run), f"--project {project.name} --run {run}"
    verdict = require(folder / "verdict", f"tidemill gate {again}")
    evaluation = require(folder / "evaluation", f"tidemill evaluate {again}")
    snapshot = require(folder / "snapshot", f"tidemill snapshot {again}")
    for published in (verdict, evaluation):
        verify(published)
    document = read_evaluation(evaluation)
    _refuse(run, json.loads((verdict.folder / "verdict.json").read_bytes()), document, evaluation, snapshot)
    candidates: dict[str, Published] = {}
    for model in project.models:
        picked = document["models"][model.name]["picked"]
        candidates[model.name] = require(folder / "candidates" / model.name / picked, f"tidemill train {again}")
    return _bundle(project, settings, folder, document, candidates, snapshot, evaluation), candidates, snapshot


def _bundle(
    project: Project,
    settings: Settings,
    folder: Path,
    document: dict[str, Any],
    candidates: dict[str, Published],
    snapshot: Published,
    evaluation: Published,
) -> Bundle:
    """The run's release; assembled again only when something it is made from has changed, or it is gone."""
    releases, known = Lake(settings.lake_uri).releases(project.name), folder / "release"
    inputs = {"evaluation": evaluation.digest, "snapshot": snapshot.digest, "contract": digest_of(contract_of(project))}
    inputs |= {name: candidate.digest for name, candidate in candidates.items()}
    inputs["code"] = digest_code(assembling, bundling, cards)
    before = current(known)
    if before and dict(before.manifest.inputs) == inputs:
        release, digest = before.manifest.facts["release"], before.manifest.facts["digest"]
        if mirror.exists(releases / release / MANIFEST):
            manifest = bundling.verify_bundle(releases / release, digest, probe=False)
            return Bundle(release=release, digest=digest, folder=releases / release, manifest=manifest)
    pictures = {path.name: path for path in sorted(evaluation.folder.glob("*.png"))}
    bundle = assembling.assemble(project, document, candidates, snapshot, pictures, releases, settings)
    facts = {"release": bundle.release, "digest": bundle.digest}

    def write(staging: Path) -> int:
        (staging / "release.json").write_text(json.dumps(facts))
        return 1

    publish(known, write, inputs=inputs, watermark=snapshot.manifest.watermark, facts=facts)
    return bundle


def _refuse(
    run: str, verdict: dict[str, Any], document: dict[str, Any], evaluation: Published, snapshot: Published
) -> None:
    reasons = []
    if verdict.get("verdict") != Decision.PROMOTE:
        reasons.append(f"its verdict is {verdict.get('verdict')}")
    if verdict.get("evaluation") != evaluation.digest or verdict.get("snapshot") != snapshot.digest:
        reasons.append("its verdict is about another evaluation or snapshot")
    if document.get("negative_control") is not False or snapshot.manifest.facts.get("negative_control"):
        reasons.append("it is a negative control")
    if reasons:
        raise GateRejected(
            f"run {run} was not registered: {'; '.join(reasons)}. See its verdict.json, or run `tidemill gate` again"
        )


def _show(
    project: Project,
    settings: Settings,
    bundle: Bundle,
    candidates: dict[str, Published],
    folder: Path,
    snapshot: Published,
) -> str | None:
    record = folder / "tracking" / "release.json"
    known = mirror.read(record)
    if known is not None and (kept := json.loads(known))["release"] == bundle.release:
        return str(kept["version"])
    run, model = str(bundle.manifest["run"]), project.models[-1]
    picked = {
        (one, read_training(candidates[one.name])["model"]["library"]): candidates[one.name] for one in project.models
    }
    if track(project, settings, run, snapshot, folder, picked) != "logged":
        return None
    library = next(library for one, library in picked if one is model)
    logged = json.loads(mirror.read(folder / "tracking" / f"{model.name}-{library}.json") or b"")["run_id"]
    files = [path for path in sorted(bundle.folder.iterdir()) if path.suffix != ".parquet"]
    for one in project.models:
        times, path = read_times(folder / "costs", one), folder / "tracking" / f"{one.name}-times.md"
        if times:
            mirror.write(path, cards.timing(one, times).encode())
            files.append(path)
    text = cards.shortened((bundle.folder / f"{model.name}-card.md").read_text())
    registry = Registry(settings, project.name)

    def act(client: Any) -> str:
        return registry.register(client, logged, bundle.release, bundle.digest, files, model.inputs, text)

    version = attempt(registry, act)
    if version:
        mirror.write(record, json.dumps({"release": bundle.release, "version": version}).encode())
    return version
