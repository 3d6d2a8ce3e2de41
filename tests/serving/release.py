"""A small real release: LightGBM or XGBoost trained in a second, in a bundle like any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from jobs.release.bundle import Bundle, write_bundle
from jobs.release.scorer import Scorer
from jobs.spec import Project

CALIBRATED = {"xgboost": {"correction": 0.5, "calibration": {"method": "sigmoid", "slope": 1.2, "intercept": -0.3}}}
"""What is made of a library's margins beyond the sigmoid, as if negatives had been left out of its training."""


def train(project: Project, folder: Path, releases: Path, *, library: str = "lightgbm", seed: int = 7) -> Bundle:
    """A bundle whose model tells large amounts from small ones, with a little noise."""
    inputs = project.models[-1].inputs
    chance = np.random.default_rng(seed)
    vectors = np.abs(chance.normal(size=(2_000, len(inputs)))) * 50
    labels = (vectors[:, 0] + chance.normal(size=len(vectors)) * 10 > 80).astype(float)
    folder.mkdir(parents=True, exist_ok=True)
    name = _fit(library, vectors, labels, folder, seed)
    entry = {"name": project.models[-1].name, "library": library, "file": name, "scorer_file": None, "inputs": inputs}
    entry |= CALIBRATED.get(library, {})
    stored = Scorer.load(folder, {"models": [entry]}).score(vectors[:100])
    parity = {"vectors": vectors[:100].tolist(), "scores": stored.tolist()}
    (folder / "parity.json").write_text(json.dumps({"models": {project.models[-1].name: parity}}))
    return write_bundle(
        releases, project, {name: folder / name, "parity.json": folder / "parity.json"},
        run="test", as_of="2026-01-31", models=[entry], snapshot="0" * 64, git="0" * 40, metrics={}, decisions={},
    )  # fmt: skip


def _fit(library: str, vectors: Any, labels: Any, folder: Path, seed: int) -> str:
    if library == "lightgbm":
        import lightgbm

        settings = {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": seed, "num_leaves": 15}
        booster = lightgbm.train(settings, lightgbm.Dataset(vectors, labels), 100)
        booster.save_model(folder / "model.txt")
        return "model.txt"
    import xgboost

    settings = {"objective": "binary:logistic", "nthread": 1, "max_depth": 4, "seed": seed}
    trained = xgboost.train(settings, xgboost.DMatrix(vectors, labels), 60)
    trained.save_model(folder / "model.ubj")
    return "model.ubj"
