"""Scored events that the store did not take yet: kept in memory until it does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Sequence
from itertools import islice

import numpy as np

from jobs.features.live.state import Events
from jobs.spec import LiveView

BOUND = 100_000
log = logging.getLogger("tidemill.features")
_Identity = tuple[int, str]


class Unsaved:
    """Events by the name of their live state, at most BOUND; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, tuple[LiveView, dict[_Identity, Sequence[int]]]] = {}
        self.events, self.dropped = 0, 0

    def keep(self, view: LiveView, name: str, identity: _Identity, values: Sequence[int]) -> None:
        """Keeps an event; the states that have waited longest are given up for it when there are too many."""
        with self._lock:
            if not self.events:
                log.warning("events cannot be stored online and are kept in memory, up to %s", BOUND)
            known = self._states.setdefault(name, (view, {}))[1]
            if identity not in known:
                known[identity] = values
                self.events += 1
            while self.events > BOUND:
                lost = len(self._states.pop(next(iter(self._states)))[1])
                self.events -= lost
                if not self.dropped:
                    log.error("more than %s events wait to be stored online: the oldest are dropped", BOUND)
                self.dropped += lost

    def of(self, names: Collection[str]) -> dict[str, Events]:
        """The events that wait for the states of these names, where there are some."""
        if not self._states:
            return {}
        with self._lock:
            waiting = {name: self._states[name] for name in names if name in self._states}
            return {
                name: Events(
                    np.array([time for time, _ in known], dtype=np.int64),
                    [event for _, event in known],
                    np.array(list(known.values()), dtype=np.int64).reshape(len(known), len(view.columns)),
                )
                for name, (view, known) in waiting.items()
            }

    def longest(self, most: int, besides: Collection[str]) -> list[tuple[LiveView, str]]:
        """The states that have waited longest, at most so many."""
        if not self._states:
            return []
        with self._lock:
            others = ((view, name) for name, (view, _) in self._states.items() if name not in besides)
            return list(islice(others, most))

    def saved(self, name: str, events: Events) -> None:
        """Forgets events that are stored now."""
        with self._lock:
            _, known = self._states.get(name, (None, {}))
            for identity in zip(events.times.tolist(), events.ids, strict=True):
                self.events -= known.pop(identity, None) is not None
            if not known:
                self._states.pop(name, None)
