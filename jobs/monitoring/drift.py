"""Whether what is served still looks like what the champion was trained on: per column, with a rule for each.

Evidently compares and reports (`comparison`), by our own index (`distance`) and thresholds (`calibration`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.errors import DataRejected
from jobs.monitoring.calibration import Calibration, calibrate
from jobs.monitoring.comparison import by_evidently
from jobs.monitoring.quarters import History, history_of
from jobs.release.checks import Check, State
from jobs.rollout.verdict import DRIFT, Decision, Verdict, conclude
from jobs.spec import Drift

if TYPE_CHECKING:
    import pandas as pd

SCORE = "score"
EVIDENTLY = "evidently.html"
FINDINGS = ("drift", "no drift", "unknown")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A batch's verdict, each column's numbers, and where the thresholds come from."""

    verdict: Verdict
    columns: Mapping[str, Mapping[str, Any]]
    calibration: Mapping[str, Any] | None

    @property
    def finding(self) -> str:
        """In a word: `drift`, `no drift`, or `unknown`."""
        if self.verdict.decision is Decision.RETRAIN:
            return FINDINGS[0]
        return FINDINGS[2] if self.verdict.rule else FINDINGS[1]

    def document(self) -> dict[str, Any]:
        """What the ledger, the result and the report have of it."""
        return {
            **self.verdict.document(),
            "finding": self.finding,
            "columns": dict(self.columns),
            "calibration": self.calibration,
        }


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
    """The reference's rows of the weekdays that the current rows are of, and True; all, and False, if they are few.

    They are few, too, when a column has enough numbers only in all of them: rows that were learned from have no score.
    """
    wanted = current["event_time"].dt.dayofweek.unique()
    alike = reference[reference["event_time"].dt.dayofweek.isin(wanted)]
    numbers = [(_numbers(alike[name]), _numbers(reference[name])) for name in reference if name != "event_time"]
    few = len(alike) < minimum_rows or any(there < minimum_rows <= every for there, every in numbers)
    return (reference, False) if few else (alike, True)


def compare(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    columns: Sequence[str],
    policy: Drift,
    page: Path,
    earlier: Sequence[Mapping[str, Any] | None] = (),
) -> Compared:
    """The verdict on a batch; `earlier` are the documents of the batches before it, the newest first, None for none.

    Evidently's page is written to `page`, unless nothing could be judged. Too few rows, too few days of reference, or a
    column without enough numbers are undecided: neither drift nor its absence.
    """
    few = _too_few(reference, current, policy)
    if few:
        return Compared(verdict=conclude([few], DRIFT), columns={}, calibration=None)
    unknown = {name: why for name in columns if (why := _unknown(reference[name], current[name], policy))}
    judged = [name for name in columns if name not in unknown]
    if not judged:
        return Compared(verdict=conclude(list(_undecided(unknown)), DRIFT), columns={}, calibration=None)
    try:
        calibration = _calibrated(reference, current, judged, policy)
    except DataRejected as short:
        check = Check(name="reference", state=State.UNDECIDED, detail=str(short))
        return Compared(verdict=conclude([check], DRIFT), columns={}, calibration=None)
    matched, _ = same_weekdays(reference, current, policy.minimum_rows)
    distances = by_evidently(matched, current, calibration.thresholds, page)
    for name in [name for name in judged if not math.isfinite(distances[name])]:
        unknown[name] = "it has no index"
        judged.remove(name)
        del distances[name]
    corrected = _corrected(calibration.p_values(distances), calibration.level)
    found: dict[str, dict[str, Any]] = {}
    for name in judged:
        moved = distances[name] >= calibration.thresholds[name]
        before = [bool((one or {}).get("columns", {}).get(name, {}).get("moved")) for one in earlier]
        batches = sum(before[: policy.of_batches - 1]) + moved
        found[name] = {
            "psi": round(distances[name], 6),
            "threshold": round(calibration.thresholds[name], 6),
            "beyond_chance": round(calibration.beyond_chance[name], 6),
            "corrected_p": round(corrected[name], 6),
            "moved": moved,
            "batches_moved": batches,
            "drifted": moved and batches >= policy.persistent_batches,
            "missing": round(1 - _numbers(current[name]) / len(current), 6),
            "samples": {"reference": _numbers(matched[name]), "served": _numbers(current[name])},
        }
    checks = [_check(name, found[name], policy) for name in judged]
    checks.sort(key=lambda check: -(check.value or 0) / (check.bound or 1))
    beyond = sum(found[name]["moved"] for name in judged)
    because = f"{len(judged)} columns kept to their thresholds"
    if beyond:
        because = (
            f"{beyond} of {len(judged)} columns moved, none yet in {policy.persistent_batches} "
            f"of the last {policy.of_batches} batches"
        )
    verdict = conclude([*checks, *_undecided(unknown)], DRIFT, because=because)
    return Compared(verdict=verdict, columns=found, calibration=calibration.document())


