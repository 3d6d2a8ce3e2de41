"""The online store: the newest value of every view by key, and the recent events of every live view by key."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from jobs.errors import ServiceError
from jobs.features.live.state import AHEAD, Events, pack_all, replace
from jobs.features.online.backend import Backend, Change, open_backend
from jobs.features.online.lookup import LookedUp, Lookup, refusal
from jobs.features.online.packing import (
    FILLING,
    HEADER,
    MARK,
    MARKS,
    TIME,
    VIEWS,
    layout_of,
    name_of,
    pack,
    pack_state,
    time_of,
)  # fmt: skip
from jobs.spec import FeatureView, LiveView, Project

Key = tuple[str, ...]
_STATES, _ROUNDS = 200, 20


@dataclass(frozen=True, kw_only=True)
class Part:
    """The events of many keys, sorted by key, time and id, no identity twice."""

    keys: Sequence[Key]
    starts: NDArray[np.int64]
    """The place of each key's first event."""
    sorted: Events

    @property
    def ends(self) -> NDArray[np.int64]:
        """The place after each key's last event."""
        return np.append(self.starts, len(self.sorted))[1:].astype(np.int64)

    def events(self) -> Iterator[Events]:
        """Each key's events."""
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            yield _slice(self.sorted, start, end)

    def split(self, keys: int) -> Iterator[Part]:
        """The same in parts of so many keys."""
        ends = self.ends
        for at in range(0, len(self.keys), keys):
            first, last = int(self.starts[at]), int(ends[min(at + keys, len(self.keys)) - 1])
            starts = self.starts[at : at + keys] - first
            yield Part(keys=self.keys[at : at + keys], starts=starts, sorted=_slice(self.sorted, first, last))


