"""The checks of a slot under traffic, beside the one that serves what it is to replace; pure.

Each has a floor, below which a difference does not matter, and is FAILED only beyond chance: its interval holds at
every look, so that checks may be made as often as wanted. It is PASSED while what was seen keeps to the bound, and
UNDECIDED in between or without numbers. What is impossible is FAILED.
"""

from __future__ import annotations

import math

from jobs.release.checks import Check, State, state_of
from jobs.rollout.distances import distance, distance_interval
from jobs.rollout.observed import Observed
from jobs.rollout.statistics import Interval, proportion, quantile, quantile_interval, share_evidence
from jobs.spec import Canary

METRICS = 6
"""Checks that share the policy's chance of a false alarm: errors, errors beside stable, latency, scores, share, labels."""
TAIL = 0.05
"""Of a candidate's requests, the share that may be slower than the limit: its 95th percentile."""
SPREAD = 3.29
"""Standard deviations that sticky routing's share may be away from its weight: beyond them is one in a thousand."""


def chance(policy: Canary) -> float:
    """What one check of one step may spend of the policy's chance of a false alarm: an equal part (Bonferroni)."""
    steps = len(policy.walk) + (policy.shadow_seconds > 0) + (policy.final_bake_seconds > 0)
    return policy.alpha / (METRICS * steps)


def alive(candidate: Observed) -> Check:
    """Whether it is there, and has been all the time."""
    if not candidate.ready:
        detail = "the candidate is not ready"
    elif candidate.restarts:
        detail = f"the candidate was restarted {candidate.restarts} times"
    else:
        detail = "the candidate is ready"
    good = candidate.ready and not candidate.restarts
    return Check(
        name="alive", value=candidate.restarts, bound=0, state=state_of(good), detail=detail, rule="value <= bound"
    )  # fmt: skip


def measured(candidate: Observed, stable: Observed | None, policy: Canary) -> Check:
    """Whether there are numbers: impossible ones fail at once, missing ones when they are missing too often in a row."""
    for what, one in (("candidate", candidate), ("stable slot", stable)):
        fault = _fault(one) if one is not None else None
        if fault:
            detail = f"no measurement of the {what}: {fault}"
            return Check(name="measured", value=one.requests if one else None, state=State.FAILED, detail=detail)
    missing = [what for what, one in (("candidate", candidate), ("stable slot", stable)) if one and _missing(one)]
    if missing:
        looks, most = candidate.unmeasured_looks, policy.maximum_unmeasured_looks
        detail = f"no measurement of the {' and the '.join(missing)}, look {looks} of {most} in a row"
        state = State.UNDECIDED if looks < most else State.FAILED
        return Check(name="measured", value=looks, bound=most, state=state, detail=detail, rule="value < bound")
    return Check(
        name="measured", value=candidate.requests, state=State.PASSED, detail=f"{candidate.requests:.0f} requests measured"
    )  # fmt: skip


def enough(candidate: Observed, policy: Canary) -> Check:
    """Whether it was asked as often as the policy wants."""
    requests, least = candidate.requests or 0, policy.minimum_requests
    return Check(
        name="enough", value=requests, bound=least, state=_state(requests >= least), rule="value >= bound",
        detail=f"{requests:.0f} of {least} requests seen", samples={"candidate": int(requests)},
    )  # fmt: skip


def errors(candidate: Observed, policy: Canary) -> Check:
    """The share of failed requests against the policy's limit."""
    requests, failures, limit = candidate.requests or 0, candidate.errors or 0, policy.maximum_error_rate
    found = proportion(failures, requests, chance(policy))
    rate = failures / requests if requests else None
    good, certain = rate is not None and rate <= limit, found.low > limit
    detail = f"{failures:.0f} of {requests:.0f} requests failed" + ("" if rate is None else f" ({rate:.3f})")
    if rate is not None and not good:
        detail += f", above {limit:.3f}" + (" beyond chance" if certain else "")
    return Check(
        name="errors", value=rate, bound=limit, state=_state(good, certain), detail=detail, rule="value <= bound",
        low=found.low, high=found.high, samples={"candidate": int(requests)},
    )  # fmt: skip


