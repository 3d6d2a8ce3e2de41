"""From margins to probabilities: corrected, calibrated, and never in another order."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.errors import SpecError, TamperedError
from jobs.projects.fraud.spec import FRAUD
from jobs.release.probability import calibrated, corrected, probability, sigmoid
from jobs.training.binary_metrics import average_precision, log_loss, roc_auc
from jobs.training.calibration import METHODS, choose, fit
from jobs.training.imbalance import kept, treated
from jobs.training.metrics import Outcomes, measure
from jobs.training.tasks import task_of


def drawn(rows: int, seed: int, bend=lambda z: z):
    """True log-odds of rare positives, what happened, and what a model that bends them says."""
    random = np.random.default_rng(seed)
    truth = random.normal(-4.5, 1.8, rows)
    return bend(truth), random.random(rows) < sigmoid(truth), np.sort(random.integers(0, 7, rows))


@given(
    method=st.sampled_from(METHODS), seed=st.integers(0, 10_000), rows=st.integers(2, 400), share=st.floats(0.02, 0.98),
    distinct=st.integers(1, 400),
)  # fmt: skip
@settings(deadline=None, max_examples=150)
def test_every_calibration_keeps_the_order_and_gives_probabilities(method, seed, rows, share, distinct):
    random = np.random.default_rng(seed)
    margins = np.round(random.normal(0, 3, rows) * distinct) / distinct
    label = random.random(rows) < share
    fitted = json.loads(json.dumps(fit(method, margins, label)))
    asked = np.unique(np.concatenate([margins, np.linspace(-12, 12, 500)]))
    scores = probability(asked, {"correction": 0.3, "calibration": fitted})
    assert ((scores > 0) & (scores < 1)).all()
    assert (np.diff(scores) >= 0).all()
    if fitted["method"] not in {"sigmoid", "beta"}:  # whose slopes may be as small as nothing
        assert (np.diff(scores) > 0).all()
    if fitted["method"] == "isotonic" and label.any() and not label.all():
        scores = sigmoid(calibrated(margins, fitted))
        assert roc_auc(label, scores) == roc_auc(label, margins)
        assert average_precision(label, scores) == average_precision(label, margins)


@pytest.mark.parametrize(
    "bend",
    [lambda z: 0.4 * z + 1, lambda z: 2.5 * z - 2, lambda z: np.where(z > -3, z + 3, 2 * z + 6), lambda z: z**3 / 30],
    ids=["flat", "steep", "broken", "cubed"],
)
def test_what_was_bent_is_straightened_on_rows_nobody_saw(bend):
    margins, label, day = drawn(60_000, 1, bend)
    chosen = choose(margins, label, day)
    asked, happened, _ = drawn(60_000, 2, bend)
    scores = sigmoid(calibrated(asked, chosen))
    outcomes = Outcomes(label=happened, event_time=np.zeros(60_000, np.int64), entity=np.arange(60_000))
    assert measure("expected_calibration_error", outcomes, scores) < 0.004
    assert measure("mean_prediction_ratio", outcomes, scores) == pytest.approx(1, abs=0.06)
    assert log_loss(happened, scores) < log_loss(happened, sigmoid(asked))
    assert chosen["method"] == min(chosen["compared"], key=chosen["compared"].get) != "none"


def test_few_positives_are_not_enough_for_many_steps():
    """Judged on days it was not fitted on, a map with many steps loses to a line; on its own rows it would win."""
    margins, label, day = drawn(1_500, 3, lambda z: 0.5 * z)
    assert label.sum() < 70
    chosen = choose(margins, label, day)
    assert chosen["method"] in {"sigmoid", "beta"}
    own = {method: log_loss(label, sigmoid(calibrated(margins, fit(method, margins, label)))) for method in METHODS}
    assert min(own, key=own.get) == "isotonic"


@pytest.mark.parametrize("label", [np.zeros(50, bool), np.ones(50, bool)])
def test_a_single_class_teaches_no_calibration(label):
    assert choose(np.linspace(-3, 3, 50), label, np.arange(50) // 10)["method"] == "none"


def test_scores_in_reverse_are_not_turned_round():
    margins, label, _ = drawn(5_000, 4)
    for method in METHODS:
        scores = sigmoid(calibrated(-margins, fit(method, -margins, label)))
        assert roc_auc(label, scores) <= 0.5


def test_a_method_nobody_knows_is_not_applied():
    with pytest.raises(TamperedError, match="'magic' is not one of none, sigmoid, beta, isotonic"):
        calibrated(np.zeros(1), {"method": "magic"})


@given(score=st.floats(1e-9, 1 - 1e-9), beta=st.floats(0.01, 1))
def test_the_correction_is_the_published_formula(score, beta):
    """Dal Pozzolo et al. 2015, equation 4."""
    margins = np.array([np.log(score) - np.log1p(-score)])
    expected = beta * score / (beta * score - score + 1)
    assert sigmoid(corrected(margins, beta))[0] == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(
    "params",
    [
        {"imbalance": "none"},
        {"imbalance": "weight", "positive_weight": 12.0},
        {"imbalance": "sampling", "negatives_kept": 0.1},
    ],
    ids=lambda params: params["imbalance"],
)
def test_the_prior_comes_back_whatever_was_done_about_imbalance(params):
    from sklearn.linear_model import LogisticRegression

    margins, label, _ = drawn(60_000, 5)
    rows, weight = treated(params, label, seed=1)
    assert label[rows].sum() == label.sum()
    assert (len(rows) < len(label) / 5) == (params["imbalance"] == "sampling")
    model = LogisticRegression(C=1e6).fit(margins[rows, None], label[rows], sample_weight=weight)
    raw = model.decision_function(margins[:, None])
    ratio = sigmoid(corrected(raw, kept(params))).mean() / label.mean()
    assert ratio == pytest.approx(1, abs=0.05)
    assert (sigmoid(raw).mean() / label.mean() > 3) == (params["imbalance"] != "none")


def test_a_tuning_tries_only_the_treatments_that_a_model_declares():
    model = replace(FRAUD.models[0], imbalance=("none", "sampling"))
    task, tried = task_of(model), []
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(lambda trial: tried.append(task.propose(trial, "xgboost")["imbalance"]) or 0.0, n_trials=30)
    assert set(tried) == {"none", "sampling"}
    assert [start["imbalance"] for start in task.starts] == ["none", "sampling"]
    assert [start["imbalance"] for start in task_of(FRAUD.models[0]).starts] == ["none", "weight", "sampling"]


@pytest.mark.parametrize("imbalance", [(), ("none", "thinning")])
def test_a_model_that_declares_no_known_treatment_is_refused(imbalance):
    with pytest.raises(SpecError, match="imbalance"):
        replace(FRAUD, models=(replace(FRAUD.models[0], imbalance=imbalance),))
