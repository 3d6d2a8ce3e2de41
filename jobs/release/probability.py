"""From a model's raw margin to a probability: the correction for sampling, then the calibration; numpy only.

All of it is done in log-odds, and every map is strictly increasing: no ranking changes and no tie appears
but where doubles end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import TamperedError

Margins = NDArray[np.float64]


def scores_of(margins: Margins, entry: Mapping[str, Any]) -> Margins:
    """What a model answers, of its raw margins and as its manifest entry says, by its task; entries written before there were tasks are binary."""
    return _SCORES[entry.get("task", "binary")](margins, entry)


def score_of(answers: Margins) -> Margins:
    """The one number of each row that is logged, watched and shown: of several classes the probability of any but the first."""
    return answers if answers.ndim == 1 else np.asarray(np.clip(1 - answers[:, 0], 0, 1), dtype=np.float64)


def explained(margins: Margins) -> Margins:
    """The margin of each row that is explained: of several classes the likeliest but the first, over the first."""
    return margins if margins.ndim == 1 else np.asarray(margins[:, 1:].max(axis=1) - margins[:, 0], dtype=np.float64)


def classes(margins: Margins, entry: Mapping[str, Any]) -> Margins:
    """(rows, classes + 1): the probability of each class, and last the place of the class that a row is said to be of.

    Probabilities are softmax(slope * z + shifts), z being log-probabilities: vector scaling with one slope (Guo et al.
    2017, "On calibration of modern neural networks"). The class is the greatest of probability times the entry's
    `weights`: rare classes need less, where that is what F1 asks for (Lipton et al. 2014).
    """
    calibration, weights = entry.get("calibration") or {}, np.asarray(entry.get("weights") or 1.0)
    scaled = float(calibration.get("slope", 1.0)) * log_softmax(margins) + np.asarray(calibration.get("shifts", 0.0))
    probabilities = np.exp(log_softmax(scaled))
    return np.column_stack([probabilities, (probabilities * weights).argmax(axis=1)])


def log_softmax(margins: Margins) -> Margins:
    """The logarithm of each class's share, a row each, without overflow."""
    moved = margins - margins.max(axis=1, keepdims=True)
    return np.asarray(moved - np.log(np.exp(moved).sum(axis=1, keepdims=True)), dtype=np.float64)


def probability(margins: Margins, entry: Mapping[str, Any]) -> Margins:
    """The probability of each raw margin (log-odds), as a model's manifest entry corrects and calibrates it."""
    unbiased = corrected(margins, float(entry.get("correction", 1.0)))
    return sigmoid(calibrated(unbiased, entry.get("calibration") or {"method": "none"}))


def corrected(margins: Margins, kept: float) -> Margins:
    """Log-odds without the bias of learning from only a share `kept` of the negatives.

    Dal Pozzolo et al. 2015 ("Calibrating probability with undersampling for unbalanced classification"),
    equation 4: p = kept * s / (kept * s - s + 1), which in log-odds adds log(kept). Positives that count
    w times bias the odds as keeping 1/w of the negatives does.
    """
    return np.asarray(margins + np.log(kept), dtype=np.float64)


def calibrated(margins: Margins, calibration: Mapping[str, Any]) -> Margins:
    """Calibrated log-odds. Raises TamperedError for a method that is not known.

    `sigmoid` (Platt 1999): slope * z + intercept. `beta` (Kull et al. 2017): a * log(p) - b * log(1 - p) + c.
    `isotonic`: straight lines between the points (`at`, `becomes`), parallel to z = z outside of them.
    """
    method = calibration.get("method")
    if method == "none":
        return margins
    if method == "sigmoid":
        return np.asarray(calibration["slope"] * margins + calibration["intercept"], dtype=np.float64)
    if method == "beta":
        sure, unsure = log_sigmoid(margins), log_sigmoid(-margins)
        return np.asarray(calibration["a"] * sure - calibration["b"] * unsure + calibration["c"], dtype=np.float64)
    if method == "isotonic":
        return _between(margins, np.asarray(calibration["at"]), np.asarray(calibration["becomes"]))
    raise TamperedError(f"calibration method {method!r} is not one of none, sigmoid, beta, isotonic")


def sigmoid(margins: Margins) -> Margins:
    """1 / (1 + exp(-z)), without overflow."""
    return np.asarray(1 / (1 + np.exp(-np.clip(margins, -700, 700))), dtype=np.float64)


def log_sigmoid(margins: Margins) -> Margins:
    """log(1 / (1 + exp(-z))), exact for every z."""
    return np.asarray(-np.logaddexp(0.0, -margins), dtype=np.float64)


def _between(margins: Margins, at: Margins, becomes: Margins) -> Margins:
    last = len(at) - 1
    left = np.searchsorted(at, margins, side="right") - 1
    start = np.clip(left, 0, last)
    end = np.minimum(start + 1, last)
    inside = (left >= 0) & (left < last)
    run = np.where(inside, at[end] - at[start], 1.0)
    rise = np.where(inside, becomes[end] - becomes[start], 1.0)
    value = becomes[start] + (margins - at[start]) * (rise / run)
    return np.where(inside, np.minimum(value, becomes[end]), value)


_SCORES: Mapping[str, Callable[[Margins, Mapping[str, Any]], Margins]] = {
    "binary": probability,
    "multiclass": classes,
    "ranking": lambda margins, _: sigmoid(margins),
    "retrieval": lambda margins, _: margins,
}
