"""Models that order rows: what an order is worth, groups that are never divided, and learners that find one."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.errors import SpecError
from jobs.projects.fraud.spec import FRAUD
from jobs.release.scorer import Scorer
from jobs.training.frame import Frame, TrainingFrame, outcomes_of
from jobs.training.metrics import Outcomes, interval, measure
from jobs.training.splits import plan_of
from jobs.training.tasks import task_of
from jobs.training.tasks.ranking import OBJECTIVES

DAY = 86_400_000_000
MODEL = replace(
    FRAUD.models[0], name="order", inputs=("a", "b", "c"), task="ranking", group="query", metric="ndcg_at_10",
    split=replace(FRAUD.models[0].split, drop_known=False), increasing=(), reasons=(),
)  # fmt: skip
RANKING = task_of(MODEL)
TREES = ("xgboost", "lightgbm")


def outcomes(label, group) -> Outcomes:
    n = len(label)
    return Outcomes(
        label=np.asarray(label), event_time=np.zeros(n, np.int64), entity=np.zeros(n, np.int64), group=np.asarray(group)
    )


def found(groups: int = 400, size: int = 8, seed: int = 0) -> Frame:
    """Groups of rows whose grade depends on two inputs, one of them differing from group to group as a whole."""
    random = np.random.default_rng(seed)
    a, b, c = random.normal(size=(3, groups * size))
    group = np.repeat(np.arange(groups), size)
    grade = np.digitize(1.5 * a + np.abs(b) + random.normal(0, 0.5, groups * size), [1.5, 3.0])
    shuffled = random.permutation(groups * size)
    return Frame(
        event_id=np.array([f"e{row:06}" for row in range(groups * size)], dtype=object),
        event_time=np.arange(groups * size) * DAY // (groups * size),
        entity=group[shuffled],
        label=grade[shuffled],
        vectors=np.column_stack([a, b, c + random.normal(0, 30, groups)[group]])[shuffled],
        group=group[shuffled],
        payload={},
    )


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.floats(-9, 9)), min_size=1, max_size=40))
@hypothesis_settings(deadline=None)
def test_ndcg_is_scikit_learns_where_no_scores_are_equal(rows):
    from sklearn.metrics import ndcg_score

    group, label = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    scores = np.array([row[2] for row in rows]) + np.arange(len(rows)) * 1e-3
    scores = np.argsort(np.argsort(scores)) * 1.0
    mean = []
    for one in np.unique(group):
        mine, theirs = label[group == one], scores[group == one]
        if mine.max() > 0:
            mean.append(1.0 if len(mine) == 1 else ndcg_score([2.0**mine - 1], [theirs], k=3))
    value = measure("ndcg_at_3", outcomes(label, group), scores)
    assert value == pytest.approx(np.mean(mean)) if mean else np.isnan(value)


def test_each_metric_of_an_order_by_hand():
    """One group ordered 0 2 0 1, one ordered 1 0, and one without anything relevant, which does not count."""
    happened = outcomes([0, 2, 0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1, 2, 2])
    scores = np.array([9.0, 8, 7, 6, 2, 1, 5, 4])
    ideal = 3 + 1 / np.log2(3)
    got = 3 / np.log2(3) + 1 / np.log2(5)
    assert measure("ndcg_at_10", happened, scores) == pytest.approx((got / ideal + 1) / 2)
    assert measure("precision_at_1", happened, scores) == 0.5
    assert measure("mean_reciprocal_rank", happened, scores) == pytest.approx((1 / 2 + 1) / 2)
    assert measure("mean_average_precision", happened, scores) == pytest.approx(((1 / 2 + 2 / 4) / 2 + 1) / 2)


def test_equal_scores_are_worth_as_little_as_the_worst_order():
    happened = outcomes([2, 0, 0], [0, 0, 0])
    assert measure("ndcg_at_10", happened, np.ones(3)) == measure("ndcg_at_10", happened, np.array([1.0, 2, 3]))


def test_without_anything_relevant_an_order_has_no_worth():
    assert np.isnan(measure("ndcg_at_10", outcomes([0, 0], [0, 0]), np.array([1.0, 2.0])))


def test_a_metric_of_orders_needs_groups():
    alone = replace(outcomes([0, 1], [0, 0]), group=None)
    with pytest.raises(SpecError, match="the model declares no group"):
        measure("ndcg_at_10", alone, np.array([1.0, 2.0]))


def test_groups_are_resampled_whole():
    """Rows of a group that are repeated in it add no group, and nothing that is known."""
    random = np.random.default_rng(2)
    label, scores, group = random.integers(0, 3, 900), random.random(900), np.repeat(np.arange(90), 10)
    low, high = interval("ndcg_at_10", outcomes(label, group), scores, seed=1)
    few = np.flatnonzero(group < 30)
    wide = interval("ndcg_at_10", outcomes(label[few], group[few]), scores[few], seed=1)
    assert wide[1] - wide[0] > 1.3 * (high - low)


def test_a_group_over_midnight_is_on_one_side_of_every_split():
    plan = plan_of(MODEL.split, date(2026, 1, 1))
    begins = (plan.final.test.first - date(1970, 1, 1)).days * DAY
    group = np.repeat(np.arange(50), 4)
    time = begins + np.tile([-2, -1, 1, 2], 50) * 1_000_000
    rows = replace(found(50, 4), group=group, event_time=time)
    frame = TrainingFrame(rows=rows, task=RANKING, split=MODEL.split, plan=plan)
    assert len(frame.of("test")) == 0
    assert set(rows.day) == {begins // DAY - 1}


@pytest.mark.parametrize(
    ("library", "objective"),
    [*((library, one) for library in TREES for one in OBJECTIVES[library]), ("logistic_regression", None)],
)
def test_every_learner_finds_an_order_and_serves_the_one_it_found(library, objective, tmp_path):
    learner, rows, held = RANKING.learners[library], found(), found(200, seed=1)
    params = {**learner.start, **({"objective": objective} if objective else {})}
    model = learner.fit(params, RANKING.examples(MODEL, params, rows), 30, 1)
    entry = {
        "name": "order", "library": library, "inputs": list(MODEL.inputs), **RANKING.entry(MODEL, params),
        "file": learner.save(model, tmp_path, "order"),
        "scorer_file": learner.export(model, tmp_path, "order", held.vectors),
    }  # fmt: skip
    scorer = Scorer.load(tmp_path, {"models": [entry]})
    scores = scorer.score(held.vectors)
    assert measure("ndcg_at_10", outcomes_of(held), scores) > (0.85 if library in TREES else 0.8)
    assert measure("ndcg_at_10", outcomes_of(held), held.vectors[:, 2]) < 0.7
    alone = np.concatenate([scorer.score(held.vectors[row : row + 1]) for row in range(200)])
    assert alone.tobytes() == scores[:200].tobytes()
    assert scorer.explain(held.vectors[:50]).sum(axis=1) == pytest.approx(scorer.margins(held.vectors[:50]), abs=1e-9)


@pytest.mark.parametrize("library", TREES)
def test_what_a_tuning_watched_grow_ranks_as_what_is_fitted(library, tmp_path):
    learner, rows = RANKING.learners[library], found()
    examples = RANKING.examples(MODEL, {}, rows)
    rounds, margins = next(iter(learner.grow(learner.start, examples, rows.vectors, 1)))
    file = learner.save(learner.fit(learner.start, examples, rounds, 1), tmp_path, "m")
    entry = {"name": "m", "library": library, "inputs": list("abc"), "task": "ranking", "file": file}
    assert Scorer.load(tmp_path, {"models": [entry]}).margins(rows.vectors) == pytest.approx(margins, abs=1e-3)


def test_a_ranking_needs_a_group_and_only_a_ranking_has_one():
    with pytest.raises(SpecError, match="needs a group"):
        replace(FRAUD, models=(replace(FRAUD.models[0], task="ranking"),))
    with pytest.raises(SpecError, match="its task is binary"):
        replace(FRAUD, models=(replace(FRAUD.models[0], group="customer_id"),))
