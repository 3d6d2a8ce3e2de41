"""drift: compare the days up to a batch with the champion's reference window."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from jobs.batch import Batches
from jobs.lake import Lake
from jobs.monitoring import alarms, calibration, comparison, distance, drift, drift_plot, quarters, served
from jobs.monitoring.report import REPORT, RESULT, Day, result_of, summarise, write_index
from jobs.pages import inline, page
from jobs.release.ledger import Champion, Ledger
from jobs.result import Result
from jobs.rollout.verdict import Decision
from jobs.settings import Settings
from jobs.spec import Project
from jobs.storage import digest_code, digest_of, publish, write_atomically


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
    earlier, facts = _earlier(lake, project, champion, batch), dict[str, Any]()

    def write(folder: Path) -> int:
        reference, current = window.frames()
        columns = (*window.watched, drift.SCORE)
        drift.require_columns(reference, columns, f"the reference of release {champion.release}")
        drift.require_columns(current, columns, f"what was served from {first} to {batch}")
        matched, alike = drift.same_weekdays(reference, current, project.drift.minimum_rows)
        compared = drift.compare(
            reference, current, columns, project.drift, folder / drift.EVIDENTLY, list(earlier.values())
        )
        result = {
            "batch": str(batch),
            "release": champion.release,
            "source": window.source,
            "window": [str(first), str(batch)],
            "rows": {"reference": len(matched), "served": len(current)},
            "reference_days": "same weekdays" if alike else "all",
            **compared.document(),
        }
        write_atomically(folder / RESULT, json.dumps(result, indent=1, allow_nan=False).encode())
        _write_page(folder, project, result, earlier)
        facts.update({name: value for name, value in result.items() if name not in ("batch", "columns", "rows")})
        facts.update(rows=len(current), moved=[name for name, one in result["columns"].items() if one["moved"]])
        facts["says"] = f"{result['verdict']}, {result['finding']}: {result['reason']}"
        return len(current)

    published = publish(
        lake.monitoring(project.name, "drift", batch),
        write,
        inputs={
            **window.digests,
            "champion": champion.digest,
            "policy": repr(project.drift),
            "earlier batches": digest_of({str(day): one for day, one in earlier.items()}),
            "code": digest_code(alarms, calibration, comparison, distance, drift, drift_plot, quarters),
        },
        watermark=window.watermark,
        facts=facts,
        force=force,
    )
    facts = dict(published.manifest.facts)
    document = {name: facts[name] for name in ("verdict", "rule", "reason", "checks", "finding", "calibration")}
    ledger.record_verdict(project.name, "drift", str(batch), Decision(facts["verdict"]), document)
    report = published.address(REPORT)
    return Day(
        line=f"{facts['says']} ({facts['rows']} rows, from {facts['source']})", facts={**facts, "report": report}
    )


def _earlier(lake: Lake, project: Project, champion: Champion, batch: date) -> dict[date, dict[str, Any] | None]:
    """What the batches before found about the same champion, the newest first; None where nothing was."""
    back = max(drift_plot.SHOWN, project.drift.of_batches) - 1
    found = {}
    for day in (batch - timedelta(days=one + 1) for one in range(back)):
        result = result_of(lake, project, "drift", day)
        same = result is not None and result["release"] == champion.release and "calibration" in result
        found[day] = result if same else None
    return found


def _write_page(
    folder: Path, project: Project, result: dict[str, Any], earlier: dict[date, dict[str, Any] | None]
) -> None:
    shown = [one for one in reversed(earlier.values()) if one is not None] + [result]
    drawn, plot = folder / "distances.png", ""
    if any(one["columns"] for one in shown):
        drift_plot.distances(drawn, shown)
        plot = inline(drawn)
    html = page(
        "drift.html.j2",
        project=project,
        policy=project.drift,
        result=result,
        plot=plot,
        unseen=[str(day) for day in list(earlier)[: project.drift.of_batches - 1] if earlier[day] is None],
        evidently=drift.EVIDENTLY if (folder / drift.EVIDENTLY).exists() else "",
    )
    write_atomically(folder / REPORT, html.encode())
