"""A real release for tests that need one: a bundle whose model is a logistic regression on the project's inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from jobs.batch import day_start
from jobs.lake import Lake
from jobs.release.bundle import Bundle, write_bundle
from jobs.release.scorer import Scorer
from jobs.spec import Project

REFERENCE_ROWS = 6_000


def rows(project: Project, first: date, days: int, count: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Made-up events of these days, spread evenly, with the project's inputs; a shift moves every input."""
    random = np.random.default_rng(seed)
    inputs = project.models[-1].inputs
    values = random.gamma(2.0, 10.0, (count, len(inputs))) * (1 + shift)
    frame = pd.DataFrame(values, columns=list(inputs))
    seconds = np.linspace(0, days * 86_400 - 1, count).astype("int64")
    frame.insert(0, "event_time", pd.Timestamp(day_start(first)) + pd.to_timedelta(seconds, unit="s"))
    return frame


def release(
    lake: Lake, project: Project, scratch: Path, *, seed: int = 1, as_of: date = date(2026, 1, 28),
    reference: pd.DataFrame | None = None, weights: Mapping[str, object] | None = None,
) -> Bundle:  # fmt: skip
    """The bundle, below the lake's releases; another seed is another release, with weights that are drawn or given."""
    model = project.models[-1]
    random = np.random.default_rng(seed)
    width = len(model.inputs)
    drawn = {"mean": [20.0] * width, "scale": [14.0] * width, "coefficients": random.normal(0, 0.4, width).tolist(),
             "intercept": -1.0}  # fmt: skip
    entry = {"name": model.name, "library": "logistic_regression", "file": "model.json", "inputs": list(model.inputs)}
    scratch.mkdir(parents=True, exist_ok=True)
    files = {name: scratch / name for name in ("model.json", "reference.parquet", "parity.json")}
    files["model.json"].write_text(json.dumps(weights or drawn))
    scorer = Scorer.load(scratch, {"models": [entry]})
    frame = rows(project, as_of - timedelta(days=27), 28, REFERENCE_ROWS, seed=7) if reference is None else reference
    if reference is None:
        frame["score"] = scorer.score(frame[list(model.inputs)].to_numpy())
    frame.to_parquet(files["reference.parquet"], index=False)
    vectors = random.gamma(2.0, 10.0, (50, width))
    parity: Mapping[str, object] = {
        "models": {model.name: {"vectors": vectors.tolist(), "scores": scorer.score(vectors).tolist()}}
    }
    files["parity.json"].write_text(json.dumps(parity))
    return write_bundle(
        lake.release(project.name, "r").parent, project, files, run="test", as_of=str(as_of), models=[entry],
        snapshot="0" * 64, git="", metrics={}, decisions={},
    )  # fmt: skip
