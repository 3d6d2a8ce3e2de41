"""From a probability to a decision: plain rules first, then a release's thresholds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

REVIEW, DECLINE = 0.5, 2.0
"""For a release without thresholds: even odds ask for a review, and the model alone never declines."""


def decide(ruled: NDArray[np.bool_], scores: NDArray[np.float64], decisions: Mapping[str, float]) -> list[str]:
    """`decline`, `review` or `approve` for each row."""
    review, decline = decisions.get("review", REVIEW), decisions.get("decline", DECLINE)
    declined = ruled | (scores >= decline)
    chosen: list[str] = np.select([declined, scores >= review], ["decline", "review"], "approve").tolist()
    return chosen
