"""Whether what is served still looks like what the champion was trained on.

Evidently compares and reports; how far a column has moved is our own population stability index, on
deciles of the reference, because equally wide bins put a skewed amount into one bin and see nothing.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import DataRejected
from jobs.spec import Drift

if TYPE_CHECKING:
    import pandas as pd

SCORE = "score"
_BINS = 10
_METHOD = "tidemill_psi"
Values = NDArray[np.float64]


def psi(reference: Values, current: Values) -> float:
    """The population stability index of two samples; NaN when either has no number.

    Bins are the reference's deciles, equal values together, and one beyond each end of it. Half a row is added to
    each, so that an empty bin counts for what it proves and no more. Rows of one sample alike give 0 within chance.
    """
    reference, current = reference[np.isfinite(reference)], current[np.isfinite(current)]
    if not len(reference) or not len(current):
        return math.nan
    inner = np.quantile(reference, np.linspace(0, 1, _BINS + 1)[1:-1], method="lower")
    edges = np.unique(np.concatenate(([np.nextafter(reference.min(), -np.inf)], inner, [reference.max()])))
    shares = []
    for sample in (reference, current):
        counts = np.bincount(np.searchsorted(edges, sample, side="left"), minlength=len(edges) + 1) + 0.5
        shares.append(counts / counts.sum())
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))


def require_columns(frame: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Raises DataRejected naming every column that is missing or not a number: that is no drift, it is a fault."""
    import pandas as pd

    faults = [f"- {name} is missing" for name in columns if name not in frame.columns]
    faults += [
        f"- {name} is {frame[name].dtype}, not a number"
        for name in columns
        if name in frame.columns and not pd.api.types.is_numeric_dtype(frame[name])
    ]
    if faults:
        raise DataRejected(
            "\n".join(
                [
                    f"{what} cannot be compared; no verdict was published:",
                    *faults,
                    "Put the columns right and run it again",
                ]
            )
        )


def same_weekdays(reference: pd.DataFrame, current: pd.DataFrame, minimum_rows: int) -> tuple[pd.DataFrame, bool]:
    """The reference's rows of the weekdays that the current rows are of, and True; all, and False, if they are few."""
    wanted = current["event_time"].dt.dayofweek.unique()
    alike = reference[reference["event_time"].dt.dayofweek.isin(wanted)]
    return (alike, True) if len(alike) >= minimum_rows else (reference, False)


def compare(
    reference: pd.DataFrame, current: pd.DataFrame, columns: Sequence[str], policy: Drift, report: Path
) -> dict[str, Any]:
    """The verdict, the share of drifted columns and each column's index; Evidently's page is written to `report`.

    Too few rows are an unknown verdict, and a column without enough numbers is unknown by itself: neither is drift,
    and neither is its absence. An unknown verdict writes no page.
    """
    few = min(len(reference), len(current))
    if few < policy.minimum_rows:
        which = "served" if len(current) <= len(reference) else "reference"
        return {"verdict": "unknown", "reason": f"{few} {which} rows, of {policy.minimum_rows} needed", "share": None,
                "drifted": 0, "judged": 0, "columns": {}}  # fmt: skip
    statuses = {name: _status(reference[name], current[name], policy) for name in columns}
    judged = [name for name, status in statuses.items() if status is None]
    values = _evidently(reference, current, judged, policy, report) if judged else {}
    details: dict[str, dict[str, Any]] = {}
    for name in columns:
        value = values.get(name, math.nan)
        known = math.isfinite(value)
        details[name] = {
            "psi": round(value, 6) if known else None,
            "drifted": known and value >= policy.column_threshold,
            "missing": round(float(1 - np.isfinite(current[name].to_numpy(dtype=np.float64)).mean()), 6),
            **({} if known else {"unknown": statuses[name] or "it has no index"}),
        }
    known_columns = [detail for detail in details.values() if detail["psi"] is not None]
    drifted = sum(detail["drifted"] for detail in known_columns)
    share = drifted / len(known_columns) if known_columns else None
    if share is None:
        verdict, reason = "unknown", "no column could be judged"
    else:
        verdict = "drift" if share > policy.share_threshold else "no drift"
        reason = f"{drifted} of {len(known_columns)} columns moved by {policy.column_threshold} or more"
    return {"verdict": verdict, "reason": reason, "share": share, "drifted": drifted,
            "judged": len(known_columns), "columns": details}  # fmt: skip


def _status(reference: pd.Series[Any], current: pd.Series[Any], policy: Drift) -> str | None:
    """Why a column cannot be judged, or None."""
    for what, column in (("reference", reference), ("served", current)):
        numbers = int(np.isfinite(column.to_numpy(dtype=np.float64)).sum())
        if numbers < policy.minimum_rows:
            return f"{numbers} {what} rows have a number, of {policy.minimum_rows} needed"
    return None


def _evidently(
    reference: pd.DataFrame, current: pd.DataFrame, columns: list[str], policy: Drift, report: Path
) -> Mapping[str, float]:
    os.environ.setdefault("DO_NOT_TRACK", "1")  # this process sends nothing to anybody
    from evidently import DataDefinition, Dataset, Report
    from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
    from evidently.legacy.core import ColumnType
    from evidently.presets import DataDriftPreset

    def measure(before: Any, after: Any, _: ColumnType, threshold: float) -> tuple[float, bool]:
        value = psi(before.to_numpy(dtype=np.float64), after.to_numpy(dtype=np.float64))
        return value, value >= threshold

    test = StatTest(name=_METHOD, display_name="PSI on deciles", allowed_feature_types=[ColumnType.Numerical])
    register_stattest(test, default_impl=measure)
    definition = DataDefinition(numerical_columns=columns)
    preset = DataDriftPreset(
        columns=columns, num_method=_METHOD, num_threshold=policy.column_threshold, drift_share=policy.share_threshold
    )
    frames = [Dataset.from_pandas(frame[columns], data_definition=definition) for frame in (current, reference)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its widgets divide by the spread of constant columns
        snapshot = Report([preset]).run(*frames)
        snapshot.save_html(str(report))
    metrics = snapshot.dict()["metrics"]
    return {
        metric["config"]["column"]: float(metric["value"])
        for metric in metrics
        if metric["config"]["type"].endswith(":ValueDrift")
    }
