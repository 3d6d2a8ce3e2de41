from __future__ import annotations

import copy
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import GateRejected, SpecError, TamperedError
from jobs.projects.fraud.spec import FRAUD
from jobs.release.gate import judge, too_few
from jobs.release.ledger import Ledger
from jobs.rollout.verdict import GATE, Decision, conclude
from jobs.spec import Gate, Slice, Threshold
from jobs.stages import evaluate, gate, register
from jobs.storage import current, write_atomically
from tests.training.runs import RUN

AHEAD = {"difference": 0.1, "low": 0.05, "high": 0.15}
LEVEL = {"difference": 0.0, "low": -0.01, "high": 0.01}
THRESHOLDS = (
    Threshold(metric="average_precision", minimum=0.2, allowed_regression=0.05),
    Threshold(metric="roc_auc", minimum=0.7, allowed_regression=0.02),
    Threshold(metric="log_loss", allowed_regression=0.01),
    Threshold(metric="expected_calibration_error", maximum=0.02),
    Threshold(metric="mean_prediction_ratio", minimum=0.5, maximum=2.0),
)
SLICES = (
    Slice(name="amount", column="amount", edges=(50.0,), labels=("small", "large"), minimum=0.8),
    Slice(name="hour", column="is_night", values=(1,), labels=("night",), metric="log_loss", maximum=0.3),
)
PROJECT = replace(
    FRAUD,
    models=(replace(FRAUD.models[0], baselines=("rule", "logistic_regression"), metric="average_precision"),),
    gate=Gate(thresholds=THRESHOLDS, minimum_rows=1_000, minimum_positives=20, slices=SLICES),
)
GOOD = {
    "snapshot": "s1",
    "negative_control": False,
    "models": {
        "fraud": {
            "picked": "xgboost",
            "candidates": {"xgboost": {"digest": "c1"}},
            "challenger": {
                "average_precision": 0.6, "roc_auc": 0.9, "log_loss": 0.05,
                "expected_calibration_error": 0.01, "mean_prediction_ratio": 1.0,
            },
            "intervals": {"average_precision": {"low": 0.5, "high": 0.7}},
            "baselines": {"rule": {"average_precision": 0.2}, "logistic_regression": {"average_precision": 0.5}},
            "champion": {"digest": "d1", "metrics": {"average_precision": 0.6, "roc_auc": 0.9, "log_loss": 0.05}, "rows": 13_000, "positives": 140},
            "differences": {
                "rule": {"average_precision": dict(AHEAD)},
                "logistic_regression": {"average_precision": dict(AHEAD)},
                "champion": {name: dict(LEVEL) for name in ("average_precision", "roc_auc", "log_loss")},
            },
            "rows": 14_000,
            "positives": 150,
            "slices": {
                "amount": {
                    "groups": {
                        "small": {"rows": 9_000, "positives": 60, "value": 0.79, "low": 0.7, "high": 0.88},
                        "large": {"rows": 5_000, "positives": 90, "value": 0.95, "low": 0.9, "high": 0.99},
                    }
                },
                "hour": {"groups": {"night": {"rows": 3_000, "positives": 40, "value": 0.2, "low": 0.1, "high": 0.4}}},
            },
            "explanations": {"rows": 1_000, "largest_gap": 3e-7},
        }
    },
}  # fmt: skip


def verdict(evaluation, *, snapshot="s1", champion="d1", candidate="c1"):
    candidates = {"fraud": {"xgboost": candidate}}
    return judge(PROJECT, evaluation, snapshot=snapshot, candidates=candidates, champion=champion)


def passed(checks):
    return conclude(checks, GATE).decision is Decision.PROMOTE


def changed(path, value, evaluation=GOOD):
    evaluation = copy.deepcopy(evaluation)
    inner = evaluation
    *way, last = path.split("/")
    for key in way:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return evaluation


def failures(evaluation, **current):
    return [check for check in verdict(evaluation, **current) if not check.passed]


def test_level_with_the_champion_and_ahead_of_the_baselines_is_promoted():
    assert failures(GOOD) == []
    assert passed(verdict(GOOD))


