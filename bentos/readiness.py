"""What a slot tries before it says that it is ready: the path of a request, and the scores its release stored."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from bentos.releases import Release
from jobs.spec import Column

WARM_UPS = 50
PARITY = "parity.json"


def made_up(columns: Sequence[Column], row: Callable[..., Any]) -> list[Any]:
    """Rows of nobody, to be answered before a client waits for what the first request loads."""
    return [row(**{column.name: _made_up(column) for column in columns}) for _ in range(WARM_UPS)]


def parity(release: Release) -> dict[str, Any]:
    """How many vectors of the release are stored, and how far this process is from their stored scores.

    Each is scored alone, as a request is, and all of them together, as a batch is. `furthest` is None without any
    stored score, and where one is not a number.
    """
    began, scorer, path = time.perf_counter(), release.scorer, release.folder / PARITY
    there = scorer is not None and path.exists()
    stored = json.loads(path.read_bytes())["models"].get(scorer.entry["name"]) if scorer and there else None
    if scorer is None or not stored or not stored["scores"]:
        return {"rows": 0, "furthest": None, "milliseconds": 0.0}
    vectors, expected = np.asarray(stored["vectors"], dtype=np.float64), np.asarray(stored["scores"], dtype=np.float64)
    alone = np.concatenate([scorer.score(vectors[row : row + 1]) for row in range(len(vectors))])
    furthest = max(np.abs(scores - expected).max() for scores in (alone, scorer.score(vectors)))
    return {
        "rows": len(expected),
        "furthest": float(furthest) if np.isfinite(furthest) else None,
        "milliseconds": round((time.perf_counter() - began) * 1000, 1),
    }


def _made_up(column: Column) -> Any:
    if column.type in ("integer", "number"):
        least = column.minimum if column.minimum is not None else 0
        return max(least, 0) if column.type == "integer" else max(float(least), 0.0)
    return {"string": "warm-up", "boolean": False, "timestamp": datetime.now(UTC)}[column.type]
