"""Several classes: what is measured, how probabilities are made honest, how the class and the decision are found."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, log_loss, recall_score

from jobs.errors import SpecError
from jobs.projects.moderation.spec import MODERATION
from jobs.release.decisions import decide
from jobs.release.gate import judge
from jobs.release.probability import classes, score_of
from jobs.spec import Decision, Slice
from jobs.training import class_calibration
from jobs.training.class_metrics import class_log_loss, macro_f1
from jobs.training.metrics import Outcomes, measure, measured, resampled
from jobs.training.slices import sliced
from jobs.training.tasks import task_of
from tests.training import davidson

MODEL = MODERATION.models[0]
ROWS = 3_000


def outcomes(label: np.ndarray) -> Outcomes:
    rows = np.arange(len(label))
    return Outcomes(label=label, event_time=rows * 3_600_000_000, entity=rows // 2)


def made_up(seed: int = 1, sharp: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Margins that are `sharp` times as sure as they should be, and labels of three classes, the last one rare."""
    random = np.random.default_rng(seed)
    margins = random.normal(size=(ROWS, 3)) * 1.5 + [1.5, 0.0, -1.5]
    shares = np.exp(margins) / np.exp(margins).sum(axis=1, keepdims=True)
    label = (shares.cumsum(axis=1) < random.random((ROWS, 1))).sum(axis=1)
    return margins * sharp, label


def test_metrics_of_several_classes_are_those_of_scikit_learn() -> None:
    margins, label = made_up()
    scores = classes(margins, {"weights": [1, 1.5, 2]})
    said, told = scores[:, -1], measured(task_of(MODEL).metrics, outcomes(label), scores)
    assert told["macro_f1"] == pytest.approx(f1_score(label, said, average="macro"))
    assert told["worst_class_recall"] == pytest.approx(recall_score(label, said, average=None).min())
    assert told["accuracy"] == pytest.approx(accuracy_score(label, said))
    assert told["log_loss"] == pytest.approx(log_loss(label, scores[:, :-1]))
    for place in range(3):
        one = average_precision_score(label == place, scores[:, place])
        assert told[f"average_precision_of_class_{place}"] == pytest.approx(one)
        assert told[f"f1_of_class_{place}"] == pytest.approx(f1_score(label, said, average=None)[place])
    assert told["average_precision"] == pytest.approx(average_precision_score(label > 0, score_of(scores)))
    assert told["false_positive_rate"] == pytest.approx((said[label == 0] > 0).mean())


def test_a_class_without_a_row_leaves_what_is_about_all_classes_undefined() -> None:
    margins, label = made_up()
    few = label < 2
    told = measured(("macro_f1", "worst_class_recall", "accuracy"), outcomes(label[few]), classes(margins[few], {}))
    assert told["macro_f1"] is told["worst_class_recall"] is None
    assert told["accuracy"] is not None


def test_resamples_of_two_sets_of_class_scores_are_paired() -> None:
    margins, label = made_up()
    ours, theirs = (classes(one, {}) for one in (margins, margins * 0.5))
    drawn = [resampled("macro_f1", outcomes(label), one, seed=3) for one in (ours, theirs)]
    assert (drawn[0] == drawn[1]).all(), "a slope changes no class that is said"


def test_margins_that_are_too_sure_get_honest_probabilities_and_honest_ones_stay() -> None:
    for sharp, slope in ((3.0, 1 / 3), (1.0, 1.0)):
        margins, label = made_up(sharp=sharp)
        chosen = class_calibration.choose(margins, label, np.arange(ROWS) % 3)
        assert chosen.get("slope", 1.0) == pytest.approx(slope, rel=0.15)
        new_margins, new_label = made_up(seed=2, sharp=sharp)
        calibrated = class_log_loss(new_label, classes(new_margins, {"calibration": chosen}))
        assert calibrated <= class_log_loss(new_label, classes(new_margins, {})) + 0.002


def test_a_shifted_class_is_shifted_back() -> None:
    margins, label = made_up()
    chosen = class_calibration.choose(margins + np.array([0.0, 0.0, 2.0]), label, np.arange(ROWS) % 3)
    assert chosen["method"] == "vector"
    assert chosen["shifts"][2] - chosen["shifts"][0] == pytest.approx(-2, abs=0.3)