def test_every_number_keeps_its_rule_its_interval_and_what_it_was_measured_on():
    checks = {check.name: check for check in verdict(GOOD)}
    beaten = checks["fraud: average_precision beats rule"]
    assert (beaten.value, beaten.bound, beaten.low, beaten.high) == (0.1, 0.0, 0.05, 0.15)
    assert (beaten.rule, beaten.samples) == ("low > bound", {"rows": 14_000, "positives": 150})
    level = checks["fraud: average_precision against the champion"]
    assert (level.bound, level.low, level.rule, level.samples["rows"]) == (-0.05, -0.01, "low >= bound", 13_000)
    assert checks["fraud: log_loss against the champion"].rule == "high <= bound"
    floor = checks["fraud: average_precision at least"]
    assert (floor.value, floor.bound, floor.low, floor.high, floor.samples["rows"]) == (0.6, 0.2, 0.5, 0.7, 14_000)
    night = checks["fraud: log_loss of hour night"]
    assert (night.bound, night.rule, night.samples) == (0.3, "low <= bound", {"rows": 3_000, "positives": 40})
    assert night.low == pytest.approx(0.2 - 0.1 * THREE, rel=1e-4), "three groups are judged"
    assert "98.3 % interval" in night.detail
    assert all(check.detail for check in checks.values())
    assert not too_few(checks.values())


THREE = 2.39398 / 1.95996
"""How much wider an interval of three is, by the quantiles of a normal distribution at .05 / 6 and at .05 / 2."""


def test_slices_are_judged_by_intervals_that_hold_for_all_of_them_together():
    small, few = (
        f"{M}/slices/amount/groups/small",
        {"rows": 10, "positives": 1, "value": None, "low": None, "high": None},
    )
    luck = {"rows": 9_000, "positives": 60, "value": 0.75, "low": 0.7, "high": 0.794}
    assert failures(changed(small, luck)) == [], "one of three may be as far away by chance"
    alone = changed(f"{M}/slices/amount/groups/large", few)
    alone["models"]["fraud"]["slices"]["hour"]["groups"]["night"] = few
    alone["models"]["fraud"]["slices"]["amount"]["groups"]["small"] = luck
    judged = [check.name for check in failures(alone) if not check.optional]
    assert judged == ["fraud: roc_auc of amount small"], "by itself it may not"


M = "models/fraud"
REFUSED = [
    ("snapshot", "s0"),
    ("snapshot", ...),
    ("negative_control", True),
    ("negative_control", ...),
    ("models", {}),
    ("models", None),
    (f"{M}/candidates/xgboost/digest", "c0"),
    (f"{M}/candidates", None),
    (f"{M}/picked", "lightgbm"),
    (f"{M}/rows", 999),
    (f"{M}/rows", ...),
    (f"{M}/rows", "many"),
    (f"{M}/positives", 19),
    (f"{M}/positives", True),
    (f"{M}/challenger", {}),
    (f"{M}/challenger/average_precision", None),
    (f"{M}/challenger/average_precision", math.nan),
    (f"{M}/challenger/average_precision", math.inf),
    (f"{M}/challenger/average_precision", "0.99"),
    (f"{M}/challenger/average_precision", 0.19),
    (f"{M}/challenger/roc_auc", 0.69),
    (f"{M}/challenger/expected_calibration_error", 0.021),
    (f"{M}/challenger/expected_calibration_error", ...),
    (f"{M}/challenger/mean_prediction_ratio", 2.1),
    (f"{M}/challenger/mean_prediction_ratio", 0.4),
    (f"{M}/challenger/mean_prediction_ratio", math.nan),
    (f"{M}/differences", {}),
    (f"{M}/differences", None),
    (f"{M}/differences/rule", ...),
    (f"{M}/differences/rule/average_precision/low", 0.0),
    (f"{M}/differences/rule/average_precision/low", None),
    (f"{M}/differences/rule/average_precision/high", math.nan),
    (f"{M}/differences/rule/average_precision/low", 0.2),
    (f"{M}/differences/rule/average_precision/difference", ...),
    (f"{M}/differences/logistic_regression/average_precision/low", -0.01),
    (f"{M}/champion", None),
    (f"{M}/champion/digest", "d0"),
    (f"{M}/champion/metrics", ...),
    (f"{M}/champion/metrics/roc_auc", math.nan),
    (f"{M}/champion/rows", 999),
    (f"{M}/champion/positives", ...),
    (f"{M}/differences/champion", ...),
    (f"{M}/differences/champion/average_precision/low", -0.0501),
    (f"{M}/differences/champion/roc_auc/low", -0.0201),
    (f"{M}/differences/champion/roc_auc/low", math.nan),
    (f"{M}/differences/champion/log_loss/high", 0.0101),
    (f"{M}/differences/champion/log_loss/high", ...),
    (f"{M}/slices", ...),
    (f"{M}/slices", []),
    (f"{M}/slices/amount/groups/small", ...),
    (f"{M}/slices/amount/groups/small/rows", ...),
    (f"{M}/slices/amount/groups/small/high", 0.798),
    (f"{M}/slices/amount/groups/small/high", None),
    (f"{M}/slices/amount/groups/small/low", math.nan),
    (f"{M}/slices/amount/groups/small/value", None),
    (f"{M}/slices/hour/groups/night/low", 0.301),
    (f"{M}/explanations", ...),
    (f"{M}/explanations/rows", 0),
    (f"{M}/explanations/largest_gap", 1.1e-6),
    (f"{M}/explanations/largest_gap", None),
]


