"""Whether a candidate may have more traffic: a pure function that fails closed.

Only enough good evidence advances. No evidence holds, and rolls back at the step's deadline; a number
that is missing or impossible is a failed check, never a passed one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from jobs.release.checks import Check
from jobs.rollout.statistics import Histogram, count_above, evidence_above, quantile
from jobs.spec import Canary, Replay

ALPHA = 0.01
"""The chance, over all looks at a step, of rolling back a candidate that keeps to a limit."""
TAIL = 0.05
"""Of a candidate's requests, the share that may be slower than the limit: its 95th percentile."""


BEFORE = "before promotion"


class Action(StrEnum):
    """What is done with the candidate."""

    ADVANCE = "ADVANCE"
    HOLD = "HOLD"
    ROLL_BACK = "ROLL_BACK"


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What a slot did since the step began; None is what could not be measured."""

    requests: float | None
    errors: float | None
    latency: Histogram = ()
    """Milliseconds of each attempt."""
    ready: bool = True
    restarts: int = 0


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What the candidate's own answers came to when they were computed once more; None is what could not be."""

    vectors: int | None
    identical: int | None
    unexplained: int | None
    """Those that differ for a reason nobody knows."""
    detail: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The action, the sentence that says why, and every number it was decided on."""

    action: Action
    reason: str
    checks: tuple[Check, ...] = field(default=())
    wait_seconds: int = 0
    """On HOLD: when to ask again."""


def weights(candidate: str, stable: str | None, percent: int) -> dict[str, int]:
    """Percent of traffic for each slot; they sum to 100, and a candidate without a stable slot has all.

    >>> weights("green", "blue", 5)
    {'blue': 95, 'green': 5}
    >>> weights("blue", None, 5)
    {'blue': 100}
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"{percent} percent is not between 0 and 100")
    return {candidate: 100} if stable is None else {stable: 100 - percent, candidate: percent}


def decide_first(candidate: Observed) -> Verdict:
    """The verdict on a project's first release: there is nothing to compare with and nobody to return to.

    It has shown at its start that it is ready and scores as stored; it only has to be still there.
    """
    alive = _alive(candidate)
    if alive.passed:
        return Verdict(action=Action.ADVANCE, reason="first release: ready, and no champion to hold", checks=(alive,))
    return Verdict(action=Action.ROLL_BACK, reason=alive.detail, checks=(alive,))


def decide(percent: int, candidate: Observed, stable: Observed | None, waited: float, policy: Canary) -> Verdict:
    """The verdict on a step: `stable` served in the same period, or in the step before when this one left it nothing.

    >>> good = Observed(requests=4_000, errors=1, latency=[(5.0, 4_000)])
    >>> decide(25, good, good, 900, Canary()).action.value
    'ADVANCE'
    >>> bad = Observed(requests=4_000, errors=800, latency=[(5.0, 4_000)])
    >>> decide(5, bad, good, 60, Canary()).reason
    'at 5 %: 800 of 4000 requests failed (0.200), above 0.010 beyond chance'
    >>> decide(5, good, good, 60, Canary()).reason
    'at 5 %: watched for 60 of 600 seconds'
    """
    where, alive = f"at {percent} %", _alive(candidate)
    if not alive.passed:
        return _rolled_back(where, alive, (alive,))
    measured = _measured(candidate, waited)
    if not measured.passed:
        return _pending(where, (alive, measured), waited, policy)
    errors, fatal_errors = _errors(candidate, policy)
    slow, fatal_slow = _slow(percent, candidate, stable, policy)
    checks = (alive, measured, _enough(candidate, policy), errors, slow, _baked(waited, policy))
    for check, fatal in ((errors, fatal_errors), (slow, fatal_slow)):
        if fatal:
            return _rolled_back(where, check, checks)
    if all(check.passed for check in checks):
        return Verdict(action=Action.ADVANCE, reason=f"{where}: {errors.detail}; {slow.detail}", checks=checks)
    return _pending(where, checks, waited, policy)