def worse(candidate: Observed, stable: Observed | None, policy: Canary) -> Check:
    """The candidate's share of failed requests minus the stable slot's in the same period, against the floor."""
    name, bound = "errors beside stable", policy.error_effect
    if stable is None or (stable.requests or 0) < policy.minimum_requests:
        return Check(name=name, bound=bound, state=State.UNDECIDED, detail="too little stable traffic to compare with")
    alpha = chance(policy) / 2
    sides = [(one.errors or 0, one.requests or 0) for one in (candidate, stable)]
    mine, theirs = (proportion(failures, requests, alpha) for failures, requests in sides)
    found = Interval(mine.low - theirs.high, mine.high - theirs.low)
    rates = [failures / requests if requests else None for failures, requests in sides]
    apart = rates[0] - rates[1] if rates[0] is not None and rates[1] is not None else None
    good, certain = apart is not None and apart <= bound, found.low > bound
    detail = "no request to compare" if apart is None else f"errors {100 * apart:+.2f} points beside stable"
    if apart is not None and not good:
        detail += f", above {100 * bound:.2f}" + (" beyond chance" if certain else "")
    return Check(
        name=name, value=apart, bound=bound, state=_state(good, certain), detail=detail, rule="value <= bound",
        low=found.low, high=found.high, samples={"candidate": int(sides[0][1]), "stable": int(sides[1][1])},
    )  # fmt: skip


def latency(candidate: Observed, stable: Observed | None, policy: Canary, *, concurrent: bool) -> Check:
    """The candidate's 95th percentile against the allowed multiple of the stable slot's.

    Slow requests come in bursts. Where nothing serves beside it a busy machine would be blamed on the candidate, so
    then it only waits.
    """
    compared = stable is not None and (stable.requests or 0) >= policy.minimum_requests
    reference = quantile(stable.latency, 1 - TAIL) if stable is not None and compared else None
    mine = quantile(candidate.latency, 1 - TAIL)
    if reference is None and concurrent:
        detail = "too little stable traffic to compare latency with"
        return Check(name="latency", value=mine, state=State.UNDECIDED, detail=detail)
    floor, ratio = policy.latency_floor_milliseconds, policy.maximum_latency_ratio
    limit, total = max(floor, ratio * (reference or 0)), sum(count for _, count in candidate.latency)
    if mine is None or not math.isfinite(limit) or total < (candidate.requests or 0) / 2:
        return Check(name="latency", value=mine, bound=limit, state=State.UNDECIDED, detail="no latency was measured")
    alpha = chance(policy) / 2
    found = quantile_interval(candidate.latency, 1 - TAIL, alpha)
    theirs = quantile_interval(stable.latency, 1 - TAIL, alpha) if stable and reference is not None else None
    beyond = max(floor, ratio * theirs.high) if theirs else math.inf
    good, certain = mine <= limit, concurrent and total >= policy.minimum_requests and found.low > beyond
    detail = f"95 % within {mine:.1f} ms (stable {'unknown' if reference is None else f'{reference:.1f}'})"
    if not good:
        detail += f", above {limit:.1f} ms" + (" beyond chance" if certain else "")
    samples = {"candidate": int(total)} | ({"stable": int(stable.requests or 0)} if stable and theirs else {})
    return Check(
        name="latency", value=mine, bound=limit, state=_state(good, certain), detail=detail, rule="value <= bound",
        low=found.low, high=None if math.isinf(found.high) else found.high, samples=samples,
    )  # fmt: skip