def _check(name: str, found: Mapping[str, Any], policy: Drift) -> Check:
    detail = f"{name} is {found['psi']:.3f} from the reference, threshold {found['threshold']:.3f}"
    if found["moved"]:
        detail += f", beyond it in {found['batches_moved']} of the last {policy.of_batches} batches"
    return Check(
        name=name,
        value=found["psi"],
        bound=found["threshold"],
        state=State.FAILED if found["drifted"] else State.PASSED,
        rule=f"value < bound, or beyond it in fewer than {policy.persistent_batches} of {policy.of_batches} batches",
        samples=found["samples"],
        detail=detail,
    )


def _undecided(unknown: Mapping[str, str]) -> Iterable[Check]:
    for name, why in unknown.items():
        yield Check(name=name, state=State.UNDECIDED, detail=f"{name} cannot be judged: {why}")


def _too_few(reference: pd.DataFrame, current: pd.DataFrame, policy: Drift) -> Check | None:
    samples = {"reference": len(reference), "served": len(current)}
    which = min(samples, key=lambda name: samples[name])
    if samples[which] >= policy.minimum_rows:
        return None
    return Check(
        name="rows",
        value=samples[which],
        bound=policy.minimum_rows,
        state=State.UNDECIDED,
        rule="value >= bound",
        samples=samples,
        detail=f"{samples[which]} {which} rows, of {policy.minimum_rows} needed",
    )


def _unknown(reference: pd.Series[Any], current: pd.Series[Any], policy: Drift) -> str | None:
    """Why a column cannot be judged, or None."""
    for what, column in (("reference", reference), ("served", current)):
        if _numbers(column) < policy.minimum_rows:
            return f"{_numbers(column)} {what} rows have a number, of {policy.minimum_rows} needed"
    return None


def _numbers(column: pd.Series[Any]) -> int:
    numbers = np.asarray(column.to_numpy(dtype=np.float64), dtype=np.float64)
    return int(np.isfinite(numbers).sum())


def _calibrated(reference: pd.DataFrame, current: pd.DataFrame, columns: Sequence[str], policy: Drift) -> Calibration:
    days = current["event_time"].dt.floor("D").nunique()
    numbers = tuple(_rounded(_numbers(current[name]) // days) for name in columns)
    times = reference["event_time"].dt.tz_localize(None).to_numpy(dtype="datetime64[us]").astype(np.int64)
    history = history_of(times, {name: reference[name].to_numpy(dtype=np.float64) for name in columns})
    return _once(_Same(history), policy, numbers, days)


def _rounded(count: int) -> int:
    """Down to two digits: fewer rows say less, and batches that are nearly alike share their calibration.

    >>> _rounded(4_179)
    4100
    """
    scale: int = 10 ** max(0, len(str(count)) - 2)
    return max(1, count // scale * scale)


class _Same:
    """A history as the key of a cache: equal counts of equal columns on equal days are the same."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._key = (history.columns, history.day.tobytes(), history.counts.tobytes())

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._key == other._key


@lru_cache(maxsize=16)
def _once(reference: _Same, policy: Drift, numbers: tuple[int, ...], days: int) -> Calibration:
    history = reference.history
    return calibrate(history, policy, numbers=dict(zip(history.columns, numbers, strict=True)), window_days=days)


def _corrected(p_values: Mapping[str, float], level: float) -> dict[str, float]:
    """The p-values, corrected for the number of columns (Bonferroni)."""
    from statsmodels.stats.multitest import multipletests

    corrected = multipletests(list(p_values.values()), alpha=level or 0.001, method="bonferroni")[1]
    return dict(zip(p_values, map(float, corrected), strict=True))
