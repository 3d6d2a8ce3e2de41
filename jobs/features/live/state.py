"""A key's events for its live view, packed: what the online store keeps, and how a window is read from it.

Times are int64 microseconds since 1970 UTC, ids UTF-8 bytes, values int64; rows are in the order of (time, id).
An event is kept while it is newer than `min(newest, now) - reach - SLACK`, so one that arrives up to SLACK late still
finds its whole window; an event more than AHEAD in the future is not kept, though its own answer includes it.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from jobs.features.live.plan import MASK, Plan, plan_of
from jobs.spec import LiveView

AHEAD = SLACK = 3_600_000_000
_HEADER = struct.Struct("<qq")
_TIME = struct.Struct("<q")
_START = _HEADER.size


@dataclass(frozen=True)
class Events:
    """Events of one key, in any order; `values` has a column for each of `view.columns`."""

    times: NDArray[np.int64]
    ids: Sequence[str]
    values: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.times)

    def take(self, index: Sequence[int] | NDArray[Any]) -> Events:
        """The events at these places."""
        return Events(self.times[index], [self.ids[int(at)] for at in index], self.values[index])

    @classmethod
    def concat(cls, parts: Sequence[Events]) -> Self:
        """The events of all parts, one after the other; there must be a part."""
        ids = [one for part in parts for one in part.ids]
        return cls(np.concatenate([part.times for part in parts]), ids, np.concatenate([part.values for part in parts]))


@dataclass(frozen=True, slots=True)
class Reading:
    """The windows of a view at one event.

    `events` counts the events in them, those of each delay and hop by themselves, and `checksum` is the sum of their
    `time & 0x7fffffff`: two sides that read other events differ in one of them.
    """

    values: tuple[int, ...]
    events: int
    checksum: int


class _Rows:
    """A packed state, looked at in place."""

    __slots__ = ("data", "ids", "n", "times", "values", "width")

    def __init__(self, data: bytes, columns: int) -> None:
        self.data = data
        self.n, self.width = _HEADER.unpack_from(data)
        self.times = memoryview(data)[_START : _START + 8 * self.n].cast("q")
        self.values = [_START + 8 * self.n * (1 + column) for column in range(columns)]
        self.ids = _START + 8 * self.n * (1 + columns)

    def column(self, index: int) -> NDArray[np.int64]:
        return np.frombuffer(self.data, "<i8", self.n, self.values[index])

    def place(self, time_us: int, name: bytes) -> tuple[int, bool]:
        """Where the event stands or would stand, and whether it is there."""
        low = bisect_left(self.times, time_us)
        high = bisect_right(self.times, time_us, low)
        if low == high:
            return low, False
        at = bisect_left(range(high), name, low, high, key=self.name)
        return at, at < high and self.name(at) == name

    def name(self, index: int) -> bytes:
        start = self.ids + index * self.width
        return self.data[start : start + self.width].rstrip(b"\0")


_EMPTY = _HEADER.pack(0, 1)


def events_of(view: LiveView, payload: Mapping[str, Any], event_ids: Sequence[str]) -> Events:
    """Scored events: `event_time` in microseconds and the view's columns, of which a missing one is 0."""
    times = np.asarray(payload["event_time"], dtype=np.int64)
    return Events(times, event_ids, values_of(view, payload, len(times)))


def values_of(view: LiveView, columns: Mapping[str, Any], rows: int) -> NDArray[np.int64]:
    """The columns of a view as int64[rows, columns]: a missing column, a null and an empty text are 0, a text its hash."""
    values = np.zeros((rows, len(view.columns)), dtype=np.int64)
    for index, name in enumerate(view.columns):
        if name in columns:
            column = columns[name]
            plain = isinstance(column, np.ndarray) and column.dtype.kind in "biu"
            values[:, index] = column if plain else [_integer(value) for value in column]
    return values


def text_hash(text: str) -> int:
    """What stands for a text in a state: 64 bits of its BLAKE2b, 0 for the empty one."""
    return _TIME.unpack(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())[0] if text else 0


def add(view: LiveView, data: bytes | None, events: Events, now_us: int) -> bytes:
    """The state with scored events; one whose identity is there already counts once."""
    plan = plan_of(view)
    if len(events) == 1:
        return _insert(plan, data, int(events.times[0]), events.ids[0], events.values[0].tolist(), now_us)
    times, names, values = _unpack(plan, data)
    known = slice(None, None, -1)  # of two with one identity the last is kept: what is there, else the first
    return _merged(
        plan,
        np.concatenate([events.times[known], times]),
        np.concatenate([_names(events.ids)[known], names]),
        np.concatenate([events.values[known], values]),
        now_us,
    )


