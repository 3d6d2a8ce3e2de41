"""From a model's log-odds to honest probabilities: which map is fitted, and which of them is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.release.probability import calibrated, log_sigmoid, sigmoid
from jobs.training.binary_metrics import log_loss

METHODS = ("none", "sigmoid", "beta", "isotonic")
"""Simplest first: the first wins among equals."""
Margins = NDArray[np.float64]
Labels = NDArray[np.bool_]


def choose(margins: Margins, label: Labels, day: NDArray[np.int64]) -> dict[str, Any]:
    """The calibration of a slice of time that neither fitted nor tuned the model, as its manifest entry has it.

    Each method is fitted on all days but one and judged by its log loss on that one, in turn; the method
    with the lowest mean over rows is fitted on all of them. `compared` holds every method's log loss.
    """
    days = np.unique(day)
    parts = [day == one for one in days] if len(days) > 1 else list(_halves(len(label)))
    losses = {}
    for method in METHODS:
        held = np.zeros(len(label))
        for part in parts:
            fitted = fit(method, margins[~part], label[~part])
            held[part] = sigmoid(calibrated(margins[part], fitted))
        losses[method] = log_loss(label, held)
    best = min(METHODS, key=lambda method: losses[method])
    return {**fit(best, margins, label), "compared": losses, "rows": len(label), "positives": int(label.sum())}


def fit(method: str, margins: Margins, label: Labels) -> dict[str, Any]:
    """The numbers of one method; `none` where the rows do not allow a rising map (a single class, or scores reversed)."""
    nothing: dict[str, Any] = {"method": "none"}
    if method == "none" or label.all() or not label.any():
        return nothing
    if method == "sigmoid":
        slope, intercept = _logistic([margins], label)
        return {"method": method, "slope": slope, "intercept": intercept} if slope > 0 else nothing
    if method == "beta":
        return _beta(margins, label) or nothing
    return _isotonic(margins, label)


def _halves(rows: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    first = np.arange(rows) < rows // 2
    return first, ~first


def _beta(margins: Margins, label: Labels) -> dict[str, Any] | None:
    """Kull et al. 2017: where one of the two slopes would fall, it is 0 and the other is fitted alone."""
    sure, unsure = log_sigmoid(margins), -log_sigmoid(-margins)
    a, b, c = _logistic([sure, unsure], label)
    if a < 0:
        a, (b, c) = 0.0, _logistic([unsure], label)
    elif b < 0:
        b, (a, c) = 0.0, _logistic([sure], label)
    return {"method": "beta", "a": a, "b": b, "c": c} if min(a, b) >= 0 and a + b > 0 else None


def _logistic(columns: Sequence[Margins], label: Labels) -> list[float]:
    """The slopes and the intercept of greatest likelihood, by Newton's method.

    Labels are moved a little towards each other, as Platt 1999 does, so that perfectly separable rows have an answer.
    """
    positives, negatives = int(label.sum()), int((~label).sum())
    target = np.where(label, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    x = np.column_stack([*columns, np.ones(len(label))])
    scale = np.append(np.maximum(np.abs(x[:, :-1]).max(axis=0), 1e-12), 1.0)
    x, weights = x / scale, np.zeros(x.shape[1])
    weights[-1] = np.log(target.mean() / (1 - target.mean()))
    loss = _loss(x, target, weights)
    for _ in range(100):
        chance = sigmoid(x @ weights)
        slope = x.T @ (chance - target)
        curve = (x * (chance * (1 - chance))[:, None]).T @ x + 1e-9 * np.eye(x.shape[1])
        step, least = np.linalg.solve(curve, slope), 1.0
        while _loss(x, target, weights - least * step) > loss and least > 1e-6:
            least /= 2
        weights = weights - least * step
        before, loss = loss, _loss(x, target, weights)
        if before - loss <= 1e-12 * abs(before):
            break
    return [float(value) for value in weights / scale]


def _loss(x: NDArray[np.float64], target: Margins, weights: Margins) -> float:
    margins = x @ weights
    return float(-(target * log_sigmoid(margins) + (1 - target) * log_sigmoid(-margins)).sum())


def _isotonic(margins: Margins, label: Labels) -> dict[str, Any]:
    """Isotonic regression with its steps joined by rising lines, so that no two scores become one.

    Each step becomes a point at its mean log-odds (centred isotonic regression, Oron and Flournoy 2017), its share
    of positives drawn to the share of all by one row's weight, so that none is 0 or 1.
    """
    from sklearn.isotonic import isotonic_regression

    at, codes, counts = np.unique(margins, return_inverse=True, return_counts=True)
    weight, found = counts.astype(np.float64), np.bincount(codes, label).astype(np.float64)
    shares, mean = found / weight, float(label.mean())
    while True:  # shares that were drawn together may fall again: then their steps are joined as well
        starts = np.flatnonzero(np.diff(isotonic_regression(shares, sample_weight=weight), prepend=-1.0) > 1e-12)
        at = np.add.reduceat(at * weight, starts) / np.add.reduceat(weight, starts)
        weight, found = np.add.reduceat(weight, starts), np.add.reduceat(found, starts)
        shares = (found + mean) / (weight + 1)
        if (np.diff(shares) > 0).all():
            return {"method": "isotonic", "at": at.tolist(), "becomes": np.log(shares / (1 - shares)).tolist()}


def described(calibration: Mapping[str, Any]) -> str:
    """A calibration in words: its method, and the log loss with and without it."""
    compared = calibration["compared"]
    best = min(compared.values())
    return f"{calibration['method']} (log loss {best:.5f} on held-out days, {compared['none']:.5f} without)"
