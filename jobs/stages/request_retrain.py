"""request-retrain: ask for a training when a batch's drift or performance calls for one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from jobs.batch import Batches, parse_day
from jobs.errors import TidemillError
from jobs.lake import Lake
from jobs.monitoring.report import Day, result_of, summarise
from jobs.release.bundle import read_manifest
from jobs.release.ledger import Ledger
from jobs.result import Result
from jobs.rollout.verdict import Decision
from jobs.settings import Settings
from jobs.spec import Project
from jobs.storage import current
from jobs.training.sources import learned_from, newest_batch

_HONEST = {"negative control": str(False)}
"""An input of every snapshot that is no partition."""


def run(project: Project, settings: Settings, *, batches: Batches, force: bool = False) -> Result:
    """Whether a training was asked for, and why; exit 99 when nothing calls for one, or one is too recent or pointless.

    A retry within the orchestrator's same run gets the first answer again, so that a lost answer is not a lost request.
    With `force` one is asked for all the same; what was overridden is kept in the ledger's audit.
    """
    lake = Lake(settings.lake_uri)
    with Ledger(settings.need("database_url")) as ledger:
        return summarise("request-retrain", batches, lambda batch: _one(lake, ledger, project, batch, force))


def _one(lake: Lake, ledger: Ledger, project: Project, batch: date, force: bool) -> Day:
    results = {kind: result_of(lake, project, kind, batch) for kind in ("drift", "performance")}
    reasons = [
        f"{kind}: {one['reason']}" for kind, one in results.items() if one and one["verdict"] == Decision.RETRAIN
    ]
    run = os.environ.get("AIRFLOW_CTX_DAG_RUN_ID", "")
    last = ledger.last_retrain_request(project.name)
    if reasons and last is not None and last.batch == batch and run and f"run: {run}" in last.reasons:
        return _asked(reasons)
    against = [] if reasons else [f"nothing calls for a training ({_said(results)})"]
    recent, same = _recent(lake, ledger, project, batch), _unchanged(lake, ledger, project)
    if recent:
        against.append(f"{recent}: cooling down for {project.drift.cool_down_days} days")
    if same:
        against.append(same)
    if against and not force:
        return Day(reason=", but ".join(["; ".join(reasons), against[0]] if reasons else against[:1]))
    if force:
        reasons = [*reasons, "asked for by hand"]
        ledger.audit(project.name, "request-retrain --force", {"batch": str(batch), "overridden": against})
    ledger.request_retrain(project.name, batch, [*reasons, *([f"run: {run}"] if run else [])])
    return _asked(reasons)


def _asked(reasons: list[str]) -> Day:
    return Day(line=f"a training was asked for; {'; '.join(reasons)}", facts={"requested": True, "reasons": reasons})


def _said(results: Mapping[str, Mapping[str, Any] | None]) -> str:
    return "; ".join(f"{kind}: {one['finding'] if one else 'not measured'}" for kind, one in results.items())


def _unchanged(lake: Lake, ledger: Ledger, project: Project) -> str:
    """Why a training would give the champion once more, or nothing: it would learn from the same partitions."""
    champion = ledger.champion(project.name)
    if champion is None:
        return ""
    try:
        manifest = read_manifest(lake.release(project.name, champion.release), champion.digest)
        snapshot = current(lake.run(project.name, str(manifest["run"])) / "snapshot")
        as_of = newest_batch(project, lake)
        now = learned_from(project, lake, as_of)
    except TidemillError:
        return ""  # what cannot be compared may have changed; a training itself says what it lacks
    if snapshot is None or {**snapshot.manifest.inputs, **_HONEST} != {**now, **_HONEST}:
        return ""
    return (
        f"a training would be pointless: the data are those the champion was trained on, up to {as_of}. "
        f"Run `tidemill features --project {project.name}` for the days since, or ask with --force"
    )


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
