from __future__ import annotations

import copy
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import GateRejected, TamperedError
from jobs.projects.fraud.spec import FRAUD
from jobs.release.gate import judge, passed
from jobs.release.ledger import Ledger
from jobs.stages import evaluate, gate, register
from jobs.storage import current, write_atomically
from tests.training.runs import RUN

GOOD = {
    "snapshot": "s1",
    "negative_control": False,
    "models": {
        "fraud": {
            "picked": "xgboost",
            "candidates": {"xgboost": {"digest": "c1"}},
            "challenger": {"average_precision": 0.6, "roc_auc": 0.9, "mean_prediction_ratio": 1.0},
            "baselines": {"rule": {"average_precision": 0.2}, "logistic_regression": {"average_precision": 0.5}},
            "champion": {"digest": "d1", "metrics": {"average_precision": 0.6, "roc_auc": 0.91}},
            "rows": 14_000,
            "positives": 150,
        }
    },
}


def verdict(evaluation, *, snapshot="s1", champion="d1", candidate="c1"):
    candidates = {"fraud": {"xgboost": candidate}}
    return judge(FRAUD, evaluation, snapshot=snapshot, candidates=candidates, champion=champion)


def changed(path, value):
    evaluation = copy.deepcopy(GOOD)
    inner = evaluation
    *way, last = path.split(".")
    for key in way:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return evaluation


def test_as_good_as_the_champion_and_better_than_the_baselines_is_promoted():
    assert passed(verdict(GOOD)), [check for check in verdict(GOOD) if not check.passed]


@pytest.mark.fault("F52")
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("snapshot", "s0"),
        ("snapshot", ...),
        ("negative_control", True),
        ("negative_control", ...),
        ("models", {}),
        ("models.fraud.candidates.xgboost.digest", "c0"),
        ("models.fraud.picked", "lightgbm"),
        ("models.fraud.rows", FRAUD.gate.minimum_rows - 1),
        ("models.fraud.rows", ...),
        ("models.fraud.positives", 19),
        ("models.fraud.positives", True),
        ("models.fraud.challenger", {}),
        ("models.fraud.challenger.average_precision", 0.59),
        ("models.fraud.challenger.average_precision", None),
        ("models.fraud.challenger.average_precision", math.nan),
        ("models.fraud.challenger.average_precision", math.inf),
        ("models.fraud.challenger.average_precision", "0.99"),
        ("models.fraud.challenger.roc_auc", 0.88),
        ("models.fraud.challenger.mean_prediction_ratio", 2.1),
        ("models.fraud.challenger.mean_prediction_ratio", 0.4),
        ("models.fraud.baselines", {}),
        ("models.fraud.baselines.rule.average_precision", None),
        ("models.fraud.baselines.logistic_regression.average_precision", 0.6),
        ("models.fraud.champion", None),
        ("models.fraud.champion.digest", "d0"),
        ("models.fraud.champion.metrics", ...),
        ("models.fraud.champion.metrics.average_precision", math.nan),
    ],
)
def test_whatever_is_wrong_missing_or_about_other_data_is_refused(path, value):
    failed = [check for check in verdict(changed(path, value)) if not check.passed]
    assert failed
    assert all(check.detail for check in failed)


def test_without_a_champion_none_may_be_claimed_and_none_is_needed():
    assert passed(verdict(changed("models.fraud.champion", None), champion=None))
    assert not passed(verdict(GOOD, champion=None))


def test_no_checks_is_not_a_pass():
    assert not passed([])


@given(st.floats(0.2, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_challenger_passes_only_above_every_bound(ours, baseline, champion):
    evaluation = changed("models.fraud.challenger.average_precision", ours)
    evaluation["models"]["fraud"]["baselines"]["rule"]["average_precision"] = baseline
    evaluation["models"]["fraud"]["champion"]["metrics"]["average_precision"] = champion
    assert passed(verdict(evaluation)) == (ours > baseline and ours > 0.5 and ours >= champion)


@pytest.mark.fault("F52")
def test_an_evaluation_edited_by_hand_decides_nothing(broken):
    published = current(broken.run / "evaluation")
    path = published.folder / "evaluation.json"
    path.write_text(path.read_text().replace('"rows": ', '"rows": 9'))
    with pytest.raises(TamperedError, match=r"evaluation\.json"):
        gate.run(broken.project, broken.settings, run=RUN)
    with pytest.raises(TamperedError, match=r"evaluation\.json"):
        register.run(broken.project, broken.settings, run=RUN)


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
