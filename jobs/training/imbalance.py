"""Rare positives: learn from the rows as they are, count positives more, or leave negatives out; and how to undo it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.spec import Treatment

TREATMENTS: tuple[Treatment, ...] = ("none", "weight", "sampling")
"""What a tuning compares where a model declares nothing else; `imbalance` in a configuration's parameters."""
NAMES = frozenset({"imbalance", "positive_weight", "negatives_kept"})


def propose(trial: Any, treatments: Sequence[Treatment] = TREATMENTS) -> dict[str, Any]:
    """The treatment that one Optuna trial tries."""
    treatment = trial.suggest_categorical("imbalance", treatments)
    if treatment == "weight":
        return {"imbalance": treatment, "positive_weight": trial.suggest_float("positive_weight", 1.5, 30, log=True)}
    if treatment == "sampling":
        return {"imbalance": treatment, "negatives_kept": trial.suggest_float("negatives_kept", 0.1, 0.7, log=True)}
    return {"imbalance": treatment}


def treated(
    params: Mapping[str, Any], label: NDArray[np.bool_], seed: int
) -> tuple[NDArray[np.intp], NDArray[np.float64] | None]:
    """Which rows to learn from, in order, and how often each counts (None: once)."""
    rows = np.arange(len(label))
    if params.get("imbalance") == "sampling":
        kept = np.random.default_rng(seed).random(len(label)) < params["negatives_kept"]
        return rows[label | kept], None
    if params.get("imbalance") == "weight":
        return rows, np.where(label, float(params["positive_weight"]), 1.0)
    return rows, None


def kept(params: Mapping[str, Any]) -> float:
    """The share of negatives that what was learned amounts to: what `probability.corrected` takes."""
    treatment = params.get("imbalance", "none")
    if treatment == "sampling":
        return float(params["negatives_kept"])
    return 1 / float(params["positive_weight"]) if treatment == "weight" else 1.0


def compared(trials: Sequence[Mapping[str, Any]], best: Mapping[str, Any], *, lower: bool) -> dict[str, Any]:
    """The chosen treatment, and for each the trials that finished and the best value among them."""
    found: dict[str, Any] = {}
    for treatment in TREATMENTS:
        mine = [trial for trial in trials if trial["params"].get("imbalance") == treatment]
        values = [trial["value"] for trial in mine if trial["state"] == "COMPLETE" and trial["value"] is not None]
        value = (min if lower else max)(values) if values else None
        found[treatment] = {"trials": len(mine), "finished": len(values), "best": value}
    return {"chosen": best.get("imbalance", "none"), "kept": kept(best), "compared": found}
