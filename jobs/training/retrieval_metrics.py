"""What candidates are worth: how much of what a viewer took is among the first so many of all items."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Measure = Callable[[Scores], float]

_RECALL = re.compile(r"recall_at_([1-9]\d*)\Z")
RETRIEVAL = ("recall_at_100", "recall_at_20", "recall_at_10")
"""What is reported of candidates."""


def known(name: str) -> bool:
    """Whether it is the name of a metric of candidates: `recall_at_K`."""
    return _RECALL.match(name) is not None


def prepared(name: str, label: NDArray[np.int64], unit: NDArray[np.int64], scores: Scores) -> Measure:
    """The mean over viewers of the share of their positives with a score of at least 1 / K, which is a place up to K.

    Viewers without a positive are left out; without any other it is undefined.
    """
    found = _RECALL.match(name)
    depth = int(found[1]) if found else 0
    rows = np.flatnonzero(np.asarray(label) > 0)
    who, codes, counts = np.unique(unit[rows], return_inverse=True, return_counts=True)
    hits = np.bincount(codes, scores[rows] * depth >= 1 - 1e-9, minlength=len(who)) / np.maximum(counts, 1)
    some = np.zeros(len(who), dtype=np.int64)
    some[codes] = rows

    def value(weights: Scores) -> float:
        often = weights[some]
        return float(hits @ often / often.sum()) if often.sum() else float("nan")

    return value
