"""What a number of requests proves; pure, and valid however often it is looked at.

Every bound here holds at all sample sizes at once: the chance that it is ever wrong is the stated one, so that a look
after each request costs nothing. Sources are named at each function, the pictures are in docs/decisions.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

Histogram = Sequence[tuple[float, float]]
"""Upper bound and count of each bucket, in rising order; the last bound may be infinite."""
KNOWN = 100.0
"""How many observations a guess of a rate that is known beforehand weighs."""
_GRID, _HALVINGS = 64, 20


class Interval(NamedTuple):
    """Between which values something lies, with the chance asked for, at this and every other look."""

    low: float
    high: float


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
    _possible(events, trials)
    total = 0.0
    for step in range(_GRID):
        rate = limit ** (1 - (step + 0.5) / _GRID)
        total += math.exp(
            min(700.0, events * math.log(rate / limit) + (trials - events) * math.log((1 - rate) / (1 - limit)))
        )
    return total / _GRID


def proportion(events: float, trials: float, alpha: float) -> Interval:
    """The rates that so many events do not speak against: the true one is among them at every look, but for alpha.

    Robbins' beta-binomial mixture (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021, section 3): a rate p is
    left out once the events are 1/alpha times likelier under a Beta(1/2, 1/2) mixture of rates than under p.

    >>> [round(bound, 4) for bound in proportion(10, 1_000, 0.05)]
    [0.0024, 0.0262]
    >>> proportion(0, 0, 0.05)
    Interval(low=0.0, high=1.0)
    """
    _possible(events, trials)
    if not trials:
        return Interval(0.0, 1.0)
    least = _mixture(events, trials, 0.5, 0.5) + math.log(alpha)
    at, failures = events / trials, trials - events

    def believable(rate: float) -> bool:  # a rate within (0, 1): its ends are decided below
        return events * math.log(rate) + failures * math.log1p(-rate) >= least

    low = 0.0 if not events else _edge(believable, at, 0.0)
    high = 1.0 if events == trials else _edge(believable, at, 1.0)
    return Interval(low, high)


def quantile_interval(histogram: Histogram, q: float, alpha: float) -> Interval:
    """Between which values the true quantile lies, at every look but for a chance of alpha.

    The number of observations up to the true quantile is binomial with rate q, whatever the distribution: those
    counts that the mixture does not speak against are turned back into values (Howard and Ramdas 2022, section 2.3).
    Values within a bucket are interpolated. Without counts it is everything.

    >>> quantile_interval([(1.0, 900), (2.0, 60), (10.0, 40)], 0.95, 0.05).high < 10
    True
    """
    total = sum(count for _, count in histogram)
    if not total > 0:
        return Interval(0.0, math.inf)
    a, b, rate, other = KNOWN * q, KNOWN * (1 - q), math.log(q), math.log1p(-q)
    most = _log_beta(a, b) + math.lgamma(KNOWN + total) - math.log(alpha)

    def believable(share: float) -> bool:  # whether the mixture is less than 1/alpha times likelier than q itself
        count = share * total
        rest = total - count
        return math.lgamma(a + count) + math.lgamma(b + rest) - count * rate - rest * other < most

    low, high = _edge(believable, q, 0.0), _edge(believable, q, 1.0)
    lower = 0.0 if believable(0.0) else quantile(histogram, low)
    upper = math.inf if believable(1.0) else quantile(histogram, high)
    return Interval(lower or 0.0, math.inf if upper is None else upper)


def share_evidence(events: float, trials: float, share: float, tolerance: float = 0.0) -> float:
    """The logarithm of how much likelier the events are under any share than under the nearest one tolerated.

    The multinomial test of Lindon and Malek (2022) for two groups: a Dirichlet mixture around the share that was
    asked for. With a tolerance it is divided by the best likelihood within it (universal inference; Wasserman,
    Ramdas and Balakrishnan 2020), which is an upper bound of the truth's. It exceeds log(1/alpha) with
    probability alpha at most, over all looks.

    >>> share_evidence(500, 10_000, 0.05) < 0 < 30 < share_evidence(700, 10_000, 0.05)
    True
    """
    _possible(events, trials)
    if not 0 < share < 1:
        raise ValueError(f"share {share} is not between 0 and 1")
    if not trials:
        return 0.0
    nearest = min(max(events / trials, share - tolerance), share + tolerance)
    nearest = min(max(nearest, 0.0), 1.0)
    return _mixture(events, trials, KNOWN * share, KNOWN * (1 - share)) - _log_likelihood(events, trials, nearest)


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


def _possible(events: float, trials: float) -> None:
    if not 0 <= events <= trials or math.isinf(trials):
        raise ValueError(f"{events} events in {trials} trials is impossible")


def _log_likelihood(events: float, trials: float, rate: float) -> float:
    """Of one order of the events; minus infinity where the rate rules them out."""
    if (rate <= 0 and events) or (rate >= 1 and events < trials):
        return -math.inf
    failures = trials - events
    return (events * math.log(rate) if events else 0.0) + (failures * math.log1p(-rate) if failures else 0.0)


def _mixture(events: float, trials: float, a: float, b: float) -> float:
    """The logarithm of the events' likelihood, averaged over rates from a Beta(a, b) distribution."""
    return _log_beta(a + events, b + trials - events) - _log_beta(a, b)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _edge(believable: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where believing ends between a point inside and one outside, on the outer side of it."""
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        if believable(middle):
            inside = middle
        else:
            outside = middle
    return outside
