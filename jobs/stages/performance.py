"""performance: measure the releases that served on the labels that matured by the end of a batch."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

from jobs.batch import Batches
from jobs.lake import Lake
from jobs.monitoring import performance
from jobs.monitoring.labels import MATURED_DAYS, read_labels
from jobs.monitoring.report import REPORT, RESULT, Day, summarise, write_index
from jobs.pages import page
from jobs.release.ledger import Champion, Ledger
from jobs.result import Result
from jobs.rollout.verdict import Decision
from jobs.settings import Settings
from jobs.spec import Project
from jobs.storage import current, digest_file, publish, write_atomically


def run(project: Project, settings: Settings, *, batches: Batches, force: bool = False) -> Result:
    """Each batch's metrics by release, published with a report; exit 99 without a champion or matured labels."""
    lake = Lake(settings.lake_uri)
    with Ledger(settings.need("database_url")) as ledger:
        champion = ledger.champion(project.name)
        if champion is None:
            return summarise("performance", batches, lambda _: Day(reason="there is no champion to measure yet"))
        result = summarise("performance", batches, lambda batch: _one(lake, ledger, project, champion, batch, force))
    write_index(lake, project)
    return result


def _one(lake: Lake, ledger: Ledger, project: Project, champion: Champion, batch: date, force: bool) -> Day:
    labels = current(lake.labels(project.name, batch))
    if labels is None:
        return Day(reason=f"no labels were joined; run `tidemill labels --project {project.name} --batch {batch}`")
    if not labels.manifest.rows:
        return Day(reason="no prediction's label has matured yet")
    facts: dict[str, Any] = {}

    def write(folder: Path) -> int:
        from jobs.training.tasks import task_of

        table, model = read_labels([labels]), project.models[-1]
        measured = performance.measure(table, champion.release, project.gate, model)
        result = {"batch": str(batch), "release": champion.release, **measured}
        drawn = performance.plots(table, champion.release, model)
        html = page(
            "performance.html.j2", project=project, result=result, metrics=task_of(model).metrics, plots=drawn, days=MATURED_DAYS,
            sure=performance.SURE,
        )  # fmt: skip
        write_atomically(folder / REPORT, html.encode())
        write_atomically(folder / RESULT, json.dumps(result, indent=1, allow_nan=False).encode())
        facts.update(
            result, rows=len(table), says=f"{measured['verdict']}, {measured['finding']}: {measured['reason']}"
        )
        del facts["batch"]
        return len(table)

    published = publish(
        lake.monitoring(project.name, "performance", batch),
        write,
        inputs={
            "labels": labels.digest,
            "champion": champion.digest,
            "policy": repr(project.gate),
            "code": digest_file(Path(performance.__file__)),
        },
        watermark=labels.manifest.watermark,
        facts=facts,
        force=force,
    )
    facts = dict(published.manifest.facts)
    document = {name: facts[name] for name in ("verdict", "rule", "reason", "checks", "finding")}
    ledger.record_verdict(project.name, "performance", str(batch), Decision(facts["verdict"]), document)
    return Day(
        line=f"{facts['says']} ({facts['rows']} labelled predictions)",
        facts={**facts, "report": published.address(REPORT)},
    )
