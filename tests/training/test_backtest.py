"""Past trainings, done again: the folds are honest, the figures add up, and a repeated backtest is a no-op."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jobs.__main__ import app
from jobs.batch import Batches
from jobs.errors import DataRejected, UsageError
from jobs.lake import Lake
from jobs.projects.fraud.spec import FRAUD
from jobs.settings import Settings
from jobs.stages import backtest
from tests.training.published import publish_days
from tests.training.runs import home_of

FIRST = date(2026, 3, 2)
DAYS = Batches(FIRST - timedelta(days=50), FIRST + timedelta(days=34))
THREE = {"roc_auc", "average_precision", "card_precision_at_100"}
PROJECT = replace(FRAUD, models=(replace(FRAUD.models[0], trials=2),))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with 85 published days."""
    found = home_of(tmp_path_factory.mktemp("backtest"))
    publish_days(Lake(found.lake_uri), DAYS)
    return found


@pytest.fixture(scope="module")
def done(settings: Settings):
    return backtest.run(PROJECT, settings, first=str(FIRST), folds=2, select="each")


def test_the_folds_are_prequential_and_the_mean_has_the_three_metrics(done):
    facts = done.facts
    assert [fold["train"] for fold in facts["folds"]] == [["2026-03-02", "2026-03-08"], ["2026-03-09", "2026-03-15"]]
    assert [fold["test"] for fold in facts["folds"]] == [["2026-03-16", "2026-03-22"], ["2026-03-23", "2026-03-29"]]
    assert set(facts["mean"]) == set(facts["std"]) == set(facts["intervals"]) == THREE
    for name, value in facts["mean"].items():
        figures = [fold["metrics"][name] for fold in facts["folds"]]
        assert value == pytest.approx(np.mean(figures))
        assert facts["std"][name] == pytest.approx(np.std(figures))
        assert facts["intervals"][name]["low"] < value < facts["intervals"][name]["high"]
        assert facts["baselines"]["rule"]["mean"][name] < value
    for fold in facts["folds"]:
        assert fold["learner"] == max(fold["compared"], key=fold["compared"].get)
        assert all(validation["test"][1] <= fold["train"][1] for validation in fold["validation"])
        assert fold["intervals"]["roc_auc"]["low"] < fold["metrics"]["roc_auc"] < fold["intervals"]["roc_auc"]["high"]
    assert [week["age_days"] for week in facts["frozen"]] == [7]
    assert facts["frozen"][0]["retrained"] == facts["folds"][1]["metrics"] != facts["frozen"][0]["metrics"]


def test_the_page_needs_nothing_from_elsewhere_and_the_line_names_it(done):
    page = Path(done.facts["page"])
    text = page.read_text()
    assert str(page) in done.line
    assert "How a frozen model ages" in text
    assert f"{done.facts['mean']['average_precision']:.4f}" in text
    assert text.count('<img src="data:image/png') == 3
    assert "http" not in text


def test_a_repeated_backtest_is_a_no_op_until_something_it_read_changes(done, settings):
    again = backtest.run(PROJECT, settings, first=str(FIRST), folds=2, select="each")
    assert done.facts["made"]
    assert again.facts == {**done.facts, "made": False}


def test_selecting_once_keeps_the_first_choice(settings):
    facts = backtest.run(PROJECT, settings, first=str(FIRST), folds=2, learner="lightgbm").facts
    first, second = facts["folds"]
    assert (first["learner"], second["learner"]) == ("lightgbm", "lightgbm")
    assert first["params"] == second["params"]
    assert first["metrics"] != second["metrics"]


def test_a_day_after_the_test_changes_nothing_and_a_day_of_training_does(settings, tmp_path):
    """The figures of a fold depend on nothing that comes after it."""
    facts = backtest.run(PROJECT, settings, first=str(FIRST), folds=1, learner="lightgbm").facts
    short = home_of(tmp_path)
    publish_days(Lake(short.lake_uri), Batches(DAYS.first, FIRST + timedelta(days=20)))
    same = backtest.run(PROJECT, short, first=str(FIRST), folds=1, learner="lightgbm").facts
    assert same["folds"] == facts["folds"]
    publish_days(Lake(short.lake_uri), Batches(FIRST, FIRST), rows=200)
    other = backtest.run(PROJECT, short, first=str(FIRST), folds=1, learner="lightgbm").facts
    assert other["made"]
    assert other["folds"] != facts["folds"]


def test_what_cannot_be_done_says_why(settings):
    with pytest.raises(
        DataRejected,
        match=r"for the training of 2026-04-20\.\.2026-04-26: 0 of 7 days to train on.*choose another --from",
    ):
        backtest.run(PROJECT, settings, first="2026-04-20", folds=1)
    with pytest.raises(UsageError, match="no learner 'forest'; it has xgboost, lightgbm, rule, logistic_regression"):
        backtest.run(PROJECT, settings, first=str(FIRST), folds=1, learner="forest")
    with pytest.raises(UsageError, match="neither each nor once"):
        backtest.run(PROJECT, settings, first=str(FIRST), folds=1, select="twice")
    with pytest.raises(UsageError, match="at least one"):
        backtest.run(PROJECT, settings, first=str(FIRST), folds=0)


def test_the_command_prints_json_alone_and_tells_its_way_on_stderr(settings, monkeypatch):
    monkeypatch.setenv("TIDEMILL_HOME", str(settings.home))
    monkeypatch.setenv("TIDEMILL_LAKE_URI", settings.lake_uri)
    asked = [
        "backtest",
        "--project",
        "fraud",
        "--from",
        str(FIRST),
        "--folds",
        "1",
        "--learner",
        "logistic_regression",
        "--json",
    ]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)["mean"]) == THREE
    assert "fold 1 of 1: train 2026-03-02..2026-03-08, test 2026-03-16..2026-03-22" in done.stderr
