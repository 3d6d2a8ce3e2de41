"""From an impression and the history of its user, ad and site to the model's inputs: in training and in serving.

Only numpy and the standard library, elementwise throughout: a row alone gives the same bits as inside a batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]

PRIOR, STRENGTH = 0.06, 50
"""A rate without history is PRIOR, and half its own after STRENGTH impressions (Micci-Barreca 2001, section 3.2)."""
BUCKETS = 12
_HOUR, _DAY = 3_600_000_000, 86_400_000_000


def request(payload: Columns, features: Mapping[str, Columns]) -> NDArray[np.float64]:
    """The model's inputs, a row per impression, in the order the spec declares."""
    user, seen, past = features["user"], features["user_ad"], features["user_history"]
    ad, site, pair = features["ad"], features["site"], features["ad_site"]
    columns = [
        payload["event_time"] % _DAY // _HOUR,
        user["impressions_1h"],
        user["impressions_7d"],
        seen["impressions_1d"],
        seen["impressions_7d"],
        past["known_28d"],
        _rate(past, 28),
        ad["impressions_1d"],
        ad["known_28d"],
        *(_rate(view, days) for view in (ad, site) for days in (7, 28)),
        pair["known_28d"],
        _rate(pair, 28),
        *_hashed(payload, ("device_id", "os_id", "site_id")),
    ]
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


def _rate(view: Columns, days: int) -> NDArray[np.float64]:
    """The click rate of a window whose labels are known, drawn to the prior by how little was seen."""
    clicks, impressions = view[f"clicks_{days}d"], view[f"known_{days}d"]
    return np.asarray((clicks + PRIOR * STRENGTH) / (impressions + STRENGTH), dtype=np.float64)


def _hashed(payload: Columns, names: tuple[str, ...]) -> NDArray[np.float64]:
    """The hashing trick (Weinberger et al. 2009): each id adds 1 or -1, by its hash, to one of a few buckets."""
    buckets = np.zeros((BUCKETS, len(payload[names[0]])), dtype=np.float64)
    for name in names:
        known, places = np.unique(np.asarray(payload[name], dtype=str), return_inverse=True)
        hashes = np.array([zlib.crc32(f"{name}={one}".encode()) for one in known], dtype=np.int64)[places]
        np.add.at(buckets, (hashes % BUCKETS, np.arange(len(places))), np.where(hashes // BUCKETS % 2, 1.0, -1.0))
    return buckets