class OnlineStore:
    """Reads and writes a project's values in one backend; safe to share between threads and processes."""

    def __init__(self, backend: Backend, project: Project) -> None:
        self._backend, self._lookup = backend, Lookup(backend, project)

    @classmethod
    def open(cls, url: str, project: Project) -> Self:
        """The project's store at `url` (see `backend.ACCEPTED`), which need not be there yet.

        Raises SettingError when the URL is none of those.
        """
        return cls(open_backend(url, project.name), project)

    @property
    def unsaved(self) -> tuple[int, int]:
        """How many scored events wait in memory to be stored, and how many were dropped because they were too many."""
        return self._lookup.unsaved.events, self._lookup.unsaved.dropped

    def look_up(
        self,
        payload: Mapping[str, NDArray[Any]],
        event_ids: Sequence[str],
        at_us: Sequence[int] | NDArray[np.int64],
        *,
        add: bool = True,
        apart: bool = False,
        now_us: int | None = None,
    ) -> LookedUp:
        """Every view of a request's rows in one round trip, as visible at `at_us`; live windows include each row itself.

        The rows are then added to their live states, those of one key in the order of time and id; an event that
        cannot be stored is kept in memory, read with its state and stored by a later call. Without `add` nothing is
        stored; `apart` are rows of which at most one will happen, so that none is in another's windows, nor stored. Raises ServiceError when the store cannot be read or does not hold every view (the rows are kept),
        SpecError when it was written for other features.
        """
        return self._lookup.look_up(payload, event_ids, _list(at_us), _now(now_us), add=add and not apart, apart=apart)

    def keep(
        self,
        payload: Mapping[str, NDArray[Any]],
        event_ids: Sequence[str],
        at_us: Sequence[int] | NDArray[np.int64],
    ) -> None:
        """Keeps a request's events in memory, for a later `look_up` to store: when the store is not asked at all."""
        self._lookup.keep(payload, event_ids, _list(at_us))

    def read(
        self, view: FeatureView, keys: Sequence[Key], at_us: Sequence[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The values of `keys` as they were visible at `at_us`, and which of them were found; the others are zeros.

        A value that became visible later, or outlived its ttl, is not found. Raises SpecError when a value was
        written for other features than the view's, and ServiceError when the store cannot be read.
        """
        values = np.zeros((len(keys), len(view.features)), dtype=np.int64)
        found = np.zeros(len(keys), dtype=np.bool_)
        names = [name_of(view.name, key) for key in keys]
        stored = self._backend.get(names, patient=True) if names else {}
        layout, ttl = layout_of(view), view.ttl // timedelta(microseconds=1)
        for index, (name, at) in enumerate(zip(names, at_us, strict=True)):
            value = stored.get(name)
            if value is None:
                continue
            if value[TIME:HEADER] != layout:
                raise refusal(f"{view.name} {keys[index]}", value[TIME:HEADER], layout)
            available_at = time_of(value)
            if available_at <= at < available_at + ttl:
                values[index], found[index] = np.frombuffer(value, "<i8", -1, HEADER), True
        return values, found

    def write(self, view: FeatureView, rows: Iterable[tuple[Key, int, Sequence[int] | NDArray[np.int64]]]) -> int:
        """How many of the rows (key, available_at in microseconds, values) were written: none goes back in time."""
        layout = layout_of(view)
        with self._filling(view):
            return self._backend.put(
                (name_of(view.name, key), pack(at, layout, np.asarray(values, dtype="<i8").tobytes()))
                for key, at, values in rows
            )

    def merge(
        self,
        view: LiveView,
        events: Iterable[tuple[Key, Events]],
        *,
        whole_days: Iterable[int] = (),
        now_us: int | None = None,
    ) -> int:
        """How many live states the lake's events of their keys changed; they win over scored ones.

        `whole_days` are the days since 1970 of which `events` holds all of each key's.
        """
        whole, now, written, rest = frozenset(whole_days), _now(now_us), 0, iter(events)
        with self._filling(view):
            while some := list(islice(rest, _STATES)):
                states: dict[str, Events] = {}
                for key, one in some:
                    name = name_of(view.name, key)
                    states[name] = Events.concat([states[name], one]) if name in states else one
                written += self._merge(view, states, whole, now)
        return written

    def pack(
        self, view: LiveView, parts: Iterable[Part], *, whole_days: Iterable[int] = (), now_us: int | None = None
    ) -> int:
        """As `merge`, and many times as fast for a store that does not hold the view."""
        layout, whole, now, written = layout_of(view), frozenset(whole_days), _now(now_us), 0
        with self._filling(view):
            for part in (small for large in parts for small in large.split(_STATES)):
                one = part.sorted
                packed = pack_all(view, part.starts, one.times, one.ids, one.values, now)
                newest = np.minimum(one.times[part.ends - 1], now + AHEAD).tolist()
                names = [name_of(view.name, key) for key in part.keys]
                done = self._backend.swap(
                    [
                        Change(name, None, pack_state(at, layout, state))
                        for name, at, state in zip(names, newest, packed, strict=True)
                    ],
                    patient=True,
                )
                there = {name: events for name, events, new in zip(names, part.events(), done, strict=True) if not new}
                written += sum(done) + self._merge(view, there, whole, now)
        return written

    def materialized(self, view: FeatureView | LiveView) -> str | None:
        """The digest that `mark` kept for the view, or None when there is none or the view must be filled again."""
        self._backend.ensure()
        found = self._backend.get([f"{VIEWS}:{view.name}", f"{MARKS}:{view.name}"], patient=True)
        layouts = {value[TIME:HEADER] for value in found.values()}
        if len(found) < 2 or layouts != {layout_of(view)}:
            return None
        return found[f"{MARKS}:{view.name}"][HEADER:].decode()

    def mark(self, view: FeatureView | LiveView, digest: str) -> None:
        """Keeps a digest of what was last written to the view, so that the same need not be written again."""
        self._backend.ensure()
        self._backend.put([(f"{MARKS}:{view.name}", pack(0, layout_of(view), digest.encode()))])

    def close(self) -> None:
        """Closes this thread's connection; the store can be used again."""
        self._backend.close()

    @contextmanager
    def _filling(self, view: FeatureView | LiveView) -> Iterator[None]:
        """Where the view is new or has another layout, old values go, and no request reads it until it is complete."""
        self._backend.ensure()
        layout, name = layout_of(view), f"{VIEWS}:{view.name}"
        kept = self._backend.get([name], patient=True).get(name)
        if kept is not None and kept[TIME:HEADER] == layout:
            yield
            return
        self._backend.put([(name, pack(0, FILLING, b""))])
        if kept is not None:
            self._backend.sweep(f"{view.name}:", layout)
        yield
        self._backend.put([(name, pack(0, layout, b""))])

    def _merge(self, view: LiveView, states: Mapping[str, Events], whole: frozenset[int], now: int) -> int:
        layout, written = layout_of(view), 0
        for _ in range(_ROUNDS):
            if not states:
                return written
            stored = self._backend.get(list(states), patient=True)
            changes = []
            for name, events in states.items():
                value = stored.get(name)
                mine = value is not None and value[TIME:HEADER] == layout
                state = value[MARK:] if value is not None and mine else None
                merged = replace(view, state, events, now, whole)
                if merged != state:
                    newest = max(_newest(events.times, now), time_of(value) if value is not None and mine else -AHEAD)
                    changes.append(Change(name, value and value[:MARK], pack_state(newest, layout, merged)))
            done = self._backend.swap(changes, patient=True)
            written += sum(done)
            states = {one.name: states[one.name] for one, saved in zip(changes, done, strict=True) if not saved}
        if states:
            raise ServiceError(
                f"{len(states)} live states of {view.name}, {next(iter(states))} first, changed at every attempt to "
                "write them; run `tidemill features` again"
            )
        return written


def _slice(events: Events, start: int, end: int) -> Events:
    return Events(events.times[start:end], events.ids[start:end], events.values[start:end])


def _newest(times: NDArray[np.int64], now_us: int) -> int:
    return min(int(times.max()), now_us + AHEAD) if len(times) else -AHEAD


def _list(numbers: Sequence[int] | NDArray[np.int64]) -> Sequence[int]:
    return numbers.tolist() if isinstance(numbers, np.ndarray) else numbers


def _now(now_us: int | None) -> int:
    return time.time_ns() // 1_000 if now_us is None else now_us
