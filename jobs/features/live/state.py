"""A key's events for its live view, packed: what the online store keeps, and how a window is read from it.

Windows without a hop: an event is kept while it is newer than min(newest, now) - reach - SLACK, so that one which
arrives up to SLACK late finds its whole window. Windows with a hop: events in the two newest tiles are kept as they
are, older ones are folded into tiles. So, with a hop, (1) an event counts once however often it comes while it is in
those two tiles; one that comes again after that counts again, until the lake's day replaces its tile; (2) an event
that arrives after its tile was folded is answered from the whole tiles before its own, and of its own from itself and
what a window without a hop still keeps; (3) what was scored and never delivered is forgotten when the lake's day
replaces its tile, unless it is given with that day's events, as `jobs.features.materialize` does. An event more than
AHEAD in the future is not kept, with or without a hop, though its own answer includes it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from jobs.features.live.packed import EMPTY, INTEGER, Ints, Rows, Table, id_of, name_of, names_of, narrow, pack, unpack
from jobs.features.live.plan import DAY, Plan, plan_of
from jobs.features.live.reading import Reading, windows_at
from jobs.features.live.tiles import Tiles, kept, unpack_all, untils
from jobs.spec import LiveView

__all__ = [
    "AHEAD",
    "SLACK",
    "Events",
    "Reading",
    "add",
    "events_in",
    "events_of",
    "pack_all",
    "read",
    "replace",
    "score",
    "seen",
    "text_hash",
    "values_of",
]

AHEAD = 3_600_000_000
"""An hour, in microseconds."""
SLACK = 3 * DAY
"""How late a source may deliver unless it says otherwise: an event scored or explained that late has its windows whole."""


@dataclass(frozen=True)
class Events:
    """Events of one key, in any order; `values` has a column for each of `view.columns`."""

    times: Ints
    ids: Sequence[str]
    values: Ints

    def __len__(self) -> int:
        return len(self.times)

    def take(self, index: Sequence[int] | Ints) -> Events:
        """The events at these places."""
        return Events(self.times[index], [self.ids[int(at)] for at in index], self.values[index])

    @classmethod
    def concat(cls, parts: Sequence[Events]) -> Self:
        """The events of all parts, one after the other; there must be a part."""
        ids = [one for part in parts for one in part.ids]
        return cls(np.concatenate([part.times for part in parts]), ids, np.concatenate([part.values for part in parts]))


def events_of(view: LiveView, payload: Mapping[str, Any], event_ids: Sequence[str]) -> Events:
    """Scored events: `event_time` in microseconds and the view's columns, of which a missing one is 0."""
    times = np.asarray(payload["event_time"], dtype=np.int64)
    return Events(times, event_ids, values_of(view, payload, len(times)))


def values_of(view: LiveView, columns: Mapping[str, Any], rows: int) -> Ints:
    """A view's columns as int64[rows, columns]: what is missing, null or an empty text is 0, another text its hash."""
    values = np.zeros((rows, len(view.columns)), dtype=np.int64)
    for index, name in enumerate(view.columns):
        if name in columns:
            column = columns[name]
            plain = isinstance(column, np.ndarray) and column.dtype.kind in "biu"
            values[:, index] = column if plain else [_integer(value) for value in column]
    return values


