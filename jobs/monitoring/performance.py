"""How good the releases that served turned out to be, on labels that are known for certain."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.pages import inline
from jobs.spec import Gate

if TYPE_CHECKING:
    import pyarrow as pa

    from jobs.training.metrics import Outcomes


def measure(table: pa.Table, champion: str, gate: Gate) -> dict[str, Any]:
    """Every release's rows, positives and metrics, and whether the champion still keeps to the gate's bounds.

    Below the gate's minimum of rows or positives, or where a metric is undefined, the verdict is unknown.
    """
    from jobs.training.metrics import measured

    releases: dict[str, dict[str, Any]] = {}
    for release in sorted(set(table.column("release").to_pylist())):
        outcomes, scores = _outcomes(table, release)
        releases[release] = {
            "rows": len(scores),
            "positives": int(outcomes.label.sum()),
            "metrics": measured(outcomes, scores),
        }
    mine = releases.get(champion, {"rows": 0, "positives": 0, "metrics": {}})
    verdict, reason = "unknown", ""
    below: list[str] = []
    if mine["rows"] < gate.minimum_rows or mine["positives"] < gate.minimum_positives:
        reason = (
            f"{mine['rows']} labelled predictions and {mine['positives']} positives of the champion, "
            f"of {gate.minimum_rows} and {gate.minimum_positives} needed"
        )
    else:
        below = _below(mine["metrics"], gate)
        verdict = "below the floor" if below else "holds"
        reason = "; ".join(below) or "every metric keeps to the gate's bounds"
    return {"verdict": verdict, "reason": reason, "below": below, "releases": releases}


def plots(table: pa.Table, champion: str) -> list[tuple[str, str]]:
    """The champion's curves as (title, data URL); none while its labels are all of one class."""
    from jobs.training.plots import calibration, precision_recall

    outcomes, scores = _outcomes(table, champion)
    if outcomes.label.all() or not outcomes.label.any():
        return []
    drawn = []
    with tempfile.TemporaryDirectory() as folder:
        for title, draw in (("Precision and recall", precision_recall), ("Calibration", calibration)):
            path = Path(folder) / f"{draw.__name__}.png"
            draw(path, outcomes.label, {champion: scores})
            drawn.append((title, inline(path)))
    return drawn


def _below(metrics: dict[str, float | None], gate: Gate) -> list[str]:
    faults = []
    for threshold in gate.thresholds:
        value = metrics.get(threshold.metric)
        if threshold.minimum is not None and (value is None or value < threshold.minimum):
            faults.append(f"{threshold.metric} {_number(value)} is below {threshold.minimum}")
        elif threshold.maximum is not None and (value is None or value > threshold.maximum):
            faults.append(f"{threshold.metric} {_number(value)} is above {threshold.maximum}")
    return faults


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _outcomes(table: pa.Table, release: str) -> tuple[Outcomes, np.ndarray[Any, np.dtype[np.float64]]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    from jobs.training.frame import codes_of
    from jobs.training.metrics import Outcomes

    rows = table.filter(pc.equal(table.column("release"), release))
    times = rows.column("event_time").cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    outcomes = Outcomes(
        label=np.asarray(rows.column("label").to_numpy(), dtype=np.bool_),
        event_time=times.to_numpy(),
        entity=codes_of(rows.column("entity")),
    )
    return outcomes, np.asarray(rows.column("score").to_numpy(), dtype=np.float64)
