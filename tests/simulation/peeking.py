"""What looking early costs: a test made for one look beside the ones that hold at every look, on the same draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from jobs.release.checks import State
from jobs.rollout.comparisons import improved
from jobs.rollout.means import Sample
from jobs.rollout.statistics import Interval
from jobs.rollout.steps import decide
from jobs.spec import Canary
from tests.simulation.traffic import LOOK_SECONDS, Scenario, draw
from tests.simulation.walk import paced, wilson

LOOKS = 50
Firsts = NDArray[np.int64]
"""At which look each rollout was first decided, counted from 1; 0 for never."""


@dataclass(frozen=True, kw_only=True)
class Peeked:
    """In how many of the rollouts something was found, by look."""

    name: str
    first: Firsts
    per_look: int
    """New observations of both groups between two looks."""

    @property
    def found(self) -> int:
        return int((self.first > 0).sum())

    @property
    def interval(self) -> Interval:
        return wilson(self.found, len(self.first))

    def by_look(self) -> NDArray[np.float64]:
        """The share of rollouts in which something was found up to each look."""
        return np.array([((self.first > 0) & (self.first <= look)).mean() for look in range(1, LOOKS + 1)])

    def delay(self, q: float) -> float:
        """A quantile of the looks until something was found; NaN where nothing was."""
        return float(np.quantile(self.first[self.first > 0], q)) if self.found else float("nan")


def errors(policy: Canary, rollouts: int, seed: int, each: Callable[[], None]) -> tuple[Peeked, Peeked]:
    """A/A at half of the traffic: a z test at every look beside the controller's decision, both with all of alpha."""
    scenario = Scenario(name="A/A", policy=paced(policy, LOOKS))
    rng = np.random.default_rng(seed)
    naive, ours = [], []
    for traffic in draw(scenario, 50, LOOKS, rollouts, rng):
        failures, requests = (
            np.array([[getattr(one, what) for one in slot] for slot in (traffic.candidate, traffic.stable)])
            for what in ("errors", "requests")
        )
        pooled = failures.sum(0) / requests.sum(0)
        error = np.sqrt(pooled * (1 - pooled) * (1 / requests).sum(0))
        z = (failures[0] / requests[0] - failures[1] / requests[1]) / np.where(error > 0, error, np.inf)
        naive.append(_first(z > stats.norm.ppf(1 - policy.alpha)))
        verdicts = (
            decide(50, mine, theirs, look * LOOK_SECONDS, scenario.policy)
            for look, (mine, theirs) in enumerate(zip(traffic.candidate, traffic.stable, strict=True), start=1)
        )
        ours.append(_first(np.array([any(check.state is State.FAILED for check in one.checks) for one in verdicts])))
        each()
    return (
        Peeked(name="z test, looked at 50 times", first=np.array(naive), per_look=scenario.requests),
        Peeked(name="the controller's decision", first=np.array(ours), per_look=scenario.requests),
    )


def means(
    lift: float, alpha: float, rollouts: int, seed: int, each: Callable[[], None], per_look: int = 200
) -> tuple[Peeked, Peeked]:
    """An experiment on a skewed amount (gamma, mean 1, deviation 1) with a relative lift: Welch's test, and ours.

    `per_look` observations of either group come in between two of fifty looks.
    """
    rng = np.random.default_rng(seed)
    naive, ours = [], []
    for _ in range(rollouts):
        groups = [_cumulated(rng.gamma(1.0, 1.0 + extra, (LOOKS, per_look))) for extra in (lift, 0.0)]
        counts = np.arange(1, LOOKS + 1) * per_look
        (treated, control), error = groups, np.sqrt(sum(variance / counts for _, variance in groups))
        naive.append(_first(np.abs(treated[0] - control[0]) / error > stats.norm.ppf(1 - alpha / 2)))
        samples = zip(*([_sample(*one) for one in zip(counts, *group, strict=True)] for group in groups), strict=True)
        states = [
            improved("amount", one, other, effect=0.0, alpha=alpha, planned=2 * LOOKS * per_look).state
            for one, other in samples
        ]
        ours.append(_first(np.array([state is not State.UNDECIDED for state in states])))
        each()
    names = ("Welch's test, looked at 50 times", "the confidence sequence")
    return tuple(  # type: ignore[return-value]
        Peeked(name=name, first=np.array(first), per_look=2 * per_look)
        for name, first in zip(names, (naive, ours), strict=True)
    )


def _cumulated(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of all values up to each look."""
    counts = np.arange(1, len(values) + 1) * values.shape[1]
    mean = values.sum(1).cumsum() / counts
    squares = (values**2).sum(1).cumsum()
    return mean, (squares - counts * mean**2) / (counts - 1)


def _sample(count: int, mean: float, variance: float) -> Sample:
    return Sample(count=int(count), mean=float(mean), variance=float(variance))


def _first(found: NDArray[np.bool_]) -> int:
    return int(found.argmax()) + 1 if found.any() else 0
