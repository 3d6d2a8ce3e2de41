"""`tidemill status`: what runs, how far the data has come, and who is champion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from jobs import mirror, storage
from jobs.errors import TidemillError
from jobs.lake import Lake
from jobs.projects import PROJECTS, find
from jobs.result import Result
from jobs.services import evidence, health, supervisor
from jobs.services.programs import HOSTED
from jobs.services.tables import render
from jobs.settings import Settings
from jobs.spec import Project

_ANY = date(2000, 1, 1)
UNDER_WAY = ("starting", "started", "walking")
"""The states of a rollout that has not ended."""


def status(project: str | None) -> Result:
    """Services; of one project all that is known, of all a line each. The facts are the same, with every detail."""
    settings = Settings.load()
    chosen = [find(project)] if project else list(PROJECTS.values())
    services = _services(settings)
    found = {one.name: _project(one, settings, bool(services)) for one in chosen}
    facts: dict[str, Any] = {
        "services": services,
        "projects": {name: {"glance": glance(one)} | one for name, one in found.items()},
    }
    return Result(line="\n\n".join(_pages(facts) if project else _overview(facts)), facts=facts)


def _services(settings: Settings) -> dict[str, str]:
    """What the supervisor says of each service, or what each says itself that has a host of its own."""
    if settings.hosts == "named":
        return {name: "RUNNING" if health.ready(settings, name) else "no answer" for name in HOSTED}
    return supervisor.in_use(settings) or {}


def glance(found: Mapping[str, Any]) -> dict[str, str]:
    """What matters most of a project's status: champion, canary, newest features, drift and the last verdict."""
    release = found["release"]
    if "unknown" in release:
        return {
            "champion": "unknown",
            "canary": "unknown",
            **_data(found),
            "drift": "unknown",
            "last_verdict": "unknown",
        }
    champion, rollout, verdicts = release["champion"], release["rollout"], release["verdicts"]
    drift = next((one for one in verdicts if one["kind"] == "drift"), None)
    return {
        "champion": f"{champion['release']}, epoch {champion['epoch']}" if champion else "none",
        "canary": _canary(rollout),
        **_data(found),
        "drift": f"{drift.get('finding', drift['verdict'])} on {drift['subject']}" if drift else "not looked at",
        "last_verdict": f"{verdicts[0]['kind']}: {verdicts[0]['verdict']}, {verdicts[0]['at'][:16]}"
        if verdicts
        else "none",
    }


def _canary(rollout: Mapping[str, Any] | None) -> str:
    if not rollout or rollout["state"] not in UNDER_WAY:
        return "none"
    return f"{rollout['release']} at {rollout['percent']} %"


def _data(found: Mapping[str, Any]) -> dict[str, str]:
    return {"features_until": found["newest"]["spine"] or "none"}


def newest(project: Project, lake: Lake) -> dict[str, str | None]:
    """The last published batch of each zone, by zone and name; None where there is none."""
    zones: dict[str, Path] = {}
    for source in project.sources:
        zones[f"landing {source.name}"] = lake.landing(project.name, source.name, _ANY)
        zones[f"raw {source.name}"] = lake.raw(project.name, source.name, _ANY)
    for table in project.tables:
        zones[f"clean {table}"] = lake.clean(project.name, table, _ANY)
    zones["validation"] = lake.validation(project.name, _ANY)
    for view in project.views:
        zones[f"features {view.name}"] = lake.features(project.name, view.name, _ANY)
    zones["spine"] = lake.spine(project.name, _ANY)
    zones["labels"] = lake.labels(project.name, _ANY)
    for kind in ("drift", "performance"):
        zones[kind] = lake.monitoring(project.name, kind, _ANY)
    return {name: _newest(path.parent, landing=name.startswith("landing")) for name, path in zones.items()}


def _newest(folder: Path, *, landing: bool) -> str | None:
    for batch in reversed(mirror.partitions(folder)):
        if (landing and mirror.names(batch)) or (not landing and storage.current(batch) is not None):
            return batch.name.removeprefix("batch=")
    return None


def _project(project: Project, settings: Settings, running: bool) -> dict[str, Any]:
    return {"newest": newest(project, Lake(settings.lake_uri)), "release": _release(project, settings, running)}


def _release(project: Project, settings: Settings, running: bool) -> dict[str, Any]:
    """What the ledger says, or why it cannot be asked."""
    if settings.database_url is None or not running:
        return {"unknown": "the ledger's database does not run; make up starts it"}
    from jobs.release.ledger import Ledger

    try:
        with Ledger(settings.need("database_url")) as ledger:
            champion, challenger = ledger.champion(project.name), ledger.challenger(project.name)
            rollout = ledger.rollout(project.name)
            newest = ledger.newest_verdicts(project.name)
    except TidemillError as error:
        return {"unknown": str(error)}
    return {
        "champion": {"release": champion.release, "epoch": champion.epoch, "since": champion.at.isoformat()}
        if champion
        else None,
        "challenger": {"release": challenger.release, "run": challenger.run} if challenger else None,
        "rollout": rollout[1] if rollout else None,
        "verdicts": [
            {
                **one.document,
                "about": f"{one.kind} {one.subject}",
                "kind": one.kind,
                "subject": one.subject,
                "at": one.at.isoformat(),
            }
            for one in newest
        ],
    }


def _overview(facts: dict[str, Any]) -> Iterator[str]:
    services = facts["services"]
    not_up = [f"{name} {state}" for name, state in services.items() if state != "RUNNING"]
    yield (
        f"{len(services)} services, {', '.join(not_up) or 'all running'}"
        if services
        else "no service runs; make up starts them"
    )
    headings = ("project", "champion", "canary", "features until", "drift", "last verdict")
    yield render(headings, [(name, *one["glance"].values()) for name, one in facts["projects"].items()])
    yield "more of one: tidemill status --project NAME"


def _pages(facts: dict[str, Any]) -> Iterator[str]:
    services = facts["services"]
    yield render(("service", "state"), services.items()) if services else "no service runs; make up starts them"
    for name, project in facts["projects"].items():
        rows = [(zone, batch or "none") for zone, batch in project["newest"].items()]
        yield render((name, "newest batch"), rows)
        release = {what: value for what, value in project["release"].items() if what != "verdicts"}
        yield render((name, "release"), [(what, _text(value)) for what, value in release.items()])
        verdicts = [*_walked(release.get("rollout")), *project["release"].get("verdicts", ())]
        if verdicts:
            yield evidence.decisions(verdicts, f"{name} verdicts")
        for one in verdicts:
            yield evidence.checks(one, one["about"])


def _walked(rollout: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The newest verdict of a rollout that has not ended: the ledger has its own of one that has."""
    if not rollout or rollout["state"] not in UNDER_WAY or not rollout["verdicts"]:
        return []
    last = rollout["verdicts"][-1]
    return [{**last, "about": f"rollout {rollout['release']} at {last['percent']} %"}]


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        plain = {key: one for key, one in value.items() if isinstance(one, str | int | float)}
        return ", ".join(f"{key} {one}" for key, one in plain.items())
    return str(value)
