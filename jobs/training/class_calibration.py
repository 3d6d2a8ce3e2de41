"""From the margins of several classes to honest probabilities, and to the class that a row is said to be of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.release.probability import classes, log_softmax
from jobs.training.class_metrics import class_log_loss, macro_f1

METHODS = ("none", "temperature", "vector")
"""Simplest first: the first wins among equals."""
Margins = NDArray[np.float64]
Labels = NDArray[np.int64]
_GRID = np.exp(np.arange(-2.0, 2.01, 0.1))
"""The weights that are tried for a class, beside what it has."""


def choose(margins: Margins, label: Labels, day: NDArray[np.int64]) -> dict[str, Any]:
    """The calibration of rows that neither fitted nor tuned the model, as its manifest entry has it.

    Each method is fitted on all days but one and judged by its log loss on that one, in turn (on either half where
    there is one day); the best is fitted on all of them. `compared` holds every method's log loss.
    """
    days = np.unique(day)
    half = np.arange(len(label)) < len(label) // 2
    parts = [day == one for one in days] if len(days) > 1 else [half, ~half]
    losses = {}
    for method in METHODS:
        held = np.zeros((len(label), margins.shape[1] + 1))
        for part in parts:
            held[part] = classes(margins[part], {"calibration": fit(method, margins[~part], label[~part])})
        losses[method] = class_log_loss(label, held)
    best = min(METHODS, key=lambda method: losses[method])
    positives = int((label > 0).sum())
    return {**fit(best, margins, label), "compared": losses, "rows": len(label), "positives": positives}


def fit(method: str, margins: Margins, label: Labels) -> dict[str, Any]:
    """One method's numbers: `slope` for `temperature` (Guo et al. 2017), with a shift for each class for `vector`.

    `none` where a class has no row, or where the slope would turn the ranking round.
    """
    count, nothing = margins.shape[1], {"method": "none"}
    if method == "none" or (np.bincount(label, minlength=count) == 0).any():
        return nothing
    from scipy.optimize import minimize

    z, truth = log_softmax(margins), np.eye(count)[label]
    shifting = method == "vector"

    def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scaled = log_softmax(x[0] * z + np.append(0.0, x[1:] if shifting else np.zeros(count - 1)))
        wrong = (np.exp(scaled) - truth) / len(label)
        # a shift is drawn to 0 by what one row weighs: a class that is told perfectly would have none that is finite
        slopes = np.append((wrong * z).sum(), wrong[:, 1:].sum(axis=0) + x[1:] / len(label)) if shifting else [
            (wrong * z).sum()
        ]  # fmt: skip
        return float(-(scaled * truth).sum() + (x[1:] ** 2).sum() / 2) / len(label), np.asarray(slopes)

    found = minimize(loss, np.append(1.0, np.zeros(count - 1 if shifting else 0)), jac=True, method="L-BFGS-B",
                     bounds=[(1e-3, 20.0), *[(-20.0, 20.0)] * (count - 1 if shifting else 0)]).x  # fmt: skip
    return {"method": method, "slope": float(found[0]), "shifts": [0.0, *map(float, found[1:])] if shifting else 0.0}


def weights(margins: Margins, entry: Mapping[str, Any], label: Labels) -> list[float]:
    """What each class's probability is multiplied by before the greatest names the class: for the best macro-F1 of rows.

    By coordinate ascent from 1 for each; the first class keeps 1.
    """
    found = np.ones(margins.shape[1])
    probabilities = classes(margins, {**entry, "weights": None})[:, :-1]

    def worth(tried: NDArray[np.float64]) -> float:
        value = macro_f1(label, np.column_stack([probabilities, (probabilities * tried).argmax(axis=1)]))
        return value if np.isfinite(value) else -1.0

    best = worth(found)
    for _ in range(2):
        for place in range(1, len(found)):
            for factor in _GRID:
                tried = found.copy()
                tried[place] = factor
                if (value := worth(tried)) > best:
                    best, found = value, tried
    return [float(one) for one in found]
