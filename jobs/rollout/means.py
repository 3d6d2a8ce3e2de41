"""How far two means are apart, at every look: for metrics on labels and for A/B tests; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from jobs.rollout.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What is known of a group: how many values, their mean and their variance."""

    count: int
    mean: float
    variance: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """The sample of some values; without any, mean and variance are NaN.

        >>> Sample.of([1.0, 2.0, 3.0])
        Sample(count=3, mean=2.0, variance=1.0)
        """
        known = list(values)
        count = len(known)
        mean = math.fsum(known) / count if count else math.nan
        squares = math.fsum((one - mean) ** 2 for one in known)
        return cls(count=count, mean=mean, variance=squares / (count - 1) if count > 1 else math.nan)


def difference(treated: Sample, control: Sample) -> float:
    """The treated group's mean minus the control's; NaN where one is unknown."""
    return treated.mean - control.mean


def difference_interval(treated: Sample, control: Sample, alpha: float, planned: int) -> Interval:
    """Between which values the true difference lies, at every look but for a chance of alpha.

    An asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, theorem 2.2), with the
    variance of a difference of two means in place of one mean's; narrowest when both groups together count
    `planned`. Asymptotic: it takes some hundred values before the stated chance holds, which the caller asks for.
    With fewer than two values on a side, or where one is no number, it is everything.

    >>> some = Sample(count=5_000, mean=1.0, variance=1.0)
    >>> [round(bound, 3) for bound in difference_interval(some, some, 0.05, 10_000)]
    [-0.061, 0.061]
    """
    count = treated.count + control.count
    numbers = (treated.mean, control.mean, treated.variance, control.variance)
    if min(treated.count, control.count) < 2 or not all(map(math.isfinite, numbers)):
        return Interval(-math.inf, math.inf)
    squared_error = treated.variance / treated.count + control.variance / control.count
    wide = squared_error * _boundary(count, alpha, planned)
    middle, around = difference(treated, control), math.sqrt(wide)
    return Interval(middle - around, middle + around)


def _boundary(count: int, alpha: float, planned: int) -> float:
    """How many squared standard errors wide the sequence is at a count, with rho tuned for `planned` (ibid., B.2)."""
    spent = -2 * math.log(alpha)
    rho_squared = (spent + math.log(spent) + 1) / planned
    grown = count * rho_squared + 1
    return grown / (count * rho_squared) * (math.log(grown) + spent)
