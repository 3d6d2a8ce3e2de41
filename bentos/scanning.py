"""Notices a key that feels its way along one input: the query pattern by which a model is copied.

Tramèr et al. (Stealing Machine Learning Models via Prediction APIs, USENIX Security 2016, section 4.2) find a tree's
thresholds by requests that are alike but for one input. So many values of one input, all others the same, are reported;
it is a sign and no proof, and nothing is refused for it: the quota bounds what is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from jobs.spec import Project

WINDOW = 3_600
"""Seconds in which values are counted, and a key is reported once."""
_GROUPS = 10_000
"""How many different "all others" are watched at once; the oldest is given up for a new one."""


class Scans:
    """Watches the inputs of a request that are no identity: neither the event's id and time nor an entity key."""

    def __init__(self, project: Project, report: Callable[[str, str], None]) -> None:
        source = project.sources[0]
        event = {source.event_id, source.event_time}
        entities = {key for view in project.every_view for key in view.entity}
        columns = [column.name for column in source.columns if not column.nullable and column.name not in event]
        self._most, self._report = project.serving.scan_values, report
        self._walked = [
            (name, attrgetter(name), _values([other for other in columns if other != name]))
            for name in columns
            if name not in entities
        ]
        self._since = 0.0
        self._tried: dict[Any, set[Any]] = {}
        self._reported: set[str] = set()

    def see(self, key: str, rows: Sequence[Any], now: float) -> None:
        """Counts the rows of a request; reports the key and the input it walks along, once in a window."""
        if not self._most:
            return
        if now - self._since >= WINDOW:
            self._since = now
            self._tried.clear()
            self._reported.clear()
        for row in rows:
            for name, value, others in self._walked:
                group = (key, name, others(row))
                tried = self._tried.get(group)
                if tried is None:
                    if len(self._tried) >= _GROUPS:
                        del self._tried[next(iter(self._tried))]
                    tried = self._tried[group] = set()
                if len(tried) < self._most:
                    tried.add(value(row))
                elif key not in self._reported:
                    self._reported.add(key)
                    self._report(key, name)


def _values(names: Sequence[str]) -> Callable[[Any], Any]:
    return attrgetter(*names) if names else lambda _: ()
