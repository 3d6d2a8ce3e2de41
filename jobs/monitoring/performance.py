"""How good the releases that served turned out to be, on labels that are known for certain."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.pages import inline
from jobs.release.checks import Check, State
from jobs.rollout.verdict import PERFORMANCE, conclude
from jobs.spec import Gate, Model

if TYPE_CHECKING:
    import pyarrow as pa

    from jobs.training.metrics import Outcomes
    from jobs.training.tasks.task import Task


SURE = 0.99
"""How certain an interval is. A look at a batch shares most of its labels with the look before: few are independent."""
FINDINGS = {State.FAILED: "below the floor", State.PASSED: "holds", State.UNDECIDED: "unknown"}


def measure(table: pa.Table, champion: str, gate: Gate, model: Model) -> dict[str, Any]:
    """Every release's rows, positives and metrics, and the verdict on whether the champion keeps to the gate's bounds.

    Below the gate's minimum of rows or positives nothing is decided; nor where a metric is undefined, or beyond its bound
    within chance. A metric all of whose interval is beyond its bound asks for a training.
    """
    from jobs.training.metrics import measured
    from jobs.training.tasks import task_of

    task = task_of(model)
    releases: dict[str, dict[str, Any]] = {}
    for release in sorted(set(table.column("release").to_pylist())):
        outcomes, scores = _outcomes(table, release, task)
        releases[release] = {
            "rows": len(scores),
            "positives": int(task.positive(outcomes.label).sum()),
            "metrics": measured(task.metrics, outcomes, scores),
        }
    checks = list(
        _checks(
            table,
            champion,
            replace(gate, thresholds=gate.of(model.name)),
            task,
            releases.get(champion, {"rows": 0, "positives": 0, "metrics": {}}),
        )
    )
    verdict = conclude(checks, PERFORMANCE, because="every metric keeps to the gate's bounds")
    states = {check.state for check in checks}
    worst = next(state for state in (State.FAILED, State.UNDECIDED, State.PASSED) if state in states)
    return {**verdict.document(), "finding": FINDINGS[worst], "releases": releases}


def plots(table: pa.Table, champion: str, model: Model) -> list[tuple[str, str]]:
    """The champion's curves as (title, data URL); none while its labels show nothing, as those of a single class do."""
    from jobs.training.tasks import task_of

    task = task_of(model)
    outcomes, scores = _outcomes(table, champion, task)
    if not len(scores) or task.fault(outcomes.label):
        return []
    drawn = []
    with tempfile.TemporaryDirectory() as folder:
        for plot in task.plots:
            path = Path(folder) / f"{plot.name}.png"
            plot.draw(path, outcomes, {champion: scores})
            drawn.append((plot.title, inline(path)))
    return drawn


def _checks(table: pa.Table, champion: str, gate: Gate, task: Task, mine: Mapping[str, Any]) -> Iterator[Check]:
    samples = {"rows": mine["rows"], "positives": mine["positives"]}
    few = mine["rows"] < gate.minimum_rows or mine["positives"] < gate.minimum_positives
    detail = f"{mine['rows']} labelled predictions and {mine['positives']} positives of the champion"
    yield Check(
        name="labels",
        value=mine["rows"],
        bound=gate.minimum_rows,
        state=State.UNDECIDED if few else State.PASSED,
        rule=f"value >= bound, and positives >= {gate.minimum_positives}",
        samples=samples,
        detail=detail + (f", of {gate.minimum_rows} and {gate.minimum_positives} needed" if few else ""),
    )
    if few:
        return
    outcomes, scores = _outcomes(table, champion, task)
    for threshold in gate.thresholds:
        value = mine["metrics"].get(threshold.metric)
        low, high = _interval(threshold.metric, outcomes, scores)
        for bound, side in ((threshold.minimum, 1), (threshold.maximum, -1)):
            if bound is not None:
                yield _check(threshold.metric, value, low, high, bound, side, samples)


def _check(name: str, value: float | None, low: float | None, high: float | None, bound: float, side: int,
           samples: Mapping[str, int]) -> Check:  # fmt: skip
    """A metric held against a bound that it must not be below (`side` 1) or above (-1)."""
    best, beyond, sign = (high, "below", ">=") if side > 0 else (low, "above", "<=")
    if value is None or low is None or high is None:
        state, detail = State.UNDECIDED, f"{name} is undefined"
    elif side * (value - bound) >= 0:
        state, detail = State.PASSED, f"{name} {value:.3f} keeps to {bound}"
    else:
        certain = best is not None and side * (best - bound) < 0
        state = State.FAILED if certain else State.UNDECIDED
        detail = f"{name} {value:.3f} is {beyond} {bound}, " + ("beyond chance" if certain else "within chance")
        detail += f" ({100 * SURE:.0f} % interval {low:.3f} to {high:.3f})"
    return Check(
        name=name, value=value, bound=bound, low=low, high=high, state=state, samples=samples, detail=detail,
        rule=f"value {sign} bound, or it lies in the interval",
    )  # fmt: skip


def _interval(metric: str, outcomes: Outcomes, scores: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """By bootstrap of the entities; None where it is undefined."""
    from jobs.training.metrics import resampled

    drawn = resampled(metric, outcomes, scores, seed=1)
    if np.isnan(drawn).all():
        return None, None
    low, high = np.nanquantile(drawn, [(1 - SURE) / 2, (1 + SURE) / 2])
    return float(low), float(high)


def _outcomes(table: pa.Table, release: str, task: Task) -> tuple[Outcomes, NDArray[np.float64]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    from jobs.training.frame import codes_of
    from jobs.training.metrics import Outcomes

    rows = table.filter(pc.equal(table.column("release"), release))
    times = rows.column("event_time").cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    scores = task.logged(rows)
    measurable = np.isfinite(scores if scores.ndim == 1 else scores.sum(axis=1))
    groups = rows.column("group_id") if "group_id" in rows.column_names else None
    outcomes = Outcomes(
        label=task.labels(rows.column("label")),
        event_time=times.to_numpy(),
        entity=codes_of(rows.column("entity")),
        group=codes_of(groups) if groups is not None and len(groups) and not groups.null_count else None,
    )
    return outcomes.take(measurable), scores[measurable]
