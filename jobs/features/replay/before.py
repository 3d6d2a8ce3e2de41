"""The lake as it was when answers were given: a published partition keeps the version that it replaced, for one epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs import mirror
from jobs.features.live.plan import DAY
from jobs.lake import Lake
from jobs.spec import FeatureView, LiveView, Project
from jobs.storage import MANIFEST, POINTER, current

_EPOCH = date(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class _Version:
    paths: tuple[str, ...] = ()
    changed: bool = False
    """Whether another version has been published since."""
    lost: bool = False
    """Whether the version of that time is no longer there."""


@dataclass(frozen=True)
class Before:
    """The partitions of a project as they were at a moment."""

    project: Project
    lake: Lake
    moment_us: int

    def files(self, view: FeatureView | LiveView, days: Iterable[date]) -> list[str]:
        """The files of a view, or of the events of a live one, on these days."""
        return [path for day in days for path in self._version(view, day).paths]

    def changed(self, view: FeatureView | LiveView, days: Mapping[int, Sequence[int]], rows: Sequence[int]) -> Flags:
        """For each row whether a day it depends on was published since; `days` are those of each number in `rows`."""
        return self._any(view, days, rows, "changed")

    def lost(self, view: FeatureView | LiveView, days: Mapping[int, Sequence[int]], rows: Sequence[int]) -> Flags:
        """For each row whether a day it depends on was published more than once since, so that nobody knows any more."""
        return self._any(view, days, rows, "lost")

    def _any(
        self, view: FeatureView | LiveView, days: Mapping[int, Sequence[int]], rows: Sequence[int], what: str
    ) -> Flags:
        known = {
            one: getattr(self._version(view, _EPOCH + timedelta(days=one)), what) for of in days.values() for one in of
        }
        found = {number: any(known[one] for one in of) for number, of in days.items()}
        return np.array([found[number] for number in rows], dtype=np.bool_)

    def _version(self, view: FeatureView | LiveView, day: date) -> _Version:
        mart = view.events if isinstance(view, LiveView) else view.name
        return _version(self.lake.features(self.project.name, mart, day), self.moment_us)


def published_us(partition: Path) -> int:
    """When the partition's version was published, in microseconds; 0 when there is none."""
    pointer = partition / POINTER
    return pointer.stat().st_mtime_ns // 1_000 if mirror.read(pointer) is not None else 0


def reached(view: LiveView, times: NDArray[np.int64]) -> tuple[dict[int, range], list[int]]:
    """The days since 1970 whose events are in the windows of events at these times, by day, and each row's day."""
    rows = (times // DAY).tolist()
    reach = -(-(view.reach // _MICROSECOND) // DAY)
    return {day: range(day - reach, day + 1) for day in set(rows)}, rows


def _version(partition: Path, moment_us: int) -> _Version:
    now = current(partition)
    if now is None:
        return _Version()
    if published_us(partition) <= moment_us:
        return _Version(tuple(now.paths()))
    if now.epoch == 1:
        return _Version(changed=True)
    replaced = [
        path.parent
        for path in mirror.fetch_all(partition).glob(f"v-*/{MANIFEST}")
        if path.parent.name != now.folder.name
    ]
    if not replaced:
        return _Version(changed=True, lost=True)
    newest = max(replaced, key=_published_ns)
    paths = tuple(str(path) for path in sorted(newest.glob("*.parquet")))
    return _Version(paths, changed=True, lost=_published_ns(newest) // 1_000 > moment_us)


def _published_ns(folder: Path) -> int:
    return (folder / MANIFEST).stat().st_mtime_ns