def decide_promotion(replayed: Replayed | None, waited: float, canary: Canary, policy: Replay) -> Verdict:
    """The verdict on a release that has all the traffic: whether what it served is what the lake says.

    None is a first release, which had no traffic before this. An answer that nothing explains ends it; too few that
    are identical do so beyond chance, and otherwise it waits for more of them, until the deadline.

    >>> served = Replayed(vectors=1_000, identical=1_000, unexplained=0, detail="1000 of 1000 vectors are identical")
    >>> decide_promotion(served, 5, Canary(), Replay()).reason
    'before promotion: 1000 of 1000 vectors are identical'
    """
    if replayed is None:
        detail = "a replay does not apply: a first release has served nothing before"
        check = Check(name="replayed", value=None, bound=policy.minimum_identical, passed=True, detail=detail)
        return Verdict(action=Action.ADVANCE, reason=f"{BEFORE}: {detail}", checks=(check,))
    known = _known(replayed)
    if not known.passed:
        return _pending(BEFORE, (known,), waited, canary)
    same, certain = _same(replayed, policy)
    total = replayed.vectors or 0
    needed = f"{total} of {canary.minimum_requests} vectors replayed"
    enough = Check(
        name="enough",
        value=total,
        bound=canary.minimum_requests,
        passed=0 < total >= canary.minimum_requests,
        detail=needed,
    )
    checks = (known, enough, same)
    if certain and (enough.passed or replayed.unexplained):
        return _rolled_back(BEFORE, same, checks)
    if all(check.passed for check in checks):
        return Verdict(action=Action.ADVANCE, reason=f"{BEFORE}: {same.detail}", checks=checks)
    return _pending(BEFORE, checks, waited, canary)


def summary(check: Check) -> Mapping[str, object]:
    """A check as the ledger keeps it."""
    return {
        "name": check.name,
        "passed": check.passed,
        "value": check.value,
        "bound": check.bound,
        "detail": check.detail,
    }


def _rolled_back(where: str, why: Check, checks: tuple[Check, ...]) -> Verdict:
    return Verdict(action=Action.ROLL_BACK, reason=f"{where}: {why.detail}", checks=checks)


def _pending(where: str, checks: tuple[Check, ...], waited: float, policy: Canary) -> Verdict:
    first = next(check for check in checks if not check.passed)
    left = policy.deadline_seconds - waited
    if not left > 0:  # a wait that is no number is at its deadline
        late = f"{where}: {first.detail}, at the deadline of {policy.deadline_seconds} seconds"
        return Verdict(action=Action.ROLL_BACK, reason=late, checks=checks)
    wait = policy.bake_seconds - waited if first.name == "baked" else policy.bake_seconds / 4
    return Verdict(
        action=Action.HOLD,
        reason=f"{where}: {first.detail}",
        checks=checks,
        wait_seconds=math.ceil(min(max(wait, 1), left, 60)),
    )


def _alive(candidate: Observed) -> Check:
    if not candidate.ready:
        detail = "the candidate is not ready"
    elif candidate.restarts:
        detail = f"the candidate was restarted {candidate.restarts} times"
    else:
        detail = "the candidate is ready"
    passed = candidate.ready and not candidate.restarts
    return Check(name="alive", value=candidate.restarts, bound=0, passed=passed, detail=detail)


def _measured(candidate: Observed, waited: float) -> Check:
    requests, errors = candidate.requests, candidate.errors
    buckets = [number for pair in candidate.latency for number in pair]
    passed = (
        requests is not None
        and errors is not None
        and math.isfinite(requests)
        and math.isfinite(waited)
        and 0 <= errors <= requests
        and not any(math.isnan(number) or number < 0 for number in buckets)
    )
    detail = f"{requests:.0f} requests measured" if passed else f"no measurement: {requests} requests, {errors} errors"
    return Check(name="measured", value=requests, bound=None, passed=passed, detail=detail)


