"""The rollout document: what it may become, and the weights it stands for."""

from __future__ import annotations

import doctest
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import TidemillError
from jobs.rollout import machine
from jobs.rollout.machine import Rollout, ended, enter, judged, refuse_early, refuse_second, traffic
from jobs.rollout.observed import Observed
from jobs.rollout.steps import decide
from jobs.rollout.verdict import Decision, Verdict
from jobs.rollout.watch import unmeasured_before
from jobs.spec import Canary

POLICY = Canary(steps=(5, 25, 50, 100), shadow_seconds=0, final_bake_seconds=0)
STARTED = Rollout(
    release="r-2", digest="d", epoch_seen=1, slot="green", stable_slot="blue", state="started", started_at="2026-01-01"
)
FIRST = replace(STARTED, slot="blue", stable_slot=None, epoch_seen=0)


def verdict(said: str) -> Verdict:
    return Verdict(decision=Decision(said), reason=f"said {said}")


def walked(rollout: Rollout, *percents: int) -> Rollout:
    for percent in percents:
        rollout = judged(enter(rollout, str(percent), POLICY), verdict("PROMOTE"), "now")
    return rollout


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(machine).failed == 0


def test_a_walk_visits_every_step_and_may_then_be_promoted() -> None:
    rollout = walked(STARTED, 5, 25, 50, 100)
    refuse_early(rollout, POLICY)
    assert [one["percent"] for one in rollout.verdicts] == [5, 25, 50, 100]


@pytest.mark.parametrize("percent", [25, 50, 100])
def test_a_step_cannot_be_skipped(percent: int) -> None:
    with pytest.raises(TidemillError, match="--percent 5`"):
        enter(STARTED, str(percent), POLICY)


def test_a_step_cannot_be_left_before_it_advanced() -> None:
    held = judged(enter(STARTED, "5", POLICY), verdict("HOLD"), "now")
    with pytest.raises(TidemillError, match="--percent 5`"):
        enter(held, "25", POLICY)


def test_a_share_that_is_no_step_is_refused() -> None:
    with pytest.raises(TidemillError, match="5, 25, 50, 100"):
        enter(STARTED, "30", POLICY)


def test_a_first_release_takes_everything_at_any_step() -> None:
    assert traffic(enter(FIRST, "5", POLICY)) == {"blue": 100, "green": 0}
    assert enter(FIRST, "100", POLICY).percent == 100


def test_of_the_holds_of_a_step_the_last_is_kept() -> None:
    rollout = enter(STARTED, "5", POLICY)
    for _ in range(50):
        rollout = judged(rollout, verdict("HOLD"), "now")
    rollout = judged(rollout, verdict("PROMOTE"), "then")
    assert [one["verdict"] for one in rollout.verdicts] == ["PROMOTE"]


def test_only_the_last_step_passed_may_be_promoted() -> None:
    for rollout in (STARTED, walked(STARTED, 5, 25), enter(walked(STARTED, 5, 25, 50), "100", POLICY)):
        with pytest.raises(TidemillError, match="the champion was left as it is"):
            refuse_early(rollout, POLICY)


def test_another_release_waits_for_the_one_under_way() -> None:
    refuse_second(STARTED, "r-2", None)
    refuse_second(replace(STARTED, state="promoted"), "r-3", None)
    for release, rehearse in (("r-3", None), ("r-2", "errors")):
        with pytest.raises(TidemillError, match="rollout abort"):
            refuse_second(STARTED, release, rehearse)


@given(st.lists(st.sampled_from(["PROMOTE", "HOLD", "ROLL BACK", "abort"]), max_size=12), st.booleans())
def test_whatever_happens_weights_sum_to_100_and_an_ended_candidate_has_none(said: list[str], first: bool) -> None:
    rollout, steps = (FIRST if first else STARTED), iter(POLICY.steps)
    for one in said:
        if rollout.state == "rolling_back":
            break
        if one == "abort":
            rollout = ended(rollout, "aborted", "by hand")
        else:
            if not rollout.percent or rollout.advanced:
                percent = next(steps, None)
                if percent is None:
                    break
                rollout = enter(rollout, str(percent), POLICY)
            rollout = judged(rollout, verdict(one), "now")
        shares = traffic(rollout)
        assert shares is None or sum(shares.values()) == 100
        assert Rollout.load(rollout.document()) == rollout
    if rollout.state == "rolling_back":
        shares = traffic(rollout)
        assert shares is None if first else shares == {"blue": 100, "green": 0}


def test_looks_without_numbers_are_counted_in_a_row_and_at_one_step() -> None:
    policy = replace(POLICY, deadline_seconds=10_000)
    rollout, blind = enter(STARTED, "5", policy), Observed(requests=None, errors=None)
    told = []
    for _ in range(policy.maximum_unmeasured_looks):
        looked = replace(blind, unmeasured_looks=unmeasured_before(rollout) + 1)
        rollout = judged(rollout, decide(5, looked, blind, 60, policy), "now")
        told.append((rollout.verdicts[-1]["rule"], rollout.verdicts[-1]["verdict"]))
    assert told == [("measured", "HOLD"), ("measured", "HOLD"), ("measured", "ROLL BACK")]
    assert unmeasured_before(enter(STARTED, "5", policy)) == 0
    assert unmeasured_before(judged(enter(STARTED, "5", policy), verdict("HOLD"), "now")) == 0
