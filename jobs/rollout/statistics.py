"""What a number of requests proves; pure, and valid however often it is looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence

Histogram = Sequence[tuple[float, float]]
"""Upper bound and count of each bucket, in rising order; the last bound may be infinite."""
_GRID = 64


def evidence_above(events: float, trials: float, limit: float) -> float:
    """How many times likelier the events are at rates above the limit than at the limit itself.

    A mixture of likelihood ratios over rates between the limit and 1. While the true rate is at most the
    limit it is a non-negative supermartingale that starts at 1, so by Ville's inequality it exceeds 1/alpha
    with probability alpha at most, over all looks together (Robbins 1970; Ramdas et al. 2023, section 3).

    >>> round(evidence_above(0, 0, 0.01), 6)
    1.0
    >>> evidence_above(3, 300, 0.01) < 1 < 100 < evidence_above(5, 10, 0.01)
    True
    """
    if not 0 < limit < 1:
        raise ValueError(f"limit {limit} is not between 0 and 1")
    if not 0 <= events <= trials:
        raise ValueError(f"{events} events in {trials} trials is impossible")
    total = 0.0
    for step in range(_GRID):
        rate = limit ** (1 - (step + 0.5) / _GRID)
        total += math.exp(
            min(700.0, events * math.log(rate / limit) + (trials - events) * math.log((1 - rate) / (1 - limit)))
        )
    return total / _GRID


def quantile(histogram: Histogram, q: float) -> float | None:
    """The value below which a share q of the counts lies, interpolated in its bucket; None without counts.

    >>> quantile([(1.0, 10), (5.0, 80), (10.0, 10)], 0.95)
    7.5
    """
    total = sum(count for _, count in histogram)
    if not total > 0:
        return None
    wanted, below, lower = q * total, 0.0, 0.0
    for upper, count in histogram:
        if count > 0 and below + count >= wanted:
            return lower if math.isinf(upper) else lower + (upper - lower) * (wanted - below) / count
        below, lower = below + count, upper
    return lower


def count_above(histogram: Histogram, limit: float) -> float:
    """How many of the counts lie above the limit, interpolated in the bucket that holds it.

    >>> count_above([(1.0, 10), (5.0, 80), (10.0, 10)], 7.5)
    5.0
    """
    above, lower = 0.0, 0.0
    for upper, count in histogram:
        if lower >= limit:
            above += count
        elif upper > limit:
            above += count if math.isinf(upper) else count * (upper - limit) / (upper - lower)
        lower = upper
    return above
