"""The canary's decision: a table of cases, and what holds for every input."""

from __future__ import annotations

import doctest
import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.release.checks import Check, State
from jobs.rollout import comparisons, distances, means, statistics, steps, verdict
from jobs.rollout.observed import Observed
from jobs.rollout.statistics import evidence_above
from jobs.rollout.steps import decide, decide_first, weights
from jobs.rollout.verdict import AB_TEST, CANARY, DRIFT, GATE, PERFORMANCE, SHADOW, Decision, Stage, conclude
from jobs.spec import Canary

POLICY = Canary(bake_seconds=600, deadline_seconds=3_600, minimum_requests=500, entities=1, maximum_score_distance=None)
FAST, SLOW = [(5.0, 950), (10.0, 50)], [(5.0, 500), (10.0, 100), (100.0, 400)]
NAN = math.nan


def seen(requests: float | None = 1_000, errors: float | None = 0, **changes: object) -> Observed:
    return Observed(**{"requests": requests, "errors": errors, "latency": FAST, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("module", [comparisons, distances, means, statistics, steps, verdict])
def test_examples_in_the_documentation_hold(module: object) -> None:
    ran = doctest.testmod(module)  # type: ignore[arg-type]
    assert ran.attempted
    assert not ran.failed


@pytest.mark.parametrize(
    ("candidate", "stable", "waited", "decision", "reason"),
    [
        (seen(), seen(), 600, Decision.PROMOTE, "0 of 1000 requests failed"),
        (seen(), seen(), 599, Decision.HOLD, "watched for 599 of 600"),
        (seen(499), seen(), 900, Decision.HOLD, "499 of 500 requests seen"),
        (seen(499), seen(), 3_600, Decision.ROLL_BACK, "deadline"),
        (seen(0, latency=()), seen(), 900, Decision.HOLD, "0 of 500"),
        (seen(1_000, 400), seen(), 5, Decision.ROLL_BACK, "beyond chance"),
        (seen(10, 8), seen(), 1, Decision.ROLL_BACK, "beyond chance"),
        (seen(1_000, 14), seen(), 900, Decision.HOLD, "above 0.010"),
        (seen(1_000, 14), seen(), 3_600, Decision.ROLL_BACK, "deadline"),
        (seen(latency=SLOW), seen(), 20, Decision.ROLL_BACK, "ms beyond chance"),
        (seen(latency=SLOW), seen(latency=SLOW), 900, Decision.PROMOTE, "95 %"),
        (seen(90, latency=[(100.0, 90)]), seen(), 20, Decision.HOLD, "90 of 500 requests seen"),
        (seen(latency=[(1.0, 1_000)]), seen(latency=[(0.1, 1_000)]), 900, Decision.PROMOTE, "95 %"),
        (seen(latency=()), seen(), 900, Decision.HOLD, "no latency"),
        (seen(latency=[(5.0, 3)]), seen(), 900, Decision.HOLD, "no latency"),
        (seen(), None, 900, Decision.HOLD, "too little stable traffic"),
        (seen(), seen(20), 900, Decision.HOLD, "too little stable traffic"),
        (seen(ready=False), seen(), 900, Decision.ROLL_BACK, "not ready"),
        (seen(restarts=2), seen(), 900, Decision.ROLL_BACK, "restarted 2 times"),
        (seen(None), seen(), 900, Decision.HOLD, "no measurement"),
        (seen(None, unmeasured_looks=3), seen(), 900, Decision.ROLL_BACK, "look 3 of 3"),
        (seen(), seen(None), 900, Decision.HOLD, "no measurement of the stable slot, look 1 of 3"),
        (seen(), seen(NAN), 900, Decision.ROLL_BACK, "no measurement of the stable slot: nan requests"),
        (seen(NAN), seen(), 900, Decision.ROLL_BACK, "nan requests"),
        (seen(-1), seen(), 900, Decision.ROLL_BACK, "-1 requests"),
        (seen(latency=[(5.0, NAN)]), seen(), 900, Decision.ROLL_BACK, "a count of latency is no count"),
        (seen(1_000, NAN), seen(), 3_600, Decision.ROLL_BACK, "nan errors"),
        (seen(10, 11), seen(), 900, Decision.ROLL_BACK, "11 errors in 10 requests"),
        (seen(), seen(), NAN, Decision.ROLL_BACK, "at the deadline"),
    ],
)
def test_decision_table(
    candidate: Observed, stable: Observed | None, waited: float, decision: Decision, reason: str
) -> None:
    got = decide(25, candidate, stable, waited, POLICY)
    assert (got.decision, reason in got.reason) == (decision, True), got.reason
    assert (got.wait_seconds > 0) == (decision is Decision.HOLD)


def test_at_all_traffic_the_step_before_is_the_comparison_and_the_floor_the_last_resort() -> None:
    assert decide(100, seen(latency=SLOW), seen(latency=SLOW), 900, POLICY).decision is Decision.PROMOTE
    for stable in (None, seen()):  # it was another time: the machine may be slower now, so it only waits
        assert decide(100, seen(latency=SLOW), stable, 900, POLICY).decision is Decision.HOLD
        assert decide(100, seen(latency=SLOW), stable, 3_600, POLICY).decision is Decision.ROLL_BACK
    assert decide(100, seen(), None, 900, POLICY).decision is Decision.PROMOTE


def test_first_release_needs_to_be_alive_and_nothing_else() -> None:
    assert decide_first(seen(None, None, latency=())).decision is Decision.PROMOTE
    assert decide_first(seen(ready=False)).decision is Decision.ROLL_BACK
    assert decide_first(seen(restarts=1)).decision is Decision.ROLL_BACK


numbers = st.one_of(st.none(), st.just(NAN), st.just(math.inf), st.integers(-2, 5_000).map(float))
histograms = st.lists(st.sampled_from([0.0, 1.0, 40.0, 900.0, -1.0, NAN]), max_size=4).map(
    lambda counts: list(zip((1.0, 5.0, 50.0, math.inf), counts, strict=False))
)
observations = st.builds(
    Observed, requests=numbers, errors=numbers, latency=histograms, scores=histograms, ready=st.booleans(),
    restarts=st.integers(0, 1), unmeasured_looks=st.integers(1, 4),
)  # fmt: skip
SCORED = replace(POLICY, maximum_score_distance=0.2)


def impossible(one: Observed) -> bool:
    told = [one.requests, one.errors, *(count for _, count in one.latency), *(count for _, count in one.scores)]
    return any(number is None or not math.isfinite(number) or number < 0 for number in told)


@given(st.integers(0, 100), observations, st.none() | observations, st.floats(0, 5_000) | st.just(NAN))
def test_only_enough_good_evidence_goes_on(
    percent: int, candidate: Observed, stable: Observed | None, waited: float
) -> None:
    got = decide(percent, candidate, stable, waited, SCORED)
    if got.decision is Decision.PROMOTE:
        assert candidate.ready
        assert not candidate.restarts
        assert not impossible(candidate)
        assert stable is None or not impossible(stable)
        assert stable is not None or percent == 100
        assert (candidate.requests or 0) >= POLICY.minimum_requests
        assert (candidate.errors or 0) <= POLICY.maximum_error_rate * (candidate.requests or 0)
        assert waited >= POLICY.bake_seconds
        assert all(check.passed for check in got.checks)
        assert got.rule == ""
    else:
        assert got.rule in [check.name for check in got.checks if not check.passed]
    if got.decision is Decision.HOLD:
        assert waited < POLICY.deadline_seconds
        assert got.wait_seconds >= 1


@st.composite
def walks(draw: st.DrawFn) -> tuple[int, Observed, Observed]:
    """A step's percent and what two slots did in it, without anything impossible."""
    slots = []
    for _ in range(2):
        counts = draw(st.tuples(*[st.integers(0, 3_000)] * 4))
        latency = list(zip((5.0, 20.0, 100.0, math.inf), map(float, counts), strict=True))
        requests = sum(counts)
        slots.append(seen(requests, draw(st.integers(0, min(requests, 60))), latency=latency, scores=latency))
    return draw(st.integers(1, 99)), slots[0], slots[1]


@given(walks(), st.integers(1, 500), st.integers(0, 4_000), st.sampled_from([1, 10_000]))
def test_more_errors_never_make_a_rollback_a_promotion(
    walk: tuple[int, Observed, Observed], more: int, waited: int, entities: int
) -> None:
    percent, candidate, stable = walk
    policy = replace(SCORED, entities=entities)
    worse = replace(candidate, errors=min(candidate.requests or 0, (candidate.errors or 0) + more))
    order = [Decision.ROLL_BACK, Decision.HOLD, Decision.PROMOTE]
    before, after = (decide(percent, one, stable, waited, policy).decision for one in (candidate, worse))
    assert order.index(after) <= order.index(before)


states = st.lists(st.tuples(st.sampled_from(State), st.booleans()), max_size=6)


@given(states, st.sampled_from([GATE, SHADOW, CANARY, AB_TEST, DRIFT, PERFORMANCE]), st.floats(0, 20), st.randoms())
def test_the_order_of_the_checks_decides_nothing_and_inconclusive_never_promotes(
    drawn: list[tuple[State, bool]], stage: Stage, waited: float, chance: random.Random
) -> None:
    checks = [
        Check(name=f"c-{number}", state=state, detail="", optional=optional)
        for number, (state, optional) in enumerate(drawn)
    ]
    shuffled = chance.sample(checks, len(checks))
    got = conclude(checks, stage, waited=waited, deadline=10)
    assert conclude(shuffled, stage, waited=waited, deadline=10).decision is got.decision
    needed = [check for check in checks if not check.optional or check.state is not State.UNDECIDED]
    if any(check.state is State.FAILED for check in checks):
        assert got.decision is stage.failed
    elif needed and all(check.passed for check in needed):
        assert got.decision is stage.passed
    else:
        assert got.decision is (stage.undecided if waited < 10 else stage.late)
        assert got.decision is not Decision.PROMOTE
    assert json.loads(json.dumps(got.document())) == got.document()


@pytest.mark.parametrize(
    ("mine", "theirs", "decision"),
    [
        (500, 9_500, Decision.PROMOTE),
        (620, 9_380, Decision.PROMOTE),  # 6.2 %: so far is possible when whole entities move
        (700, 9_300, Decision.ROLL_BACK),
        (330, 9_670, Decision.ROLL_BACK),
        (5_000, 5_000, Decision.ROLL_BACK),
    ],
)
def test_a_share_that_is_not_the_weight_stops_the_analysis(mine: int, theirs: int, decision: Decision) -> None:
    policy = replace(POLICY, minimum_requests=300, entities=10_000)
    slots = [seen(count, latency=[(5.0, count)]) for count in (mine, theirs)]
    got = decide(5, *slots, 900, policy)
    assert (got.decision, got.rule) == (decision, "share" if decision is Decision.ROLL_BACK else "")
    assert decide(5, *slots, 900, replace(policy, entities=1)).decision is Decision.PROMOTE, "the guard removed"


def test_shifted_scores_are_rolled_back_and_missing_ones_hold() -> None:
    even, high = [(0.5, 4_000.0), (1.0, 4_000.0)], [(0.5, 500.0), (1.0, 7_500.0)]
    for scores, decision in ((even, Decision.PROMOTE), (high, Decision.ROLL_BACK), ((), Decision.HOLD)):
        got = decide(50, seen(8_000, latency=[(5.0, 8_000)], scores=scores),
                     seen(8_000, latency=[(5.0, 8_000)], scores=even), 900, SCORED)  # fmt: skip
        assert got.decision is decision, got.reason
    other = decide(50, seen(scores=[(0.4, 1_000.0)]), seen(scores=even), 900, SCORED)
    assert (other.decision, other.rule) == (Decision.ROLL_BACK, "scores")


def test_errors_within_the_limit_are_rolled_back_when_the_stable_slot_has_far_fewer() -> None:
    got = decide(50, seen(50_000, 400, latency=[(5.0, 50_000)]), seen(50_000, 50, latency=[(5.0, 50_000)]), 900, POLICY)
    assert (got.decision, got.rule) == (Decision.ROLL_BACK, "errors beside stable")
    (check,) = (one for one in got.checks if one.name == got.rule)
    assert (check.low or 0) > POLICY.error_effect
    assert check.samples == {"candidate": 50_000, "stable": 50_000}


@given(st.integers(0, 100), st.sampled_from([None, "blue"]))
def test_weights_always_sum_to_100(percent: int, stable: str | None) -> None:
    assert sum(weights("green", stable, percent).values()) == 100


@pytest.mark.fault("F53")
def test_five_requests_hold_and_are_rolled_back_at_the_deadline_and_never_advance() -> None:
    actions = [
        decide(5, seen(5, latency=[(5.0, 5)]), seen(), waited, POLICY).decision for waited in range(0, 3_601, 60)
    ]
    assert actions[:-1] == [Decision.HOLD] * 60
    assert actions[-1] is Decision.ROLL_BACK
    unguarded = replace(POLICY, minimum_requests=1)
    assert decide(5, seen(5, latency=[(5.0, 5)]), seen(), 900, unguarded).decision is Decision.PROMOTE, "guard removed"


@pytest.mark.fault("F54")
@pytest.mark.parametrize(
    ("change", "decisions"),
    [
        ({"requests": None, "errors": None, "latency": ()}, [Decision.HOLD, Decision.HOLD, Decision.ROLL_BACK]),
        ({"errors": None}, [Decision.HOLD, Decision.HOLD, Decision.ROLL_BACK]),
        ({"requests": NAN}, [Decision.ROLL_BACK] * 3),
        ({"latency": [(5.0, math.inf)]}, [Decision.ROLL_BACK] * 3),
        ({}, [Decision.PROMOTE] * 3),  # the control
    ],
)
def test_what_cannot_be_measured_holds_for_some_looks_and_what_cannot_be_ends_it(
    change: dict[str, object], decisions: list[Decision]
) -> None:
    for blind in ("candidate", "stable"):
        told = []
        for look in (1, 2, 3):
            mine = replace(seen(**(change if blind == "candidate" else {})), unmeasured_looks=look)  # type: ignore[arg-type]
            theirs = seen(**(change if blind == "stable" else {}))  # type: ignore[arg-type]
            got = decide(25, mine, theirs, 900, POLICY)
            told.append(got.decision)
            assert got.decision is Decision.PROMOTE or got.rule == "measured"
        assert told == decisions


def test_looking_after_every_request_rarely_condemns_a_candidate_at_the_limit() -> None:
    """A/A: 400 walks of 1,000 requests failing at exactly the limit, looked at after each 10."""
    chance, condemned = random.Random(7), 0
    for _ in range(400):
        errors = 0
        for request in range(1, 1_001):
            errors += chance.random() < 0.01
            if request % 10 == 0 and evidence_above(errors, request, 0.01) >= 1 / steps.ALPHA:
                condemned += 1
                break
    assert condemned <= 10, f"{condemned} of 400, where at most {400 * steps.ALPHA:.0f} are expected"


def test_looking_after_every_request_soon_condemns_a_bad_candidate() -> None:
    chance, waits = random.Random(7), []
    for _ in range(100):
        errors = 0
        for request in range(1, 2_001):
            errors += chance.random() < 0.06
            if evidence_above(errors, request, 0.01) >= 1 / steps.ALPHA:
                waits.append(request)
                break
    assert len(waits) == 100
    assert sorted(waits)[50] < 300


@pytest.mark.parametrize(("events", "trials", "limit"), [(2, 1, 0.1), (-1, 3, 0.1), (1, 3, 0.0), (1, 3, 1.0)])
def test_impossible_counts_are_refused(events: float, trials: float, limit: float) -> None:
    with pytest.raises(ValueError, match=r"impossible|between"):
        evidence_above(events, trials, limit)
