"""The circuit breaker: when a dependency is asked, for any sequence of what becomes of the calls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bentos.breaker import Breaker, State

FAILURES, REST, LONGEST = 2, 0.1, 5.0
STEPS = st.lists(
    st.tuples(st.floats(0, 10), st.sampled_from(["succeeds", "fails", "never ends"])), min_size=1, max_size=60
)  # fmt: skip


def breaker() -> Breaker:
    return Breaker(failures=FAILURES, rest=REST, longest=LONGEST)


@given(STEPS)
def test_a_dependency_is_asked_as_the_rules_say(steps: list[tuple[float, str]]) -> None:
    ours, now, bad, rest, open_until, open_ = breaker(), 0.0, 0, REST, 0.0, False
    for pause, becomes in steps:
        now += pause
        may = ours.allow(now)
        assert may == (not open_ or now >= open_until)
        if not may:
            continue
        if open_:
            assert ours.state is State.HALF_OPEN
            assert not ours.allow(now), "one trial at a time"
        if becomes == "succeeds":
            ours.succeeded()
            bad, rest, open_ = 0, REST, False
        elif becomes == "fails":
            ours.failed(now)
            bad += 1
            rest = min(2 * rest, LONGEST) if open_ else rest
            open_ = open_ or bad >= FAILURES
            open_until = now + rest
        elif open_:
            open_until = now + LONGEST
        if becomes != "never ends" or not open_:
            assert ours.state is (State.OPEN if open_ else State.CLOSED)


def test_what_is_down_costs_ever_fewer_calls() -> None:
    ours, calls = breaker(), 0
    for tick in range(60_000):
        now = tick / 1_000
        if ours.allow(now):
            calls += 1
            ours.failed(now)
    assert calls <= 20, "in a minute; each may cost a time-out"
    assert ours.allow(60 + LONGEST)
    ours.succeeded()
    assert ours.state is State.CLOSED


def test_a_call_that_began_before_it_opened_changes_nothing() -> None:
    ours = breaker()
    assert all(ours.allow(0.0) for _ in range(3))
    ours.failed(0.0)
    ours.failed(0.0)
    assert ours.state is State.OPEN
    ours.succeeded()
    ours.failed(0.0)
    assert ours.state is State.OPEN
    assert ours.allow(REST)
