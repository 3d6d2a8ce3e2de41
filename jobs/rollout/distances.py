"""How far two distributions are apart, on the buckets that both were counted in; pure, and valid at every look."""

from __future__ import annotations

import math

from jobs.rollout.statistics import Histogram, Interval


def radius(count: float, alpha: float) -> float:
    """How far a share of `count` observations below any value may be from the true one, at all counts and values.

    The time-uniform inequality of Dvoretzky, Kiefer and Wolfowitz (Howard and Ramdas 2022, corollary 2):
    .85 sqrt((log log(e t) + .8 log(1612 / alpha)) / t).

    >>> round(radius(10_000, 0.05), 4)
    0.0277
    """
    if count < 1:
        return 1.0
    return min(1.0, 0.85 * math.sqrt((math.log(math.log(math.e * count)) + 0.8 * math.log(1612 / alpha)) / count))


def distance(first: Histogram, second: Histogram) -> float | None:
    """The greatest difference of the two shares below any bound (Kolmogorov and Smirnov); None without counts.

    Raises ValueError when the buckets are not the same.

    >>> distance([(0.5, 90), (1.0, 10)], [(0.5, 50), (1.0, 50)])
    0.4
    """
    bounds = [bound for bound, _ in first]
    if bounds != [bound for bound, _ in second]:
        raise ValueError("the two histograms are of other buckets")
    totals = [sum(count for _, count in one) for one in (first, second)]
    if not min(totals, default=0) > 0:
        return None
    greatest = below_first = below_second = 0.0
    for (_, mine), (_, theirs) in zip(first, second, strict=True):
        below_first += mine / totals[0]
        below_second += theirs / totals[1]
        greatest = max(greatest, abs(below_first - below_second))
    return greatest


def distance_interval(first: Histogram, second: Histogram, alpha: float) -> Interval:
    """Between which values the true distance lies, at every look but for a chance of alpha: half of it for each side."""
    found = distance(first, second)
    if found is None:
        return Interval(0.0, 1.0)
    around = sum(radius(sum(count for _, count in one), alpha / 2) for one in (first, second))
    return Interval(max(0.0, found - around), min(1.0, found + around))
