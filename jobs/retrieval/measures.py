"""What lists of items are worth to the users who then took some of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from jobs.retrieval.interactions import Interactions

Lists = NDArray[np.int64]


def best_unseen(scores: NDArray[np.floating], of: Interactions, length: int) -> Lists:
    """Of each user the items with the highest scores that they have not had, best first."""
    kept = np.where(of.unseen, scores, -np.inf)
    return np.asarray(np.argsort(-kept, axis=1, kind="stable")[:, :length], dtype=np.int64)


def measured(lists: Lists, taken: Interactions) -> Mapping[str, float]:
    """Mean figures over the users that took anything, as recommenders-team/recommenders counts them; and coverage.

    `recall`, `precision`, `ndcg` (a hit is worth 1) and `map` are at the length of the lists; `coverage` is the
    share of the items that is on any list.
    """
    length, wanted = lists.shape[1], taken.seen.toarray() > 0
    count = wanted.sum(axis=1)
    users = np.flatnonzero(count)
    hits = wanted[users[:, None], lists[users]].astype(np.float64)
    discount = 1 / np.log2(np.arange(2, length + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(count[users], length)]
    precise = (hits * hits.cumsum(axis=1) / np.arange(1, length + 1)).sum(axis=1)
    return {
        "recall": float((hits.sum(axis=1) / count[users]).mean()),
        "precision": float(hits.mean()),
        "ndcg": float(((hits * discount).sum(axis=1) / ideal).mean()),
        "map": float((precise / count[users]).mean()),
        "coverage": len(np.unique(lists[users])) / taken.items,
    }
