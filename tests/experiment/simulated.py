"""Experiments with a known truth, look by look: `python -m tests.experiment.simulated` prints what docs/experiments.md says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jobs.experiment.design import Baseline, design
from jobs.experiment.measures import Outcomes, sample
from jobs.experiment.reading import Arms, Assignment, judge
from jobs.rollout.verdict import Decision
from jobs.spec import Experiment, Metric

POLICY = Experiment(primary=Metric(name="acted", direction="lower"), minimum_effect=0.05, minimum_entities=100)
LOOKS, SHARE, SPREAD = 14, 0.3, 0.15
"""How often it is looked at, what share of events is acted on, and how much entities differ in it."""


def baseline(per_day: float = 1_000) -> Baseline:
    """What a planner would know: the metric of one side of many events."""
    one = side(np.random.default_rng(0), 40_000, 0.0)
    found = sample(POLICY.primary, one)
    return Baseline(mean=found.mean, variance=found.variance, per_day=per_day)


def side(random: np.random.Generator, count: int, lift: float, each: int = 5) -> Outcomes:
    """Events of entities that come back about `each` times and differ from one another."""
    entities = max(2, count // each)
    habit = np.clip(random.normal(SHARE - lift, SPREAD, entities), 0, 1)
    entity = random.integers(0, entities, count)
    nothing = np.zeros(count, dtype=bool)
    return Outcomes(
        entity=entity, score=np.full(count, 0.5), label=nothing, acted=random.random(count) < habit[entity],
        degraded=nothing, known=np.sort(random.integers(0, LOOKS, count)),
    )  # fmt: skip


def simulate(runs: int, lift: float, labels: int, seed: int = 1) -> tuple[int, int, float]:
    """Of so many experiments that are looked at daily: promotions, rollbacks, and the mean share of labels used."""
    random = np.random.default_rng(seed)
    promoted = ended = 0
    used = []
    for _ in range(runs):
        sides = [side(random, labels // 2, one) for one in (lift, 0.0)]
        for day in range(LOOKS):
            mine, theirs = (one.by(day) for one in sides)
            seen = Assignment(candidate=mine.entities, stable=theirs.entities, crossed=0, requests=labels)
            if abs(seen.candidate - seen.stable) > 0:  # this is about the metric: the assignment is fair
                seen = replace(seen, stable=seen.candidate)
            verdict = judge(POLICY, Arms(assignment=seen, candidate=mine, stable=theirs), planned=labels, waited=0)
            if verdict.decision is not Decision.HOLD:
                break
        promoted += verdict.decision is Decision.PROMOTE
        ended += verdict.decision is Decision.ROLL_BACK
        used.append((day + 1) / LOOKS)
    return promoted, ended, float(np.mean(used))


if __name__ == "__main__":
    planned = design(POLICY, baseline(), delay_days=0)
    print(f"planned {planned.labels} labels, {planned.labels_fixed} for a single look, price {planned.price:.2f}")
    for lift in (0.0, POLICY.minimum_effect, 2 * POLICY.minimum_effect, -POLICY.minimum_effect):
        promoted, ended, used = simulate(1_000, lift, planned.labels)
        print(f"lift {lift:+.2f}: {promoted} promoted, {ended} rolled back of 1000, {used:.2f} of the labels used")
