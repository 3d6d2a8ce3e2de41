"""What every library must keep to: bounds that are declared, and bytes that repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jobs.errors import SpecError
from jobs.projects.fraud.spec import FRAUD
from jobs.release.scorer import Scorer
from jobs.training.learners import STEP, Examples
from jobs.training.tasks import multiclass
from jobs.training.tasks.binary import LEARNERS

DRAWN = np.random.default_rng(0)
X = DRAWN.normal(size=(3_000, 4)) * 20
Y = DRAWN.random(3_000) < 1 / (1 + np.exp(3 - X[:, 0] / 15 + 3 * (np.abs(X[:, 1]) < 10)))
TREES = ("xgboost", "lightgbm")


def scorer(library, folder, examples, rounds=60, learners=LEARNERS, classes=(), **params) -> Scorer:
    learner = learners[library]
    model = learner.fit({**learner.start, **params}, examples, rounds, 1)
    entry = {
        "name": "m", "library": library, "inputs": list("abcd"), "file": learner.save(model, folder, "m"),
        "scorer_file": learner.export(model, folder, "m", X), "classes": classes,
    }  # fmt: skip
    return Scorer.load(folder, {"models": [entry]})


@pytest.mark.parametrize("library", TREES)
def test_more_of_an_increasing_input_never_lowers_the_score(library, tmp_path):
    steps = np.linspace(-60, 60, 400)
    grid = np.column_stack([np.zeros(400), steps, np.zeros((400, 2))])
    free = scorer(library, tmp_path, Examples(x=X, y=Y)).margins(grid)
    bound = scorer(library, tmp_path, Examples(x=X, y=Y, increasing=(False, True, False, False))).margins(grid)
    assert np.diff(free).min() < -0.1
    assert np.diff(bound).min() >= 0


def test_an_increasing_input_must_be_one():
    model = replace(FRAUD.models[0], increasing=("terminal_risk_7d", "luck"))
    with pytest.raises(SpecError, match="increasing names 'luck', which is not one of its inputs"):
        replace(FRAUD, models=(model,))


@pytest.mark.parametrize("library", [*TREES, "logistic_regression"])
def test_what_a_tuning_watched_grow_is_what_is_fitted(library, tmp_path):
    learner, examples = LEARNERS[library], Examples(x=X, y=Y, weight=np.where(Y, 4.0, 1.0))
    rounds, margins = next(iter(learner.grow(dict(learner.start), examples, X, 1)))
    assert rounds == (1 if library == "logistic_regression" else STEP)
    fitted = scorer(library, tmp_path, examples, rounds)
    assert fitted.margins(X) == pytest.approx(margins, abs=1e-3)


@pytest.mark.parametrize("trees", [1, 3, 8])
def test_a_forest_of_each_round_scores_alike_through_onnx(trees, tmp_path):
    found = scorer("xgboost", tmp_path, Examples(x=X, y=Y), num_parallel_tree=trees, max_depth=6)
    many, few = found.margins(X[:500]), np.concatenate([found.margins(X[row : row + 1]) for row in range(500)])
    assert many.tobytes() == few.tobytes()
    assert len(np.unique(many)) > 100


@pytest.mark.parametrize("trees", [1, 2, 3])
def test_a_forest_of_each_class_scores_alike_through_onnx(trees, tmp_path):
    examples = Examples(x=X, y=np.digitize(X[:, 0] + 10 * Y, [-5, 12]), classes=3)
    found = scorer(
        "xgboost", tmp_path, examples, 10, multiclass.LEARNERS, ("low", "middle", "high"), num_parallel_tree=trees
    )
    many, few = found.margins(X[:100]), np.concatenate([found.margins(X[row : row + 1]) for row in range(100)])
    assert many.shape == (100, 3)
    assert many.tobytes() == few.tobytes()
    assert len(np.unique(many[:, 2])) > 10
