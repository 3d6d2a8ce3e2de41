"""Whether a candidate may have more traffic: pure, and it fails closed.

Only enough good evidence goes on. No evidence holds, and rolls back at the step's deadline; a number that is missing
or impossible is never a passed check.
"""

from __future__ import annotations

import math

from jobs.release.checks import Check, State, state_of
from jobs.rollout.observed import Observed, Replayed
from jobs.rollout.statistics import count_above, evidence_above, quantile
from jobs.rollout.verdict import CANARY, PROMOTION, Verdict, conclude
from jobs.spec import Canary, Replay

ALPHA = 0.01
"""The chance, over all looks at a step, of rolling back a candidate that keeps to a limit."""
TAIL = 0.05
"""Of a candidate's requests, the share that may be slower than the limit: its 95th percentile."""
BEFORE = "before promotion"


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
    return conclude([_alive(candidate)], CANARY, because="first release: ready, and no champion to hold")


def decide(percent: int, candidate: Observed, stable: Observed | None, waited: float, policy: Canary) -> Verdict:
    """The verdict on a step: `stable` served in the same period, or in the step before when this one left it nothing.

    >>> good = Observed(requests=4_000, errors=1, latency=[(5.0, 4_000)])
    >>> decide(25, good, good, 900, Canary()).decision.value
    'PROMOTE'
    >>> bad = Observed(requests=4_000, errors=800, latency=[(5.0, 4_000)])
    >>> decide(5, bad, good, 60, Canary()).reason
    'at 5 %: 800 of 4000 requests failed (0.200), above 0.010 beyond chance'
    >>> decide(5, good, good, 60, Canary()).reason
    'at 5 %: watched for 60 of 600 seconds'
    """
    where, because, again = f"at {percent} %", "", policy.bake_seconds / 4
    checks = [_alive(candidate), _measured(candidate, waited)]
    if checks[-1].passed:
        errors, slow = _errors(candidate, policy), _slow(percent, candidate, stable, policy)
        checks += [_enough(candidate, policy), errors, slow, _baked(waited, policy)]
        because = f"{errors.detail}; {slow.detail}"
        if all(check.passed for check in checks[:-1]):
            again = policy.bake_seconds - waited
    return conclude(
        checks, CANARY, waited=waited, deadline=policy.deadline_seconds, again=again, where=where, because=because
    )  # fmt: skip


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
        check = Check(name="replayed", bound=policy.minimum_identical, state=State.PASSED, detail=detail)
        return conclude([check], PROMOTION, where=BEFORE, because=detail)
    checks = [_known(replayed)]
    if checks[0].passed:
        checks += [_replayed_enough(replayed, canary), _same(replayed, canary, policy)]
    return conclude(
        checks, PROMOTION, waited=waited, deadline=canary.deadline_seconds, again=canary.bake_seconds / 4,
        where=BEFORE, because=replayed.detail,
    )  # fmt: skip


def _found(good: bool, certainly_bad: bool = False) -> State:
    return State.PASSED if good else State.FAILED if certainly_bad else State.UNDECIDED


def _alive(candidate: Observed) -> Check:
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
    return Check(name="measured", value=requests, state=_found(passed), detail=detail)


def _errors(candidate: Observed, policy: Canary) -> Check:
    requests, errors = candidate.requests or 0, candidate.errors or 0
    limit = policy.maximum_error_rate
    rate = errors / requests if requests else None
    passed = rate is not None and rate <= limit
    certain = evidence_above(errors, requests, limit) >= 1 / ALPHA if 0 < limit < 1 else errors > requests * limit
    detail = f"{errors:.0f} of {requests:.0f} requests failed" + ("" if rate is None else f" ({rate:.3f})")
    if rate is not None and not passed:
        detail += f", above {limit:.3f}" + (" beyond chance" if certain else "")
    return Check(
        name="errors", value=rate, bound=limit, state=_found(passed, certain), detail=detail, rule="value <= bound",
        samples={"candidate": int(requests)},
    )  # fmt: skip


