"""What people looked at, told from clicks alone: the truth of a simulation comes back, and a model learns from it."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.training.examination import examination, weights

PLACES = 10


def clicks(searches: int, seed: int, shuffled: float, falls: float = 0.8):
    """Places, clicks and inputs of searches whose order knows much of what is relevant, a share of it shuffled."""
    random = np.random.default_rng(seed)
    truth = 1 / np.arange(1, PLACES + 1) ** falls
    x = random.normal(size=(searches, PLACES, 4))
    relevant = 1 / (1 + np.exp(1.5 - 1.2 * x[:, :, 0] - 0.8 * x[:, :, 1] * (x[:, :, 2] > 0)))
    order = np.argsort(-(x[:, :, 0] + random.normal(size=(searches, PLACES)) * 0.7), axis=1)
    some = random.random(searches) < shuffled
    order[some] = random.permuted(np.tile(np.arange(PLACES), (int(some.sum()), 1)), axis=1)
    place = np.argsort(order, axis=1) + 1
    clicked = random.random(place.shape) < truth[place - 1] * relevant
    return place.ravel(), clicked.ravel(), x.reshape(-1, 4), truth


@pytest.mark.parametrize("falls", [0.4, 0.8])
def test_the_examination_that_made_the_clicks_is_found_where_their_shares_are_wrong(falls):
    place, clicked, vectors, truth = clicks(5_000, 1, shuffled=0.1, falls=falls)
    found = examination(place, clicked, vectors, seed=1)
    shares = np.array([clicked[place == one].mean() for one in range(1, PLACES + 1)])
    assert np.abs(found - truth).max() < 0.065
    assert np.abs(shares / shares[0] - truth).max() > 0.1, "a share of clicks is relevance as much as examination"


def test_the_same_clicks_give_the_same_examination_and_nobody_else_changes_it():
    place, clicked, vectors, _ = clicks(500, 2, shuffled=0.1)
    first = examination(place, clicked, vectors, seed=1)
    kept = first.copy()
    first[:] = 0
    assert (examination(place, clicked, vectors, seed=1) == kept).all()


def test_a_click_counts_by_the_inverse_and_one_where_nobody_looked_does_not_outweigh_all():
    place, clicked, vectors, _ = clicks(500, 3, shuffled=1.0)
    clicked &= place < 10
    found = examination(place, clicked, vectors, seed=1)
    assert found[0] == 1.0
    assert found[-1] == 0.05
    assert weights(np.array([1, 10, 12]), found) == pytest.approx([1.0, 20.0, 20.0])


def test_a_place_is_counted_from_one():
    with pytest.raises(ValueError, match="the first is 1"):
        examination(np.array([0]), np.array([True]), np.zeros((1, 1)), seed=1)
