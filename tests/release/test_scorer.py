"""Exact contributions, one path for one row and for many, and what no model may be asked."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.release.scorer import FEW_ROWS, Scorer
from jobs.training.learners import Examples
from jobs.training.tasks.binary import LEARNERS

INPUTS = ("a", "b", "c", "d", "e")
LIBRARIES = ("xgboost", "lightgbm", "logistic_regression")
DRAWN = np.random.default_rng(0)
X = np.column_stack([DRAWN.normal(size=(4_000, 3)) * 50, DRAWN.integers(0, 4, (4_000, 2))])
Y = DRAWN.random(4_000) < 1 / (1 + np.exp(4 - X[:, 0] / 20 - 2 * (X[:, 3] > 1) * (X[:, 1] > 0)))
CALIBRATION = {"method": "isotonic", "at": [-6.0, -1.0, 2.0], "becomes": [-5.0, -2.0, 3.0]}
VALUES = st.one_of(
    st.floats(-(2.0**127), 2.0**127, width=32), st.integers(-5, 5).map(float), st.sampled_from([-0.0, 0.0, 1e-45])
)


@pytest.fixture(scope="module", params=LIBRARIES)
def scorer(request, tmp_path_factory) -> Scorer:
    """A model with many trees, a correction and a calibration, loaded as serving loads it."""
    folder, learner = tmp_path_factory.mktemp(request.param), LEARNERS[request.param]
    model = learner.fit(dict(learner.start), Examples(x=X, y=Y), 200, seed=3)
    entry = {
        "name": "m", "library": request.param, "inputs": INPUTS, "file": learner.save(model, folder, "m"),
        "scorer_file": learner.export(model, folder, "m", X), "correction": 0.2, "calibration": CALIBRATION,
    }  # fmt: skip
    return Scorer.load(folder, json.loads(json.dumps({"models": [entry]})))


@given(rows=st.lists(st.tuples(*[VALUES] * len(INPUTS)), min_size=1, max_size=12))
@settings(deadline=None, max_examples=60)
def test_contributions_sum_to_the_margin_and_the_margin_gives_the_score(scorer, rows):
    if scorer.entry["library"] == "logistic_regression":  # terms of 1e38 have no small differences
        rows = np.clip(rows, -1e4, 1e4)
    vectors = np.array(rows, dtype=np.float64)
    contributions = scorer.explain(vectors)
    assert contributions.shape == (len(rows), len(INPUTS) + 1)
    assert np.abs(contributions.sum(axis=1) - scorer.margins(vectors)).max() <= 1e-6
    assert (scorer.scores_of(scorer.margins(vectors)) == scorer.score(vectors)).all()


@pytest.mark.fault("F34")
@given(rows=st.lists(st.tuples(*[VALUES] * len(INPUTS)), min_size=FEW_ROWS + 1, max_size=FEW_ROWS + 9))
@settings(deadline=None, max_examples=25)
def test_a_row_alone_has_the_bits_it_has_among_many_and_minus_zero_is_zero(scorer, rows):
    vectors = np.array(rows, dtype=np.float64)
    many = scorer.score(vectors)
    alone = np.concatenate([scorer.score(row[None]) for row in vectors])
    assert alone.tobytes() == many.tobytes()
    assert scorer.score(vectors + 0.0).tobytes() == many.tobytes()
    assert ((many >= 0) & (many <= 1)).all()


@pytest.mark.fault("F34")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308, -1e308])
@pytest.mark.parametrize("rows", [1, FEW_ROWS + 1])
def test_what_is_not_a_number_that_trees_can_hold_is_not_scored(scorer, value, rows):
    vectors = np.zeros((rows, len(INPUTS)))
    vectors[-1, 2] = value
    for ask in (scorer.score, scorer.explain):
        with pytest.raises(ValueError, match="input 'c' is not a finite number that single precision can hold"):
            ask(vectors)


def test_contributions_are_those_of_shapley_on_a_tree_small_enough_to_count(tmp_path):
    """Two splits, all subsets by hand: the expectation over a tree's own rows of each coalition."""
    learner = LEARNERS["xgboost"]
    x = np.array([[a, b] for a in (0.0, 1.0) for b in (0.0, 1.0) for _ in range(50)])
    y = np.repeat([False, False, False, True], 50)
    params = {"max_depth": 2, "eta": 1.0, "min_child_weight": 0.0, "lambda": 0.0}
    model = learner.fit(params, Examples(x=x, y=y), 1, 1)
    entry = {"name": "m", "library": "xgboost", "inputs": ("a", "b"), "file": learner.save(model, tmp_path, "m"), "scorer_file": None}  # fmt: skip
    scorer = Scorer.load(tmp_path, {"models": [entry]})
    grid = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    value = {tuple(row): margin for row, margin in zip(grid.tolist(), scorer.margins(grid), strict=True)}
    mean = np.mean(list(value.values()))
    for a, b in grid.tolist():
        only_a, only_b = np.mean([value[a, 0], value[a, 1]]), np.mean([value[0, b], value[1, b]])
        expected = [
            ((only_a - mean) + (value[a, b] - only_b)) / 2, ((only_b - mean) + (value[a, b] - only_a)) / 2, mean,
        ]  # fmt: skip
        assert scorer.explain(np.array([[a, b]]))[0] == pytest.approx(expected, abs=1e-4)


def test_no_rows_have_no_scores(scorer):
    empty = np.empty((0, len(INPUTS)))
    assert scorer.score(empty).shape == (0,)
    assert scorer.explain(empty).shape == (0, len(INPUTS) + 1)
    with pytest.raises(ValueError, match="5 inputs"):
        scorer.score(np.zeros((2, 3)))