def test_weights_name_rare_classes_so_that_f1_is_better_on_new_rows_too() -> None:
    margins, label = made_up()
    weights = class_calibration.weights(margins, {}, label)
    new_margins, new_label = made_up(seed=2)
    plain, weighted = (macro_f1(new_label, classes(new_margins, entry)) for entry in ({}, {"weights": weights}))
    assert weights[2] > 1
    assert weighted > plain + 0.01


def test_the_cheapest_decision_is_taken_and_a_rule_comes_first() -> None:
    costs = {"costs": {one.name: one.costs for one in MODEL.decisions}}
    scores = np.array([[0.99, 0.005, 0.005, 0], [0.6, 0.2, 0.2, 0], [0.02, 0.9, 0.08, 1], [0.99, 0.01, 0.0, 0]])
    ruled = np.array([False, False, False, True])
    assert decide(ruled, scores, costs) == ["allow", "review", "block", "block"]
    assert decide(ruled, ruled.astype(float), costs) == ["allow", "allow", "allow", "block"]


def test_a_dearer_harm_is_reviewed_sooner() -> None:
    scores = np.array([[0.97, 0.0, 0.03, 0]])
    for harm, decision in ((20, "allow"), (60, "review")):
        costs = {"costs": {"allow": (0, 5, harm), "review": (1, 1, 1), "block": (15, 0, 0)}}
        assert decide(np.array([False]), scores, costs) == [decision]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"classes": ("one",)}, "not two or more different ones"),
        ({"decisions": ()}, "not one or more different ones"),
        ({"decisions": (Decision(name="allow", costs=(0, 1)),)}, "needs a cost of 0 or more for each class"),
        ({"task": "binary"}, "are a multi-class model's"),
    ],
)
def test_a_wrong_declaration_of_classes_is_named(change: dict, fault: str) -> None:
    with pytest.raises(SpecError, match=fault):
        replace(MODERATION, models=(replace(MODEL, **change),))


def test_a_gap_between_groups_is_found_and_refused_and_a_small_one_is_not() -> None:
    margins, label = made_up()
    scores = classes(margins, {})
    harmless = np.flatnonzero(label == 0)
    group = np.where(np.arange(ROWS) % 2, "a", "b").astype(object)
    frame = davidson.Frame(
        event_id=group, event_time=np.zeros(ROWS, dtype=np.int64), entity=np.arange(ROWS), label=label,
        vectors=np.zeros((ROWS, len(MODEL.inputs))), payload={"community": group},
    )  # fmt: skip
    one = Slice(name="group", column="community", values=("a", "b"), metric="false_positive_rate", maximum_gap=0.1)
    unfair = scores.copy()
    unfair[harmless[group[harmless] == "a"][::2], -1] = 1
    for told, state in ((scores, "passed"), (unfair, "failed")):
        found = sliced(MODEL, [one], frame, told)
        project = replace(MODERATION, gate=replace(MODERATION.gate, slices=(one,)))
        checks = judge(
            project, {"models": {MODEL.name: {"picked": "lightgbm", "slices": found}}}, snapshot="", candidates={}, champion=None,
        )  # fmt: skip
        (gap,) = (check for check in checks if "between groups" in check.name)
        assert gap.state.value.lower() == state, gap


def test_an_unknown_metric_of_classes_is_named() -> None:
    margins, label = made_up()
    with pytest.raises(SpecError, match="no metric 'accurracy'"):
        measure("accurracy", outcomes(label), classes(margins, {}))


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.skipif(not davidson.FILE.is_file(), reason=f"no file at {os.fspath(davidson.FILE)}; set TIDEMILL_DATA")
def test_macro_f1_on_the_public_davidson_data_is_above_that_of_word_weights_in_honest_folds() -> None:
    tested, scores = davidson.folds()
    told = measured(task_of(davidson.model()).metrics, outcomes(tested.label), scores)
    assert told["macro_f1"] is not None
    assert told["macro_f1"] > 0.731, told
