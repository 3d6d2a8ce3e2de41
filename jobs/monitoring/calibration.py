"""How far each column may move before it is drift: as far as the reference's own days let it, within a budget; pure.

Made-up quarters of the reference's days are watched by the very rule that watches the real one, so that overlapping
windows, persistence, the number of columns and cool-down all count for what they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import DataRejected
from jobs.monitoring.alarms import events, persistent
from jobs.monitoring.quarters import QUARTER_DAYS, History, quarters
from jobs.policies import Drift

MINIMUM_DAYS = 14
"""Days of reference below which it is not known how much days differ."""
QUARTERS = 200
LEVELS = (0.05, 0.035, 0.025, 0.018, 0.0125, 0.009, 0.006, 0.004, 0.0025, 0.0015, 0.001)
"""The chances, per batch and over all columns, that are tried in turn; then, whatever is beyond all that was made up."""
SAFETY = 0.3
"""The share of the budget that is given to what the made-up quarters know of: the rest is for what they do not."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What the reference's own history says about distances."""

    columns: tuple[str, ...]
    thresholds: Mapping[str, float]
    """The index from which a column has moved: the larger of what is beyond chance and the policy's effect floor."""
    beyond_chance: Mapping[str, float]
    level: float
    """The chance, per batch and over all columns, that a column is beyond chance when nothing has changed."""
    false_alarms: float
    """Alarms a quarter in the made-up quarters, with these thresholds."""
    days: int
    """Of reference."""
    window_days: int
    null: NDArray[np.float64]
    """The made-up distances: a column each, sorted."""

    def p_values(self, distances: Mapping[str, float]) -> dict[str, float]:
        """The share of made-up windows as far away as each of these; never 0."""
        found = {}
        for name, distance in distances.items():
            drawn = self.null[:, self.columns.index(name)]
            found[name] = float((len(drawn) - np.searchsorted(drawn, distance, side="left") + 1) / (len(drawn) + 1))
        return found

    def document(self) -> dict[str, Any]:
        """What a report says about how its thresholds came about."""
        return {
            "level": self.level,
            "false_alarms_per_quarter": round(self.false_alarms, 4),
            "quarters": QUARTERS,
            "batches_per_quarter": QUARTER_DAYS,
            "reference_days": self.days,
            "window_days": self.window_days,
        }


def calibrate(history: History, policy: Drift, *, numbers: Mapping[str, int], window_days: int, seed: int = 1,
              count: int = QUARTERS) -> Calibration:  # fmt: skip
    """The thresholds with which made-up quarters alarm at most as often as SAFETY of the policy's budget.

    `numbers` are how many numbers a served day has of each column. Raises DataRejected below MINIMUM_DAYS of reference.
    """
    if len(history.day) < MINIMUM_DAYS:
        raise DataRejected(f"{len(history.day)} days of reference, of {MINIMUM_DAYS} needed to know how days differ")
    served = np.array([max(numbers[name], 1) for name in history.columns], dtype=np.float64)
    made = quarters(history, served, window_days=window_days, minimum_rows=policy.minimum_rows, count=count, seed=seed)
    distances = np.stack(list(made))
    null = np.sort(distances.reshape(-1, len(history.columns)), axis=0)
    for level in (*LEVELS, 0.0):
        place = int(np.ceil((1 - level / len(history.columns)) * len(null)))
        beyond = null[place] if place < len(null) else np.nextafter(null[-1], np.inf)
        bounds = np.maximum(beyond, policy.effect_floor)
        alarms = float(np.mean([alarms_of(one >= bounds, policy) for one in distances]))
        if alarms <= SAFETY * policy.false_alarms_per_quarter:
            break
    return Calibration(
        columns=history.columns,
        thresholds=dict(zip(history.columns, bounds.tolist(), strict=True)),
        beyond_chance=dict(zip(history.columns, beyond.tolist(), strict=True)),
        level=level,
        false_alarms=alarms,
        days=len(history.day),
        window_days=window_days,
        null=null,
    )


def alarms_of(moved: NDArray[np.bool_], policy: Drift) -> int:
    """How many alarms a policy raises over consecutive batches, of which columns moved (a row a batch, a column each)."""
    lasting = persistent(moved, policy.persistent_batches, policy.of_batches)
    return events(np.asarray(lasting.any(axis=1)), policy.cool_down_days)
