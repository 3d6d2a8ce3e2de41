"""Counts of several routers and tasks, each of which starts, restarts and stops by itself."""

from __future__ import annotations

from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from jobs.rollout.counters import Counters, Traffic, between, together
from jobs.rollout.measure import observed

COUNT = st.integers(0, 10_000)
PART = st.builds(
    lambda good, bad: Counters(attempts=good + bad, errors=bad, latency=((5.0, float(good)),)), COUNT, COUNT
)
NAMES = st.sampled_from(["10.0.1.4", "10.0.2.9", "10.0.1.7", "10.0.2.2"])
PARTS = st.dictionaries(NAMES, PART, min_size=1)


def seen(parts: dict[str, Counters], more: dict[str, Counters]) -> Traffic:
    """The traffic between two looks, where each router counted so much more."""
    after = {
        name: Counters(
            attempts=parts.get(name, Counters()).attempts + one.attempts,
            errors=parts.get(name, Counters()).errors + one.errors,
            latency=tuple((5.0, sum(n for _, n in parts[name].latency) + n) for _, n in one.latency)
            if name in parts else one.latency,
        )
        for name, one in more.items()
    }  # fmt: skip
    return between(together(parts, healthy=True), together(after, healthy=True))


@given(before=PARTS, more=PARTS)
def test_what_each_counted_since_is_the_traffic_whoever_came_or_went(
    before: dict[str, Counters], more: dict[str, Counters]
) -> None:
    found = seen(before, more)
    assert found.requests == sum(one.attempts for one in more.values())
    assert found.errors == sum(one.errors for one in more.values())
    assert sum(count for _, count in found.latency) == sum(n for one in more.values() for _, n in one.latency)


@given(before=PARTS, after=PARTS)
def test_no_restart_makes_a_count_negative_or_has_more_errors_than_requests(
    before: dict[str, Counters], after: dict[str, Counters]
) -> None:
    found = between(together(before, healthy=True), together(after, healthy=True))
    assert found.errors >= 0
    assert 0 <= found.requests <= sum(one.attempts for one in after.values())


def test_one_that_restarted_does_not_bring_back_what_the_others_counted_before() -> None:
    before = together({"a": Counters(attempts=1_000, errors=900), "b": Counters(attempts=1_000)}, healthy=True)
    after = together({"a": Counters(attempts=1_100, errors=900), "b": Counters(attempts=50)}, healthy=True)
    assert after.attempts < before.attempts
    found = between(before, after)
    assert (found.requests, found.errors) == (150, 0), "a sum that had been started anew would have 900 errors"


def test_the_ledger_keeps_each_ones_count_and_the_greatest_growth_is_the_slots() -> None:
    def counted(many: int, resident: float) -> dict[str, dict[str, object]]:
        own = {"own a": Counters(resident_bytes=resident), "own b": Counters(resident_bytes=1e6 + many)}
        return {"green": asdict(together({"a": Counters(attempts=many, latency=((5.0, many),))} | own, healthy=True))}

    found = observed(counted(100, 10e6), counted(300, 50e6), "green")
    assert (found.requests, found.latency, found.grown_bytes) == (200, ((5.0, 200.0),), 40e6)
