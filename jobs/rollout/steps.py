"""Whether a candidate may have more traffic: pure, and it fails closed.

Only enough good evidence goes on. No evidence holds, and rolls back at the step's deadline; a number that is missing
or impossible is never a passed check.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobs.release.checks import Check, State
from jobs.rollout import guards
from jobs.rollout.observed import Observed, Replayed
from jobs.rollout.statistics import evidence_above
from jobs.rollout.verdict import CANARY, PROMOTION, Verdict, conclude
from jobs.spec import Canary, Replay

ALPHA = 0.01
"""The chance, over all looks, of rolling back a candidate whose answers keep to a limit of their own: see guards.py
for those that share the policy's."""
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
    return conclude([guards.alive(candidate)], CANARY, because="first release: ready, and no champion to hold")


def decide(
    percent: int, candidate: Observed, stable: Observed | None, waited: float, policy: Canary,
    labels: Check | None = None,
) -> Verdict:  # fmt: skip
    """The verdict on a step: `stable` served in the same period, or in the step before when this one left it nothing.

    `labels` is what the labels that have matured meanwhile say (`matured.matured`).

    >>> good = Observed(requests=4_000, errors=1, latency=[(5.0, 4_000)], scores=[(1.0, 4_000)])
    >>> rest = Observed(requests=12_000, errors=3, latency=[(5.0, 12_000)], scores=[(1.0, 12_000)])
    >>> decide(25, good, rest, 900, Canary()).decision.value
    'PROMOTE'
    >>> bad = Observed(requests=4_000, errors=800, latency=[(5.0, 4_000)])
    >>> decide(25, bad, rest, 60, Canary()).reason
    'at 25 %: 800 of 4000 requests failed (0.200), above 0.010 beyond chance'
    >>> decide(25, good, rest, 60, Canary()).reason
    'at 25 %: watched for 60 of 600 seconds'
    >>> decide(5, good, rest, 60, Canary()).rule
    'share'
    """
    checks = [guards.alive(candidate), guards.measured(candidate, stable, policy)]
    because, again = "", policy.bake_seconds / 4
    if checks[-1].passed:
        checks += _guarded(percent, candidate, stable, policy)
        checks += [labels] if labels else []
        because = "; ".join(check.detail for check in checks if check.name in ("errors", "latency"))
        if all(check.passed or check.optional for check in checks):  # then nothing but time is missing
            again = policy.bake_seconds - waited
        checks.append(guards.baked(waited, policy))
    return conclude(
        checks, CANARY, waited=waited, deadline=policy.deadline_seconds, again=max(again, 1),
        where=f"at {percent} %", because=because,
    )  # fmt: skip


def _guarded(percent: int, candidate: Observed, stable: Observed | None, policy: Canary) -> Iterator[Check]:
    """The checks on what it did; those beside the stable slot only where that serves at the same time."""
    concurrent = percent < 100
    yield guards.enough(candidate, policy)
    yield guards.errors(candidate, policy)
    if concurrent:
        yield guards.worse(candidate, stable, policy)
    yield guards.latency(candidate, stable, policy, concurrent=concurrent)
    if concurrent and policy.maximum_score_distance is not None:
        yield guards.scores(candidate, stable, policy, policy.maximum_score_distance)
    if policy.maximum_growth_megabytes is not None:
        yield guards.memory(candidate, policy.maximum_growth_megabytes)
    if 0 < percent < 100:
        yield guards.share(percent, candidate, stable, policy)


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
