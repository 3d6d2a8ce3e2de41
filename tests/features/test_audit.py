"""Which features reach a model, found by asking the transform, and what no model uses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.features.audit import readers, report, stored_bytes
from jobs.features.online.packing import HEADER
from jobs.lake import Lake
from jobs.projects.fraud.spec import CUSTOMER, CUSTOMER_PROFILE, FRAUD
from jobs.spec import FeatureView, LiveView, Window
from jobs.storage import publish

DAY = timedelta(days=1)
BATCH = FeatureView(name="profile", entity=("customer_id",), features=("age", "visits", "spare"), lookback_days=1)
LIVE = LiveView(
    name="recent",
    entity=("customer_id",),
    windows=(
        Window(name="count", function="count", length=DAY),
        Window(name="cents", function="sum", column="amount_cents", length=DAY),
        Window(name="most", function="max", column="amount_cents", length=DAY),
    ),
)


def request(payload, features):
    """Three inputs: one of two features, one of a payload column alone, one of a feature that counts only if small."""
    profile, recent = features["profile"], features["recent"]
    seldom = np.where(profile["visits"] < 3, recent["most"], 0)
    mean = np.divide(recent["cents"], recent["count"], out=np.zeros(len(seldom)), where=recent["count"] != 0)
    return np.column_stack([mean + profile["age"] * 0, payload["amount_cents"], seldom])


@pytest.fixture
def project(monkeypatch):
    module = ModuleType("jobs.projects.planted.features")
    module.request = request
    monkeypatch.setitem(sys.modules, "jobs.projects.planted", ModuleType("jobs.projects.planted"))
    monkeypatch.setitem(sys.modules, "jobs.projects.planted.features", module)
    model = replace(FRAUD.models[0], inputs=("mean", "amount", "seldom"), increasing=(), reasons=())
    gate = replace(FRAUD.gate, slices=())
    return replace(FRAUD, name="planted", views=(BATCH,), live_views=(LIVE,), models=(model,), gate=gate)


def test_a_planted_feature_that_nothing_reads_is_named_and_the_others_are_not(project, tmp_path):
    found = report(project, Lake(tmp_path))
    assert found.exit_code == 0
    assert found.facts["unused"] == ["profile.age", "profile.spare"]
    assert "warning: 2 of 6 features are used by no model: profile.age, profile.spare" in found.line
    reached = {one: inputs[project.models[0].name] for one, inputs in readers(project).items()}
    assert reached == {
        ("profile", "age"): [],
        ("profile", "visits"): ["seldom"],
        ("profile", "spare"): [],
        ("recent", "count"): ["mean"],
        ("recent", "cents"): ["mean"],
        ("recent", "most"): ["seldom"],
    }


def test_one_more_feature_of_a_real_project_is_unused(tmp_path):
    before = report(FRAUD, Lake(tmp_path)).facts["unused"]
    window = Window(name="largest", function="max", column="amount_cents", length=DAY)
    view = replace(CUSTOMER, windows=(*CUSTOMER.windows, window))
    planted = replace(FRAUD, live_views=(view, *FRAUD.live_views[1:]))
    assert set(report(planted, Lake(tmp_path)).facts["unused"]) - set(before) == {"customer.largest"}


def test_when_every_feature_is_used_it_says_so(project, tmp_path):
    sys.modules["jobs.projects.planted.features"].request = lambda payload, features: np.column_stack(
        [sum(features[view.name][name] for view in (BATCH, LIVE) for name in view.features)] * 3
    )
    found = report(project, Lake(tmp_path))
    assert found.facts["unused"] == []
    assert "every one of the 6 features is used by a model" in found.line


def test_bytes_of_an_entity_follow_its_features_and_the_events_it_has(project, tmp_path):
    assert stored_bytes(CUSTOMER_PROFILE) == HEADER + 8 * len(CUSTOMER_PROFILE.features)
    assert stored_bytes(LIVE, 10) - stored_bytes(LIVE, 9) == 8 + 8 + 12  # its time, its amount, its id
    assert report(project, Lake(tmp_path)).facts["views"]["recent"]["bytes_per_entity"] is None

    def write(folder):
        table = pa.table({"event_id": ["a", "b", "c"], "customer_id": ["x", "x", "y"]})
        pq.write_table(table, folder / "part-00000.parquet")
        return 3

    publish(Lake(tmp_path).spine(project.name, date(2026, 1, 5)), write, inputs={}, watermark="2026-01-05")
    recent = report(project, Lake(tmp_path)).facts["views"]["recent"]
    assert (recent["events_per_entity"], recent["bytes_per_entity"]) == (1.5, stored_bytes(LIVE, 2))


def tidemill(home, *arguments):
    environment = {**os.environ, "TIDEMILL_HOME": str(home)}
    command = [sys.executable, "-m", "jobs", "features", "--project", "fraud", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_command_lists_every_feature_without_a_batch_and_asks_for_one_otherwise(tmp_path):
    audited = tidemill(tmp_path, "--audit", "--json")
    assert audited.returncode == 0, audited.stderr
    facts = json.loads(audited.stdout)
    listed = {(view, name) for view, one in facts["views"].items() for name in one["features"]}
    assert listed == {(view.name, name) for view in FRAUD.every_view for name in view.features}
    missing, both = tidemill(tmp_path), tidemill(tmp_path, "--audit", "--batch", "2026-01-01")
    assert (missing.returncode, both.returncode) == (2, 2)
    assert "--batch is missing" in missing.stderr
    assert "leave out --batch" in both.stderr