def replace(
    view: LiveView, data: bytes | None, events: Events, now_us: int, whole_days: Collection[int] = ()
) -> bytes:
    """The state with the lake's events, which win over those of the same identity.

    `whole_days` are the days since 1970 of which `events` holds all of the key's: only tiles need to know.
    """
    plan = plan_of(view)
    times, names, values = _unpack(plan, data)
    return _merged(
        plan,
        np.concatenate([times, events.times]),
        np.concatenate([names, _names(events.ids)]),
        np.concatenate([values, events.values]),
        now_us,
    )


def read(view: LiveView, data: bytes | None, time_us: int, event_id: str) -> Reading:
    """The windows as of an event, which need not be in the state."""
    plan = plan_of(view)
    rows = _Rows(data or _EMPTY, len(plan.columns))
    at, there = rows.place(time_us, _name(event_id))
    return _read(plan, rows, time_us, at + there, None)


def score(
    view: LiveView, data: bytes | None, time_us: int, event_id: str, values: Sequence[int], now_us: int
) -> tuple[bytes, Reading]:
    """The state with a scored event, and the windows as of it: `add` and `read` in one."""
    plan = plan_of(view)
    rows = _Rows(data or _EMPTY, len(plan.columns))
    name = _name(event_id)
    at, there = rows.place(time_us, name)
    reading = _read(plan, rows, time_us, at + there, None if there else values)
    if there or time_us > now_us + AHEAD:
        return rows.data, reading
    return _inserted(plan, rows, at, time_us, name, values, now_us), reading


def events_in(view: LiveView, data: bytes | None) -> Events:
    """The events that a state keeps one by one."""
    times, names, values = _unpack(plan_of(view), data)
    ids = [name.replace(b"\0\xff", b"\0").decode("utf-8", "surrogatepass") for name in names.tolist()]
    return Events(times, ids, values)


def pack_all(
    view: LiveView,
    starts: NDArray[np.int64],
    times: NDArray[np.int64],
    ids: Sequence[str],
    values: NDArray[np.int64],
    now_us: int,
) -> list[bytes]:
    """The states of many keys that have none yet.

    Rows are sorted by key, time and id, no identity twice; `starts` is the first row of each key.
    """
    plan, names = plan_of(view), _names(ids)
    ends = np.append(starts[1:], len(times))
    horizon = np.minimum(times[ends - 1], now_us) - plan.exact - SLACK
    lengths = np.char.str_len(names)
    packed = []
    for start, end, oldest in zip(starts.tolist(), ends.tolist(), horizon.tolist(), strict=True):
        mine = times[start:end]
        first = start + int(mine.searchsorted(oldest, "right"))
        last = start + int(mine.searchsorted(now_us + AHEAD, "right"))
        packed.append(_pack(times[first:last], _narrow(names[first:last], lengths[first:last]), values[first:last]))
    return packed


def _read(plan: Plan, rows: _Rows, time_us: int, end: int, present: Sequence[int] | None) -> Reading:
    """The windows over the first `end` rows, and `present`: the values of the event at `time_us` if it is no row."""
    times = rows.times
    spans = []
    for extent in plan.extents:
        last = bisect_right(times, time_us - extent.delay) if extent.delay else end
        spans.append((bisect_right(times, time_us - extent.delay - extent.length), last))
    columns: dict[int, NDArray[np.int64]] = {}
    answer = []
    for window in plan.windows:
        first, last = spans[window.extent]
        now = present is not None and not plan.extents[window.extent].delay
        if window.column < 0:
            answer.append(last - first + now)
            continue
        column = columns.get(window.column)
        if column is None:
            column = columns[window.column] = rows.column(window.column)
        own = [present[window.column]] if now and present is not None else []
        answer.append(_value(window.function, column[first:last], own))
    events = checksum = 0
    clock = np.frombuffer(rows.data, "<i8", rows.n, _START) & MASK
    for index in plan.outer:
        first, last = spans[index]
        now = present is not None and not plan.extents[index].delay
        events += last - first + now
        checksum += int(np.add.reduce(clock[first:last])) + (time_us & MASK if now else 0)
    return Reading(tuple(answer), events, checksum)


