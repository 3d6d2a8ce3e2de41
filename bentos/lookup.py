"""Features for a request: from the online store, or defaults that are marked as such while it does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import TidemillError
from jobs.features.online import OnlineStore
from jobs.settings import Settings
from jobs.spec import Project

_REST = 1.0
"""Seconds without a look-up after one failed: a circuit breaker, so that a locked store delays one answer only."""
log = logging.getLogger("tidemill.features")
Found = tuple[dict[str, NDArray[np.int64]], dict[str, NDArray[np.bool_]], bool]


class Lookup:
    """Reads every view of a project for the rows of a request."""

    def __init__(self, project: Project, settings: Settings, event_time: str) -> None:
        self._views, self._event_time = project.views, event_time
        self._store = OnlineStore.open(settings.online_store_url, project)
        self._rests_until, self._inode = 0.0, -1

    def read(self, payload: Mapping[str, NDArray[Any]]) -> Found:
        """The values of each view, which rows' were found, and whether the store could not be asked."""
        now = time.monotonic()
        if now >= self._rests_until:
            try:
                return self._read(payload)
            except (TidemillError, OSError) as error:
                log.error("served with default features: %s", error)
                self._rests_until = now + _REST
        rows = len(payload[self._event_time])
        values = {view.name: np.zeros((rows, len(view.features)), dtype=np.int64) for view in self._views}
        return values, {view.name: np.zeros(rows, dtype=np.bool_) for view in self._views}, True

    def _read(self, payload: Mapping[str, NDArray[Any]]) -> Found:
        self._follow()
        at, values, found = payload[self._event_time].tolist(), {}, {}
        for view in self._views:
            keys = list(zip(*(payload[key].tolist() for key in view.entity), strict=True))
            values[view.name], found[view.name] = self._store.read(view, keys, at)
        return values, found, False

    def _follow(self) -> None:
        """Lets go of a file that was removed or replaced: a connection would read the old one for ever."""
        try:
            inode = self._store.path.stat().st_ino
        except OSError:
            inode = -1
            raise
        finally:
            if inode != self._inode:
                self._store.close()
                self._inode = inode