@pytest.mark.fault("F52")
@pytest.mark.parametrize(("path", "value"), REFUSED)
def test_whatever_is_wrong_missing_or_about_other_data_is_refused(path, value):
    failed = failures(changed(path, value))
    assert failed
    assert all(check.detail for check in failed)


PATHS = sorted({path for path, _ in REFUSED})


@given(st.sampled_from(PATHS), st.sampled_from([None, "", [], {}, "nan", math.nan, -math.inf, {"low": 1}]))
def test_no_kind_of_rubbish_is_a_pass_or_a_crash(path, rubbish):
    assert failures(changed(path, rubbish))


def test_an_interval_decides_and_not_the_value_in_its_middle():
    lucky = {"difference": 0.2, "low": -0.001, "high": 0.4}
    assert [check.name for check in failures(changed(f"{M}/differences/rule/average_precision", lucky))] == [
        "fraud: average_precision beats rule"
    ]
    unlucky = {"difference": -0.04, "low": -0.05, "high": 0.0}
    assert failures(changed(f"{M}/differences/champion/average_precision", unlucky)) == []


@pytest.mark.parametrize(
    ("figures", "listed"),
    [
        ({"rows": 199, "positives": 60, "value": None, "low": None, "high": None}, True),
        ({"rows": 9_000, "positives": 19, "value": None, "low": None, "high": None}, True),
        ({"rows": 9_000, "positives": 8_990, "value": None, "low": None, "high": None}, True),
        ({"rows": 9_000, "positives": 60, "value": None, "low": None, "high": None}, False),
    ],
)
def test_a_group_too_small_to_judge_is_listed_and_one_large_enough_must_have_figures(figures, listed):
    checks = verdict(changed(f"{M}/slices/amount/groups/small", figures))
    assert passed(checks) is listed
    assert (too_few(checks) == ["fraud: roc_auc of amount small"]) is listed
    assert any("too few to judge" in check.detail for check in checks) is listed


def test_without_a_champion_none_may_be_claimed_and_none_is_needed():
    assert passed(verdict(changed(f"{M}/champion", None), champion=None))
    assert not passed(verdict(GOOD, champion=None))


def test_no_checks_is_not_a_pass():
    assert not passed([])


@given(*[st.floats(-1, 1)] * 3)
def test_a_challenger_passes_only_when_every_interval_is_on_the_right_side(rule, logistic, champion):
    evaluation = copy.deepcopy(GOOD)
    differences = evaluation["models"]["fraud"]["differences"]
    for rival, low in (("rule", rule), ("logistic_regression", logistic), ("champion", champion)):
        differences[rival]["average_precision"] = {"difference": low + 0.1, "low": low, "high": low + 0.2}
    assert passed(verdict(evaluation)) == (rule > 0 and logistic > 0 and champion >= -0.05)


@pytest.mark.parametrize("allowed", [-0.01])
def test_a_negative_allowance_is_refused_when_declared(allowed):
    threshold = Threshold(metric="roc_auc", allowed_regression=allowed)
    with pytest.raises(SpecError, match="allowed_regression is negative"):
        replace(FRAUD, gate=replace(FRAUD.gate, thresholds=(threshold,)))


@pytest.mark.fault("F52")
def test_an_evaluation_edited_by_hand_decides_nothing(broken):
    published = current(broken.run / "evaluation")
    path = published.folder / "evaluation.json"
    text = path.read_text()
    path.write_text(text.replace('"rows": ', '"rows": 9'))
    with pytest.raises(TamperedError, match=r"evaluation\.json"):
        gate.run(broken.project, broken.settings, run=RUN)
    with pytest.raises(TamperedError, match=r"evaluation\.json"):
        register.run(broken.project, broken.settings, run=RUN)
    path.write_text(text)
    assert gate.run(broken.project, broken.settings, run=RUN).exit_code == 0


