"""What lists that two releases made together prove so far, and how many of them it takes; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from jobs.experiment import design as designing
from jobs.experiment.design import Baseline, normal_quantile
from jobs.experiment.lists import Lists
from jobs.experiment.reading import DAY, MISMATCH
from jobs.release.checks import Check, State, state_of
from jobs.rollout.statistics import proportion
from jobs.rollout.verdict import AB_TEST, Verdict, conclude
from jobs.spec import Experiment, Interleaving, Metric

MINIMUM = 100
"""Lists with a preference before anything is decided."""
BROKEN = 0.01
"""The share of lists that may have lost rows; they are left out."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """How large and how long an interleaved experiment is for one effect."""

    effect: float
    lists: int
    """With a preference, looked at as often as wanted."""
    lists_fixed: int
    """The same for a single look at the end."""
    price: float
    """The one divided by the other."""
    halves: int
    """Labels that halves of the traffic need, to tell two shares near a half by as much apart."""
    serving_days: int
    days: int
    """Until the last of the labels is known."""


def judge(policy: Interleaving, found: Lists, *, waited: float) -> Verdict:
    """The verdict on the lists so far, which may be looked at as often as one likes.

    PROMOTE once the candidate's choices are surely preferred in more than half of the lists with a preference, ROLL BACK
    once they surely are not, or surely by less than the effect that is worth a release, or when that is still open at the
    deadline; `waited` is in seconds. Lists that lost rows beyond chance end it before any preference is looked at.
    """
    checks = [_whole(found)]
    if checks[0].state is not State.FAILED:
        checks.append(_preferred(policy, found))
    return conclude(
        checks, AB_TEST, waited=waited, deadline=policy.maximum_days * DAY, where="interleaving",
        because=checks[-1].detail,
    )  # fmt: skip


def needed(share: float, alpha: float, power: float) -> int:
    """In how many lists with a preference a share above a half of them is told from a half, with this chance.

    The fewest of which the low end of `statistics.proportion`'s interval is above a half, where the count of those that
    prefer the candidate is as low as the power allows (normal approximation). Looks before only find it sooner.

    >>> needed(0.55, 0.05, 0.8), needed(0.6, 0.05, 0.8)
    (2107, 478)
    """
    below = normal_quantile(power) * math.sqrt(share * (1 - share))

    def enough(count: int) -> bool:
        return proportion(max(0.0, count * share - below * math.sqrt(count)), count, alpha).low > 0.5

    least, most = 1, 2
    while not enough(most):
        least, most = most, 2 * most
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if enough(middle) else (middle, most)
    return max(most, MINIMUM)


def needed_fixed(share: float, alpha: float, power: float) -> int:
    """The same for a single look, by the sign test: (z_alpha/2 + z_power)² / (4 (share - 1/2)²) (Noether 1987).

    >>> needed_fixed(0.55, 0.05, 0.8)
    785
    """
    errors = normal_quantile(1 - alpha / 2) + normal_quantile(power)
    return math.ceil((errors / (2 * (share - 0.5))) ** 2)


def design(policy: Interleaving, per_day: float, delay_days: int, effect: float | None = None) -> Design:
    """The size and duration with which an effect, by default the smallest worth a release, is found with the power.

    `per_day` are lists with a preference. Raises ValueError for numbers that nothing can be planned with.
    """
    effect = policy.minimum_effect if effect is None else effect
    if not (0 < effect < 0.5 and per_day > 0):
        raise ValueError(f"nothing can be planned with {per_day} lists a day and an effect of {effect} beyond a half")
    count = needed(0.5 + effect, policy.alpha, policy.power)
    fixed = needed_fixed(0.5 + effect, policy.alpha, policy.power)
    half = Experiment(
        primary=Metric(name="positives", direction="higher"),
        minimum_effect=effect,
        alpha=policy.alpha,
        power=policy.power,
    )
    halves = designing.design(half, Baseline(mean=0.5, variance=0.25, per_day=per_day), delay_days)
    serving = math.ceil(count / per_day)
    return Design(
        effect=effect, lists=count, lists_fixed=fixed, price=count / fixed, halves=halves.labels, serving_days=serving,
        days=serving + delay_days,
    )  # fmt: skip


def curve(policy: Interleaving, found: Lists) -> list[dict[str, Any]]:
    """The share beyond a half and its interval with the labels known by the end of each day, oldest first."""
    told = []
    for day in np.unique(found.known).tolist():
        one = _preferred(policy, found.by(day))
        values = [None if value is None or one.samples["lists"] < MINIMUM else value - 0.5
                  for value in (one.value, one.low, one.high)]  # fmt: skip
        told.append({
            "day": str(date(1970, 1, 1) + timedelta(days=day)), "value": values[0], "low": values[1], "high": values[2],
            "labels": one.samples["lists"],
        })  # fmt: skip
    return told


def _preferred(policy: Interleaving, found: Lists) -> Check:
    wins, count = int((found.preference > 0).sum()), int((found.preference != 0).sum())
    interval, worth = proportion(wins, count, policy.alpha), 0.5 + policy.minimum_effect
    state = State.PASSED if interval.low > 0.5 else State.UNDECIDED
    detail = f"the candidate is preferred in {wins:,} of {count:,} lists with a preference"
    detail += f" ({100 * (1 - policy.alpha):g} % interval {interval.low:.3f} to {interval.high:.3f})"
    if interval.high <= 0.5 or interval.high < worth:
        state = State.FAILED
        detail += "" if interval.high <= 0.5 else f"; surely less than the {worth:g} asked for"
    if count < MINIMUM:
        state, detail = State.UNDECIDED, f"{count} lists with a preference, of {MINIMUM} needed"
    return Check(
        name="preference", value=wins / count if count else None, bound=0.5, low=interval.low, high=interval.high,
        state=state, rule=f"low > bound, and high >= {worth:g}", detail=detail, samples={"lists": count},
    )  # fmt: skip


def _whole(found: Lists) -> Check:
    """Whether nearly every list has as many of one side's choices as of the other's, as it was drafted."""
    total = len(found.preference) + found.broken
    certain = proportion(found.broken, total, MISMATCH).low > BROKEN
    return Check(
        name="whole", value=found.broken / total if total else None, bound=BROKEN, state=state_of(not certain),
        rule="value <= bound beyond chance", samples={"lists": total},
        detail=f"{found.broken} of {total} lists have lost rows and are left out",
    )  # fmt: skip
