"""A reference and the days after it, watched batch by batch as the drift stage does, without its pages; pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.monitoring.alarms import persistent
from jobs.monitoring.calibration import QUARTERS, Calibration, alarms_of, calibrate
from jobs.monitoring.quarters import History, watched
from jobs.policies import Drift


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What came of watching consecutive days."""

    calibration: Calibration
    day: NDArray[np.int64]
    """The last day of each batch's window, as days since 1970."""
    distances: NDArray[np.float64]
    """By batch and column."""
    drifted: NDArray[np.bool_]
    """Where a column is beyond its threshold, and has been in enough of the last batches."""
    alarms: int
    """Alarms, those within a cool-down counted as one."""

    @property
    def first(self) -> int | None:
        """The day of the first alarm, or None."""
        found = self.day[self.drifted.any(axis=1)]
        return int(found[0]) if len(found) else None


def watch(reference: History, served: History, policy: Drift, *, seed: int = 1, count: int = QUARTERS) -> Watched:
    """The batches of every full window of the served days, which follow one another without a gap."""
    numbers = served.rows.mean(axis=0)
    calibration = calibrate(
        reference, policy, numbers={name: int(one) for name, one in zip(served.columns, numbers, strict=True)},
        window_days=policy.window_days, seed=seed, count=count,
    )  # fmt: skip
    distances = watched(
        reference.counts, reference.weekday, served.counts, served.weekday, reference.used,
        policy.window_days, policy.minimum_rows,
    )  # fmt: skip
    moved = distances >= np.array([calibration.thresholds[name] for name in reference.columns])
    return Watched(
        calibration=calibration,
        day=served.day[policy.window_days - 1 :],
        distances=distances,
        drifted=persistent(moved, policy.persistent_batches, policy.of_batches),
        alarms=alarms_of(moved, policy),
    )
