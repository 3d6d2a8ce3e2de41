"""What the lake says happened: counts from manifests, never recomputed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from jobs.batch import Batches
from jobs.lake import Lake
from jobs.spec import Project
from jobs.storage import current


def data(lake: Lake, project: Project, batches: Batches) -> dict[str, Any]:
    """Rows of each stage over the batches, and how many of the batches passed validation."""
    facts: dict[str, Any] = dict.fromkeys(("delivered", "accepted", "quarantined", "duplicates"), 0)
    facts |= {"batches": len(batches), "clean_rows": 0, "passed": 0, "feature_rows": 0}
    for day in batches:
        for source in project.sources:
            if raw := current(lake.raw(project.name, source.name, day)):
                for name in ("delivered", "accepted", "quarantined", "duplicates"):
                    facts[name] += raw.manifest.facts[name]
        for table in project.tables:
            if clean := current(lake.clean(project.name, table, day)):
                facts["clean_rows"] += clean.manifest.rows
        verdict = current(lake.validation(project.name, day))
        facts["passed"] += bool(verdict and verdict.manifest.facts["passed"])
        for view in project.views:
            if rows := current(lake.features(project.name, view.name, day)):
                facts["feature_rows"] += rows.manifest.rows
    return facts


def replay(lake: Lake, project: Project, batches: Batches) -> dict[str, Any]:
    """How many vectors served on the batches were recomputed, how many came out identical, and why others did not."""
    causes: Counter[str] = Counter()
    facts: dict[str, Any] = {"vectors": 0, "identical": 0}
    for day in batches:
        result = document(lake.monitoring(project.name, "replay", day), "result.json")
        facts["vectors"] += result.get("vectors", 0)
        facts["identical"] += result.get("identical", 0)
        causes.update(result.get("causes", {}))
    share = facts["identical"] / facts["vectors"] if facts["vectors"] else None
    return facts | {"share": share, "causes": dict(causes)}


def document(partition: Path, name: str) -> dict[str, Any]:
    """A JSON document of a published partition, or an empty one when it was never published."""
    found = current(partition)
    if found is None:
        return {}
    loaded: dict[str, Any] = json.loads((found.folder / name).read_bytes())
    return loaded
