"""What a request asks of the online store: every view of its rows, and its events added to their live states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import ServiceError, SpecError, TidemillError
from jobs.features.live.state import AHEAD, Events, Reading, add, score, seen, values_of
from jobs.features.online.backend import Backend, Change
from jobs.features.online.packing import FILLING, HEADER, MARK, TIME, VIEWS, layout_of, name_of, pack_state, time_of
from jobs.features.online.unsaved import Unsaved
from jobs.spec import FeatureView, LiveView, Project

Payload = Mapping[str, NDArray[Any]]
_ROUNDS = 4
"""How often a state that another process changes at the same moment is read again."""
_WAITING = 16
"""How many states that could not be stored before are stored along with a request's own."""


@dataclass(frozen=True)
class LookedUp:
    """The features of a request's rows.

    `values` are int64[rows, features] by view, zeros where nothing was `found`. `provenance` says by row and view what
    they were read from: `schema`, and `available_at` (microseconds or None) of a batch view, `events` and `checksum`
    of a live one.
    """

    values: dict[str, NDArray[np.int64]]
    found: dict[str, NDArray[np.bool_]]
    provenance: list[dict[str, dict[str, Any]]]


@dataclass(slots=True)
class _Rows:
    """A request in lists: ids and times by row, the names of its stored values and its live columns by view and row."""

    ids: Sequence[str]
    at: Sequence[int]
    names: dict[str, list[str]]
    columns: dict[str, list[tuple[int, ...]]]
    apart: bool = False
    """At most one of the rows will happen: each is in its own windows alone."""

    def states(self, views: Sequence[LiveView]) -> dict[str, tuple[LiveView, list[int]]]:
        """The rows of each live state, in the order of time and id."""
        states: dict[str, tuple[LiveView, list[int]]] = {}
        for view in views:
            for row, name in enumerate(self.names[view.name]):
                states.setdefault(name, (view, []))[1].append(row)
        for _, rows in states.values():
            if len(rows) > 1:
                rows.sort(key=lambda row: (self.at[row], self.ids[row]))
        return states


