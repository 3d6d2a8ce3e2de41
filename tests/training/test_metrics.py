from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.errors import SpecError
from jobs.training.metrics import Outcomes, average_precision, difference_intervals, measure, measured, roc_auc

DAY = 86_400_000_000
ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60).filter(
    lambda rows: 0 < sum(label for label, _ in rows) < len(rows)
)


def outcomes(label, day=None, entity=None):
    n = len(label)
    return Outcomes(
        label=np.asarray(label, dtype=bool),
        event_time=np.asarray(day if day is not None else [0] * n) * DAY,
        entity=np.asarray(entity if entity is not None else range(n), dtype=np.int64),
    )


@given(ROWS)
@hypothesis_settings(deadline=None)
def test_ranking_metrics_agree_with_scikit_learn_ties_included(rows):
    from sklearn.metrics import average_precision_score, roc_auc_score

    label, scores = np.array([row[0] for row in rows]), np.array([row[1] / 6 for row in rows])
    assert average_precision(label, scores) == pytest.approx(average_precision_score(label, scores))
    assert roc_auc(label, scores) == pytest.approx(roc_auc_score(label, scores))


def test_precision_at_the_top_counts_an_entity_once_a_day():
    happened = outcomes([1, 0, 0, 1, 0, 1], day=[0, 0, 0, 0, 1, 1], entity=[1, 1, 2, 3, 1, 2])
    scores = np.array([0.1, 0.9, 0.8, 0.2, 0.7, 0.6])
    assert measure("precision_at_1_per_day", happened, scores) == 0.5
    assert measure("precision_at_2_per_day", happened, scores) == 0.5


@pytest.mark.parametrize("label", [[True, True], [False, False]])
def test_what_a_single_class_leaves_undefined_is_none(label):
    found = measured(outcomes(label), np.array([0.2, 0.4]))
    assert found["roc_auc"] is None
    assert found["brier"] is not None


def test_scores_that_are_not_finite_have_no_metric():
    assert measured(outcomes([True, False]), np.array([np.nan, 0.5]))["average_precision"] is None


def test_an_unknown_metric_is_named():
    with pytest.raises(SpecError, match="no metric 'accurracy'; there are average_precision"):
        measure("accurracy", outcomes([True]), np.array([0.5]))


def test_the_interval_of_a_difference_is_repeatable_and_holds_it():
    random = np.random.default_rng(0)
    happened = outcomes(random.random(500) < 0.2)
    good, bad = happened.label + random.normal(0, 0.5, 500), random.random(500)
    first, second = (
        difference_intervals("average_precision", happened, good, {"bad": bad}, seed=3)["bad"] for _ in range(2)
    )
    assert first == second
    assert 0 < first["low"] < first["difference"] < first["high"]
