"""A real release for tests that need one: a bundle whose model is a logistic regression on the project's inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jobs.batch import day_start
from jobs.lake import Lake
from jobs.release.bits import dense
from jobs.release.bundle import Bundle, write_bundle
from jobs.release.probability import score_of
from jobs.release.scorer import Scorer
from jobs.retrieval import index
from jobs.retrieval.factors import Factors
from jobs.spec import Model, Project
from jobs.training.tasks import task_of

REFERENCE_ROWS, ITEMS = 6_000, 400


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
    """The bundle, below the lake's releases; another seed is another release, with weights that are drawn or given.

    The weights are of the last model, which answers; those before it find items.
    """
    model = project.models[-1]
    random = np.random.default_rng(seed)
    scratch.mkdir(parents=True, exist_ok=True)
    found = [_items(one, scratch) for one in project.models[:-1]]
    entry = {"name": model.name, "library": "logistic_regression", "file": "model.json", "inputs": list(model.inputs)}
    entry |= task_of(model).entry(model, {}) | ({"flags": model.flags.numbers} if model.flags else {})
    files = {name: scratch / name for name in ("model.json", "reference.parquet", "parity.json")}
    files |= {one[name]: scratch / one[name] for one in found for name in ("file", "scorer_file")}
    files["model.json"].write_text(json.dumps(weights or drawn(model, random)))
    scorer = Scorer.load(scratch, {"models": [entry]})
    frame = rows(project, as_of - timedelta(days=27), 28, REFERENCE_ROWS, seed=7) if reference is None else reference
    if reference is None:
        frame["score"] = score_of(scorer.score(frame[list(model.inputs)].to_numpy()))
    frame.to_parquet(files["reference.parquet"], index=False)
    vectors = random.gamma(2.0, 10.0, (50, len(model.inputs)))
    parity: Mapping[str, object] = {
        "models": {model.name: {"vectors": vectors.tolist(), "scores": scorer.score(vectors).tolist()}}
    }
    files["parity.json"].write_text(json.dumps(parity))
    decided = {} if model.task == "binary" else task_of(model).decisions(model, np.empty(0), np.empty(0))
    return write_bundle(
        lake.release(project.name, "r").parent, project, files, run="test", as_of=str(as_of), models=[*found, entry],
        snapshot="0" * 64, git="", metrics={}, decisions=decided,
    )  # fmt: skip


def drawn(model: Model, random: np.random.Generator) -> dict[str, object]:
    """Weights that agree with no others' on anything."""
    width, terms = len(model.inputs), columns_of(model)
    shape = (len(model.classes), terms) if model.classes else terms
    return {"mean": [20.0] * width, "scale": [14.0] * width, "coefficients": random.normal(0, 0.4, shape).tolist(),
            "intercept": [-1.0] * len(model.classes) if model.classes else -1.0}  # fmt: skip


def columns_of(model: Model) -> int:
    """How many terms a linear model of it has: each flag is one."""
    flags = model.flags.numbers if model.flags else 0
    return int(dense(np.zeros((1, len(model.inputs))), flags).shape[1])


def _items(model: Model, scratch: Path) -> dict[str, Any]:
    """The entry of a retrieval of a few hundred items, and its files."""
    random, number = np.random.default_rng(5), np.arange(1, ITEMS + 1)
    columns = np.column_stack([number, *(number % 12 for _ in model.item[1:])])
    vectors = random.normal(size=(ITEMS, 8)).astype(np.float32)
    taken = random.integers(1, 100, ITEMS)
    found = Factors(items=number, columns=columns, vectors=vectors, taken=taken, alpha=5.0, regularisation=0.1)
    file, scorer_file = f"{model.name}.npz", f"{model.name}.voy"
    found.write(scratch / file)
    index.write(found, scratch / scorer_file)
    return {"name": model.name, "library": "als", "task": "retrieval", "item": list(model.item), "file": file,
            "scorer_file": scorer_file, "inputs": list(model.inputs)}  # fmt: skip
