"""Features for a request: from the online store, or defaults that are marked as such while it does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bentos import metrics
from jobs.errors import TidemillError
from jobs.features.online import LookedUp, OnlineStore
from jobs.settings import Settings
from jobs.spec import Project, Source

_REST = 1.0
"""Seconds without a look-up after one failed: a circuit breaker, so that a locked store delays one answer only."""
_LAST = 2.0
"""Seconds that a process which ends takes to store the events that wait in its memory."""
log = logging.getLogger("tidemill.features")
Payload = Mapping[str, NDArray[Any]]


class Lookup:
    """Every view of a project for the rows of a request, which count as events from then on."""

    def __init__(self, project: Project, settings: Settings) -> None:
        self._views, self._source = project.every_view, project.sources[0]
        self._store = OnlineStore.open(settings.online_store_url, project)
        self._rests_until = 0.0
        metrics.UNSAVED.set_function(lambda: self._store.unsaved[0])
        metrics.LOST.set_function(lambda: self._store.unsaved[1])

    def look_up(self, payload: Payload, *, add: bool) -> tuple[LookedUp, bool]:
        """The features of the rows, and whether they are defaults because the store could not be asked.

        With `add` the rows are events of their live states from then on; while the store does not answer they wait
        in memory.
        """
        ids, times = _events(self._source, payload)
        if time.monotonic() < self._rests_until:
            if add:
                self._store.keep(payload, ids, times)
            return self._defaults(len(ids)), True
        try:
            return self._store.look_up(payload, ids, times, add=add), False
        except (TidemillError, OSError) as error:
            log.error("served with default features: %s", error)
            self._rests_until = time.monotonic() + _REST
            return self._defaults(len(ids)), True

    def stop(self) -> None:
        """Stores the events that wait in memory, unless the store stays away."""
        nothing = {column.name: np.zeros(0, dtype=np.int64) for column in self._source.columns}
        deadline = time.monotonic() + _LAST
        while self._store.unsaved[0] and time.monotonic() < deadline:
            try:
                self._store.look_up(nothing, [], [])
            except (TidemillError, OSError) as error:
                log.error("%s events are not stored online: %s", self._store.unsaved[0], error)
                return

    def _defaults(self, rows: int) -> LookedUp:
        return LookedUp(
            values={view.name: np.zeros((rows, len(view.features)), dtype=np.int64) for view in self._views},
            found={view.name: np.zeros(rows, dtype=np.bool_) for view in self._views},
            provenance=[{}] * rows,
        )


def _events(source: Source, payload: Payload) -> tuple[list[str], list[int]]:
    return payload[source.event_id].tolist(), payload[source.event_time].tolist()