def _value(function: str, column: NDArray[np.int64], own: list[int]) -> int:
    if function == "sum":
        return int(np.add.reduce(column)) + sum(own)
    if function == "last":
        return int(own[0]) if own else int(column[-1]) if len(column) else 0
    if function == "distinct":
        return len({*column.tolist(), *own})
    if not len(column):
        return int(own[0]) if own else 0
    if function == "min":
        return min([int(np.minimum.reduce(column)), *own])
    return max([int(np.maximum.reduce(column)), *own])


def _insert(plan: Plan, data: bytes | None, time_us: int, event_id: str, values: Sequence[int], now_us: int) -> bytes:
    rows, name = _Rows(data or _EMPTY, len(plan.columns)), _name(event_id)
    at, there = rows.place(time_us, name)
    if there or time_us > now_us + AHEAD:
        return rows.data
    return _inserted(plan, rows, at, time_us, name, values, now_us)


def _inserted(
    plan: Plan, rows: _Rows, at: int, time_us: int, name: bytes, values: Sequence[int], now_us: int
) -> bytes:
    if len(name) > rows.width:
        names = _unpack(plan, rows.data)[1].astype(f"S{len(name)}")
        ids, width = names.tobytes(), len(name)
    else:
        ids, width = rows.data[rows.ids :], rows.width
    newest = max(time_us, rows.times[-1]) if rows.n else time_us
    oldest = min(newest, now_us) - plan.exact - SLACK
    if time_us <= oldest:
        return rows.data
    first = bisect_right(rows.times, oldest)
    parts = [_HEADER.pack(rows.n - first + 1, width)]
    for start, value in zip((_START, *rows.values), (time_us, *values), strict=True):
        middle = start + 8 * at
        parts += [rows.data[start + 8 * first : middle], _TIME.pack(value), rows.data[middle : start + 8 * rows.n]]
    parts += [ids[width * first : width * at], name.ljust(width, b"\0"), ids[width * at :]]
    return b"".join(parts)


def _merged(
    plan: Plan, times: NDArray[np.int64], names: NDArray[np.bytes_], values: NDArray[np.int64], now_us: int
) -> bytes:
    """The packed rows, sorted; of those with one identity the last."""
    keep = np.flatnonzero(times <= now_us + AHEAD)
    keep = keep[np.lexsort((names[keep], times[keep]))]  # stable
    times, names, values = times[keep], names[keep], values[keep]
    if not len(times):
        return _EMPTY
    last = np.append((times[1:] != times[:-1]) | (names[1:] != names[:-1]), True)
    last &= times > min(int(times[-1]), now_us) - plan.exact - SLACK
    names = names[last]
    return _pack(times[last], _narrow(names, np.char.str_len(names)), values[last])


def _narrow(names: NDArray[np.bytes_], lengths: NDArray[np.int64]) -> NDArray[np.bytes_]:
    width = max(1, int(lengths.max())) if len(names) else 1
    return names if names.dtype.itemsize == width else names.astype(f"S{width}")


def _pack(times: NDArray[np.int64], names: NDArray[np.bytes_], values: NDArray[np.int64]) -> bytes:
    head = _HEADER.pack(len(times), names.dtype.itemsize)
    return b"".join((head, times.astype("<i8").tobytes(), values.T.astype("<i8").tobytes(), names.tobytes()))


def _unpack(plan: Plan, data: bytes | None) -> tuple[NDArray[np.int64], NDArray[np.bytes_], NDArray[np.int64]]:
    rows = _Rows(data or _EMPTY, len(plan.columns))
    block = np.frombuffer(rows.data, "<i8", rows.n * (1 + len(plan.columns)), _START)
    block = block.reshape(1 + len(plan.columns), rows.n)
    return block[0], np.frombuffer(rows.data, f"S{rows.width}", rows.n, rows.ids), block[1:].T


def _names(ids: Iterable[str]) -> NDArray[np.bytes_]:
    names = np.array([_name(one) for one in ids], dtype=np.bytes_)
    return names if names.dtype.itemsize else names.astype("S1")


def _name(event_id: str) -> bytes:
    """The id's UTF-8, a zero byte followed by 0xff: padding with zero bytes then keeps order and identity."""
    name = event_id.encode("utf-8", "surrogatepass")
    return name.replace(b"\0", b"\0\xff") if b"\0" in name else name


def _integer(value: Any) -> int:
    return text_hash(value) if isinstance(value, str) else int(value or 0)