def _slow(percent: int, candidate: Observed, stable: Observed | None, policy: Canary) -> Check:
    compared = stable is not None and (stable.requests or 0) >= policy.minimum_requests
    reference = quantile(stable.latency, 1 - TAIL) if stable is not None and compared else None
    mine = quantile(candidate.latency, 1 - TAIL)
    if reference is None and percent < 100:
        detail = "too little stable traffic to compare latency with"
        return Check(name="latency", value=mine, state=State.UNDECIDED, detail=detail)
    limit = max(policy.latency_floor_milliseconds, policy.maximum_latency_ratio * (reference or 0))
    total = sum(count for _, count in candidate.latency)
    if mine is None or not math.isfinite(limit) or total < (candidate.requests or 0) / 2:
        detail = "no latency was measured"
        return Check(name="latency", value=mine, bound=limit, state=State.UNDECIDED, detail=detail)
    # Slow requests come in bursts, and at 100 % nothing serves beside the candidate: a busy machine would be blamed on it.
    comparable = percent < 100 and total >= policy.minimum_requests
    evident = evidence_above(count_above(candidate.latency, limit), total, TAIL) >= 1 / ALPHA
    certain = mine > limit and comparable and evident
    detail = f"95 % within {mine:.1f} ms (stable {'unknown' if reference is None else f'{reference:.1f}'})"
    if mine > limit:
        detail += f", above {limit:.1f} ms" + (" beyond chance" if certain else "")
    return Check(
        name="latency", value=mine, bound=limit, state=_found(mine <= limit, certain), detail=detail,
        rule="value <= bound", samples={"candidate": int(total)},
    )  # fmt: skip


def _known(replayed: Replayed) -> Check:
    total, identical, unexplained = replayed.vectors, replayed.identical, replayed.unexplained
    passed = (
        total is not None
        and identical is not None
        and unexplained is not None
        and min(identical, unexplained) >= 0
        and identical + unexplained <= total
    )
    return Check(name="measured", value=total, state=_found(passed), detail=replayed.detail)


def _replayed_enough(replayed: Replayed, canary: Canary) -> Check:
    total, least = replayed.vectors or 0, canary.minimum_requests
    detail = f"{total} of {least} vectors replayed"
    good = 0 < total >= least
    return Check(name="enough", value=total, bound=least, state=_found(good), detail=detail, rule="value >= bound")


def _same(replayed: Replayed, canary: Canary, policy: Replay) -> Check:
    total, identical = replayed.vectors or 0, replayed.identical or 0
    share = identical / total if total else None
    good = share is not None and share >= policy.minimum_identical and not replayed.unexplained
    limit = 1 - policy.minimum_identical
    beyond = evidence_above(total - identical, total, limit) >= 1 / ALPHA if 0 < limit < 1 else not good
    certain = bool(replayed.unexplained) or (beyond and total >= canary.minimum_requests)
    return Check(
        name="replayed", value=share, bound=policy.minimum_identical, state=_found(good, certain),
        detail=replayed.detail, rule="value >= bound", samples={"vectors": total},
    )  # fmt: skip


def _enough(candidate: Observed, policy: Canary) -> Check:
    requests = candidate.requests or 0
    detail = f"{requests:.0f} of {policy.minimum_requests} requests seen"
    good = requests >= policy.minimum_requests
    return Check(
        name="enough", value=requests, bound=policy.minimum_requests, state=_found(good), detail=detail,
        rule="value >= bound", samples={"candidate": int(requests)},
    )  # fmt: skip


def _baked(waited: float, policy: Canary) -> Check:
    detail = f"watched for {waited:.0f} of {policy.bake_seconds} seconds"
    return Check(
        name="baked", value=waited, bound=policy.bake_seconds, state=_found(waited >= policy.bake_seconds),
        detail=detail, rule="value >= bound",
    )  # fmt: skip