def text_hash(text: str) -> int:
    """What stands for a text in a state: 64 bits of its BLAKE2b, 0 for the empty one."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int(INTEGER.unpack(digest)[0]) if text else 0


def add(view: LiveView, data: bytes | None, events: Events, now_us: int) -> bytes:
    """The state with scored events; one whose identity is there already counts once."""
    for row, time_us in enumerate(events.times.tolist()):
        data = score(view, data, time_us, events.ids[row], events.values[row].tolist(), now_us)[0]
    return EMPTY if data is None else data


def replace(view: LiveView, data: bytes | None, events: Events, now_us: int, whole_days: Collection[int] = ()) -> bytes:
    """The state with the lake's events, which win over those of the same identity.

    `whole_days` are the days since 1970 of which `events` holds all of the key's events in the lake: they replace
    those days in the tiles. An event already in a tile, of another day, is left as it is there.
    """
    plan = plan_of(view)
    there, end = unpack(data or EMPTY, len(plan.columns))
    table, _ = there.then(Table(events.times, names_of(events.ids), events.values)).sorted()
    tiles = unpack_all(plan, data or EMPTY, end)
    again = np.isin(table.times // DAY, np.fromiter(whole_days, np.int64, len(whole_days)))
    return _settled(plan, table, [one.without(whole_days) for one in tiles], again, now_us)


def read(view: LiveView, data: bytes | None, time_us: int, event_id: str) -> Reading:
    """The windows as of an event, which need not be in the state."""
    plan = plan_of(view)
    rows = Rows(data or EMPTY, len(plan.columns))
    at, there = rows.place(time_us, name_of(event_id))
    return windows_at(plan, rows, time_us, at + there, None)


def seen(view: LiveView, data: bytes | None, time_us: int, event_id: str, values: Sequence[int]) -> Reading:
    """The windows as of an event that is counted in them, whether or not it is in the state."""
    plan = plan_of(view)
    rows = Rows(data or EMPTY, len(plan.columns))
    at, there = rows.place(time_us, name_of(event_id))
    return windows_at(plan, rows, time_us, at + there, None if there else values)


def score(
    view: LiveView, data: bytes | None, time_us: int, event_id: str, values: Sequence[int], now_us: int
) -> tuple[bytes, Reading]:
    """The state with a scored event, and the windows as of it: `add` and `read` in one."""
    plan = plan_of(view)
    rows = Rows(data or EMPTY, len(plan.columns))
    name = name_of(event_id)
    at, there = rows.place(time_us, name)
    reading = windows_at(plan, rows, time_us, at + there, None if there else values)
    if there or time_us > now_us + AHEAD:
        return rows.data, reading
    return _inserted(plan, rows, at, time_us, name, values, now_us), reading


def events_in(view: LiveView, data: bytes | None) -> Events:
    """The events that a state keeps one by one."""
    table, _ = unpack(data or EMPTY, len(view.columns))
    return Events(table.times, [id_of(name) for name in table.names.tolist()], table.values)


def pack_all(view: LiveView, starts: Ints, times: Ints, ids: Sequence[str], values: Ints, now_us: int) -> list[bytes]:
    """The states of many keys that have none yet.

    Rows are sorted by key, time and id, no identity twice; `starts` is the first row of each key.
    """
    if not len(times):
        return []
    plan, names = plan_of(view), names_of(ids)
    lengths = np.char.str_len(names)
    ends = np.append(starts[1:], len(times))
    oldest = np.minimum(times[ends - 1], now_us) - plan.exact - SLACK
    packed = []
    for start, end, horizon in zip(starts.tolist(), ends.tolist(), oldest.tolist(), strict=True):
        mine = times[start:end]
        stop = start + int(mine.searchsorted(now_us + AHEAD, "right"))
        if plan.hops:
            table = Table(times[start:stop], names[start:stop], values[start:stop])
            tiles = unpack_all(plan, EMPTY, len(EMPTY))
            packed.append(_settled(plan, table, tiles, np.zeros(len(table), np.bool_), now_us))
        else:
            first = start + int(mine.searchsorted(horizon, "right"))
            packed.append(pack(times[first:stop], narrow(names[first:stop], lengths[first:stop]), values[first:stop]))
    return packed


def _inserted(plan: Plan, rows: Rows, at: int, time_us: int, name: bytes, values: Sequence[int], now_us: int) -> bytes:
    newest = max(time_us, rows.times[-1]) if rows.n else time_us
    anchor = min(newest, now_us)
    known = untils(plan, rows.data, rows.end) if plan.hops else []
    if any(time_us <= until or _until(anchor, hop) > until for until, hop in zip(known, plan.hops, strict=True)):
        return _refolded(plan, rows, time_us, name, values, now_us)
    oldest = _oldest(plan, anchor, known)
    if time_us <= oldest:
        return rows.data
    return rows.insert(at, bisect_right(rows.times, oldest), time_us, name, values) + rows.data[rows.end :]


def _refolded(plan: Plan, rows: Rows, time_us: int, name: bytes, values: Sequence[int], now_us: int) -> bytes:
    """The state with one more event, when it or others are to be folded into tiles."""
    there, end = unpack(rows.data, len(plan.columns))
    fresh = Table(np.array([time_us]), np.array([name]), np.array([values], np.int64).reshape(1, -1))
    table, origin = there.then(fresh).sorted()
    return _settled(plan, table, unpack_all(plan, rows.data, end), origin == len(there), now_us)


def _settled(plan: Plan, table: Table, tiles: list[Tiles], again: NDArray[np.bool_], now_us: int) -> bytes:
    """The packed state of sorted rows and the tiles before them, into which the rows `again` are folded in any case."""
    near = table.times <= now_us + AHEAD
    table, again = table.take(near), again[near]
    if not len(table):
        return EMPTY + b"".join(one.packed() for one in tiles)
    anchor, settled = min(int(table.times[-1]), now_us), []
    for one in tiles:
        until = max(one.until, _until(anchor, one.hop))
        enters = table.take((table.times <= until) & ((table.times > one.until) | again))
        oldest = (anchor - plan.reach(one.hop) - SLACK) // one.hop - 2
        settled.append(one.fold(kept(plan, one.hop), enters, until, oldest))
    rest = table.take(table.times > _oldest(plan, anchor, [one.until for one in settled]))
    return rest.packed() + b"".join(one.packed() for one in settled)


def _until(anchor: int, hop: int) -> int:
    """Up to when events are folded: the two newest tiles are not."""
    return ((anchor - 1) // hop - 1) * hop


def _oldest(plan: Plan, anchor: int, folded: Sequence[int]) -> int:
    """The newest time whose event is no longer kept as it is."""
    exact = [anchor - plan.exact - SLACK] if plan.exact else []
    return min([*exact, *folded])


def _integer(value: Any) -> int:
    return text_hash(value) if isinstance(value, str) else int(value or 0)
