"""Answers given again to a request that differs in the event's id alone, for a short while."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

from jobs.spec import Project

KEPT = 10_000


class Kept(NamedTuple):
    """What a record of the log is made of, besides who asked when."""

    answer: Any
    vector: list[float]
    provenance: Any


class Cache:
    """The last answers, at most twice KEPT, none older than the project says; times are seconds of one clock.

    Both the answers and their expiry go by generations: what is in the older one is between one and two lives old
    at most, so a life is half of `Serving.cache_seconds`.
    """

    def __init__(self, project: Project) -> None:
        source = project.sources[0]
        self._life = project.serving.cache_seconds / 2
        names = [column.name for column in source.columns if not column.nullable and column.name != source.event_id]
        self._inputs: Callable[[Any], Any] = attrgetter(*names)
        self._new: dict[Any, Kept] = {}
        self._old: dict[Any, Kept] = {}
        self._since = 0.0

    def __bool__(self) -> bool:
        return self._life > 0

    def find(self, row: Any, now: float) -> Kept | None:
        """The answer to a row with the same inputs, or None."""
        self._turn(now)
        inputs = self._inputs(row)
        return self._new.get(inputs) or self._old.get(inputs)

    def keep(self, row: Any, kept: Kept, now: float) -> None:
        """Remembers an answer."""
        self._turn(now)
        self._new[self._inputs(row)] = kept

    def _turn(self, now: float) -> None:
        if now - self._since >= 2 * self._life:
            self._new, self._old, self._since = {}, {}, now
        elif now - self._since >= self._life or len(self._new) >= KEPT:
            self._new, self._old, self._since = {}, self._new, now
