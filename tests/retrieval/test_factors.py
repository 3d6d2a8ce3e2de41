"""Candidates by their vectors: folded in, found by the index, learned by ALS on Spark, and what a recall is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jobs.release.scorer import Scorer
from jobs.retrieval import index
from jobs.retrieval.factors import Factors
from jobs.retrieval.index import Catalogue, catalogue
from jobs.training.factors import ALS, Popularity
from jobs.training.learners import Examples
from jobs.training.metrics import Outcomes, measure

SIZE = 2_000


def made_up(seed: int = 1) -> Factors:
    """Items with vectors as ALS makes them: near few directions, longer where an item is more popular."""
    random = np.random.default_rng(seed)
    taken = np.sort(random.zipf(1.6, SIZE).clip(max=500))[::-1].astype(np.int64)
    vectors = random.normal(size=(12, 16))[random.integers(0, 12, SIZE)] + 0.5 * random.normal(size=(SIZE, 16))
    items = np.arange(SIZE) * 3 + 1
    return Factors(
        items=items, columns=items[:, None], vectors=(vectors * np.log1p(taken)[:, None]).astype(np.float32),
        taken=taken, alpha=5.0, regularisation=0.1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Catalogue:
    folder, factors = tmp_path_factory.mktemp("catalogue"), made_up()
    factors.write(folder / "some.npz")
    index.write(factors, folder / "some.voy")
    return catalogue(folder, {"file": "some.npz"})


def test_the_same_catalogue_is_written_as_the_same_bytes_and_read_as_it_was(tmp_path: Path):
    for name in ("one", "other"):
        made_up().write(tmp_path / f"{name}.npz")
        index.write(made_up(), tmp_path / f"{name}.voy")
    for ending in ("npz", "voy"):
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"other.{ending}").read_bytes()
    read = Factors.read(tmp_path / "one.npz")
    assert (read.items == made_up().items).all()
    assert (read.vectors == made_up().vectors).all()
    assert (read.alpha, read.regularisation) == (5.0, 0.1)


def test_a_damaged_index_is_refused(tmp_path: Path):
    made_up().write(tmp_path / "some.npz")
    index.write(made_up(), tmp_path / "some.voy")
    whole = (tmp_path / "some.voy").read_bytes()
    (tmp_path / "some.voy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises((RuntimeError, ValueError)):
        catalogue(tmp_path, {"file": "some.npz"})


def test_the_index_finds_nearly_all_of_what_an_exact_search_finds(found: Catalogue):
    shares = []
    for start in range(0, SIZE, 100):
        history = found.factors.items[start : start + 5]
        exact = found.factors.items[np.argsort(-(found.factors.vectors @ found.factors.fold_in(history)))]
        exact = [item for item in exact.tolist() if item not in history][:100]
        shares.append(len(set(found.best(history, 100).tolist()) & set(exact)) / 100)
    assert np.mean(shares) > 0.97


def test_nobody_is_offered_what_they_had_and_who_took_nothing_gets_what_is_popular(found: Catalogue):
    history = found.factors.items[:5]
    assert not set(found.best(history, 200).tolist()) & set(history.tolist())
    popular = found.factors.items[np.lexsort((found.factors.items, -found.factors.taken))]
    for nothing in (np.zeros(4, dtype=np.int64), np.array([2, 0])):  # 2 is no item
        assert (found.best(nothing, 10) == popular[:10]).all()


def test_a_score_is_one_over_the_place_among_all_items(found: Catalogue):
    history = found.factors.items[40:43]
    best = found.best(history, 3)
    vectors = np.array([[item, *history] for item in (*best, 2)], dtype=np.float64)
    assert found.scores(vectors)[:3] == pytest.approx([1, 1 / 2, 1 / 3])
    assert found.scores(vectors)[3] < 1 / 500


def test_recall_is_the_mean_over_viewers_of_the_share_of_their_positives_in_reach():
    outcomes = Outcomes(
        label=np.array([1, 2, 0, 1, 0]), event_time=np.zeros(5, dtype=np.int64), entity=np.array([0, 0, 0, 1, 2])
    )
    scores = np.array([1.0, 1 / 11, 1.0, 1 / 10, 1.0])
    assert measure("recall_at_10", outcomes, scores) == pytest.approx((1 / 2 + 1) / 2)
    assert measure("recall_at_20", outcomes, scores) == 1.0


def test_coverage_is_the_share_of_items_in_reach_of_anybody_they_were_offered_to():
    outcomes = Outcomes(
        label=np.zeros(5, dtype=np.int64), event_time=np.zeros(5, dtype=np.int64), entity=np.array([0, 1, 2, 0, 1]),
        item=np.array([7, 7, 8, 8, 9]),
    )  # fmt: skip
    scores = np.array([1 / 30, 1 / 10, 1 / 11, 1 / 600, 1.0])
    assert measure("coverage_at_10", outcomes, scores) == pytest.approx(2 / 3)
    assert measure("coverage_at_20", outcomes, scores) == 1.0
    assert measure("coverage_at_10", outcomes.take(np.array([2, 4])), scores[[2, 4]]) == 0.5
    assert np.isnan(measure("coverage_at_10", replace(outcomes, item=None), scores))


def tastes(users: int = 200) -> Examples:
    """Even viewers take even items and odd ones odd; item 40 is shown to all, taken by nobody and of the odd kind."""
    random = np.random.default_rng(7)
    rows = [(2 * item + user % 2 + 1, 1) for user in range(users) for item in random.choice(20, 6, replace=False)]
    x = np.array([(item, item % 2) for item, _ in rows] + [(41, 1)] * users, dtype=np.float64)
    y = np.array([label for _, label in rows] + [0] * users)
    user = np.concatenate([np.repeat(np.arange(users), 6), np.arange(users)])
    order = np.argsort(user, kind="stable")
    return Examples(x=x[order], y=y[order], groups=np.full(users, 7), item=2)


def test_als_on_spark_tells_tastes_apart_and_places_new_items_by_what_they_are_like(tmp_path: Path):
    learner, params = ALS(), {"rank": 4, "alpha": 10.0, "regularisation": 0.1, "iterations": 5}
    for name in ("one", "other"):
        fitted = learner.fit(params, tastes(), 1, 3)
        assert learner.save(fitted, tmp_path, name) == f"{name}.npz"
        assert learner.export(fitted, tmp_path, name, np.zeros((0, 2)), 0) == f"{name}.voy"
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()
    entry = {"name": "retrieval", "library": "als", "task": "retrieval", "file": "one.npz", "inputs": ["a", "b", "c"]}
    scorer = Scorer.load(tmp_path, {"models": [entry]})
    new_to_odd, new_to_even = scorer.score(np.array([[41.0, 1, 1], [41.0, 1, 2]]))
    assert new_to_even < new_to_odd
    alike = scorer.catalogue.best(np.array([1, 3]), 18)
    assert (alike % 2 == 1).all()


def test_popularity_offers_everybody_what_most_took(tmp_path: Path):
    examples = Examples(x=np.array([[5.0], [5.0], [9.0], [7.0]]), y=np.array([1, 1, 1, 0]), item=1)
    file = Popularity().save(Popularity().fit({}, examples, 1, 1), tmp_path, "popular")
    assert catalogue(tmp_path, {"file": file}).best(np.array([0]), 5).tolist() == [5, 9, 7]
