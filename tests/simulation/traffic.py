"""Made-up traffic of a candidate and the stable slot: what a router would have counted at each look, drawn at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from jobs.rollout.observed import Observed
from jobs.rollout.statistics import Histogram
from jobs.spec import Canary

Counts = NDArray[np.int64]
LATENCY = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0, 1_000.0)
"""Milliseconds: the bounds that router and slots count by."""
SCORES = tuple(round(step / 20, 2) for step in range(1, 21))
LOOK_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Slot:
    """How a slot behaves: what is drawn from."""

    error_rate: float = 0.004
    median_milliseconds: float = 2.0
    spread: float = 0.6
    """Of the logarithm of a request's time: the 95th percentile is 2.7 times the median."""
    scores: tuple[float, float] = (1.0, 9.0)
    """Parameters of the Beta distribution of its scores."""

    @property
    def times(self) -> NDArray[np.float64]:
        """The share of requests in each bucket of latency."""
        return _shares(stats.lognorm(self.spread, scale=self.median_milliseconds).cdf(LATENCY))

    @property
    def scored(self) -> NDArray[np.float64]:
        """The share of answers in each bucket of scores."""
        return _shares(stats.beta(*self.scores).cdf(SCORES))


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A candidate beside the stable slot, and the policy it is judged by."""

    name: str
    candidate: Slot = Slot()
    stable: Slot = Slot()
    policy: Canary
    routed: dict[int, float] = field(default_factory=dict)
    """Where the router sends another share than the step's weight: percent to share."""
    requests: int = 4_000
    """Of both slots together between two looks."""
    slowdown: float = 1.0
    """How many times longer everything takes in either slot in a third of the looks: a busy machine."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What both slots had counted since the step began, at each look of one rollout."""

    candidate: tuple[Observed, ...]
    stable: tuple[Observed, ...]


def draw(scenario: Scenario, percent: int, looks: int, rollouts: int, rng: np.random.Generator) -> Iterator[Traffic]:
    """The traffic of many rollouts' step at `percent`; whole entities move, so a rollout's share is itself drawn."""
    weight = scenario.routed.get(percent, percent / 100)
    spread = np.sqrt(weight * (1 - weight) / scenario.policy.entities)
    share = np.clip(rng.normal(weight, spread, rollouts), 0, 1)
    mine = rng.binomial(scenario.requests, share[:, None], (rollouts, looks))
    busy = np.arange(looks) % 3 == 0
    slots = [
        _counted(slot, requests, scenario.slowdown, busy, rng)
        for slot, requests in ((scenario.candidate, mine), (scenario.stable, scenario.requests - mine))
    ]
    for number in range(rollouts):
        candidate, stable = (tuple(_observed(*(part[number] for part in parts))) for parts in slots)
        yield Traffic(candidate=candidate, stable=stable)


def _counted(
    slot: Slot, requests: Counts, slowdown: float, busy: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Counts, Counts, Counts, Counts]:
    errors = rng.binomial(requests, slot.error_rate)
    times = rng.multinomial(requests, slot.times)
    if slowdown != 1:
        slower = replace(slot, median_milliseconds=slot.median_milliseconds * slowdown)
        times[:, busy] = rng.multinomial(requests[:, busy], slower.times)
    scores = rng.multinomial(requests, slot.scored)
    return requests.cumsum(1), errors.cumsum(1), times.cumsum(1), scores.cumsum(1)


def _observed(requests: Counts, errors: Counts, times: Counts, scores: Counts) -> Iterator[Observed]:
    for look in range(len(requests)):
        yield Observed(
            requests=int(requests[look]),
            errors=int(errors[look]),
            latency=_histogram(LATENCY, times[look]),
            scores=_histogram(SCORES, scores[look]),
        )


def _histogram(bounds: tuple[float, ...], counts: Counts) -> Histogram:
    return tuple(zip(bounds, counts.tolist(), strict=True))


def _shares(cumulated: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.diff(np.concatenate(([0.0], cumulated[:-1], [1.0])))
    return shares / shares.sum()
