"""Inputs are traced to the features they change with."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from jobs.features.dependencies import dependencies
from jobs.projects.fraud.spec import FRAUD


def test_fraud_inputs_are_traced_to_the_windows_they_are_made_of() -> None:
    found = dependencies(FRAUD)
    assert tuple(found) == FRAUD.models[-1].inputs
    assert found["is_night"] == found["amount"] == frozenset()
    assert found["customer_count_7d"] == {("customer", "count_7d")}
    assert found["terminal_risk_30d"] == {("terminal", "count_30d"), ("terminal", "frauds_30d")}
    assert found["amount_over_mean_30d"] == {("customer", "count_30d"), ("customer", "amount_cents_30d")}
    assert not any(view == "customer_profile" for pairs in found.values() for view, _ in pairs)


def test_a_branch_on_the_payload_a_nan_and_a_missing_value_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def request(payload: Mapping[str, Any], features: Mapping[str, Mapping[str, Any]]) -> Any:
        profile, customer = features["customer_profile"], features["customer"]
        rare = np.where(payload["amount_cents"] == 0, customer["count_1d"], 0)
        known = np.where(profile["found"], 1.0, np.nan)
        overflow = np.where(customer["count_7d"] == 0, np.nan, profile["count_30d"])
        return np.column_stack([rare, known, overflow]).astype(np.float64)

    module = ModuleType("jobs.projects.fraud.features")
    module.request = request  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    project = replace(
        FRAUD,
        models=(replace(FRAUD.models[0], inputs=("rare", "known", "overflow"), reasons=()),),
        gate=replace(FRAUD.gate, slices=()),
    )
    assert dependencies(project) == {
        "rare": {("customer", "count_1d")},
        "known": {("customer_profile", "found")},
        "overflow": {("customer", "count_7d"), ("customer_profile", "count_30d")},
    }
