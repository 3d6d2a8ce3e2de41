"""What candidates are worth: how much of what viewers took is among the first so many, and how many items are at all."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Measure = Callable[[Scores], float]

_AT = re.compile(r"(recall|coverage)_at_([1-9]\d*)\Z")
RETRIEVAL = ("recall_at_100", "recall_at_20", "recall_at_10", "coverage_at_100")
"""What is reported of candidates."""


def known(name: str) -> bool:
    """Whether it is the name of a metric of candidates: `recall_at_K` or `coverage_at_K`."""
    return _AT.match(name) is not None


def prepared(
    name: str,
    label: NDArray[np.int64],
    unit: NDArray[np.int64],
    scores: Scores,
    item: NDArray[np.int64] | None = None,
) -> Measure:
    """How good candidates are, from scores that are 1 over the place among all items.

    Recall is the mean over viewers of the share of their positives among the first K; viewers without a positive are
    left out, and without any other it is undefined. Coverage is the share of the items in the rows that are among the
    first K for a viewer to whom they were offered; undefined where nobody says which items the rows are about.
    """
    found = _AT.match(name)
    what, depth = (found[1], int(found[2])) if found else ("", 0)
    if what == "coverage":
        return _coverage(item, scores * depth >= 1 - 1e-9)
    rows = np.flatnonzero(np.asarray(label) > 0)
    who, codes, counts = np.unique(unit[rows], return_inverse=True, return_counts=True)
    hits = np.bincount(codes, scores[rows] * depth >= 1 - 1e-9, minlength=len(who)) / np.maximum(counts, 1)
    some = np.zeros(len(who), dtype=np.int64)
    some[codes] = rows

    def value(weights: Scores) -> float:
        often = weights[some]
        return float(hits @ often / often.sum()) if often.sum() else float("nan")

    return value


def _coverage(item: NDArray[np.int64] | None, near: NDArray[np.bool_]) -> Measure:
    if item is None:
        return lambda weights: float("nan")
    known, codes = np.unique(item, return_inverse=True)

    def value(weights: Scores) -> float:
        return float((np.bincount(codes.ravel(), near * weights, minlength=len(known)) > 0).mean())

    return value
