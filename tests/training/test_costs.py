"""What an input costs and is worth."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import date, timedelta
from types import ModuleType

import numpy as np
import pytest

from jobs.features.online.packing import HEADER, MARK
from jobs.projects.fraud.spec import CUSTOMER, CUSTOMER_PROFILE, FRAUD, TERMINAL
from jobs.spec import LiveView, Window
from jobs.stages import evaluate
from jobs.storage import current
from jobs.training import costs
from jobs.training.fitting import Configuration
from jobs.training.frame import Frame, TrainingFrame
from jobs.training.splits import plan_of
from jobs.training.tasks import task_of
from jobs.training.tasks.binary import LEARNERS
from tests.training.runs import RUN

DAY = 86_400_000_000
FIRST = date(2026, 3, 1)
NAMES = ("only", "twin", "same_twin", "noise")
MODEL = replace(FRAUD.models[0], inputs=NAMES, increasing=(), reasons=())
CONFIGURATION = Configuration(library="xgboost", params={**LEARNERS["xgboost"].start, "imbalance": "none"}, rounds=40)


@pytest.fixture(scope="module")
def frame() -> TrainingFrame:
    """One input that nothing replaces, two that are the same, and one of noise."""
    random, plan = np.random.default_rng(4), plan_of(MODEL.split, FIRST)
    count = 500 * len(plan.days)
    first = (plan.days.first - date(1970, 1, 1)) // timedelta(days=1)
    only, twin, noise = random.normal(size=(3, count))
    return TrainingFrame(
        rows=Frame(
            event_id=np.array([f"e{row:06}" for row in range(count)], dtype=object),
            event_time=np.sort(first * DAY + random.integers(0, len(plan.days) * DAY, count)),
            entity=np.arange(count, dtype=np.int64),
            label=random.random(count) < 1 / (1 + np.exp(4.5 - 2 * only - 1.5 * twin)),
            vectors=np.column_stack([only, twin, twin, noise]),
            payload={},
        ),
        task=task_of(MODEL),
        split=MODEL.split,
        plan=plan,
    )


def test_only_what_nothing_replaces_is_missed(frame):
    found = costs.worth(MODEL, CONFIGURATION, frame)
    assert found["negatives_kept"] == 1.0
    assert found["inputs"]["only"]["low"] > 0.1
    for name in ("twin", "same_twin", "noise"):
        one = found["inputs"][name]
        assert one["low"] < 0.02
        assert abs(one["loss"]) < 0.05
    assert 0 < found["low"] < found["value"] < found["high"] < 1
    assert costs.worth(MODEL, CONFIGURATION, frame) == found, "the same rows give the same figures"


def test_it_is_judged_on_the_newest_validation_fold_and_never_on_the_test(frame):
    found, fold = costs.worth(MODEL, CONFIGURATION, frame), frame.plan.validation[0]
    assert found["test"] == [str(fold.test.first), str(fold.test.last)]
    assert fold.test.last < frame.plan.final.test.first
    tested = frame.rows.event_time // DAY >= (frame.plan.final.test.first - date(1970, 1, 1)).days
    spoilt = replace(frame.rows, vectors=np.where(tested[:, None], 9.0, frame.rows.vectors))
    assert costs.worth(MODEL, CONFIGURATION, replace(frame, rows=spoilt)) == found


def test_of_a_metric_that_is_better_when_lower_the_loss_is_positive_too(frame):
    found = costs.worth(replace(MODEL, metric="log_loss"), CONFIGURATION, frame)
    assert found["inputs"]["only"]["low"] > 0


def test_more_work_than_allowed_is_done_on_fewer_negatives_and_said_so(frame, monkeypatch):
    whole = costs.worth(MODEL, CONFIGURATION, frame)
    monkeypatch.setattr(costs, "WORK", costs.WORK / 400)
    found = costs.worth(MODEL, CONFIGURATION, frame)
    assert 0 < found["negatives_kept"] < 1
    assert found["rows"]["learned"] < whole["rows"]["learned"]
    assert found["positives"] == whole["positives"]
    assert found["inputs"]["only"]["low"] > 0


def test_a_model_of_one_input_can_lose_none(frame):
    alone = replace(MODEL, inputs=("only",))
    rows = replace(frame.rows, vectors=frame.rows.vectors[:, :1])
    assert costs.worth(alone, CONFIGURATION, replace(frame, rows=rows))["inputs"] == {}


def payments(count: int = 300) -> Frame:
    """A payment an hour of ten customers at three terminals, a few days before the end of the rows."""
    places = np.arange(count)
    customers = np.array([f"c{place % 10}" for place in places], dtype=object)
    terminals = np.array([f"t{place % 3}" for place in places], dtype=object)
    return Frame(
        event_id=np.array([f"e{place:06}" for place in places], dtype=object),
        event_time=20_000 * DAY + places * DAY // 24,
        entity=places % 10,
        label=places % 50 == 0,
        vectors=np.zeros((count, len(FRAUD.models[0].inputs))),
        payload={"event_time": 20_000 * DAY + places, "customer_id": customers, "terminal_id": terminals,
                 "amount_cents": np.full(count, 1_000)},
    )  # fmt: skip


def test_bytes_are_of_the_states_that_the_rows_make():
    found = costs.stored(FRAUD, FRAUD.models[0], payments())
    event = 8 + 3 * 8 + 7  # its time, the three columns of its view, its id
    assert found["views"][CUSTOMER_PROFILE.name] == HEADER + 8 * len(CUSTOMER_PROFILE.features)
    assert found["views"][CUSTOMER.name] == MARK + 16 + 30 * event
    assert found["views"][TERMINAL.name] == MARK + 16 + 100 * event
    mean = found["inputs"]["customer_mean_amount_30d"]
    assert {"customer.amount_cents_30d", "customer.count_30d"} <= set(mean["features"])
    assert mean["bytes"] == MARK + 16 + 30 * (8 + 8 + 7), "a window keeps every event it reaches, with what it sums"
    assert mean["freed"] == 0, "the events are kept for other windows as well"
    assert found["inputs"]["amount"] == {"features": [], "bytes": 0.0, "freed": 0.0}


def test_what_only_one_input_reads_is_freed_without_it(monkeypatch):
    def request(payload, features):
        return np.column_stack([features["recent"]["day"], features["recent"]["month"], payload["amount_cents"]])

    module = ModuleType("jobs.projects.planted.features")
    module.request = request
    monkeypatch.setitem(sys.modules, "jobs.projects.planted", ModuleType("jobs.projects.planted"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    windows = (
        Window(name="day", function="count", length=timedelta(days=1)),
        Window(name="month", function="sum", column="amount_cents", length=timedelta(days=30)),
    )
    view = LiveView(name="recent", entity=("customer_id",), windows=windows)
    model = replace(FRAUD.models[0], inputs=("day", "month", "amount"), increasing=(), reasons=())
    gate = replace(FRAUD.gate, slices=())
    project = replace(FRAUD, name="planted", views=(), live_views=(view,), models=(model,), gate=gate)
    found = costs.stored(project, model, payments(240))["inputs"]
    timed_only, whole = 8 + 7, 8 + 8 + 7
    recent = 10  # of a customer's 24 payments, ten hours apart, within a day and the three that sources may be late
    assert found["month"]["bytes"] == MARK + 16 + 24 * whole
    assert found["month"]["freed"] == 24 * whole - recent * timed_only
    assert found["day"]["freed"] == 0, "the month keeps the day's events anyway"


def test_live_views_of_other_events_are_not_guessed():
    project = replace(FRAUD, live_views=(replace(CUSTOMER, events="logins"), TERMINAL))
    found = costs.stored(project, FRAUD.models[0], payments())
    assert found["views"][CUSTOMER.name] is None
    assert found["inputs"]["customer_count_1d"]["bytes"] is None
    assert found["inputs"]["terminal_count_1d"]["bytes"] > 0


def test_times_are_measured_for_every_view_and_input_and_for_the_transform():
    found = costs.timed(FRAUD, FRAUD.models[0], payments())
    assert set(found["views"]) == {view.name for view in FRAUD.every_view}
    assert all(value > 0 for value in found["views"].values())
    assert found["inputs"]["amount"] == 0
    assert 0 < found["inputs"]["customer_count_1d"] < 10_000
    assert 0 < found["request_of_1000"] < found["request"]


def test_a_runs_costs_are_in_its_evaluation_and_its_times_in_nothing_that_is_published(broken):
    found = json.loads((current(broken.run / "evaluation").folder / "evaluation.json").read_bytes())
    worth = found["models"]["fraud"]["costs"]["worth"]
    assert set(worth["inputs"]) == set(broken.project.models[0].inputs)
    times = costs.read_times(broken.run / "costs", broken.project.models[0])
    assert times["inputs"]["customer_count_30d"] > 0
    listed = {name for pointer in broken.run.rglob("current.json") for name in current(pointer.parent).manifest.files}
    assert "costs.json" in listed
    assert "times.json" not in listed
    before = current(broken.run / "evaluation").digest
    path = broken.run / "costs" / "fraud" / "times.json"
    path.unlink()
    evaluate.run(broken.project, broken.settings, run=RUN)
    assert path.exists()
    assert current(broken.run / "evaluation").digest == before