def scores(candidate: Observed, stable: Observed | None, policy: Canary, bound: float) -> Check:
    """How far the distribution of its scores is from the stable slot's on the same kind of traffic."""
    if stable is None or not candidate.scores or not stable.scores:
        return Check(name="scores", bound=bound, state=State.UNDECIDED, detail="no scores were measured")
    if [edge for edge, _ in candidate.scores] != [edge for edge, _ in stable.scores]:
        return Check(name="scores", bound=bound, state=State.FAILED, detail="scores were counted in other buckets")
    apart = distance(candidate.scores, stable.scores)
    found = distance_interval(candidate.scores, stable.scores, chance(policy))
    good, certain = apart is not None and apart <= bound, found.low > bound
    detail = "no score was counted" if apart is None else f"scores {apart:.3f} apart (largest difference of shares)"
    if apart is not None and not good:
        detail += f", above {bound:.3f}" + (" beyond chance" if certain else "")
    samples = {"candidate": _total(candidate), "stable": _total(stable)}
    return Check(
        name="scores", value=apart, bound=bound, state=_state(good, certain), detail=detail, rule="value <= bound",
        low=found.low, high=found.high, samples=samples,
    )  # fmt: skip


def memory(candidate: Observed, bound: int) -> Check:
    """How much memory its process has taken since the step began, in megabytes; what it grows by is no chance."""
    if candidate.grown_bytes is None:
        return Check(name="memory", bound=bound, state=State.UNDECIDED, detail="its memory was not measured")
    grown = candidate.grown_bytes / 1_000_000
    detail = f"memory grew by {grown:.0f} of at most {bound} MB in this step"
    return Check(
        name="memory", value=grown, bound=bound, state=state_of(grown <= bound), detail=detail, rule="value <= bound",
        samples={"candidate": int(candidate.requests or 0)},
    )  # fmt: skip


def share(percent: int, candidate: Observed, stable: Observed | None, policy: Canary) -> Check:
    """Whether the candidate's share of the requests is the weight that the router was given.

    Routing is sticky, so what is drawn by the weight is entities: so many of them keep to it within `tolerance`.
    """
    weight, mine, theirs = percent / 100, candidate.requests or 0, (stable.requests or 0) if stable else 0
    tolerance = SPREAD * math.sqrt(weight * (1 - weight) / policy.entities)
    total = mine + theirs
    if stable is None or not total:
        return Check(name="share", bound=weight, state=State.UNDECIDED, detail="no request to take a share of")
    found = proportion(mine, total, chance(policy))
    failed = share_evidence(mine, total, weight, tolerance) > -math.log(chance(policy))
    detail = f"{100 * mine / total:.2f} % of {total:.0f} requests, weight {percent} %, tolerance {100 * tolerance:.2f}"
    return Check(
        name="share", value=mine / total, bound=weight, state=state_of(not failed), rule="value = bound within tolerance",
        detail=f"sample ratio mismatch: {detail}" if failed else detail, low=found.low, high=found.high,
        samples={"candidate": int(mine), "stable": int(theirs)},
    )  # fmt: skip


def baked(waited: float, policy: Canary) -> Check:
    """Whether the step was watched long enough."""
    return Check(
        name="baked", value=waited, bound=policy.bake_seconds, state=_state(waited >= policy.bake_seconds),
        detail=f"watched for {waited:.0f} of {policy.bake_seconds} seconds", rule="value >= bound",
    )  # fmt: skip


def _state(good: bool, certainly_bad: bool = False) -> State:
    return State.FAILED if certainly_bad else State.PASSED if good else State.UNDECIDED


def _missing(one: Observed) -> bool:
    return one.requests is None or one.errors is None


def _fault(one: Observed) -> str | None:
    """What cannot be, in words; None where nothing is wrong with the numbers that are there."""
    known = {
        what: number for what, number in (("requests", one.requests), ("errors", one.errors)) if number is not None
    }
    for what, number in known.items():
        if not math.isfinite(number) or number < 0:
            return f"{number} {what}"
    if len(known) == 2 and known["errors"] > known["requests"]:
        return f"{known['errors']:.0f} errors in {known['requests']:.0f} requests"
    for what, histogram in (("latency", one.latency), ("scores", one.scores)):
        if any(math.isnan(bound) or not math.isfinite(count) or count < 0 for bound, count in histogram):
            return f"a count of {what} is no count"
    return None


def _total(one: Observed) -> int:
    return int(sum(count for _, count in one.scores))
