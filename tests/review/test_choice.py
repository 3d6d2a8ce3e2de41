"""What people look at, and how far they agree."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.review.agreement import Verdict, alpha, kappas
from jobs.review.choice import Answer, choose, open_items, uncertainty
from jobs.spec import Review

POLICY = Review(verdicts="verdicts", items_a_day=20, explored=0.25, reviewers=2)


def answers(count: int = 500, seed: int = 1) -> list[Answer]:
    random = np.random.default_rng(seed)
    shares = random.dirichlet([3, 1, 1], count)
    return [
        Answer(event_id=f"e{row}", decision="review" if row % 40 == 0 else "allow", probabilities=tuple(one))
        for row, one in enumerate(shares)
    ]


def test_what_is_to_be_reviewed_comes_first_then_the_least_certain_then_some_by_chance() -> None:
    items = choose(answers(), POLICY, seed=3)
    assert [one.why for one in items[:13]] == ["decision"] * 13 or {one.why for one in items[:12]} == {"decision"}
    assert {one.why for one in items[-5:]} == {"random"}
    uncertain = [one.uncertainty for one in items if one.why == "uncertain"]
    left = [uncertainty(one) for one in answers() if one.event_id not in {item.event_id for item in items}]
    assert uncertain == sorted(uncertain, reverse=True)
    assert min(uncertain) >= max(left)
    assert len(items) == len({one.event_id for one in items}) == POLICY.items_a_day


def test_the_same_seed_draws_the_same_and_the_order_of_answers_does_not_matter() -> None:
    mine = choose(answers(), POLICY, seed=3)
    assert choose(answers()[::-1], POLICY, seed=3) == mine
    assert {one.event_id for one in choose(answers(), POLICY, seed=4)} != {one.event_id for one in mine}


def test_every_event_is_as_likely_to_be_drawn_whatever_was_decided() -> None:
    drawn: dict[bool, int] = {True: 0, False: 0}
    asked = {one.event_id for one in answers() if one.decision == "review"}
    for seed in range(400):
        for one in choose(answers(), POLICY, seed=seed):
            if one.why == "random":
                drawn[one.event_id in asked] += 1
                assert one.chance == 5 / 500
    assert drawn[True] / 2_000 == pytest.approx(len(asked) / 500, abs=0.012)


def test_fewer_answers_than_there_is_time_for_are_all_looked_at() -> None:
    assert len(choose(answers(7), POLICY, seed=1)) == 7
    assert choose([], POLICY, seed=1) == []


def test_an_item_stays_open_until_enough_others_judged_it() -> None:
    items = choose(answers(4), POLICY, seed=1)
    given = {"e0": ["ann"], "e1": ["bob", "cyd"], "e2": ["bob"]}
    assert {one.event_id for one in open_items(items, given, POLICY, "ann")} == {"e2", "e3"}


KRIPPENDORFF = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)


def said(rows: tuple[str, ...]) -> list[Verdict]:
    return [
        Verdict(f"u{unit}", f"r{reviewer}", verdict)
        for reviewer, row in enumerate(rows)
        for unit, verdict in enumerate(row.split())
        if verdict != "."
    ]


def test_alpha_is_that_of_krippendorffs_own_examples() -> None:
    assert alpha(said(KRIPPENDORFF)) == pytest.approx(0.743, abs=5e-4)
    assert alpha(said(("a a b b d c c c e d d a", "b a b b b c c c e d d d"))) == pytest.approx(0.692, abs=5e-4)


def test_full_agreement_is_one_chance_is_about_nothing_and_no_pair_is_unknown() -> None:
    random = np.random.default_rng(1)
    rows = tuple(" ".join(random.choice(["a", "b", "c"], 2_000)) for _ in range(2))
    assert alpha(said((rows[0], rows[0]))) == pytest.approx(1)
    assert alpha(said(rows)) == pytest.approx(0, abs=0.05)
    assert alpha(said((rows[0],))) is None
    assert alpha([]) is None


def test_a_reviewer_who_guesses_is_seen_by_kappa() -> None:
    random = np.random.default_rng(1)
    truth = random.choice(["a", "b", "c"], 600)
    rows = tuple(" ".join(np.where(random.random(600) < 0.9, truth, "a")) for _ in range(2))
    found = kappas(said((*rows, " ".join(random.choice(["a", "b", "c"], 600)))))
    assert found["r2"][0] == pytest.approx(0, abs=0.08)
    assert (found["r0"][0] or 0) > 0.3
    assert found["r0"][1] == 1_200
