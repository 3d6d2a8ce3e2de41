"""What scores of several classes are worth: (rows, classes + 1), probabilities and the place of the class that is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from jobs.training.binary_metrics import average_precision_of

Scores = NDArray[np.float64]
Weights = NDArray[np.float64]
Measure = Callable[[Weights], float]


def class_log_loss(label: NDArray[np.int64], scores: Scores) -> float:
    """Mean negative log-likelihood of the rows' classes, probabilities kept off 0 by 1e-15."""
    return float(_losses(label, scores).mean())


def macro_f1(label: NDArray[np.int64], scores: Scores) -> float:
    """The mean over classes of the F1 of the class that rows are said to be of; NaN where a class has no row."""
    return _macro_f1(label, scores)(np.ones(len(scores)))


def _losses(label: NDArray[np.int64], scores: Scores) -> Scores:
    told = scores[np.arange(len(label)), label]
    return np.asarray(-np.log(np.clip(told, 1e-15, 1)), dtype=np.float64)


def _log_loss(label: NDArray[np.int64], scores: Scores) -> Measure:
    losses = _losses(label, scores)
    return lambda weights: float(losses @ weights / weights.sum())


def _confusion(label: NDArray[np.int64], scores: Scores) -> Callable[[Weights], Scores]:
    """(classes, classes): rows of each class, in rows, that are said to be of each, in columns."""
    count = scores.shape[1] - 1
    pairs = label * count + scores[:, -1].astype(np.int64)

    def value(weights: Weights) -> Scores:
        counts = np.bincount(pairs, weights, minlength=count * count)
        return np.asarray(counts.reshape(count, count), dtype=np.float64)

    return value


def _macro_f1(label: NDArray[np.int64], scores: Scores) -> Measure:
    table_of = _confusion(label, scores)
    return lambda weights: float(np.mean(_f1(table_of(weights))))


def _f1(table: Scores) -> Scores:
    """The F1 of each class; NaN where it has no row."""
    true, said, right = table.sum(axis=1), table.sum(axis=0), table.diagonal()
    return np.where(true > 0, 2 * right / np.maximum(true + said, 1e-300), np.nan)


def _recalls(table: Scores) -> Scores:
    true = table.sum(axis=1)
    return np.where(true > 0, table.diagonal() / np.maximum(true, 1e-300), np.nan)


def _worst_recall(label: NDArray[np.int64], scores: Scores) -> Measure:
    table_of = _confusion(label, scores)
    return lambda weights: float(np.min(_recalls(table_of(weights))))


def _accuracy(label: NDArray[np.int64], scores: Scores) -> Measure:
    right = (scores[:, -1] == label).astype(np.float64)
    return lambda weights: float(right @ weights / weights.sum())


def _false_positive_rate(label: NDArray[np.int64], scores: Scores) -> Measure:
    """The share of the rows of the first class that are said to be of another."""
    harmless = (label == 0).astype(np.float64)
    wrong = harmless * (scores[:, -1] > 0)

    def value(weights: Weights) -> float:
        all_of_them = harmless @ weights
        return float(wrong @ weights / all_of_them) if all_of_them else float("nan")

    return value


def _f1_of(label: NDArray[np.int64], scores: Scores, place: int) -> Measure:
    table_of = _confusion(label, scores)
    return lambda weights: float(_f1(table_of(weights))[place])


def _recall_of(label: NDArray[np.int64], scores: Scores, place: int) -> Measure:
    table_of = _confusion(label, scores)
    return lambda weights: float(_recalls(table_of(weights))[place])


def _macro_average_precision(label: NDArray[np.int64], scores: Scores) -> Measure:
    each = [_average_precision(label, scores, place) for place in range(scores.shape[1] - 1)]
    return lambda weights: float(np.mean([one(weights) for one in each]))


def _average_precision(label: NDArray[np.int64], scores: Scores, place: int) -> Measure:
    return average_precision_of(label == place, scores[:, place])


OF_CLASSES: Mapping[str, Callable[[NDArray[np.int64], Scores], Measure]] = {
    "log_loss": _log_loss,
    "macro_f1": _macro_f1,
    "worst_class_recall": _worst_recall,
    "accuracy": _accuracy,
    "false_positive_rate": _false_positive_rate,
    "macro_average_precision": _macro_average_precision,
}
"""By their names."""
OF_A_CLASS: Mapping[str, Callable[[NDArray[np.int64], Scores, int], Measure]] = {
    "f1": _f1_of,
    "recall": _recall_of,
    "average_precision": _average_precision,
}
"""Of one of the classes, by their names."""
