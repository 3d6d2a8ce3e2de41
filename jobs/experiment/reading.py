"""What the two sides of an experiment prove so far: checks for the one engine; pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from jobs.experiment.measures import Outcomes, sample
from jobs.release.checks import Check, State, state_of
from jobs.rollout.comparisons import MINIMUM, improved, not_worse
from jobs.rollout.means import Sample
from jobs.rollout.statistics import proportion, share_evidence
from jobs.rollout.verdict import AB_TEST, Verdict, conclude
from jobs.spec import HALF, Experiment, Metric

MISMATCH = 0.001
"""The chance, over all looks, of calling a fair assignment a mismatch: it stops an experiment, so it is rare."""
PLANNED = 10_000
"""At how many labels the intervals are narrowest where nobody planned the experiment."""
DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Which entities were answered by which side since each had half of them."""

    candidate: int
    stable: int
    crossed: int
    """Entities that both sides answered."""
    requests: int = 0
    """Of either side, labelled or not."""


@dataclass(frozen=True, kw_only=True)
class Arms:
    """Both sides of an experiment, without the entities that crossed."""

    assignment: Assignment
    candidate: Outcomes
    stable: Outcomes


def judge(policy: Experiment, arms: Arms, *, planned: int, waited: float) -> Verdict:
    """The verdict on an experiment that has had half of the traffic for `waited` seconds.

    A mismatch of the assignment ends it before any metric is looked at; too few entities hold. It is PROMOTE when the
    primary metric is surely better, and every guardrail surely within its margin.
    """
    checks = list(_assigned(policy, arms.assignment))
    if not any(check.state is State.FAILED for check in checks):
        checks.append(_enough(policy, arms))
        checks += compared(policy, arms, planned)
    because = next((check.detail for check in checks if check.name == policy.primary.name), "")
    return conclude(
        checks, AB_TEST, waited=waited, deadline=policy.maximum_days * DAY, where="experiment", because=because
    )


def compared(policy: Experiment, arms: Arms, planned: int) -> Iterator[Check]:
    """A check for each metric, on an interval that holds at every look.

    Primary metric and guardrails share alpha equally (Bonferroni).
    """
    alpha = share_of_alpha(policy)
    for metric in (policy.primary, *policy.guardrails, *policy.secondary):
        sides = [sample(metric, one) for one in (arms.candidate, arms.stable)]
        if metric is policy.primary:
            yield _primary(policy, metric, sides, alpha, planned)
        elif metric in policy.guardrails:
            yield not_worse(
                metric.name, *sides, margin=metric.margin, alpha=alpha, planned=planned,
                lower_is_better=metric.lower_is_better,
            )  # fmt: skip
        else:
            found = improved(
                metric.name, *sides, effect=0, alpha=alpha, planned=planned, lower_is_better=metric.lower_is_better
            )
            yield replace(found, optional=True, state=State.PASSED if found.passed else State.UNDECIDED)


def share_of_alpha(policy: Experiment) -> float:
    """What one metric that decides may spend of the policy's chance of a wrong interval."""
    return policy.alpha / (1 + len(policy.guardrails))


def _primary(policy: Experiment, metric: Metric, sides: list[Sample], alpha: float, planned: int) -> Check:
    """PASSED when surely better, FAILED when surely not, or surely by less than the effect that is worth a release."""
    found = improved(
        metric.name, *sides, effect=0, alpha=alpha, planned=planned, lower_is_better=metric.lower_is_better
    )
    least = policy.minimum_effect
    found = replace(found, rule=f"low > bound, and high >= {least:g}")
    if found.high is None or found.high >= least or min(side.count for side in sides) < MINIMUM:
        return found
    return replace(found, state=State.FAILED, detail=f"{found.detail}; surely less than the {least:g} asked for")


def _enough(policy: Experiment, arms: Arms) -> Check:
    """Whether either side has as many entities with a label as the policy asks for."""
    sides = {"candidate": arms.candidate.entities, "stable": arms.stable.entities}
    least = policy.minimum_entities
    labels, requests = len(arms.candidate) + len(arms.stable), arms.assignment.requests
    return Check(
        name="matured", value=min(sides.values()), bound=least, rule="value >= bound", samples=sides,
        state=State.PASSED if min(sides.values()) >= least else State.UNDECIDED,
        detail=f"{labels} of {requests} predictions have their label, of {sides['candidate']} and {sides['stable']} "
        f"entities ({least} needed)",
    )  # fmt: skip


def _assigned(policy: Experiment, seen: Assignment) -> Iterator[Check]:
    """Whether each side has half of the entities, and nearly nobody was answered by both."""
    both, samples = seen.candidate + seen.stable, {"candidate": seen.candidate, "stable": seen.stable}
    if not both + seen.crossed:
        yield Check(name="share", bound=HALF / 100, state=State.UNDECIDED, detail="no prediction is ingested yet")
        return
    share, weight = (seen.candidate / both if both else math.nan), HALF / 100
    mismatch = bool(both) and share_evidence(seen.candidate, both, weight) > -math.log(MISMATCH)
    found = proportion(seen.candidate, both, MISMATCH)
    said = "sample ratio mismatch: " if mismatch else ""
    yield Check(
        name="share", value=share if both else None, bound=weight, low=found.low, high=found.high, samples=samples,
        state=State.FAILED if mismatch else State.PASSED if both else State.UNDECIDED, rule="value = bound beyond chance",
        detail=f"{said}{seen.candidate} entities with the candidate, {seen.stable} with the stable release",
    )  # fmt: skip
    crossed = seen.crossed / (both + seen.crossed)
    certain = proportion(seen.crossed, both + seen.crossed, MISMATCH).low > policy.maximum_crossed
    yield Check(
        name="crossed", value=crossed, bound=policy.maximum_crossed, state=state_of(not certain), rule="value <= bound",
        samples={"entities": both + seen.crossed},
        detail=f"{seen.crossed} of {both + seen.crossed} entities were answered by both sides and are left out",
    )  # fmt: skip


def curve(policy: Experiment, arms: Arms, planned: int) -> list[dict[str, Any]]:
    """The primary metric's gain and interval with the labels known by the end of each day, oldest first."""
    days = sorted({int(day) for side in (arms.candidate, arms.stable) for day in side.known.tolist()})
    alpha, found = share_of_alpha(policy), []
    for day in days:
        sides = [sample(policy.primary, one.by(day)) for one in (arms.candidate, arms.stable)]
        check = _primary(policy, policy.primary, sides, alpha, planned)
        found.append({
            "day": str(date(1970, 1, 1) + timedelta(days=day)), "value": check.value, "low": check.low,
            "high": check.high, "labels": sides[0].count + sides[1].count,
        })  # fmt: skip
    return found
