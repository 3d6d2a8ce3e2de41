"""The canary's decision: a table of cases, and what holds for every input."""

from __future__ import annotations

import doctest
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.rollout import statistics, steps, verdict
from jobs.rollout.observed import Observed
from jobs.rollout.statistics import count_above, evidence_above, quantile
from jobs.rollout.steps import decide, decide_first, weights
from jobs.rollout.verdict import Decision
from jobs.spec import Canary

POLICY = Canary(bake_seconds=600, deadline_seconds=3_600, minimum_requests=500)
FAST, SLOW = [(5.0, 950), (10.0, 50)], [(5.0, 500), (10.0, 100), (100.0, 400)]
NAN = math.nan


def seen(requests: float | None = 1_000, errors: float | None = 0, **changes: object) -> Observed:
    return Observed(**{"requests": requests, "errors": errors, "latency": FAST, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("module", [statistics, steps, verdict])
def test_examples_in_the_documentation_hold(module: object) -> None:
    ran = doctest.testmod(module)  # type: ignore[arg-type]
    assert ran.attempted
    assert not ran.failed


@pytest.mark.parametrize(
    ("candidate", "stable", "waited", "decision", "reason"),
    [
        (seen(), seen(), 600, Decision.PROMOTE, "0 of 1000"),
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
        (seen(NAN), seen(), 900, Decision.HOLD, "no measurement"),
        (seen(1_000, NAN), seen(), 3_600, Decision.ROLL_BACK, "no measurement"),
        (seen(10, 11), seen(), 900, Decision.HOLD, "no measurement"),
        (seen(), seen(), NAN, Decision.ROLL_BACK, "no measurement"),
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
histograms = st.lists(st.sampled_from([0.0, 1.0, 40.0, 900.0, NAN]), max_size=4).map(
    lambda counts: list(zip((1.0, 5.0, 50.0, math.inf), counts, strict=False))
)
observations = st.builds(
    Observed, requests=numbers, errors=numbers, latency=histograms, ready=st.booleans(), restarts=st.integers(0, 1)
)


@given(st.integers(1, 100), observations, st.none() | observations, st.floats(0, 5_000) | st.just(NAN))
def test_only_enough_good_evidence_advances(
    percent: int, candidate: Observed, stable: Observed | None, waited: float
) -> None:
    got = decide(percent, candidate, stable, waited, POLICY)
    if got.decision is Decision.PROMOTE:
        assert candidate.ready
        assert not candidate.restarts
        assert candidate.requests is not None
        assert candidate.errors is not None
        assert math.isfinite(candidate.requests)
        assert candidate.requests >= POLICY.minimum_requests
        assert candidate.errors / candidate.requests <= POLICY.maximum_error_rate
        assert waited >= POLICY.bake_seconds
        assert not any(math.isnan(count) for _, count in candidate.latency)
        assert all(check.passed for check in got.checks)
    elif got.decision is Decision.HOLD:
        assert waited < POLICY.deadline_seconds
        assert got.wait_seconds >= 1


@given(st.integers(0, 100), st.sampled_from([None, "blue"]))
def test_weights_always_sum_to_100(percent: int, stable: str | None) -> None:
    assert sum(weights("green", stable, percent).values()) == 100


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 30)), min_size=1, max_size=8), st.floats(0, 60))
def test_histogram_keeps_its_counts(buckets: list[tuple[int, int]], limit: float) -> None:
    bounds, histogram = 0.0, []
    for width, count in buckets:
        bounds += width
        histogram.append((bounds, float(count)))
    total = sum(count for _, count in histogram)
    assert 0 <= count_above(histogram, limit) <= total
    middle = quantile(histogram, 0.5)
    if middle is not None:
        assert count_above(histogram, middle) == pytest.approx(total / 2)


@pytest.mark.fault("F53")
def test_five_requests_hold_and_are_rolled_back_at_the_deadline_and_never_advance() -> None:
    actions = [
        decide(5, seen(5, latency=[(5.0, 5)]), seen(), waited, POLICY).decision for waited in range(0, 3_601, 60)
    ]
    assert actions[:-1] == [Decision.HOLD] * 60
    assert actions[-1] is Decision.ROLL_BACK


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
