"""Rows of events in bytes: a header, the times, each column of values, then the ids, all in the order of (time, id).

Numbers are little-endian int64. Ids are UTF-8, zero-padded to the longest of them, so that comparing bytes compares
ids by code point.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_HEADER = struct.Struct("<qq")
INTEGER = struct.Struct("<q")
START = _HEADER.size
EMPTY = _HEADER.pack(0, 1)


class Rows:
    """Packed events, looked at in place."""

    __slots__ = ("data", "end", "ids", "n", "starts", "times", "width")

    def __init__(self, data: bytes, columns: int) -> None:
        self.data = data
        self.n, self.width = _HEADER.unpack_from(data)
        size = 8 * self.n
        self.times = memoryview(data)[START : START + size].cast("q")
        self.starts = range(START, START + size * (columns + 1), size) if size else (START,) * (columns + 1)
        """Where the times and each column begin."""
        self.ids = START + size * (columns + 1)
        self.end = self.ids + self.n * self.width

    def column(self, index: int) -> Ints:
        """A column of values by its number; -1 is the times."""
        return np.frombuffer(self.data, "<i8", self.n, self.starts[index + 1])

    def place(self, time_us: int, name: bytes) -> tuple[int, bool]:
        """Where the event stands or would stand, and whether it is there."""
        low = bisect_left(self.times, time_us)
        high = bisect_right(self.times, time_us, low)
        if low == high:
            return low, False
        at = bisect_left(range(high), name, low, high, key=self._name)
        return at, at < high and self._name(at) == name

    def insert(self, at: int, first: int, time_us: int, name: bytes, values: Iterable[int]) -> bytes:
        """These rows from `first` on, with another one at `at`, which is not before `first`."""
        data, width = self.data, self.width
        if len(name) > width:
            wider = np.frombuffer(data, f"S{width}", self.n, self.ids).astype(f"S{len(name)}").tobytes()
            ids, width, start, end = wider, len(name), 0, len(wider)
        else:
            ids, start, end = data, self.ids, self.end
        parts = [_HEADER.pack(self.n - first + 1, width)]
        for begin, value in zip(self.starts, (time_us, *values), strict=True):
            middle = begin + 8 * at
            parts += (data[begin + 8 * first : middle], INTEGER.pack(value), data[middle : begin + 8 * self.n])
        middle = start + width * at
        parts += (ids[start + width * first : middle], name.ljust(width, b"\0"), ids[middle:end])
        return b"".join(parts)

    def _name(self, index: int) -> bytes:
        start = self.ids + index * self.width
        return self.data[start : start + self.width].rstrip(b"\0")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of events as arrays: times (n,), names (n,) and values (n, columns)."""

    times: Ints
    names: NDArray[np.bytes_]
    values: Ints

    def __len__(self) -> int:
        return len(self.times)

    def take(self, rows: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Table:
        """Some of the rows."""
        return Table(self.times[rows], self.names[rows], self.values[rows])

    def then(self, other: Table) -> Table:
        """These rows and, after them, the other's."""
        return Table(
            np.concatenate([self.times, other.times]),
            np.concatenate([self.names, other.names]),
            np.concatenate([self.values, other.values]),
        )

    def sorted(self) -> tuple[Table, Ints]:
        """The rows by (time, id), of one identity the last given; and the place that each had."""
        order = np.lexsort((self.names, self.times))  # stable
        times, names = self.times[order], self.names[order]
        order = order[
            np.append((times[1:] != times[:-1]) | (names[1:] != names[:-1]), np.ones(min(1, len(order)), bool))
        ]
        return self.take(order), order

    def packed(self) -> bytes:
        """The rows as bytes; they must be in order."""
        names = narrow(self.names, np.char.str_len(self.names))
        return pack(self.times, names, self.values)


def pack(times: Ints, names: NDArray[np.bytes_], values: Ints) -> bytes:
    """Sorted rows as bytes, the ids as wide as they are."""
    head = _HEADER.pack(len(times), names.dtype.itemsize)
    return b"".join((head, times.astype("<i8").tobytes(), values.T.astype("<i8").tobytes(), names.tobytes()))


def unpack(data: bytes, columns: int) -> tuple[Table, int]:
    """Packed rows, and where they end."""
    rows = Rows(data, columns)
    block = np.frombuffer(data, "<i8", rows.n * (1 + columns), START).reshape(1 + columns, rows.n)
    return Table(block[0], np.frombuffer(data, f"S{rows.width}", rows.n, rows.ids), block[1:].T), rows.end


def narrow(names: NDArray[np.bytes_], lengths: Ints) -> NDArray[np.bytes_]:
    """The names as wide as the longest of them."""
    width = max(1, int(lengths.max())) if len(names) else 1
    return names if names.dtype.itemsize == width else names.astype(f"S{width}")


def names_of(ids: Iterable[str]) -> NDArray[np.bytes_]:
    """Event ids as an array of bytes."""
    names = np.array([name_of(one) for one in ids], dtype=np.bytes_)
    return names if names.dtype.itemsize else names.astype("S1")


def name_of(event_id: str) -> bytes:
    """The id's UTF-8, a zero byte followed by 0xff: padding with zero bytes then keeps order and identity."""
    name = event_id.encode("utf-8", "surrogatepass")
    return name.replace(b"\0", b"\0\xff") if b"\0" in name else name


def id_of(name: bytes) -> str:
    """The event id that a name stands for."""
    return name.replace(b"\0\xff", b"\0").decode("utf-8", "surrogatepass")
