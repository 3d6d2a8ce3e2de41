"""From a found document and the history of document, query and both to the model's inputs: in training and in serving.

Only numpy and the standard library, elementwise throughout: a row alone gives the same bits as inside a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]

PRIOR, STRENGTH = 0.1, 10
"""A rate without history is PRIOR, and half its own after STRENGTH showings."""
HALF = 10_000
"""The sum of scores in thousandths that the rule takes for as much as nothing and everything."""


def request(payload: Columns, features: Mapping[str, Columns]) -> NDArray[np.float64]:
    """The model's inputs, a row per document, in the order the spec declares."""
    profile, document, pair, query = (features[name] for name in ("document_profile", "document", "pair", "query"))
    columns = [
        payload["title_score"] / 1_000,
        payload["body_score"] / 1_000,
        *_alike(payload["query"], payload["title"]),
        payload["age_days"],
        profile["known_28d"],
        _rate(profile["clicks_28d"], profile["known_28d"]),
        _rate(profile["read_28d"], profile["known_28d"]),
        _rate(document["clicks_7d"], document["known_7d"]),
        pair["known_28d"],
        _rate(pair["clicks_28d"], pair["known_28d"]),
        _rate(query["clicks_28d"], query["known_28d"]),
    ]
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


def rule(payload: Columns) -> NDArray[np.float64]:
    """The order of the index alone, title before body, as scores from 0 to 1."""
    found = 2.0 * np.asarray(payload["title_score"]) + np.asarray(payload["body_score"])
    return np.asarray(found / (found + HALF), dtype=np.float64)


def _alike(queries: NDArray[Any], titles: NDArray[Any]) -> NDArray[np.float64]:
    """Words of the query, of the title, of both; the shares they are of either; whether the query is in the title
    word for word, and whether both begin with the same word."""
    found = np.zeros((7, len(queries)), dtype=np.float64)
    for row, (query, title) in enumerate(zip(queries.tolist(), titles.tolist(), strict=True)):
        asked, told = query.lower().split(), title.lower().split()
        both = len(set(asked) & set(told))
        phrase = f" {' '.join(asked)} " in f" {' '.join(told)} "
        found[:, row] = (
            len(asked), len(told), both, both / max(len(set(asked)), 1), both / max(len(set(told)), 1), phrase,
            asked[:1] == told[:1],
        )  # fmt: skip
    return found


def _rate(clicks: NDArray[Any], shown: NDArray[Any]) -> NDArray[np.float64]:
    """The share that was clicked, drawn to the prior by how little was shown."""
    return np.asarray((clicks + PRIOR * STRENGTH) / (shown + STRENGTH), dtype=np.float64)
