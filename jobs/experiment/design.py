"""How many labels an experiment needs, and for how long; pure."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

from jobs.experiment.reading import share_of_alpha
from jobs.rollout.means import Sample, difference_interval
from jobs.spec import Experiment


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What is known of the primary metric before the experiment."""

    mean: float
    variance: float
    """Of one event's value, with what its entity adds to it."""
    per_day: float
    """Events a day that the metric is about, of all traffic together."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """How large and how long an experiment is for one effect."""

    effect: float
    labels: int
    """On both sides together, looked at as often as wanted."""
    labels_fixed: int
    """The same for a single look at the end, as a t-test would have it."""
    price: float
    """The one divided by the other: what looking costs at most. A larger effect than planned is found sooner."""
    serving_days: int
    days: int
    """Until the last of the labels is known."""

    def document(self) -> dict[str, Any]:
        return asdict(self)


def design(policy: Experiment, baseline: Baseline, delay_days: int, effect: float | None = None) -> Design:
    """The size and duration with which an effect, by default the smallest worth a release, is found with the power.

    Fixed: `statsmodels`' t-test for two independent samples. Sequential: the interval of `means.difference_interval`
    is a fixed number of standard errors wide where it is planned for, so with that many, and as many as the power asks
    for, the effect is away from 0: n = 4 variance (width + z)² / effect². Raises ValueError for numbers that nothing
    can be planned with.
    """
    from statsmodels.stats.power import TTestIndPower

    effect = policy.minimum_effect if effect is None else effect
    if not (baseline.variance > 0 and math.isfinite(baseline.variance) and baseline.per_day > 0 and effect > 0):
        raise ValueError(
            f"nothing can be planned with variance {baseline.variance}, {baseline.per_day} events a day, effect {effect}"
        )
    alpha, deviation = share_of_alpha(policy), math.sqrt(baseline.variance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an effect of many standard deviations is seen in fewer than it looks for
        each = float(TTestIndPower().solve_power(effect_size=effect / deviation, alpha=alpha, power=policy.power))
    errors = width(alpha) + normal_quantile(policy.power)
    labels = max(4, math.ceil(4 * baseline.variance * (errors / effect) ** 2))
    fixed = max(4, 2 * math.ceil(each)) if math.isfinite(each) else 4
    serving = math.ceil(labels / baseline.per_day)
    return Design(
        effect=effect, labels=labels, labels_fixed=fixed, price=labels / fixed, serving_days=serving,
        days=serving + delay_days,
    )  # fmt: skip


def detectable(policy: Experiment, baseline: Baseline, delay_days: int) -> float:
    """The smallest effect that the policy's maximum of days is enough for, in the metric's unit.

    >>> from jobs.spec import Metric
    >>> policy = Experiment(primary=Metric(name="brier", direction="lower"), minimum_effect=0.01, maximum_days=17)
    >>> base = Baseline(mean=0.1, variance=0.09, per_day=2_000)
    >>> found = detectable(policy, base, delay_days=7)
    >>> design(policy, base, 7, found * 1.001).days <= 17 < design(policy, base, 7, found * 0.98).days
    True
    """
    labels = (policy.maximum_days - delay_days) * baseline.per_day
    return (width(share_of_alpha(policy)) + normal_quantile(policy.power)) * math.sqrt(4 * baseline.variance / labels)


def width(alpha: float) -> float:
    """Half the width of the sequential interval in standard errors, where it is narrowest; 1.96 is a single look's.

    >>> round(width(0.05), 2)
    3.04
    """
    even = Sample(count=5_000, mean=0.0, variance=1.0)
    return difference_interval(even, even, alpha, 10_000).high / math.sqrt(2 / 5_000)


def normal_quantile(share: float) -> float:
    """How many standard deviations a normal variable stays below with that chance.

    >>> round(normal_quantile(0.8), 3)
    0.842
    """
    return NormalDist().inv_cdf(share)