class Lookup:
    """Looks rows up in the views of a project; safe to share between threads."""

    def __init__(self, backend: Backend, project: Project) -> None:
        self.unsaved = Unsaved()
        self._backend, self._project = backend, project.name
        self._batch, self._live, self._every = project.views, project.live_views, project.every_view
        self._layouts = {view.name: layout_of(view) for view in project.every_view}
        self._schemas = {view.name: view.schema for view in project.every_view}
        self._views = {f"{VIEWS}:{view.name}": view.name for view in project.every_view}
        self._entities = {column for view in project.every_view for column in view.entity}
        self._needs = {view.name: view.columns for view in project.live_views}
        self._integers = {view.name: Struct(f"<{len(view.features)}q") for view in project.views}
        self._ttl = {view.name: view.ttl // timedelta(microseconds=1) for view in project.views}

    def look_up(
        self, payload: Payload, ids: Sequence[str], at: Sequence[int], now_us: int, *, add: bool, apart: bool
    ) -> LookedUp:
        """As `OnlineStore.look_up`."""
        rows = self._rows(payload, ids, at, apart)
        states = rows.states(self._live)
        if add:
            states |= {name: (view, []) for view, name in self.unsaved.longest(_WAITING, states)}
        try:
            asked = [*self._views, *states, *(name for view in self._batch for name in rows.names[view.name])]
            stored = self._backend.get(asked, patient=False)
            self._check(stored)
        except ServiceError:
            if add:
                self._keep(rows, states)
            raise
        provenance: list[dict[str, dict[str, Any]]] = [{} for _ in rows.at]
        values, found = {}, {}
        for batch in self._batch:
            values[batch.name], found[batch.name] = self._read(batch, rows, stored, provenance)
        readings = self._score(rows, states, stored, add, now_us)
        for live in self._live:
            schema, mine = self._schemas[live.name], readings[live.name]
            window, some = [], []
            for row, read_from in enumerate(provenance):
                reading = mine[row]
                window.append(reading.values)
                some.append(reading.events > 0)
                read_from[live.name] = {"schema": schema, "events": reading.events, "checksum": reading.checksum}
            values[live.name] = _matrix(window, len(live.windows))
            found[live.name] = np.array(some, dtype=np.bool_)
        return LookedUp(values, found, provenance)

    def keep(self, payload: Payload, ids: Sequence[str], at: Sequence[int]) -> None:
        """As `OnlineStore.keep`."""
        rows = self._rows(payload, ids, at)
        self._keep(rows, rows.states(self._live))

    def _rows(self, payload: Payload, ids: Sequence[str], at: Sequence[int], apart: bool = False) -> _Rows:
        entities = {column: payload[column].tolist() for column in self._entities}
        names = {
            view.name: [name_of(view.name, key) for key in zip(*(entities[one] for one in view.entity), strict=True)]
            for view in self._every
        }
        return _Rows(ids, at, names, {view.name: self._columns(view, payload, len(at)) for view in self._live}, apart)

    def _columns(self, view: LiveView, payload: Payload, rows: int) -> list[tuple[int, ...]]:
        """As `values_of`, several times as fast where all columns are integers or missing."""
        columns = []
        for name in self._needs[view.name]:
            column = payload.get(name)
            if column is not None and column.dtype.kind != "i":
                return [tuple(row) for row in values_of(view, payload, rows).tolist()]
            columns.append([0] * rows if column is None else column.tolist())
        return list(zip(*columns, strict=True)) if columns else [()] * rows

    def _check(self, stored: Mapping[str, bytes]) -> None:
        for name, view in self._views.items():
            layout = stored[name][TIME:HEADER] if name in stored else FILLING
            if layout == FILLING:
                raise ServiceError(
                    f"the online store, {self._backend.label}, does not hold all of {view}; "
                    f"`tidemill features --project {self._project} --batch DAY` fills it"
                )
            if layout != self._layouts[view]:
                raise refusal(f"view {view}", layout, self._layouts[view])

    def _read(
        self, view: FeatureView, rows: _Rows, stored: Mapping[str, bytes], provenance: list[dict[str, dict[str, Any]]]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        layout, schema, ttl = self._layouts[view.name], self._schemas[view.name], self._ttl[view.name]
        integers = self._integers[view.name]
        zeros, values, found = (0,) * len(view.features), [], []
        for row, (name, at) in enumerate(zip(rows.names[view.name], rows.at, strict=True)):
            value, visible_from = stored.get(name), None
            if value is not None:
                if value[TIME:HEADER] != layout:
                    raise refusal(name, value[TIME:HEADER], layout)
                available_at = time_of(value)
                if available_at <= at < available_at + ttl:
                    visible_from = available_at
            values.append(zeros if visible_from is None else integers.unpack_from(stored[name], HEADER))
            found.append(visible_from is not None)
            provenance[row][view.name] = {"schema": schema, "available_at": visible_from}
        return _matrix(values, len(zeros)), np.array(found, dtype=np.bool_)

    def _score(
        self,
        rows: _Rows,
        states: dict[str, tuple[LiveView, list[int]]],
        stored: Mapping[str, bytes],
        save: bool,
        now_us: int,
    ) -> dict[str, dict[int, Reading]]:
        """The windows by view and row; what was scored is saved, or kept in memory until it can be."""
        readings: dict[str, dict[int, Reading]] = {view.name: {} for view in self._live}
        left = states
        try:
            for attempt in range(_ROUNDS):
                if attempt:
                    stored = self._backend.get(list(left), patient=False)
                waiting = self.unsaved.of(left)
                changes = []
                for name, (view, mine) in left.items():
                    change = self._advance(name, view, mine, rows, stored, waiting, now_us, readings[view.name])
                    if change is not None:
                        changes.append(change)
                    elif name in waiting:
                        self.unsaved.saved(name, waiting[name])
                left = {change.name: states[change.name] for change in changes}
                if not save or not changes:
                    return readings
                for change, saved in zip(changes, self._backend.swap(changes, patient=False), strict=True):
                    if saved:
                        del left[change.name]
                        if change.name in waiting:
                            self.unsaved.saved(change.name, waiting[change.name])
                if not left:
                    return readings
        except TidemillError:
            if any(len(mine) < len(rows.at) for mine in readings.values()):
                raise  # before there was an answer
        self._keep(rows, left)
        return readings

    def _advance(
        self,
        name: str,
        view: LiveView,
        mine: Sequence[int],
        rows: _Rows,
        stored: Mapping[str, bytes],
        waiting: Mapping[str, Events],
        now_us: int,
        readings: dict[int, Reading],
    ) -> Change | None:
        """The change that adds the rows' events and those that waited to a state, or None where all are in it."""
        value, layout = stored.get(name), self._layouts[view.name]
        before = state = None
        newest = -AHEAD
        if value is not None:
            if value[TIME:HEADER] != layout:
                if not mine:
                    return None
                raise refusal(name, value[TIME:HEADER], layout)
            before, newest, state = value[:MARK], time_of(value), value[MARK:]
        known = state
        if name in waiting:
            state = add(view, state, waiting[name], now_us)
            newest = max(newest, int(waiting[name].times.max()))
        columns = rows.columns[view.name]
        for row in mine:
            at = rows.at[row]
            if rows.apart:
                readings[row] = seen(view, state, at, rows.ids[row], columns[row])
                continue
            state, readings[row] = score(view, state, at, rows.ids[row], columns[row], now_us)
            newest = max(newest, at)
        if state is None or state == known:
            return None
        return Change(name, before, pack_state(min(newest, now_us + AHEAD), layout, state))

    def _keep(self, rows: _Rows, states: Mapping[str, tuple[LiveView, list[int]]]) -> None:
        for name, (view, mine) in states.items():
            for row in mine:
                self.unsaved.keep(view, name, (rows.at[row], rows.ids[row]), rows.columns[view.name][row])


def _matrix(rows: list[tuple[int, ...]], columns: int) -> NDArray[np.int64]:
    return np.array(rows, dtype=np.int64) if rows else np.zeros((0, columns), dtype=np.int64)


def refusal(what: str, layout: bytes, own: bytes) -> SpecError:
    """The error for a value of another layout."""
    return SpecError(
        f"online, {what} has layout {layout.hex()}, not {own.hex()}: it was written for other features. "
        "Serve a release made with them, or run `tidemill features` again"
    )
