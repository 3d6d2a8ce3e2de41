"""What an order is worth: means over groups of rows that are ranked together.

Rows of equal score are put in the worst order there is, so that a model which says nothing earns nothing. A group
without a positive label has no better and no worse order: it is left out, and a metric without any other is undefined.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Weights = NDArray[np.float64]
Measure = Callable[[Weights], float]
Of = Callable[[NDArray[np.int64]], float]
"""The value of one group, from its labels in the order of the scores."""

_AT = re.compile(r"(ndcg|precision)_at_([1-9]\d*)\Z")
RANKING = ("ndcg_at_10", "ndcg_at_3", "precision_at_1", "mean_average_precision", "mean_reciprocal_rank")
"""What is reported of an order."""


def known(name: str) -> bool:
    """Whether it is the name of a metric of orders: `ndcg_at_K`, `precision_at_K` or one of `RANKING`."""
    return name in RANKING or _AT.match(name) is not None


def prepared(name: str, label: NDArray[np.int64], group: NDArray[np.int64], scores: Scores) -> Measure:
    """The mean over groups as a function of how often each row counts, which is equal within a group."""
    at = _AT.match(name)
    of: Of = _VALUES[at[1]](int(at[2])) if at else _VALUES[name](0)
    order = np.lexsort((label, -scores, group))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    values, rows = [], []
    for start, labels in zip(starts, np.split(label[order], starts[1:]), strict=True):
        if labels.max() > 0:
            values.append(of(labels))
            rows.append(order[start])
    worth, some = np.array(values), np.array(rows, dtype=np.int64)

    def value(weights: Weights) -> float:
        counts = weights[some]
        return float(worth @ counts / counts.sum()) if counts.sum() else float("nan")

    return value


def _ndcg(k: int) -> Of:
    """Järvelin and Kekäläinen 2002 with the gain 2^label - 1 of Burges et al. 2005."""
    discount = 1 / np.log2(np.arange(2, k + 2))

    def gain(labels: NDArray[np.int64]) -> float:
        top = labels[:k]
        return float((2.0**top - 1) @ discount[: len(top)])

    return lambda labels: gain(labels) / gain(-np.sort(-labels))


def _precision(k: int) -> Of:
    return lambda labels: float((labels[:k] > 0).sum()) / k


def _average_precision(_: int) -> Of:
    def value(labels: NDArray[np.int64]) -> float:
        found = np.flatnonzero(labels > 0)
        return float(np.mean(np.arange(1, len(found) + 1) / (found + 1)))

    return value


def _reciprocal_rank(_: int) -> Of:
    return lambda labels: 1 / (1 + int(np.flatnonzero(labels > 0)[0]))


_VALUES: dict[str, Callable[[int], Of]] = {
    "ndcg": _ndcg,
    "precision": _precision,
    "mean_average_precision": _average_precision,
    "mean_reciprocal_rank": _reciprocal_rank,
}
