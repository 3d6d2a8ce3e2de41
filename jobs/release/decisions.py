"""From scores to decisions: plain rules first, then what a release decides by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

REVIEW, DECLINE = 0.5, 2.0
"""For a release without thresholds: even odds ask for a review, and the model alone never declines."""

ORDER: Mapping[str, Any] = {"always": "rank"}
"""Of a ranking: there is nothing to decide about a row."""


def decide(ruled: NDArray[np.bool_], scores: NDArray[np.float64], decisions: Mapping[str, Any]) -> list[str]:
    """A decision for each row.

    By thresholds `decline`, `review` or `approve`, where a rule holds `decline`. By `costs` (decision → its cost in each
    class) that of the least expected cost, the first among equals, and where a rule holds the last one; the rule alone,
    whose scores know no classes, decides between the first and the last. `always` names the one there is.
    """
    if "always" in decisions:
        return [str(decisions["always"])] * len(scores)
    costs = decisions.get("costs")
    if not costs:
        review, decline = decisions.get("review", REVIEW), decisions.get("decline", DECLINE)
        return [
            "decline" if held or score >= decline else "review" if score >= review else "approve"
            for held, score in zip(ruled.tolist(), scores.tolist(), strict=True)
        ]
    names = list(costs)
    if scores.ndim == 1:
        return [names[-1] if held else names[0] for held in ruled.tolist()]
    table = np.asarray([costs[name] for name in names], dtype=np.float64)
    cheapest = (scores[:, :-1] @ table.T).argmin(axis=1)
    return [names[place] for place in np.where(ruled, len(names) - 1, cheapest).tolist()]
