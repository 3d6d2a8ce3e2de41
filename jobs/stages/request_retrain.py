"""request-retrain: ask for a training when a batch's drift or performance calls for one."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

from jobs.batch import Batches, parse_day
from jobs.errors import TidemillError
from jobs.lake import Lake
from jobs.monitoring.report import Day, result_of, summarise
from jobs.release.bundle import read_manifest
from jobs.release.ledger import Ledger
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Project


def run(project: Project, settings: Settings, *, batches: Batches) -> Result:
    """Whether a training was asked for, and why; exit 99 when nothing calls for one, or one is too recent.

    A retry within the orchestrator's same run gets the first answer again, so that a lost answer is not a lost request.
    """
    lake = Lake(settings.lake_uri)
    with Ledger(settings.need("database_url")) as ledger:
        return summarise("request-retrain", batches, lambda batch: _one(lake, ledger, project, batch))


def _one(lake: Lake, ledger: Ledger, project: Project, batch: date) -> Day:
    results = {kind: result_of(lake, project, kind, batch) for kind in ("drift", "performance")}
    drift, performance = results["drift"], results["performance"]
    reasons = []
    if drift is not None and drift["verdict"] == "drift":
        reasons.append(f"drift: {drift['reason']}")
    if performance is not None and performance["verdict"] == "below the floor":
        reasons.append(f"performance: {performance['reason']}")
    said = "; ".join(f"{kind}: {one['verdict'] if one else 'not measured'}" for kind, one in results.items())
    if not reasons:
        return Day(reason=f"nothing calls for a training ({said})")
    run = os.environ.get("AIRFLOW_CTX_DAG_RUN_ID", "")
    last = ledger.last_retrain_request(project.name)
    if last is not None and last.batch == batch and run and f"run: {run}" in last.reasons:
        return Day(
            line=f"a training was asked for; {'; '.join(reasons)}", facts={"requested": True, "reasons": reasons}
        )
    recent = _recent(lake, ledger, project, batch)
    if recent:
        return Day(reason=f"{'; '.join(reasons)}, but {recent}: cooling down for {project.drift.cool_down_days} days")
    ledger.request_retrain(project.name, batch, [*reasons, *([f"run: {run}"] if run else [])])
    return Day(line=f"a training was asked for; {'; '.join(reasons)}", facts={"requested": True, "reasons": reasons})


def _recent(lake: Lake, ledger: Ledger, project: Project, batch: date) -> str:
    """What makes another training too early, or nothing."""
    days = project.drift.cool_down_days
    last = ledger.last_retrain_request(project.name)
    if last is not None and (batch - last.batch).days < days:
        return f"one was asked for after {last.batch}"
    for name, one in (("champion", ledger.champion(project.name)), ("challenger", ledger.challenger(project.name))):
        as_of = _as_of(lake.release(project.name, one.release), one.digest) if one else None
        if as_of is not None and (batch - as_of).days < days:
            return f"the {name} was trained on what was known on {as_of}"
    return ""


def _as_of(folder: Path, digest: str) -> date | None:
    try:
        return parse_day(str(read_manifest(folder, digest)["as_of"]))
    except TidemillError:
        return None  # a release that cannot be read is no reason to keep it