@pytest.mark.fault("F52")
def test_a_champion_that_came_after_the_evaluation_makes_it_worthless_until_it_is_repeated(broken):
    other = broken.bundle.with_name("r-other")
    broken.bundle.rename(other)
    manifest = json.loads((other / "manifest.json").read_bytes())
    manifest["run"] = "another"
    write_atomically(other / "manifest.json", json.dumps(manifest).encode())
    with Ledger(broken.settings.need("database_url")) as ledger:
        ledger.promote(broken.project.name, 0, "r-other", "0" * 64)
    refused = gate.run(broken.project, broken.settings, run=RUN)
    assert refused.exit_code == 1
    assert refused.line.startswith("GateRejected: first: fraud: champion compared with")
    with pytest.raises(GateRejected, match="REJECT"):
        register.run(broken.project, broken.settings, run=RUN)
    evaluate.run(broken.project, broken.settings, run=RUN)
    refused = gate.run(broken.project, broken.settings, run=RUN)
    assert "the champion could not be measured" in refused.line
    with Ledger(broken.settings.need("database_url")) as ledger:
        kinds = [one.verdict for one in ledger.verdicts(broken.project.name, "gate")]
    assert kinds[:2] == ["REJECT", "REJECT"]


def test_a_slice_that_is_surely_worse_than_its_floor_refuses_the_run_and_small_ones_are_named(broken):
    """Through the stages, on scores of a real model: the floor is raised until one group cannot reach it."""
    passing = gate.run(broken.project, broken.settings, run=RUN)
    assert passing.exit_code == 0
    assert "too few rows to judge fraud: roc_auc of" in passing.line
    stricter = tuple(
        replace(one, minimum=0.999) if one.name == "weekday" else one for one in broken.project.gate.slices
    )
    project = replace(broken.project, gate=replace(broken.project.gate, slices=stricter))
    evaluate.run(project, broken.settings, run=RUN)
    refused = gate.run(project, broken.settings, run=RUN)
    assert refused.exit_code == 1
    failed = [check["name"] for check in refused.facts["checks"] if check["state"] == "FAILED"]
    assert "fraud: roc_auc of weekday working day" in failed
    assert all("of weekday" in name for name in failed)


def test_a_slice_declared_after_the_evaluation_is_missing_and_not_passed(broken):
    later = Slice(name="later", column="amount", edges=(50.0,), minimum=0.0)
    project = replace(broken.project, gate=replace(broken.project.gate, slices=(*broken.project.gate.slices, later)))
    refused = gate.run(project, broken.settings, run=RUN)
    assert refused.exit_code == 1
    assert "of later below 50 (the evaluation does not mention this group)" in refused.line
    evaluate.run(project, broken.settings, run=RUN)
    assert gate.run(project, broken.settings, run=RUN).exit_code == 0


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (1.00, 0.97, 1.03, Decision.PROMOTE),
        (1.05, 1.01, 1.09, Decision.PROMOTE),
        (1.16, 1.06, 1.26, Decision.REJECT),
        (0.90, 0.83, 0.97, Decision.REJECT),
        (1.00, None, None, Decision.REJECT),
    ],
)
def test_a_threshold_that_asks_to_be_sure_refuses_by_the_interval(value, low, high, verdict):
    sure = Threshold(metric="mean_prediction_ratio", minimum=0.98, maximum=1.02, surely=True)
    project = replace(PROJECT, gate=replace(PROJECT.gate, thresholds=(sure,)))
    document = copy.deepcopy(GOOD)
    found = document["models"]["fraud"]
    found["challenger"]["mean_prediction_ratio"] = value
    found["intervals"]["mean_prediction_ratio"] = {"low": low, "high": high}
    checks = judge(project, document, snapshot="s1", candidates={"fraud": {"xgboost": "c1"}}, champion="d1")
    assert conclude(checks, GATE, because="all").decision is verdict
    at_a_glance = replace(sure, surely=False)
    project = replace(PROJECT, gate=replace(PROJECT.gate, thresholds=(at_a_glance,)))
    checks = judge(project, document, snapshot="s1", candidates={"fraud": {"xgboost": "c1"}}, champion="d1")
    assert (conclude(checks, GATE, because="all").decision is Decision.PROMOTE) == (0.98 <= value <= 1.02)
