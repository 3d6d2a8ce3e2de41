"""Every model project, a line each; the order is the order they are shown in."""

from __future__ import annotations

import importlib
from types import ModuleType

from jobs.errors import UsageError
from jobs.spec import Project

NAMES = (
    "fraud",
    "ads",
    "moderation",
    "search",
    "recsys",
)
PROJECTS: dict[str, Project] = {
    name: getattr(importlib.import_module(f"jobs.projects.{name}.spec"), name.upper()) for name in NAMES
}


def find(name: str) -> Project:
    """The project of that name; raises UsageError naming those there are."""
    try:
        return PROJECTS[name]
    except KeyError:
        raise UsageError(f"no project {name[:80]!r}; there are: {', '.join(PROJECTS)}") from None


def hook(project: Project, name: str) -> ModuleType:
    """The project's module of that name: `etl`, `features` or `simulate`, found by convention."""
    return importlib.import_module(f"jobs.projects.{project.name}.{name}")
