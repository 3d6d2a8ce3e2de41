"""Gate: an evaluation in; a verdict with every number compared out, stored win or lose."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.lake import Lake
from jobs.release import gate as rules
from jobs.release.checks import State
from jobs.release.ledger import Champion, Ledger, champions
from jobs.result import Result
from jobs.rollout import verdict as engine
from jobs.settings import Settings
from jobs.spec import Project
from jobs.stages.evaluate import read_evaluation
from jobs.storage import current, digest_code, digest_of, publish, require, verify
from jobs.training.evaluation import rival_of


def run(project: Project, settings: Settings, *, run: str, past: Sequence[Champion] | None = None) -> Result:
    """PROMOTE (exit 0) or REJECT (exit 1); raises TamperedError when the evaluation was altered.

    `past` are the champions of a dated backfill in place of the ledger's, which then is not written to either.
    """
    lake = Lake(settings.lake_uri)
    folder, again = lake.run(project.name, run), f"--project {project.name} --run {run}"
    snapshot = require(folder / "snapshot", f"tidemill snapshot {again}")
    evaluation = require(folder / "evaluation", f"tidemill evaluate {again}")
    verify(evaluation)
    candidates: dict[str, dict[str, str]] = {model.name: {} for model in project.models}
    for model in project.models:
        for library in model.learners:
            found = current(folder / "candidates" / model.name / library)
            candidates[model.name] |= {library: found.digest} if found else {}
    history = champions(settings, project.name) if past is None else past
    champion = rival_of(history, lake.releases(project.name), run)
    inputs = {
        "evaluation": evaluation.digest,
        "snapshot": snapshot.digest,
        "candidates": digest_of(candidates),
        "champion": champion.digest if champion else "",
        "gate": digest_of(repr(project.gate)),
        "code": digest_code(rules, engine),
    }

    def write(staging: Path) -> int:
        checks = rules.judge(
            project,
            read_evaluation(evaluation),
            snapshot=snapshot.digest,
            candidates=candidates,
            champion=champion.digest if champion else None,
        )
        document = {
            "run": run,
            **engine.conclude(checks, engine.GATE).document(),
            "evaluation": evaluation.digest,
            "snapshot": snapshot.digest,
            "champion": champion.release if champion else None,
            "too_few": rules.too_few(checks),
        }
        (staging / "verdict.json").write_text(json.dumps(document, indent=1, allow_nan=False))
        return len(checks)

    published = publish(folder / "verdict", write, inputs=inputs, watermark=evaluation.manifest.watermark)
    document: dict[str, Any] = json.loads((published.folder / "verdict.json").read_bytes())
    if past is None:
        with Ledger(settings.need("database_url")) as ledger:
            ledger.record_verdict(project.name, "gate", run, engine.Decision(document["verdict"]), document)
    return _result(document)


def _result(document: dict[str, Any]) -> Result:
    if document["verdict"] == engine.Decision.PROMOTE:
        line = f"{document['run']}: PROMOTE, {document['reason']}"
        small = f"; too few rows to judge {', '.join(document['too_few'])}" if document["too_few"] else ""
        return Result(line=line + small, facts=document)
    failed = [f"{check['name']} ({check['detail']})" for check in document["checks"] if check["state"] == State.FAILED]
    return Result(line=f"GateRejected: {document['run']}: {'; '.join(failed)}", facts=document, exit_code=1)
