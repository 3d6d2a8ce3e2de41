"""Checks on the means of two groups: an experiment's metrics, and any metric that waits for labels; pure.

Both are decided by an interval that holds at every look. It needs some hundred values on either side before the stated
chance holds (it is asymptotic), so below `minimum` a check is undecided.
"""

from __future__ import annotations

import math

from jobs.release.checks import Check, State
from jobs.rollout.means import Sample, difference, difference_interval
from jobs.rollout.statistics import Interval

MINIMUM = 200


def improved(
    name: str, treated: Sample, control: Sample, *, effect: float, alpha: float, planned: int,
    lower_is_better: bool = False, minimum: int = MINIMUM,
) -> Check:  # fmt: skip
    """Whether the treated mean is surely better by more than `effect`: a primary metric.

    PASSED when all of the interval is better than that, FAILED when none of it is.

    >>> one, other = Sample(count=9_000, mean=1.2, variance=1.0), Sample(count=9_000, mean=1.0, variance=1.0)
    >>> improved("spend", one, other, effect=0.05, alpha=0.05, planned=18_000).state.value
    'PASSED'
    """
    better, found, fault = _gain(treated, control, alpha, planned, lower_is_better, minimum)
    state = State.PASSED if found.low > effect else State.FAILED if found.high <= effect else State.UNDECIDED
    return _check(name, better, found, effect, "low > bound", fault, state, treated, control)


def not_worse(
    name: str, treated: Sample, control: Sample, *, margin: float, alpha: float, planned: int,
    lower_is_better: bool = False, minimum: int = MINIMUM,
) -> Check:  # fmt: skip
    """Whether the treated mean is surely no more than `margin` worse: a guardrail, or a label metric of a canary.

    PASSED when none of the interval is worse than that, FAILED when all of it is.

    >>> one, other = Sample(count=9_000, mean=1.2, variance=1.0), Sample(count=9_000, mean=1.0, variance=1.0)
    >>> not_worse("loss", one, other, margin=0.05, alpha=0.05, planned=18_000, lower_is_better=True).state.value
    'FAILED'
    """
    better, found, fault = _gain(treated, control, alpha, planned, lower_is_better, minimum)
    state = State.PASSED if found.low >= -margin else State.FAILED if found.high < -margin else State.UNDECIDED
    return _check(name, better, found, -margin, "low >= bound", fault, state, treated, control)


def _gain(
    treated: Sample, control: Sample, alpha: float, planned: int, lower_is_better: bool, minimum: int
) -> tuple[float, Interval, State | None]:
    """How much better the treated mean is, its interval, and the state where they prove nothing."""
    gain = difference(treated, control)
    found = difference_interval(treated, control, alpha, planned)
    if lower_is_better:
        gain, found = -gain, Interval(-found.high, -found.low)
    if min(treated.count, control.count) < max(minimum, 2):
        return gain, found, State.UNDECIDED
    numbers = (treated.mean, control.mean, treated.variance, control.variance)
    sound = all(map(math.isfinite, numbers)) and min(treated.variance, control.variance) >= 0
    return gain, found, None if sound else State.FAILED


def _check(
    name: str, gain: float, found: Interval, bound: float, rule: str, fault: State | None, state: State,
    treated: Sample, control: Sample,
) -> Check:  # fmt: skip
    known = all(map(math.isfinite, (gain, found.low, found.high)))
    samples = {"treated": treated.count, "control": control.count}
    if fault is State.FAILED or not known:
        said = "is no number" if fault is State.FAILED else f"too few values: {treated.count} and {control.count}"
        return Check(
            name=name, bound=bound, rule=rule, state=fault or State.UNDECIDED, detail=f"{name} {said}", samples=samples
        )  # fmt: skip
    few = f"; too few values to decide: {treated.count} and {control.count}" if fault else ""
    detail = f"{name} {gain:+.4g} better, interval {found.low:+.4g} to {found.high:+.4g}, bound {bound:+.4g}{few}"
    return Check(
        name=name, value=gain, bound=bound, low=found.low, high=found.high, rule=rule, state=fault or state,
        detail=detail, samples=samples,
    )  # fmt: skip
