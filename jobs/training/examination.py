"""What people looked at: how likely a row at each place was examined, from clicks alone; pure.

The position-based model: a click is an examination, which depends on the place alone, and a relevance, which depends
on the row alone. Regression-based expectation maximisation (Wang et al. 2018, "Position bias estimation for unbiased
learning to rank in personal search") tells the two apart, if rows that are alike are seen at different places: keep a
share of the traffic in a shuffled order, or nothing can.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROUNDS, TREES = 60, 30
LEAST = 0.05
"""An examination below it counts as this much: a click where hardly anybody looks must not outweigh all others."""
_RATE = 0.3
_KEPT = 8
"""How many answers are remembered: a tuning asks about the same rows in every trial."""
_known: OrderedDict[str, Floats] = OrderedDict()


def examination(place: NDArray[np.int64], clicked: NDArray[np.bool_], vectors: Floats, *, seed: int) -> Floats:
    """The examination of each place from 1 to the last, relative to the first; what was never seen counts as `LEAST`.

    `place` is from 1. Raises ValueError for a place below 1.
    """
    asked = hashlib.sha256(str(seed).encode())
    for part in (place, clicked, vectors):
        asked.update(np.ascontiguousarray(part).tobytes())
    name = asked.hexdigest()
    if name not in _known:
        _known[name] = _examination(place, clicked, vectors, seed)
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return _known[name].copy()


def _examination(place: NDArray[np.int64], clicked: NDArray[np.bool_], vectors: Floats, seed: int) -> Floats:
    import lightgbm

    if len(place) and place.min() < 1:
        raise ValueError(f"place {place.min()} is not one: the first is 1")
    last = int(place.max(initial=1))
    seen = np.maximum(np.bincount(place - 1, minlength=last), 1)
    examined = np.bincount(place - 1, clicked, minlength=last) / seen
    examined = np.maximum(examined / max(examined.max(), 1e-12), LEAST)
    pinned: dict[str, Any] = {
        "objective": "cross_entropy", "learning_rate": _RATE, "num_leaves": 15, "min_data_in_leaf": 100, "seed": seed,
        "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1, "max_bin": 63,
    }  # fmt: skip
    rows = lightgbm.Dataset(vectors, clicked.astype(np.float64), params=pinned, free_raw_data=False).construct()
    relevant = np.full(len(place), max(float(clicked.mean()) if len(place) else 0.0, 1e-6))
    for _ in range(ROUNDS):
        both = examined[place - 1]
        unseen = 1 - both * relevant
        was_examined = np.where(clicked, 1.0, both * (1 - relevant) / unseen)
        was_relevant = np.where(clicked, 1.0, relevant * (1 - both) / unseen)
        examined = np.clip(np.bincount(place - 1, was_examined, minlength=last) / seen, 1e-6, 1.0)
        rows.set_label(was_relevant)
        relevant = np.clip(lightgbm.train(pinned, rows, TREES).predict(vectors, num_threads=1), 1e-6, 1 - 1e-6)
    return np.asarray(np.maximum(examined / examined[0], LEAST), dtype=np.float64)


def weights(place: NDArray[np.int64], examined: Floats) -> Floats:
    """How much a click at each place counts: the inverse of the place's examination (Joachims et al. 2017)."""
    return np.asarray(1 / examined[np.minimum(place, len(examined)) - 1], dtype=np.float64)
