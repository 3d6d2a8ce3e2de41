"""The groups a project declares, each judged by itself on the hold-out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.release.probability import score_of
from jobs.slices import Slice
from jobs.spec import Model
from jobs.training.frame import Frame, outcomes_of
from jobs.training.metrics import Outcomes, interval, measure, middle, resampled
from jobs.training.tasks import task_of


def groups_of(one: Slice, model: Model, rows: Frame) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each group's name and its rows; none when the frame has no such column."""
    column = _column(one.column, model, rows)
    if column is None:
        return
    if one.values:
        yield from ((name, np.asarray(column == value)) for name, value in zip(one.groups, one.values, strict=True))
        return
    band = np.searchsorted(one.edges, column.astype(np.float64), side="right")
    yield from ((name, band == index) for index, name in enumerate(one.groups))


def _column(name: str, model: Model, rows: Frame) -> NDArray[Any] | None:
    return rows.vectors[:, model.inputs.index(name)] if name in model.inputs else rows.payload.get(name)


def _unit(one: Slice, model: Model, rows: Frame) -> NDArray[np.int64] | None:
    """What the slice's groups are about, as a number for each value; None for the project's entity."""
    column = _column(one.by, model, rows) if one.by else None
    return None if column is None else np.unique(column.astype(str), return_inverse=True)[1]


def sliced(model: Model, slices: Sequence[Slice], rows: Frame, scores: NDArray[np.float64]) -> dict[str, Any]:
    """For each slice: its column, metric and bounds, and its groups' `rows`, `positives`, `value`, `low` and `high`.

    `value` to `high` are the metric and its 95 % bootstrap interval: None where they are undefined, and where the group
    is smaller than the slice asks for, which `too_few` then says. `mean_score` and `share` (of positives) are beside.
    """
    found: dict[str, Any] = {}
    outcomes, positive = outcomes_of(rows), task_of(model).positive(rows.label)
    for one in slices:
        groups: dict[str, Any] = {}
        unit, judged = _unit(one, model, rows), dict[str, tuple[float, NDArray[np.intp]]]()
        for name, mask in groups_of(one, model, rows):
            inside = np.flatnonzero(mask)
            count, positives = len(inside), int(positive[inside].sum())
            group: dict[str, Any] = {"rows": count, "positives": positives}
            group |= {
                "mean_score": float(score_of(scores[inside]).mean()) if count else None,
                "share": positives / count if count else None,
                "too_few": count < one.minimum_rows or min(positives, count - positives) < one.minimum_positives,
            }
            figures: Mapping[str, float | None] = dict.fromkeys(("value", "low", "high"))
            if not group["too_few"]:
                happened, theirs = outcomes.take(inside), scores[inside]
                whole = None if unit is None else unit[inside]
                low, high = interval(one.metric, happened, theirs, seed=model.seed, unit=whole)
                figures = {"value": measure(one.metric, happened, theirs), "low": low, "high": high}
            group |= {key: None if value is None or not np.isfinite(value) else value for key, value in figures.items()}
            groups[name] = group
            if figures["value"] is not None and np.isfinite(figures["value"]):
                judged[name] = (figures["value"], inside)
        found[one.name] = {
            "column": one.column,
            "metric": one.metric,
            "minimum": one.minimum,
            "maximum": one.maximum,
            "minimum_rows": one.minimum_rows,
            "minimum_positives": one.minimum_positives,
            "groups": groups,
            "maximum_gap": one.maximum_gap,
            "gap": _gap(one, judged, outcomes, scores, unit, model.seed) if one.maximum_gap is not None else None,
        }
    return found


def _gap(
    one: Slice,
    judged: Mapping[str, tuple[float, NDArray[np.intp]]],
    outcomes: Outcomes,
    scores: NDArray[np.float64],
    unit: NDArray[np.int64] | None,
    seed: int,
) -> dict[str, Any] | None:
    """How far the groups of the greatest and the least figure are apart, and its 95 % interval; None below two groups.

    By bootstrap of the entities of either group; that the two are the extreme ones of more makes it a little wide.
    """
    if len(judged) < 2:
        return None
    least, most = (choose(judged, key=lambda name: judged[name][0]) for choose in (min, max))
    drawn = []
    for place, name in enumerate((least, most)):
        inside = judged[name][1]
        whole = None if unit is None else unit[inside]
        drawn.append(resampled(one.metric, outcomes.take(inside), scores[inside], seed=seed + place, unit=whole))
    low, high = middle(drawn[1] - drawn[0])
    known = np.isfinite([low, high]).all()
    return {
        "between": [least, most],
        "value": judged[most][0] - judged[least][0],
        "low": low if known else None,
        "high": high if known else None,
        "rows": len(judged[least][1]) + len(judged[most][1]),
    }
