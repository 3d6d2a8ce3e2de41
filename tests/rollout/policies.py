"""The fraud project at the pace of a test: with a walk only, with a shadow and a bake, and the other two policies."""

from __future__ import annotations

from dataclasses import replace

from jobs.projects.fraud.spec import FRAUD
from jobs.projects.search.spec import SEARCH
from jobs.spec import Canary, Experiment, Metric

WALK = Canary(
    bake_seconds=2, deadline_seconds=90, minimum_requests=60, parity_rows=50, shadow_seconds=0, final_bake_seconds=0,
    maximum_decisions_changed=1.0, maximum_score_distance=1.0, entities=1,
)  # fmt: skip
"""Releases of tests are random: they agree with each other on nothing. Their clients prefer one slot's customers."""
POLICIES = {
    "walk": WALK,
    "shadow": replace(WALK, steps=(50, 100), shadow_seconds=3, shadow_requests=60, final_bake_seconds=2),
    "blue_green": replace(WALK, policy="blue_green", latency_floor_milliseconds=500.0),
    "asked for": replace(WALK, steps=(50, 100), latency_floor_milliseconds=500.0),
    "ab": replace(WALK, policy="ab", steps=(50, 100), latency_floor_milliseconds=500.0),
}
EXPERIMENT = Experiment(primary=Metric(name="log_loss", direction="lower"), minimum_effect=0.002)
PROJECTS = {
    name: replace(FRAUD, canary=policy, experiment=EXPERIMENT if name in ("ab", "asked for") else None)
    for name, policy in POLICIES.items()
}
PROJECTS["interleaved"] = replace(
    SEARCH, canary=replace(POLICIES["asked for"], maximum_score_distance=None, label_metric=None, deadline_seconds=300)
)
