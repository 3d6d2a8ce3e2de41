"""`tidemill projects` and `tidemill explain`: what is declared, and what it resolves to here."""

from __future__ import annotations

import ast
import json
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from jobs.lake import Lake, address
from jobs.projects import PROJECTS
from jobs.result import Result
from jobs.services.ports import SLOTS, offsets, port
from jobs.services.tables import render
from jobs.settings import ROOT, Settings
from jobs.spec import Project

HOOKS = {
    "etl": ("clean",),
    "features": ("request", "rule"),
    "simulate": ("day",),
}
"""The modules of a project and the functions looked for in them."""


def projects() -> Result:
    """Every declared project with its title, owner, sources, views and models."""
    facts = {
        name: {
            "title": project.title,
            "owner": project.owner,
            "sources": [source.name for source in project.sources],
            "views": [view.name for view in project.every_view],
            "models": [model.name for model in project.models],
            "schedule": project.schedule,
        }
        for name, project in PROJECTS.items()
    }
    rows = [
        (name, one["title"], one["owner"], _listed(one["sources"]), _listed(one["views"]), _listed(one["models"]))
        for name, one in facts.items()
    ]
    return Result(line=render(("project", "title", "owner", "sources", "views", "models"), rows), facts=facts)


def tfvars() -> Result:
    """What Terraform makes something for: projects, sources and slots, as the text of a `.auto.tfvars.json` file.

    Ports are those of an installation that has its address to itself, as every container has.
    """
    own = int(Settings.model_fields["port_base"].default)
    facts = {
        "projects": {
            name: {
                "title": project.title,
                "owner": project.owner,
                "sources": [source.name for source in project.sources],
                "ports": {slot: own + offsets()[f"serve-{name}-{slot}"] for slot in SLOTS},
            }
            for name, project in PROJECTS.items()
        }
    }
    return Result(line=json.dumps(facts, indent=2), facts=facts)


def explain(project: Project) -> Result:
    """How a project resolves: declaration, hooks, DAGs, folders and ports."""
    settings = Settings.load()
    facts = {
        "project": project.name,
        "title": project.title,
        "owner": project.owner,
        "spec": project.digest,
        "first_batch": project.start.isoformat(),
        "schedule": project.schedule,
        "sources": {source.name: _source(source) for source in (*project.sources,)},
        "tables": list(project.tables),
        "views": {view.name: _view(view) for view in project.views},
        "live_views": {view.name: _live_view(view) for view in project.live_views},
        "label": {"column": project.label.column, "delay_days": project.label.delay_days},
        "models": {model.name: _model(model) for model in project.models},
        "gate": {threshold.metric: _bounds(threshold) for threshold in project.gate.thresholds},
        "canary": {
            "steps": list(project.canary.steps),
            "bake_seconds": project.canary.bake_seconds,
            "deadline_seconds": project.canary.deadline_seconds,
        },
        "answering": asdict(project.serving),
        "drift": {
            "window_days": project.drift.window_days,
            "cool_down_days": project.drift.cool_down_days,
            "false_alarms_per_quarter": project.drift.false_alarms_per_quarter,
        },
        "replay": {"minimum_identical": project.replay.minimum_identical},
        "hooks": hooks(project),
        "dags": dags(project),
        "folders": folders(project, settings),
        "serving": {slot: port(settings, f"serve-{project.name}-{slot}") for slot in SLOTS},
        "endpoint": f"{settings.serving_url}/{project.name}/predict",
    }
    rows = [(section, text) for section, text in _lines(facts)]
    return Result(line=render(("what", "how it resolves"), rows, title=f"{project.name}: {project.title}"), facts=facts)


def hooks(project: Project) -> dict[str, str | None]:
    """Each hook looked for and its signature, or None where the project has none; nothing is imported."""
    found: dict[str, str | None] = {}
    for module, functions in HOOKS.items():
        path = ROOT / "jobs" / "projects" / project.name / f"{module}.py"
        tree = ast.parse(path.read_text()) if path.exists() else ast.Module(body=[], type_ignores=[])
        signatures = {
            node.name: f"({ast.unparse(node.args)})" for node in tree.body if isinstance(node, ast.FunctionDef)
        }
        for function in functions:
            found[f"{module}.{function}"] = signatures.get(function)
    return found


