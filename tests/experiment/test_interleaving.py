"""Team-draft interleaving: a fair list, and a verdict that is right and seldom wrong however often one looks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jobs.experiment.interleaving import draft, preferences
from jobs.experiment.lists import Lists
from jobs.experiment.preference import curve, design, judge, needed, needed_fixed
from jobs.rollout.statistics import proportion
from jobs.rollout.verdict import Verdict
from jobs.spec import Interleaving
from tests.experiment.interleaved import STABLE, votes, worths

DOCUMENTS = [f"d{number}" for number in range(10)]
ORDERS = st.permutations(DOCUMENTS)
POLICY = Interleaving(minimum_effect=0.05)


def lists(preference: NDArray[np.int64], broken: int = 0) -> Lists:
    return Lists(preference=preference, known=np.zeros(len(preference), dtype=np.int64), broken=broken)


def decided(preference: NDArray[np.int64], broken: int = 0, waited: float = 1) -> Verdict:
    return judge(POLICY, lists(preference, broken), waited=waited)


@given(ORDERS, ORDERS, st.text(min_size=1))
def test_every_document_is_shown_once_and_the_sides_choose_in_turn(candidate, stable, search):
    drafted = draft(candidate, stable, search)
    assert sorted(one.item for one in drafted) == DOCUMENTS
    assert drafted == draft(candidate, stable, search)
    ahead = np.cumsum([1 if one.side == "candidate" else -1 for one in drafted])
    assert np.abs(ahead).max() == 1, "at every prefix each side has as many choices as the other, or one more"
    assert not ahead[1::2].any()
    for side, order in (("candidate", candidate), ("stable", stable)):
        places = [order.index(one.item) for one in drafted if one.side == side]
        assert places == sorted(places)


@settings(max_examples=20, deadline=None)
@given(ORDERS, st.sets(st.sampled_from(DOCUMENTS), min_size=1))
def test_equal_orders_are_preferred_alike_whatever_is_clicked(order, chosen):
    searches = 1_000
    drafted = [draft(order, order, f"{number}") for number in range(searches)]
    net = [sum(1 if one.side == "candidate" else -1 for one in rows if one.item in chosen) for rows in drafted]
    assert abs(np.mean(net)) < 5 * max(np.std(net), 1 / math.sqrt(searches)) / math.sqrt(searches)


def test_each_side_begins_half_of_the_searches():
    begins = sum(draft(DOCUMENTS, DOCUMENTS, f"s{number}")[0].side == "candidate" for number in range(2_000))
    assert begins == pytest.approx(1_000, abs=100)


def test_where_both_orders_agree_nobody_has_chosen():
    drafted = draft("abcd", "abdc", "s")
    assert [(one.item in "ab") for one in drafted] == [one.agreed for one in drafted]
    assert all(one.agreed for one in draft("abc", "abc", "s"))


def test_what_only_one_side_found_is_shown_as_well():
    assert [one.item for one in draft(["a"], ["a", "b", "c"], "s")] == ["a", "b", "c"]


def test_the_preferred_side_is_the_one_with_more_clicks():
    rows, mine = np.repeat(np.arange(4), 2), np.tile([True, False], 4)
    clicks = np.array([1, 0, 0, 1, 1, 1, 0, 0], dtype=bool)
    assert preferences(rows, mine, clicks).tolist() == [1, -1, 0, 0]


def test_a_better_order_is_promoted_and_a_worse_one_rolled_back():
    random = np.random.default_rng(1)
    verdicts = [decided(votes(random, worths(random, 1_500), noise)) for noise in (0.6, 8.0)]
    assert [verdict.decision.value for verdict in verdicts] == ["PROMOTE", "ROLL BACK"]


def test_releases_that_are_alike_are_seldom_told_apart_however_often_one_looks():
    random, wrong, promoted, runs = np.random.default_rng(2), 0, 0, 60
    for _ in range(runs):
        some = votes(random, worths(random, 300), STABLE)
        looks = [decided(some[:count]) for count in range(100, 301, 20)]
        ends = [
            (check.low, check.high, check.value)
            for look in looks
            for check in look.checks
            if check.name == "preference"
        ]
        wrong += any(value is not None and (low > 0.5 or high < 0.5) for low, high, value in ends)
        promoted += any(look.decision.value == "PROMOTE" for look in looks)
    assert wrong <= 9, f"{wrong} of {runs}, where 3 are expected at most"
    assert promoted <= wrong


def test_as_many_lists_as_planned_find_the_effect_as_often_as_planned():
    random, share = np.random.default_rng(3), 0.6
    count = needed(share, 0.05, 0.8)
    wins, times = np.unique(random.binomial(count, share, 400), return_counts=True)
    found = sum(times[[proportion(int(one), count, 0.05).low > 0.5 for one in wins]]) / 400
    assert 0.74 < found < 0.86
    one = design(POLICY, per_day=500, delay_days=1, effect=0.1)
    assert (one.lists, one.lists_fixed, one.days) == (count, needed_fixed(share, 0.05, 0.8), math.ceil(count / 500) + 1)
    assert one.lists_fixed == pytest.approx(193, abs=5), "the exact sign test needs 194 (Noether 1987, table 1 has 196)"
    assert one.halves > 2.5 * one.lists
    for wrong in (0.0, 0.5):
        with pytest.raises(ValueError, match="nothing can be planned"):
            design(POLICY, per_day=500, delay_days=1, effect=wrong)


def test_less_than_is_worth_a_release_is_rolled_back_early():
    some = np.random.default_rng(4).choice([-1, 1], 20_000)
    verdict = decided(some)
    assert (verdict.decision.value, verdict.rule) == ("ROLL BACK", "preference")
    assert "surely less than the 0.55 asked for" in verdict.reason


def test_too_few_lists_decide_nothing_and_the_deadline_rolls_back():
    few = np.ones(99, dtype=np.int64)
    assert decided(few).decision.value == "HOLD"
    assert decided(few, waited=28 * 86_400).decision.value == "ROLL BACK"
    assert curve(POLICY, lists(few))[0]["value"] is None


def test_lists_that_lost_rows_end_it_before_any_preference_is_looked_at():
    some = np.ones(1_000, dtype=np.int64)
    assert decided(some, broken=5).decision.value == "PROMOTE"
    verdict = decided(some, broken=100)
    assert (verdict.decision.value, verdict.rule, len(verdict.checks)) == ("ROLL BACK", "whole", 1)
