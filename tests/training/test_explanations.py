"""What moves the scores of a model, on rows it is tested on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jobs.projects.fraud.spec import FRAUD
from jobs.release.scorer import Scorer
from jobs.slices import Slice
from jobs.training import plots
from jobs.training.explanations import NEGATIVES, POSITIVES, explain
from jobs.training.frame import Frame
from jobs.training.learners import Examples
from jobs.training.tasks.binary import LEARNERS

NAMES = ("strong", "weak", "noise")
MODEL = replace(FRAUD.models[0], inputs=NAMES, increasing=(), reasons=())
SLICE = Slice(name="kind", column="noise", edges=(0.0,), labels=("low", "high"), minimum=0.5)


def rows_of(count: int, seed: int) -> Frame:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count, 3))
    label = random.random(count) < 1 / (1 + np.exp(4 - 2.5 * vectors[:, 0] - 0.5 * vectors[:, 1]))
    return Frame(
        event_id=np.array([f"e{row}" for row in range(count)], dtype=object),
        event_time=np.arange(count, dtype=np.int64),
        entity=np.arange(count, dtype=np.int64),
        label=label,
        vectors=vectors,
        payload={},
    )


@pytest.fixture(scope="module", params=["xgboost", "lightgbm", "logistic_regression"])
def scorer(request, tmp_path_factory):
    """A model of a library, loaded as serving loads it."""
    learner, train, folder = LEARNERS[request.param], rows_of(4_000, 1), tmp_path_factory.mktemp(request.param)
    model = learner.fit(dict(learner.start), Examples(x=train.vectors, y=train.label), 40, 7)
    entry = {"name": "m", "library": request.param, "inputs": list(NAMES), "file": learner.save(model, folder, "m")}
    return Scorer.load(folder, {"models": [entry]})


def test_contributions_sum_to_the_margin_and_rank_inputs_by_what_they_do(scorer):
    found = explain(MODEL, (SLICE,), rows_of(3_000, 2), scorer).document
    assert 0 <= found["largest_gap"] <= 1e-6
    assert found["rounding"] <= 1e-4
    assert found["importance"]["strong"] > 2 * found["importance"]["weak"] > 0
    assert found["importance"]["weak"] > found["importance"]["noise"]
    assert set(found["slices"]) == {"kind: low", "kind: high"}


def test_more_of_an_input_that_raises_the_score_contributes_more(scorer):
    found = explain(MODEL, (), rows_of(3_000, 2), scorer)
    assert np.corrcoef(found.vectors[:, 0], found.contributions[:, 0])[0, 1] > 0.8


def test_rare_positives_are_explained_and_counted_as_rare_as_they_are(scorer):
    rows = rows_of(12_000, 3)
    assert rows.label.sum() > POSITIVES
    found = explain(MODEL, (), rows, scorer).document
    assert (found["rows"], found["positives"]) == (POSITIVES + NEGATIVES, POSITIVES)
    everything = np.abs(scorer.explain(rows.vectors)[:, :-1]).mean(axis=0)
    drawn = np.array([found["importance"][name] for name in NAMES])
    assert np.abs(drawn - everything).max() < 0.12 * everything.max()


def test_a_scorer_that_explains_another_model_has_a_gap_that_no_gate_lets_through(scorer):
    rows = rows_of(500, 2)

    class Other:
        margins = staticmethod(scorer.margins)

        @staticmethod
        def explain(vectors):
            return scorer.explain(vectors) * 1.001

    assert explain(MODEL, (), rows, Other()).document["largest_gap"] > 1e-6


def test_a_group_with_hardly_a_row_has_no_figures(scorer):
    one = Slice(name="kind", column="noise", edges=(9.0,), minimum=0.5)
    assert list(explain(MODEL, (one,), rows_of(500, 2), scorer).document["slices"]) == ["kind: below 9"]


def test_the_pictures_are_the_same_bytes_each_time(scorer, tmp_path):
    found = explain(MODEL, (SLICE,), rows_of(1_000, 2), scorer)
    for name in ("a", "b"):
        importance, groups = found.document["importance"], found.document["slices"]
        plots.explanation(tmp_path / f"{name}.png", NAMES, importance, found.vectors, found.contributions)
        plots.explained_slices(tmp_path / f"{name}-slices.png", NAMES, groups)
    for end in (".png", "-slices.png"):
        first, second = (tmp_path / f"{name}{end}" for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
        assert first.stat().st_size > 5_000