def dags(project: Project) -> list[str]:
    """The ids of the project's DAGs: one for each page in dags/."""
    return sorted(f"{project.name}_{path.stem}" for path in (ROOT / "dags").glob("[a-z]*.py"))


def folders(project: Project, settings: Settings) -> dict[str, str]:
    """Where each kind of the project's data lies; a batch is a folder below."""
    lake, day = Lake(settings.lake_uri), date(2000, 1, 1)
    source, table = project.sources[0].name, project.tables[0]
    above: dict[str, Path] = {
        "landing": lake.landing(project.name, source, day).parents[1],
        "quarantine": lake.quarantine(project.name, source, day).parents[1],
        "raw": lake.raw(project.name, source, day).parents[1],
        "clean": lake.clean(project.name, table, day).parents[1],
        "validation": lake.validation(project.name, day).parents[1],
        "features": lake.spine(project.name, day).parents[1],
        "monitoring": lake.monitoring(project.name, "drift", day).parents[1],
        "runs": lake.run(project.name, "any").parent,
        "releases": lake.release(project.name, "any").parent,
    }
    return {name: address(path) for name, path in above.items()}


def _source(source: Any) -> dict[str, Any]:
    return {
        "columns": {column.name: column.type for column in source.columns},
        "aliases": {alias.name: column.name for column in source.columns for alias in column.aliases},
        "event_id": source.event_id,
        "event_time": source.event_time,
        "lateness_days": source.lateness_days,
        "formats": list(source.formats),
        "personal": [column.name for column in source.columns if column.personal],
    }


def _view(view: Any) -> dict[str, Any]:
    return {
        "entity": list(view.entity),
        "features": list(view.features),
        "lookback_days": view.lookback_days,
        "lag_hours": view.lag.total_seconds() / 3600,
        "ttl_hours": view.ttl.total_seconds() / 3600,
        "schema": view.schema,
    }


def _live_view(view: Any) -> dict[str, Any]:
    return {
        "entity": list(view.entity),
        "events": view.events,
        "windows": {window.name: _window(window) for window in view.windows},
        "schema": view.schema,
    }


def _window(window: Any) -> str:
    of = f"({window.column})" if window.column else ""
    ends = f" ending {_duration(window.delay)} before" if window.delay else ""
    hop = f", in steps of {_duration(window.hop)}" if window.hop else ""
    return f"{window.function}{of} over {_duration(window.length)}{ends}{hop}"


def _duration(length: timedelta) -> str:
    """`7 days`, `1 day 2:00:00`, `0:10:00`."""
    return str(length).replace(", 0:00:00", "").replace(",", "")


def _model(model: Any) -> dict[str, Any]:
    return {
        "inputs": list(model.inputs),
        "baselines": list(model.baselines),
        "learners": list(model.learners),
        "trials": model.trials,
        "metric": model.metric,
    }


def _bounds(threshold: Any) -> str:
    parts = [
        f"at least {threshold.minimum}" if threshold.minimum is not None else "",
        f"at most {threshold.maximum}" if threshold.maximum is not None else "",
        f"no more than {threshold.allowed_regression} behind the champion"
        if threshold.allowed_regression is not None
        else "",
    ]
    return ", ".join(part for part in parts if part)


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            for number, (key, detail) in enumerate(value.items()):
                lines.append((name if number == 0 else "", f"{key}: {_text(detail)}"))
        else:
            lines.append((name, _text(value)))
    return lines


def _text(value: object) -> str:
    if value is None:
        return "not there"
    if isinstance(value, dict):
        return "; ".join(f"{key} {_text(one)}" for key, one in value.items() if one not in ([], {}))
    return _listed(value) if isinstance(value, list) else str(value)


def _listed(values: object) -> str:
    return ", ".join(map(str, values)) if isinstance(values, list) else str(values)