def _errors(candidate: Observed, policy: Canary) -> tuple[Check, bool]:
    requests, errors = candidate.requests or 0, candidate.errors or 0
    limit = policy.maximum_error_rate
    rate = errors / requests if requests else None
    passed = rate is not None and rate <= limit
    certain = evidence_above(errors, requests, limit) >= 1 / ALPHA if 0 < limit < 1 else errors > requests * limit
    detail = f"{errors:.0f} of {requests:.0f} requests failed" + ("" if rate is None else f" ({rate:.3f})")
    if rate is not None and not passed:
        detail += f", above {limit:.3f}" + (" beyond chance" if certain else "")
    return Check(name="errors", value=rate, bound=limit, passed=passed, detail=detail), certain and not passed


def _slow(percent: int, candidate: Observed, stable: Observed | None, policy: Canary) -> tuple[Check, bool]:
    compared = stable is not None and (stable.requests or 0) >= policy.minimum_requests
    reference = quantile(stable.latency, 1 - TAIL) if stable is not None and compared else None
    mine = quantile(candidate.latency, 1 - TAIL)
    if reference is None and percent < 100:
        detail = "too little stable traffic to compare latency with"
        return Check(name="latency", value=mine, bound=None, passed=False, detail=detail), False
    limit = max(policy.latency_floor_milliseconds, policy.maximum_latency_ratio * (reference or 0))
    total = sum(count for _, count in candidate.latency)
    if mine is None or not math.isfinite(limit) or total < (candidate.requests or 0) / 2:
        detail = "no latency was measured"
        return Check(name="latency", value=mine, bound=limit, passed=False, detail=detail), False
    # Slow requests come in bursts, and at 100 % nothing serves beside the candidate: a busy machine would be blamed on it.
    comparable = percent < 100 and total >= policy.minimum_requests
    evident = evidence_above(count_above(candidate.latency, limit), total, TAIL) >= 1 / ALPHA
    certain = mine > limit and comparable and evident
    detail = f"95 % within {mine:.1f} ms (stable {'unknown' if reference is None else f'{reference:.1f}'})"
    if mine > limit:
        detail += f", above {limit:.1f} ms" + (" beyond chance" if certain else "")
    return Check(name="latency", value=mine, bound=limit, passed=mine <= limit, detail=detail), certain


def _known(replayed: Replayed) -> Check:
    total, identical, unexplained = replayed.vectors, replayed.identical, replayed.unexplained
    passed = (
        total is not None
        and identical is not None
        and unexplained is not None
        and min(identical, unexplained) >= 0
        and identical + unexplained <= total
    )
    return Check(name="measured", value=total, bound=None, passed=passed, detail=replayed.detail)


def _same(replayed: Replayed, policy: Replay) -> tuple[Check, bool]:
    total, identical = replayed.vectors or 0, replayed.identical or 0
    share = identical / total if total else None
    passed = share is not None and share >= policy.minimum_identical and not replayed.unexplained
    limit = 1 - policy.minimum_identical
    beyond = evidence_above(total - identical, total, limit) >= 1 / ALPHA if 0 < limit < 1 else not passed
    check = Check(
        name="replayed", value=share, bound=policy.minimum_identical, passed=passed, detail=replayed.detail
    )  # fmt: skip
    return check, not passed and (bool(replayed.unexplained) or beyond)


def _enough(candidate: Observed, policy: Canary) -> Check:
    requests = candidate.requests or 0
    detail = f"{requests:.0f} of {policy.minimum_requests} requests seen"
    passed = requests >= policy.minimum_requests
    return Check(name="enough", value=requests, bound=policy.minimum_requests, passed=passed, detail=detail)


def _baked(waited: float, policy: Canary) -> Check:
    detail = f"watched for {waited:.0f} of {policy.bake_seconds} seconds"
    passed = waited >= policy.bake_seconds
    return Check(name="baked", value=waited, bound=policy.bake_seconds, passed=passed, detail=detail)
