"""labels: join served predictions with the labels that matured by the end of a batch."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from jobs.batch import Batches
from jobs.features import labels as known
from jobs.lake import Lake
from jobs.monitoring import labels
from jobs.monitoring.report import Day, summarise
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Project
from jobs.storage import digest_code, publish


def run(project: Project, settings: Settings, *, batches: Batches, force: bool = False) -> Result:
    """The matured predictions of each batch, published; exit 99 when no batch has served and labelled events."""
    lake = Lake(settings.lake_uri)
    return summarise("labels", batches, lambda batch: _one(lake, project, batch, force))


def _one(lake: Lake, project: Project, batch: date, force: bool) -> Day:
    inputs = labels.matured_inputs(lake, project, batch)
    if not inputs.predictions:
        return Day(reason=f"no prediction of an event of {inputs.first}..{inputs.last} has been ingested")
    if not inputs.spines:
        return Day(reason=f"no event of {inputs.first}..{inputs.last} has features yet")
    facts: dict[str, Any] = {}

    def write(folder: Path) -> int:
        facts.update(labels.write_matured(project, inputs, batch, folder / "part-00000.parquet"))
        return int(facts["matured"])

    published = publish(
        lake.labels(project.name, batch),
        write,
        inputs={**inputs.digests, "code": digest_code(labels, known)},
        watermark=inputs.watermark,
        facts=facts,
        force=force,
    )
    facts = dict(published.manifest.facts)
    line = f"{facts['matured']} of {facts['predictions']} predictions have their label, {facts['positives']} positive"
    return Day(line=line, facts=facts)
