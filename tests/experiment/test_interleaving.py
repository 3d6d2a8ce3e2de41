"""Team-draft interleaving: a fair list, and a verdict that is right and seldom wrong however often one looks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.experiment.interleaving import Drafted, draft, judge, preference

DOCUMENTS = [f"d{number}" for number in range(10)]
ORDERS = st.permutations(DOCUMENTS)


@given(ORDERS, ORDERS, st.text(min_size=1))
def test_every_document_is_shown_once_and_the_sides_choose_in_turn(candidate, stable, search):
    drafted = draft(candidate, stable, search)
    assert sorted(one.document for one in drafted) == DOCUMENTS
    assert drafted == draft(candidate, stable, search)
    for length in range(0, 11, 2):
        assert sum(one.side == "candidate" for one in drafted[:length]) == length // 2
    for side, order in (("candidate", candidate), ("stable", stable)):
        places = [order.index(one.document) for one in drafted if one.side == side]
        assert places == sorted(places)


def test_each_side_begins_half_of_the_searches():
    begins = sum(draft(DOCUMENTS, DOCUMENTS, f"s{number}")[0].side == "candidate" for number in range(2_000))
    assert begins == pytest.approx(1_000, abs=100)


def test_what_only_one_side_found_is_shown_as_well():
    assert [one.document for one in draft(["a"], ["a", "b", "c"], "s")] == ["a", "b", "c"]


def test_the_preferred_side_is_the_one_with_more_clicks():
    drafted = [Drafted(document="a", side="candidate"), Drafted(document="b", side="stable")]
    assert [preference(drafted, clicked) for clicked in (["a"], ["b"], ["a", "b"], [])] == [1, -1, 0, 0]


def searched(random: np.random.Generator, noise: float, searches: int) -> list[int]:
    """Preferences of people who click what is relevant, and look at lower places less."""
    found = []
    for number in range(searches):
        worth = random.normal(0, 1, 10)
        orders = [np.argsort(-(worth + random.normal(0, scale, 10))) for scale in (noise, 1.0)]
        drafted = draft(*([DOCUMENTS[one] for one in order] for order in orders), f"{number}")
        looked = random.random(10) < 1 / np.arange(1, 11)
        liked = random.random(10) < 1 / (1 + np.exp(1 - 2 * worth))
        clicked = {
            one.document for one, seen in zip(drafted, looked, strict=True) if seen and liked[int(one.document[1:])]
        }
        found.append(preference(drafted, clicked))
    return found


def test_a_better_order_is_promoted_and_a_worse_one_rolled_back():
    verdicts = [
        judge(searched(np.random.default_rng(1), noise, 1_500), alpha=0.05, waited=1, deadline=9)
        for noise in (0.3, 4.0)
    ]
    assert [verdict.decision.value for verdict in verdicts] == ["PROMOTE", "ROLL BACK"]


def test_orders_that_are_alike_are_seldom_told_apart_however_often_one_looks():
    random, wrong = np.random.default_rng(2), 0
    for _ in range(200):
        votes = random.choice([-1, 0, 1], 1_000).tolist()
        looks = (judge(votes[:count], alpha=0.05, waited=1, deadline=9) for count in range(100, 1_001, 100))
        wrong += any(look.decision.value != "HOLD" for look in looks)
    assert wrong <= 16, f"{wrong} of 200, where 10 are expected at most"


def test_too_few_searches_decide_nothing_and_the_deadline_rolls_back():
    few = [1] * 99
    assert judge(few, alpha=0.05, waited=1, deadline=9).decision.value == "HOLD"
    assert judge(few, alpha=0.05, waited=9, deadline=9).decision.value == "ROLL BACK"
