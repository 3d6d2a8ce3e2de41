"""Rollouts of made-up traffic through the controller's own decision: how often it is wrong, and how late."""

from __future__ import annotations

import doctest
from dataclasses import replace
from pathlib import Path

import pytest

from tests.simulation import pages, peeking, walk
from tests.simulation.__main__ import BAD, GOOD, POLICY, ROOT
from tests.simulation.traffic import Scenario
from tests.simulation.walk import Outcome, run, wilson


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(walk).failed == 0


@pytest.mark.fault("F58")
def test_a_thousand_equal_releases_looked_at_fifty_times_are_within_alpha_and_a_z_test_is_not() -> None:
    naive, ours = peeking.errors(POLICY, 1_000, 1, lambda: None)
    assert ours.interval.high <= POLICY.alpha, f"{ours.found} of 1,000 condemned"
    assert naive.interval.low > 3 * POLICY.alpha, "the guard removed: a test made for one look must be seen to fail"
    first_look = wilson(int((naive.first == 1).sum()), 1_000)
    assert first_look.low <= POLICY.alpha, "looked at once it is right: looking is what breaks it"


@pytest.mark.fault("F58")
def test_a_thousand_equal_means_looked_at_fifty_times_are_within_alpha_and_welch_s_test_is_not() -> None:
    naive, ours = peeking.means(0.0, POLICY.alpha, 1_000, 2, lambda: None, per_look=100)
    assert ours.interval.high <= POLICY.alpha, f"{ours.found} of 1,000 called different"
    assert naive.interval.low > 3 * POLICY.alpha, "the guard removed"


@pytest.mark.parametrize("scenario", GOOD[:1], ids=lambda one: one.name)
def test_walks_of_good_releases_are_promoted(scenario: Scenario) -> None:
    outcome = run(scenario, 60, 3)
    assert not outcome.on_evidence
    assert len(outcome.ended) <= 3
    assert {fate.looks for fate in outcome.fates if fate not in outcome.ended} >= {sum(walk.STEPS.values())}


@pytest.mark.parametrize("scenario", BAD[1:], ids=lambda one: one.name)
def test_walks_of_bad_releases_are_rolled_back(scenario: Scenario) -> None:
    outcome = run(scenario, 30, 4)
    assert len(outcome.ended) == 30
    assert outcome.delay("looks", 0.5) <= walk.PATIENCE * walk.STEPS[5]


def test_a_known_lift_is_found_and_a_test_for_one_look_would_have_to_be_believed_at_one() -> None:
    naive, ours = peeking.means(0.1, POLICY.alpha, 100, 5, lambda: None)
    assert ours.found >= 95
    assert ours.delay(0.5) >= naive.delay(0.5)


def test_a_walk_without_the_check_that_catches_it_lets_a_bad_release_through() -> None:
    shifted = next(one for one in BAD if one.name.startswith("scores"))
    blind = replace(shifted, policy=replace(shifted.policy, maximum_score_distance=None))
    assert len(run(shifted, 10, 6).ended) == 10
    assert not run(blind, 10, 6).ended


def test_the_same_seed_gives_the_same_walks() -> None:
    assert run(BAD[3], 5, 7).fates == run(BAD[3], 5, 7).fates != run(BAD[3], 5, 8).fates


def test_the_page_is_written_between_its_markers(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text((ROOT / "docs" / "decisions.md").read_text())
    empty = Outcome(scenario=GOOD[0], fates=run(GOOD[0], 2, 9).fates)
    pair = peeking.means(0.0, 0.05, 2, 9, lambda: None)
    pages.write(path, [empty], [], pair, pair, pair, 0.05)
    text = path.read_text()
    assert "| as good as stable | 2 | 0.0 %" in text
    assert text.split(pages.END)[1] == (ROOT / "docs" / "decisions.md").read_text().split(pages.END)[1]
