"""drift: compare the days up to a batch with the champion's reference window."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from jobs.batch import Batches
from jobs.lake import Lake
from jobs.monitoring import drift, served
from jobs.monitoring.report import REPORT, RESULT, Day, summarise, write_index
from jobs.pages import page
from jobs.release.checks import Check, State
from jobs.release.ledger import Champion, Ledger
from jobs.result import Result
from jobs.rollout.verdict import DRIFT, Verdict, conclude
from jobs.settings import Settings
from jobs.spec import Project
from jobs.storage import digest_file, publish, write_atomically


def run(project: Project, settings: Settings, *, batches: Batches, force: bool = False) -> Result:
    """The verdict of each batch, published with its report; exit 99 without a champion or anything to compare.

    Raises DataRejected when a column is missing or no number: Evidently would call that no drift.
    """
    lake = Lake(settings.lake_uri)
    with Ledger(settings.need("database_url")) as ledger:
        champion = ledger.champion(project.name)
        if champion is None:
            return summarise("drift", batches, lambda _: Day(reason="there is no champion to compare with yet"))
        result = summarise("drift", batches, lambda batch: _one(lake, ledger, project, champion, batch, force))
    write_index(lake, project)
    return result


def _one(lake: Lake, ledger: Ledger, project: Project, champion: Champion, batch: date, force: bool) -> Day:
    first = max(project.start, batch - timedelta(days=project.drift.window_days - 1))
    window = served.find(lake, project, champion, first, batch)
    if window is None:
        return Day(reason=f"nothing was served and no event has features from {first} to {batch}")
    facts: dict[str, Any] = {}

    def write(folder: Path) -> int:
        reference, current = window.frames()
        columns = (*window.columns, drift.SCORE)
        drift.require_columns(reference, columns, f"the reference of release {champion.release}")
        drift.require_columns(current, columns, f"what was served from {first} to {batch}")
        matched, alike = drift.same_weekdays(reference, current, project.drift.minimum_rows)
        result = {
            "batch": str(batch),
            "release": champion.release,
            "source": window.source,
            "window": [str(first), str(batch)],
            "rows": {"reference": len(matched), "served": len(current)},
            "reference_days": "same weekdays" if alike else "all",
            **drift.compare(matched, current, columns, project.drift, folder / REPORT),
        }
        if not (folder / REPORT).exists():
            write_atomically(folder / REPORT, page("unknown.html.j2", project=project, result=result).encode())
        write_atomically(folder / RESULT, json.dumps(result, indent=1, allow_nan=False).encode())
        facts.update({name: value for name, value in result.items() if name not in ("batch", "columns", "rows")})
        facts.update(rows=len(current), moved=[name for name, one in result["columns"].items() if one["drifted"]])
        facts["says"] = _says(facts)
        return len(current)

    published = publish(
        lake.monitoring(project.name, "drift", batch),
        write,
        inputs={
            **window.digests,
            "champion": champion.digest,
            "policy": repr(project.drift),
            "code": digest_file(Path(drift.__file__)),
        },
        watermark=window.watermark,
        facts=facts,
        force=force,
    )
    facts = dict(published.manifest.facts)
    verdict = _verdict(facts, project)
    ledger.record_verdict(project.name, "drift", str(batch), verdict.decision, verdict.document())
    report = published.folder / REPORT
    return Day(
        line=f"{facts['says']} ({facts['rows']} rows, from {facts['source']})", facts={**facts, "report": str(report)}
    )


def _verdict(facts: dict[str, Any], project: Project) -> Verdict:
    state = {"drift": State.FAILED, "no drift": State.PASSED}.get(facts["verdict"], State.UNDECIDED)
    check = Check(
        name="drift", value=facts["share"], bound=project.drift.share_threshold, state=state, detail=facts["reason"],
        rule="value <= bound", samples={"served": facts["rows"]},
    )  # fmt: skip
    return conclude([check], DRIFT)


def _says(facts: dict[str, Any]) -> str:
    moved = ", ".join(facts["moved"][:4]) + (", …" if len(facts["moved"]) > 4 else "")
    return f"{facts['verdict']}: {facts['reason']}" + (f" ({moved})" if moved else "")
