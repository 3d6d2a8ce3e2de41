from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.errors import SpecError
from jobs.training.binary_metrics import average_precision, roc_auc
from jobs.training.metrics import (
    BINARY,
    Outcomes,
    difference_intervals,
    interval,
    measure,
    measured,
    prepared,
)

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


def books(frame: pd.DataFrame, top_k: int) -> float:
    """The handbook's own `card_precision_top_k` (shared_functions, chapter 4.4), in its own words."""
    detected, precisions = [], []
    for day in sorted(frame.day.unique()):
        of_day = frame[(frame.day == day) & ~frame.card.isin(detected)]
        cards = of_day.groupby("card").max().sort_values(by="score", ascending=False, kind="stable").reset_index()
        found = cards.head(top_k)
        hits = list(found[found.label == 1].card)
        precisions.append(len(hits) / top_k)
        detected.extend(hits)
    return float(np.mean(precisions))


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12), st.booleans(), st.integers(0, 40)), min_size=1),
    k=st.integers(1, 8),
)
@hypothesis_settings(deadline=None)
def test_card_precision_is_the_handbooks(rows, k):
    frame = pd.DataFrame(rows, columns=["day", "card", "label", "score"])
    happened = outcomes(frame.label, frame.day.to_numpy(), frame.card)
    found = measure(f"card_precision_at_{k}", happened, frame.score.to_numpy(dtype=float))
    assert found == pytest.approx(books(frame, k))


def test_an_entity_that_was_found_is_not_looked_at_again():
    happened = outcomes([1, 0, 1, 1], day=np.array([0, 0, 1, 1]), entity=[1, 2, 1, 3])
    scores = np.array([0.9, 0.8, 0.9, 0.1])
    assert measure("card_precision_at_1", happened, scores) == 1.0
    assert measure("card_precision_at_2", happened, scores) == 0.5
    assert measure("card_precision_at_100", happened, scores) == 0.01


def test_calibration_error_is_the_gap_in_bins_of_equally_many_rows():
    label = np.repeat([False, True, False, True], [20, 20, 30, 10])
    scores = np.repeat([0.25, 0.25, 0.5, 0.5], [20, 20, 30, 10])
    assert measure("expected_calibration_error", outcomes(label), scores) == pytest.approx(0.25)
    random = np.random.default_rng(0)
    chance = random.beta(0.3, 6, 40_000)
    honest = outcomes(random.random(40_000) < chance)
    assert measure("expected_calibration_error", honest, chance) < 0.005
    assert measure("expected_calibration_error", honest, chance**2) > 0.02
    assert measure("mean_prediction_ratio", honest, 2 * chance) == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("name", [*BINARY, "card_precision_at_3"])
def test_a_row_that_counts_twice_is_two_rows(name):
    """What the bootstrap does by weights, done by copying: an entity drawn twice is two entities."""
    random = np.random.default_rng(1)
    label, scores = random.random(300) < 0.3, np.round(random.random(300), 2)
    happened = outcomes(label, day=random.integers(0, 3, 300), entity=np.arange(300))
    counts = random.integers(0, 4, 300)
    rows = np.repeat(np.arange(300), counts)
    copied = outcomes(label[rows], day=happened.event_time[rows] // DAY, entity=np.arange(len(rows)))
    expected = measure(name, copied, scores[rows])
    tolerance = 0.03 if name == "expected_calibration_error" else 1e-9  # its bins are those of the rows as they were
    assert prepared(name, happened, scores)(counts.astype(float)) == pytest.approx(expected, abs=tolerance)


def test_entities_are_resampled_whole():
    """Rows that repeat one another add nothing that is known: the interval stays as wide as that of one each."""
    random = np.random.default_rng(2)
    label, scores = random.random(400) < 0.3, random.random(400)
    once = interval("roc_auc", outcomes(label), scores, seed=1)
    rows = np.repeat(np.arange(400), 10)
    assert interval("roc_auc", outcomes(label[rows], entity=rows), scores[rows], seed=1) == pytest.approx(once)
    narrow = interval("roc_auc", outcomes(label[rows]), scores[rows], seed=1)
    assert narrow[1] - narrow[0] < 0.5 * (once[1] - once[0])


@pytest.mark.parametrize("label", [[True, True], [False, False]])
def test_what_a_single_class_leaves_undefined_is_none(label):
    found = measured(BINARY, outcomes(label), np.array([0.2, 0.4]))
    assert found["roc_auc"] is None
    assert found["brier"] is not None


def test_scores_that_are_not_finite_have_no_metric():
    assert measured(BINARY, outcomes([True, False]), np.array([np.nan, 0.5]))["average_precision"] is None


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


def test_normalised_entropy_is_one_for_the_base_rate_and_its_definition_for_others():
    label = np.arange(1_000) % 10 == 0
    assert measure("normalised_entropy", outcomes(label), np.full(1_000, 0.1)) == pytest.approx(1.0, rel=1e-12)
    scores = np.where(label, 0.4, 0.05)
    expected = -np.mean(np.where(label, np.log(0.4), np.log(0.95))) / -(0.1 * np.log(0.1) + 0.9 * np.log(0.9))
    assert measure("normalised_entropy", outcomes(label), scores) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(measure("normalised_entropy", outcomes([True] * 5), np.full(5, 0.5)))
