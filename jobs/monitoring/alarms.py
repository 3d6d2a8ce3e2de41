"""When columns that moved become an alarm, and how many alarms are one; pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Moved = NDArray[np.bool_]


def persistent(moved: Moved, needed: int, of: int) -> Moved:
    """Where a batch moved, and with it at least `needed` of the last `of` batches (first axis, oldest first).

    >>> persistent(np.array([True, False, True, True, False]), 2, 3).tolist()
    [False, False, True, True, False]
    """
    total = np.cumsum(moved, axis=0, dtype=np.int64)
    before = np.zeros_like(total)
    before[of:] = total[:-of]
    return np.asarray(moved & (total - before >= needed), dtype=np.bool_)


def events(alarms: Moved, cool_down: int) -> int:
    """How many events the alarms of consecutive batches are: after one, those of `cool_down` batches belong to it.

    >>> events(np.array([True, True, True, False, True]), 3)
    2
    """
    count, free_from = 0, 0
    for batch in np.flatnonzero(alarms).tolist():
        if batch >= free_from:
            count, free_from = count + 1, batch + max(cool_down, 1)
    return count
