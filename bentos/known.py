"""The features that were read last, by view and entity: what answers while the online store does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.features.online import LookedUp
from jobs.spec import FeatureView, LiveView

KEPT = 20_000
OLDEST = 1_800.0
"""Seconds after which features count as unknown rather than as the last ones."""


class Known:
    """Of each view the entities that were read last, at most twice KEPT; times are seconds of one clock.

    A window is as it was at the entity's last event, without those that were answered from here since.
    """

    def __init__(self, views: Sequence[FeatureView | LiveView]) -> None:
        self._views = [(view.name, view.entity, len(view.features)) for view in views]
        self._new: dict[str, dict[Any, bytes]] = {view.name: {} for view in views}
        self._old = self._new
        self._since = 0.0

    def keep(self, payload: Mapping[str, NDArray[Any]], features: LookedUp, now: float) -> None:
        """Remembers what was found."""
        self._turn(now)
        for view, entity, _ in self._views:
            kept, found = self._new[view], features.found[view].tolist()
            for key, row, known in zip(_keys(payload, entity), features.values[view], found, strict=True):
                if known:
                    kept[key] = row.tobytes()  # nothing that the garbage collector would look at

    def find(self, payload: Mapping[str, NDArray[Any]], rows: int, now: float) -> tuple[LookedUp, list[bool]]:
        """The features of a request's rows, zeros where none are known, and of which rows every view is known."""
        self._turn(now)
        values, found = {}, {}
        for view, entity, width in self._views:
            new, old, nothing = self._new[view], self._old[view], bytes(8 * width)
            read = [new.get(key) or old.get(key) for key in _keys(payload, entity)]
            joined = b"".join([row or nothing for row in read])
            values[view] = np.frombuffer(joined, dtype=np.int64).reshape(rows, width)
            found[view] = np.array([row is not None for row in read], dtype=np.bool_)
        complete = np.all(list(found.values()), axis=0).tolist() if found else [False] * rows
        return LookedUp(values, found, [{}] * rows), complete

    def _turn(self, now: float) -> None:
        full = any(len(kept) >= KEPT for kept in self._new.values())
        if not full and now - self._since < OLDEST / 2:
            return
        empty: dict[str, dict[Any, bytes]] = {view: {} for view, _, _ in self._views}
        self._old = self._new if now - self._since < OLDEST else empty
        self._new, self._since = {view: {} for view, _, _ in self._views}, now


def _keys(payload: Mapping[str, NDArray[Any]], entity: tuple[str, ...]) -> list[Any]:
    columns = [payload[column].tolist() for column in entity]
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
