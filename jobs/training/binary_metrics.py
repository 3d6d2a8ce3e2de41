"""What scores of a yes or no are worth: (rows,) probabilities of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

BINS = 20
"""Of equally many rows each, for the expected calibration error."""
_DAY = 86_400_000_000

Scores = NDArray[np.float64]
Weights = NDArray[np.float64]
Measure = Callable[[Weights], float]


def average_precision(label: NDArray[np.bool_], scores: Scores) -> float:
    """Area under the precision-recall steps; equal scores count together, as one step."""
    return average_precision_of(label, scores)(np.ones(len(scores)))


def roc_auc(label: NDArray[np.bool_], scores: Scores) -> float:
    """The probability that a positive scores above a negative, ties counting half."""
    return _roc_auc(label, scores)(np.ones(len(scores)))


def log_loss(label: NDArray[np.bool_], scores: Scores) -> float:
    """Mean negative log-likelihood, scores kept off 0 and 1 by 1e-15."""
    return float(_losses(label, scores).mean())


def average_precision_of(label: NDArray[np.bool_], scores: Scores) -> Measure:
    """`average_precision` as a function of how often each row counts."""
    order = np.argsort(-scores, kind="stable")
    positive, ends = label[order].astype(np.float64), np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))

    def value(weights: Weights) -> float:
        counts = weights[order]
        found, seen = np.cumsum(counts * positive)[ends], np.cumsum(counts)[ends]
        if not found[-1]:
            return float("nan")
        precision = np.divide(found, seen, out=np.zeros(len(seen)), where=seen > 0)
        return float(np.sum(np.diff(found, prepend=0) * precision) / found[-1])

    return value


def _roc_auc(label: NDArray[np.bool_], scores: Scores) -> Measure:
    _, codes = np.unique(scores, return_inverse=True)
    positive = label.astype(np.float64)

    def value(weights: Weights) -> float:
        ours = np.bincount(codes, weights * positive)
        others = np.bincount(codes, weights * (1 - positive))
        pairs = ours.sum() * others.sum()
        return float(np.sum(ours * (np.cumsum(others) - others / 2)) / pairs) if pairs else float("nan")

    return value


def _log_loss(label: NDArray[np.bool_], scores: Scores) -> Measure:
    losses = _losses(label, scores)
    return lambda weights: float(losses @ weights / weights.sum())


def _normalised_entropy(label: NDArray[np.bool_], scores: Scores) -> Measure:
    """The mean log loss over that of the share of positives as everybody's score (He et al. 2014, section 3, equation 1).

    Below 1 a model knows more than how often it happens; unlike a log loss it compares samples of different shares.
    """
    losses, positive = _losses(label, scores), label.astype(np.float64)

    def value(weights: Weights) -> float:
        share = float(positive @ weights / weights.sum())
        if not 0 < share < 1:
            return float("nan")
        entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
        return float(losses @ weights / weights.sum() / entropy)

    return value


def _losses(label: NDArray[np.bool_], scores: Scores) -> Scores:
    return np.asarray(-np.log(np.clip(np.where(label, scores, 1 - scores), 1e-15, 1)), dtype=np.float64)


def _brier(label: NDArray[np.bool_], scores: Scores) -> Measure:
    squares = np.square(scores - label)
    return lambda weights: float(squares @ weights / weights.sum())


def _prediction_ratio(label: NDArray[np.bool_], scores: Scores) -> Measure:
    """The mean score over the share of positives."""
    positive = label.astype(np.float64)

    def value(weights: Weights) -> float:
        happened = positive @ weights
        return float(scores @ weights / happened) if happened else float("nan")

    return value


def _calibration_error(label: NDArray[np.bool_], scores: Scores) -> Measure:
    """Sum over bins of (share of rows in it) * |mean score - share of positives| (Naeini et al. 2015).

    The bins hold equally many rows by rank (as in Nguyen and O'Connor 2015), because the scores of rare
    positives crowd together near 0; equal scores are in one bin.
    """
    _, codes, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts + 1) / 2
    bins = (ranks * BINS // len(scores)).astype(np.int64)[codes]
    gaps = scores - label
    return lambda weights: float(np.abs(np.bincount(bins, gaps * weights)).sum() / weights.sum())


def card_precision(
    label: NDArray[np.bool_], event_time: NDArray[np.int64], entity: NDArray[np.int64], scores: Scores, k: int
) -> Measure:
    """The handbook's card precision top-k: the mean over days of the share of positives among a day's k entities.

    An entity counts with its highest score of the day and is positive if any of its rows that day is; one
    that was found is no longer looked at on later days (chapter 4.4, "Precision top-k metrics"). Equal
    scores are ordered by the entity's number.
    """
    known, codes = np.unique(entity, return_inverse=True)
    some = np.zeros(len(known), dtype=np.int64)
    some[codes] = np.arange(len(codes))
    days = event_time // _DAY
    ranked = []
    for day in np.unique(days):
        rows = np.flatnonzero(days == day)
        entities, places = np.unique(codes[rows], return_inverse=True)
        highest = np.full(len(entities), -np.inf)
        np.maximum.at(highest, places, scores[rows])
        positive = np.zeros(len(entities), dtype=bool)
        np.logical_or.at(positive, places, label[rows])
        order = np.argsort(-highest, kind="stable")
        ranked.append((entities[order], positive[order]))

    def value(weights: Weights) -> float:
        counts, found = weights[some], np.zeros(len(known), dtype=bool)
        precisions = []
        for entities, positive in ranked:
            left = ~found[entities]
            entities, positive = entities[left], positive[left]  # noqa: PLW2901 - what is still looked at
            many = counts[entities]
            taken = np.clip(k - (np.cumsum(many) - many), 0, many)
            precisions.append(float(taken @ positive) / k)
            found[entities[positive & (taken > 0)]] = True
        return float(np.mean(precisions)) if precisions else float("nan")

    return value


OF_ONE: Mapping[str, Callable[[NDArray[np.bool_], Scores], Measure]] = {
    "average_precision": average_precision_of,
    "roc_auc": _roc_auc,
    "log_loss": _log_loss,
    "normalised_entropy": _normalised_entropy,
    "brier": _brier,
    "mean_prediction_ratio": _prediction_ratio,
    "expected_calibration_error": _calibration_error,
}
"""By their names."""
