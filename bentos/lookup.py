"""Features for a request: from the online store, or while it does not answer the last known ones, or defaults."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bentos import metrics
from bentos.breaker import Breaker, State
from bentos.known import Known
from jobs.errors import TidemillError
from jobs.features.online import LookedUp, OnlineStore
from jobs.settings import Settings
from jobs.spec import Project

LAST_KNOWN, DEFAULTS = "last_known_features", "default_features"
"""Why an answer is degraded: every view as it was read last, or zeros for at least one of them."""
_FAILURES, _REST, _LONGEST = 2, 0.1, 5.0
"""So many look-ups that failed in a row, and then one after rests that double: what a store that is down can delay."""
_SLOW, _SLOW_ROW = 1.0, 0.001
"""A look-up that takes longer than this, and this for each row, counts as one that failed."""
_LAST = 2.0
"""Seconds that a process which ends takes to store the events that wait in its memory."""
_STATES = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}
log = logging.getLogger("tidemill.features")
Payload = Mapping[str, NDArray[Any]]


class Found(NamedTuple):
    """What was looked up, and of each row what is lacking, None where nothing is."""

    features: LookedUp
    lacking: list[str | None]


class Lookup:
    """Every view of a project for the rows of a request, which count as events from then on."""

    def __init__(self, project: Project, settings: Settings) -> None:
        self._source = project.sources[0]
        self._store = OnlineStore.open(settings.online_store_url, project)
        self._breaker = Breaker(failures=_FAILURES, rest=_REST, longest=_LONGEST)
        self._writes = Breaker(failures=_FAILURES, rest=_REST, longest=_LONGEST)
        self._known = Known(project.every_view)
        metrics.UNSAVED.set_function(lambda: self._store.unsaved[0])
        metrics.LOST.set_function(lambda: self._store.unsaved[1])
        metrics.BREAKER.set_function(lambda: _STATES[self._breaker.state])

    def look_up(self, payload: Payload, *, add: bool, apart: bool = False, ask: bool = True) -> Found:
        """The features of the rows, as the online store has them unless it cannot or, without `ask`, must not be asked.

        With `add` the rows are events of their live states from then on; while the store does not answer they wait
        in memory. Rows that are `apart` are no events, nor in each other's windows.
        """
        ids, times = payload[self._source.event_id].tolist(), payload[self._source.event_time].tolist()
        began = time.monotonic()
        if not ask or not self._breaker.allow(began):
            if add:
                self._store.keep(payload, ids, times)
            return self._without(payload, len(ids), began)
        try:
            features = self._ask(payload, ids, times, add, apart, began)
        except (TidemillError, OSError) as error:
            log.error("served without the online store: %s", error)
            self._failed()
            return self._without(payload, len(ids), began)
        ended = time.monotonic()
        if ended - began > _SLOW + _SLOW_ROW * len(ids):
            log.warning("the online store took %.3f s for %s rows", ended - began, len(ids))
            self._failed()
        elif self._breaker.state is not State.CLOSED:
            self._breaker.succeeded()
            log.warning("the online store answers again")
        else:
            self._breaker.succeeded()
        self._known.keep(payload, features, ended)
        return Found(features, [None] * len(ids))

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

    def _ask(self, payload: Payload, ids: list[str], times: list[int], add: bool, apart: bool, now: float) -> LookedUp:
        """While the store can be read and not be written, its features with the events that wait in memory."""
        if add and not self._writes.allow(now):
            self._store.keep(payload, ids, times)
            return self._store.look_up(payload, ids, times, add=False)
        waiting = self._store.unsaved[0]
        features = self._store.look_up(payload, ids, times, add=add, apart=apart)
        if add and self._store.unsaved[0] > waiting:
            self._writes.failed(time.monotonic())
        elif add:
            self._writes.succeeded()
        return features

    def _failed(self) -> None:
        before = self._breaker.state
        self._breaker.failed(time.monotonic())
        if self._breaker.state is State.OPEN:
            metrics.OPENED.inc()
            if before is State.CLOSED:
                log.error("the online store is not asked for a while")

    def _without(self, payload: Payload, rows: int, now: float) -> Found:
        features, complete = self._known.find(payload, rows, now)
        return Found(features, [LAST_KNOWN if known else DEFAULTS for known in complete])
