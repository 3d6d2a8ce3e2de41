"""How far a sample has moved from another: the population stability index on bins of the reference; pure."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BINS = 10
Values = NDArray[np.float64]
Counts = NDArray[np.float64]


def edges_of(reference: Values) -> Values:
    """The right edges of the reference's bins: its deciles, equal values together, and its two ends.

    Equally wide bins would put a skewed amount into one bin and see nothing. Raises ValueError without a number.
    """
    reference = reference[np.isfinite(reference)]
    if not len(reference):
        raise ValueError("a reference without a number has no bins")
    inner = np.quantile(reference, np.linspace(0, 1, BINS + 1)[1:-1], method="lower")
    return np.unique(np.concatenate(([np.nextafter(reference.min(), -np.inf)], inner, [reference.max()])))


def bin_of(values: Values, edges: Values) -> NDArray[np.intp]:
    """Each value's bin: 0 is below the reference's smallest value, the last is above its largest."""
    return np.searchsorted(edges, values, side="left")


def counts_of(values: Values, edges: Values) -> Counts:
    """How many of the values that are numbers lie in each bin."""
    found = np.bincount(bin_of(values[np.isfinite(values)], edges), minlength=len(edges) + 1)
    return found.astype(np.float64)


def index(reference: Counts, current: Counts, used: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """The population stability index between counts, over their last axis; bins that are not `used` do not exist.

    Half a row is added to each bin, so that an empty one counts for what it proves and no more.
    """
    half = 0.5 if used is None else 0.5 * used
    before, after = reference + half, current + half
    before = before / before.sum(axis=-1, keepdims=True)
    after = after / after.sum(axis=-1, keepdims=True)
    moved = after - before
    ratio = np.divide(after, before, out=np.ones_like(after), where=before > 0)
    return np.asarray((moved * np.log(ratio)).sum(axis=-1))


def psi(reference: Values, current: Values) -> float:
    """The population stability index of two samples, 0 within chance when they are alike; NaN when one has no number."""
    if not np.isfinite(reference).any() or not np.isfinite(current).any():
        return math.nan
    edges = edges_of(reference)
    return float(index(counts_of(reference, edges), counts_of(current, edges)))
