"""How much having taken one item speaks for another: item by item, a row for what was taken.

Dense, so for catalogues of thousands; larger ones are found by their vectors (`jobs.retrieval.index`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jobs.retrieval.interactions import Interactions

Weights = NDArray[np.float64]


def ease(of: Interactions, regularisation: float) -> Weights:
    """The ridge regression of each item on all others (Steck, Embarrassingly Shallow Autoencoders, WWW 2019)."""
    gram = (of.seen.T @ of.seen).toarray()
    diagonal = np.diag_indices(of.items)
    gram[diagonal] += regularisation
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    weights[diagonal] = 0.0
    return np.asarray(weights, dtype=np.float64)


def jaccard(of: Interactions) -> Weights:
    """Of the users that took either item, the share that took both."""
    both = (of.seen.T @ of.seen).toarray()
    count = np.diag(both).copy()
    return _without_itself(both / np.maximum(count[:, None] + count - both, 1.0))


def random_walk(of: Interactions, beta: float) -> Weights:
    """From an item to a user that took it to another item of theirs, popular ones held back by beta.

    RP3 of Paudel and others, Updatable, Accurate, Diverse, and Scalable Recommendations, TiiS 2017.
    """
    taken = np.maximum(np.asarray(of.seen.sum(axis=0)).ravel(), 1.0)
    took = np.maximum(np.asarray(of.seen.sum(axis=1)).ravel(), 1.0)
    dense = of.seen.toarray()
    return _without_itself((dense / taken).T @ (dense / took[:, None]) / taken**beta)


def together(of: Interactions, seconds: float) -> Weights:
    """How close in time the same users took both: a pair counts one, and a part e less after so many seconds."""
    close = np.zeros((of.items, of.items))
    order = np.argsort(of.user, kind="stable")
    ends = np.cumsum(np.bincount(of.user, minlength=of.users))
    for rows in np.split(order, ends[:-1]):
        at, item = of.at[rows].astype(np.float64), of.item[rows]
        close[np.ix_(item, item)] += np.exp(-np.abs(at[:, None] - at) / seconds)
    return _without_itself(close)


def _without_itself(weights: Weights) -> Weights:
    np.fill_diagonal(weights, 0.0)
    return weights
