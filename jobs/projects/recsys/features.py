"""From an offered film and the history of viewer, film and both to the models' inputs: in training and in serving.

Only numpy and the standard library, elementwise throughout: a row alone gives the same bits as inside a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]

PRIOR, STRENGTH = 0.2, 20
"""A rate without history is PRIOR, and half its own after STRENGTH offers."""
RECENT, CANDIDATES = 10, 40
_HOUR, _DAY = 3_600_000_000, 86_400_000_000


def request(payload: Columns, features: Mapping[str, Columns]) -> NDArray[np.float64]:
    """The ranking's inputs, a row per offer, in the order the spec declares."""
    item, topic, viewer = features["item"], features["viewer_topic"], features["user_history"]
    profile, pair = features["item_profile"], features["item_pairs"]
    offered = np.asarray(payload["item_id"])
    made_ready = candidates(features)
    recent = np.column_stack([viewer[f"recent_{place}"] for place in range(1, RECENT + 1)])
    found = made_ready == offered[:, None]
    columns = [
        payload["event_time"] % _DAY // _HOUR,
        payload["event_time"] // _DAY - payload["published_day"],
        payload["last_item_id"] > 0,
        viewer["watched_28d"],
        (recent == offered[:, None]).any(axis=1),
        profile["offers_28d"],
        _rate(profile["watches_28d"], profile["offers_28d"]),
        item["offers_1d"],
        _rate(item["watches_7d"], item["known_7d"]),
        topic["offers_1d"],
        topic["known_28d"],
        _rate(topic["watches_28d"], topic["known_28d"]),
        pair["together"],
        pair["likeness"] / 1_000_000,
        np.where(found.any(axis=1), found.argmax(axis=1), CANDIDATES),
    ]
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


def retrieval(payload: Columns, features: Mapping[str, Columns]) -> NDArray[np.float64]:
    """The retrieval's inputs: the film that is offered, and what the viewer watched, the latest first, 0 for nothing."""
    viewer = features["user_history"]
    recent = [viewer[f"recent_{place}"] for place in range(1, RECENT + 1)]
    columns = [payload[name] for name in ("item_id", "topic", "published_day", "last_item_id")] + recent
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


def candidates(features: Mapping[str, Columns]) -> NDArray[np.int64]:
    """The films made ready at night for each row's viewer, the best first, 0 for none."""
    nightly = features["candidates"]
    return np.column_stack([nightly[f"candidate_{place}"] for place in range(1, CANDIDATES + 1)])


def _rate(watches: NDArray[Any], offers: NDArray[Any]) -> NDArray[np.float64]:
    """The share of offers that were watched, drawn to the prior by how few there were."""
    return np.asarray((watches + PRIOR * STRENGTH) / (offers + STRENGTH), dtype=np.float64)
