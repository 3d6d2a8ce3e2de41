"""Many rollouts through the very functions that the controller calls, and what became of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from jobs.rollout.statistics import Interval
from jobs.rollout.steps import decide
from jobs.rollout.verdict import Decision
from jobs.spec import Canary
from tests.simulation.traffic import LOOK_SECONDS, Scenario, Traffic, draw

STEPS = {5: 17, 25: 17, 50: 16}
"""Percent of traffic and the looks taken at it: fifty in all, none of which may end a good release's walk."""
PATIENCE = 2
"""How many times as long a step may hold before it is rolled back at its deadline."""
Decide = Callable[..., object]


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What became of one rollout."""

    decision: Decision
    rule: str
    late: bool
    """Whether it ended at a deadline, for want of evidence."""
    requests: int
    """How many requests the candidate was sent until then."""
    looks: int


@dataclass(kw_only=True)
class Outcome:
    """What became of a scenario's rollouts."""

    scenario: Scenario
    fates: list[Fate] = field(default_factory=list)

    @property
    def ended(self) -> list[Fate]:
        """Those that were rolled back, on evidence or at a deadline."""
        return [fate for fate in self.fates if fate.decision is Decision.ROLL_BACK]

    @property
    def on_evidence(self) -> list[Fate]:
        return [fate for fate in self.ended if not fate.late]

    @property
    def rules(self) -> list[tuple[str, int]]:
        """The checks that ended them, the most frequent first."""
        return Counter(fate.rule for fate in self.ended).most_common()

    def delay(self, what: str, q: float) -> float:
        """A quantile of the requests or looks until a rollback; NaN without one."""
        return float(np.quantile([getattr(fate, what) for fate in self.ended], q)) if self.ended else math.nan


def paced(policy: Canary, looks: int) -> Canary:
    """The policy with a step of so many looks, and the deadline that follows."""
    return replace(policy, bake_seconds=looks * LOOK_SECONDS, deadline_seconds=PATIENCE * looks * LOOK_SECONDS)


def run(scenario: Scenario, rollouts: int, seed: int, each: Callable[[], None] = lambda: None) -> Outcome:
    """So many rollouts of a scenario, each looked at fifty times or until it ends."""
    rng = np.random.default_rng(seed)
    steps = {
        percent: draw(scenario, percent, looks * PATIENCE, rollouts, rng) for percent, looks in STEPS.items()
    }  # fmt: skip
    outcome = Outcome(scenario=scenario)
    for _ in range(rollouts):
        outcome.fates.append(_walked(scenario, [(percent, next(one)) for percent, one in steps.items()]))
        each()
    return outcome


def _walked(scenario: Scenario, steps: Sequence[tuple[int, Traffic]]) -> Fate:
    requests = looks = 0
    for percent, traffic in steps:
        policy = paced(scenario.policy, STEPS[percent])
        for look, (mine, theirs) in enumerate(zip(traffic.candidate, traffic.stable, strict=True), start=1):
            verdict = decide(percent, mine, theirs, look * LOOK_SECONDS, policy)
            looks += 1
            if verdict.decision is Decision.ROLL_BACK:
                late = not any(check.name == verdict.rule and check.state == "FAILED" for check in verdict.checks)
                return Fate(decision=verdict.decision, rule=verdict.rule, late=late,
                            requests=requests + int(mine.requests or 0), looks=looks)  # fmt: skip
            if verdict.decision is Decision.PROMOTE:
                break
        requests += int(mine.requests or 0)
    return Fate(decision=Decision.PROMOTE, rule="", late=False, requests=requests, looks=looks)


def wilson(events: int, trials: int) -> Interval:
    """The 95 % interval of a share of trials (Wilson 1927), of a number of trials fixed beforehand.

    >>> [round(bound, 4) for bound in wilson(10, 1_000)]
    [0.0054, 0.0183]
    """
    if not trials:
        return Interval(0.0, 1.0)
    z, share = 1.959964, events / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    around = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2)) / (1 + z * z / trials)
    return Interval(max(0.0, middle - around), min(1.0, middle + around))
