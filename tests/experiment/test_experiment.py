"""An experiment from served predictions to its verdict, on a real lake and ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from jobs.errors import UsageError
from jobs.experiment.comparison import Known
from jobs.lake import located
from jobs.rollout.matured import matured
from jobs.rollout.verdict import CANARY, Decision, conclude
from jobs.rollout.watch import Watch
from jobs.spec import Metric
from jobs.stages import experiment
from tests.experiment.conftest import Trial

METRIC = Metric(name="brier", direction="lower", margin=0.02)


def read(trial: Trial) -> Any:
    return experiment.run(trial.project, trial.settings, action="read")


def states(facts: Any) -> dict[str, str]:
    return {check["name"]: check["state"] for check in facts["checks"]}


def test_a_better_release_is_promoted_and_its_rollout_told(trial: Trial) -> None:
    rollout = trial.halved()
    trial.serve(rollout, noise=0.02)
    trial.mature()
    got = read(trial)
    assert (got.exit_code, got.facts["verdict"]) == (0, "PROMOTE"), got.line
    assert states(got.facts) == {
        "share": "PASSED", "crossed": "PASSED", "matured": "PASSED", "brier": "PASSED", "false_alarms": "PASSED",
        "log_loss": "PASSED",
    }  # fmt: skip
    primary = next(check for check in got.facts["checks"] if check["name"] == "brier")
    assert 0 < primary["low"] < primary["value"] < primary["high"]
    report = located(got.facts["report"])
    text = report.read_text()
    assert "data:image/png;base64," in text
    assert "http" not in text.replace("http-equiv", "")
    curve = json.loads((report.parent / "result.json").read_text())["curve"]
    assert len(curve) == 12
    assert curve[-1]["high"] - curve[-1]["low"] < curve[4]["high"] - curve[4]["low"]
    with trial.ledger as ledger:
        watch = Watch(trial.project, trial.settings, ledger, None, None)  # type: ignore[arg-type]
        guard = conclude([], CANARY)
        told = watch.decide_ab(rollout, replace(guard, checks=()), waited=60)
        assert told.decision is Decision.PROMOTE
    assert read(trial).facts == got.facts
    with trial.ledger as ledger:
        assert len(ledger.verdicts(trial.project.name, "experiment")) == 1, "what was decided stays decided"


def test_without_a_difference_it_holds_and_at_its_deadline_rolls_back(trial: Trial) -> None:
    rollout = trial.halved()
    trial.serve(rollout, noise=0.25)
    trial.mature()
    for _ in range(2):
        got = read(trial)
        assert (got.exit_code, got.facts["verdict"], got.facts["rule"]) == (99, "HOLD", "brier"), got.line
    with trial.ledger as ledger:
        assert len(ledger.verdicts(trial.project.name, "experiment")) == 1, "the same reading is recorded once"
    late = replace(trial.project, experiment=replace(trial.project.experiment, maximum_days=19))
    got = experiment.run(late, trial.settings, action="read")
    assert (got.exit_code, got.facts["verdict"]) == (1, "ROLL BACK")
    assert "deadline" in got.line


def test_a_worse_release_is_rolled_back_before_the_deadline(trial: Trial) -> None:
    trial.serve(trial.halved(), noise=0.6)
    trial.mature()
    got = read(trial)
    assert (got.exit_code, got.facts["rule"]) == (1, "brier"), got.line


def test_nothing_is_decided_before_labels_mature(trial: Trial) -> None:
    rollout = trial.halved(days=6)
    trial.serve(rollout, noise=0.02, days=5)
    trial.mature()
    got = read(trial)
    assert (got.exit_code, got.facts["rule"]) == (99, "matured")
    assert "0 of 2500 predictions have their label" in got.line


def test_an_entity_that_both_answered_is_counted_and_left_out(trial: Trial) -> None:
    trial.serve(trial.halved(), noise=0.02, crossed=10)
    trial.mature()
    got = read(trial)
    crossed = next(check for check in got.facts["checks"] if check["name"] == "crossed")
    assert 5 <= round(crossed["value"] * crossed["samples"]["entities"]) <= 10
    assert got.facts["labels"] < got.facts["requests"]
    assert got.facts["verdict"] == "PROMOTE"


def test_too_many_that_crossed_end_it(trial: Trial) -> None:
    trial.serve(trial.halved(), noise=0.02, crossed=200)
    got = read(trial)
    assert (got.exit_code, got.facts["rule"], set(states(got.facts))) == (1, "crossed", {"share", "crossed"})


def test_a_sample_ratio_mismatch_stops_it_before_any_metric_is_looked_at(trial: Trial) -> None:
    trial.serve(trial.halved(), noise=0.02, lost=0.85)
    trial.mature()
    got = read(trial)
    assert (got.exit_code, got.facts["rule"], set(states(got.facts))) == (1, "share", {"share", "crossed"})
    assert "sample ratio mismatch" in got.line


def test_the_plan_comes_from_the_champions_own_labels(trial: Trial) -> None:
    with pytest.raises(UsageError, match="no matured label"):
        experiment.run(trial.project, trial.settings, action="plan")
    trial.serve(trial.halved(), noise=0.25)
    trial.mature()
    got = experiment.run(trial.project, trial.settings, action="plan").facts
    assert (got["baseline"]["per_day"], got["effect"]) == (500, 0.01)
    assert got["labels"] > got["labels_fixed"] > got["alternatives"][1]["labels"]
    assert got["days"] == got["serving_days"] + trial.project.label.delay_days
    assert got["fits"] is (got["days"] <= 28)
    by_hand = Known(mean=0.2, variance=0.16, per_day=1e9)
    assert experiment.run(trial.project, trial.settings, action="plan", known=by_hand).facts["serving_days"] == 1
    with pytest.raises(UsageError, match="nothing can be planned with"):
        experiment.run(trial.project, trial.settings, action="plan", known=replace(by_hand, variance=0.0))


def test_without_a_declaration_or_an_experiment_it_says_so(trial: Trial) -> None:
    with pytest.raises(UsageError, match="declares no experiment"):
        experiment.run(replace(trial.project, experiment=None), trial.settings, action="read")
    for action in ("read", "stop"):
        got = experiment.run(trial.project, trial.settings, action=action)
        assert (got.exit_code, "no experiment is under way" in got.line) == (99, True)


@pytest.mark.parametrize(
    ("noise", "least", "state"), [(0.25, 500, "PASSED"), (0.6, 500, "FAILED"), (0.6, 50_000, "UNDECIDED")]
)
def test_a_canary_decides_on_labels_only_when_enough_have_matured(
    trial: Trial, noise: float, least: int, state: str
) -> None:
    rollout = trial.halved()
    trial.serve(rollout, noise=noise)
    trial.mature()
    canary = replace(trial.project.canary, minimum_matured=least, label_metric=METRIC)
    check = matured(
        replace(trial.project, canary=canary), trial.lake, candidate=trial.candidate, stable=trial.stable,
        since=datetime.fromisoformat(rollout.started_at), alpha=0.01,
    )  # fmt: skip
    assert check is not None
    assert (check.state.value, check.optional) == (state, state == "UNDECIDED")
    if check.optional:
        asked = int(check.detail.split(" of ")[1].split()[0])
        assert 2_000 < check.samples["candidate"] <= asked < 4_000
