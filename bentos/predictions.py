"""The prediction log: every answered row once, written off the request path and landed as a source's files."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bentos.metrics import DROPPED, LOGGED
from jobs import mirror
from jobs.batch import parse_day
from jobs.errors import TidemillError
from jobs.lake import Lake
from jobs.spec import PREDICTIONS, Project

_QUEUE = 100_000
_ROWS, _SECONDS = 5_000, 2.0
_GATHER = 0.02
"""How long records gather before they are written together: what a kill -9 can lose at most."""
_OPEN_DAYS = 32
_OPEN = ".open.jsonl"
_encode = msgspec.json.Encoder().encode
log = logging.getLogger("tidemill.predictions")


class Served(NamedTuple):
    """What a record is made of, once somebody has time for it."""

    row: Any
    vector: list[float]
    answer: Any
    at: datetime
    provenance: Any
    """For each view what its values were read from; empty where nothing could be read."""


class Lines:
    """Makes the line of the log that a served row is, as `spec.PREDICTIONS` declares it."""

    def __init__(self, project: Project) -> None:
        self._event_id, self._event_time = project.sources[0].event_id, project.sources[0].event_time
        self._entities = tuple(dict.fromkeys(key for view in project.every_view for key in view.entity))

    def day(self, served: Served) -> date:
        """The UTC day of the event."""
        time: datetime = getattr(served.row, self._event_time)
        return time.astimezone(UTC).date()

    def line(self, served: Served) -> bytes:
        """One JSON object and a line feed; numbers are written so that reading them gives the same bits."""
        answer, row = served.answer, served.row
        record = {
            "request_id": answer.request_id,
            "event_id": getattr(row, self._event_id),
            "event_time": getattr(row, self._event_time).astimezone(UTC),
            "served_at": served.at,
            "release": answer.release,
            "slot": answer.slot,
            "score": answer.probability,
            "decision": answer.decision,
            "degraded": answer.degraded,
            "entities": _encode({key: getattr(row, key) for key in self._entities}).decode(),
            "payload": _encode(row).decode(),
            "vector": _encode(served.vector).decode(),
            "provenance": _encode(served.provenance).decode() if served.provenance else None,
            "degraded_by": " ".join(answer.degraded_by) or None,
            "classes": _encode([*answer.classes.values(), list(answer.classes).index(answer.said)]).decode()
            if answer.classes
            else None,
            "beside": getattr(answer, "beside", None),
        }
        return _encode(record) + b"\n"


class PredictionLog:
    """Appends records to one open segment for each event day, and lands them every few seconds.

    With `shadow` they are of mirrored requests, and are kept where nothing that counts predictions looks.
    """

    def __init__(self, folder: Path, lake: Lake, project: Project, slot: str, *, shadow: bool = False) -> None:
        self._folder, self._slot = folder, slot
        self._landing = (
            partial(lake.shadow, project.name) if shadow else partial(lake.landing, project.name, PREDICTIONS.name)
        )
        self._lines = Lines(project)
        self._queue: deque[Served] = deque()
        self._arrived, self._stopped = threading.Event(), threading.Event()
        self._segments: dict[date, _Segment] = {}
        self._full: deque[_Segment] = deque()
        self._thread = threading.Thread(target=self._write_on, name="prediction-log", daemon=True)

    def start(self) -> None:
        """Lands what a killed process of this slot left behind, then starts to write."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in sorted(self._folder.glob(f"{self._slot}-*{_OPEN}")):
            _Segment.left_behind(left).land(self._landing)
        self._thread.start()

    def append(self, served: Served) -> None:
        """Takes one row, or counts it as dropped when the disk is that far behind."""
        if len(self._queue) >= _QUEUE:
            DROPPED.inc()
            return
        self._queue.append(served)
        if not self._arrived.is_set():
            self._arrived.set()

    def stop(self) -> None:
        """Returns when every record taken so far has landed."""
        self._stopped.set()
        self._arrived.set()
        self._thread.join()

    def _write_on(self) -> None:
        while not self._stopped.is_set():
            self._arrived.wait(_SECONDS if self._segments or self._full else None)
            if not self._stopped.is_set():
                time.sleep(_GATHER)
            self._arrived.clear()
            try:
                self._write()
                self._rotate()
            except (OSError, TidemillError):
                log.exception("the prediction log could not be written; records wait in memory")
                time.sleep(1)
        self._write()
        self._rotate(everything=True)

    def _write(self) -> None:
        taken: dict[date, list[Served]] = {}
        while self._queue:
            served = self._queue.popleft()
            taken.setdefault(self._lines.day(served), []).append(served)
        try:
            for day in list(taken):
                if day not in self._segments:
                    self._segments[day] = _Segment.begin(self._folder, self._slot, day)
                self._segments[day].write(list(map(self._lines.line, taken[day])))
                LOGGED.inc(len(taken.pop(day)))
        finally:  # a full disk: what was not written is taken again
            self._queue.extendleft(served for left in taken.values() for served in reversed(left))

    def _rotate(self, *, everything: bool = False) -> None:
        everything = everything or len(self._segments) > _OPEN_DAYS
        for day, segment in list(self._segments.items()):
            if everything or segment.rows >= _ROWS or time.monotonic() - segment.since >= _SECONDS:
                self._full.append(self._segments.pop(day))
        while self._full:  # what could not be landed is tried again with the next
            self._full[0].land(self._landing)
            self._full.popleft()


class _Segment:
    """A file of records of one event day, which is not yet in the lake."""

    def __init__(self, path: Path, day: date) -> None:
        self._path, self._day = path, day
        self._file = path.open("ab", buffering=0)
        self._hash = hashlib.sha256()
        self.rows, self.since = 0, time.monotonic()

    @classmethod
    def begin(cls, folder: Path, slot: str, day: date) -> _Segment:
        return cls(folder / f"{slot}-{day}-{time.time_ns()}-{os.getpid()}{_OPEN}", day)

    @classmethod
    def left_behind(cls, path: Path) -> _Segment:
        year, month, rest = path.name.split("-", 3)[1:]
        segment = cls(path, parse_day(f"{year}-{month}-{rest[:2]}"))
        segment._hash.update(path.read_bytes())
        return segment

    def write(self, lines: list[bytes]) -> None:
        """Appends whole lines, or nothing: raises OSError with the file as it was before."""
        text, before = b"".join(lines), self._path.stat().st_size
        try:
            if self._file.write(text) != len(text):
                raise OSError(f"{self._path} took only a part of {len(text)} bytes")
        except OSError:
            self._file.truncate(before)
            raise
        self._hash.update(text)
        self.rows += len(lines)

    def land(self, landing: Callable[[date], Path]) -> None:
        """Moves the file to its day's folder by a rename, so that nobody sees a part of it."""
        self._file.close()
        if not self._path.stat().st_size:
            self._path.unlink()
            return
        folder = landing(self._day)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{self._path.name.removesuffix(_OPEN)}.jsonl"
        target = folder / f"{self._hash.hexdigest()[:16]}-{name}"
        mirror.create(target, self._path)
        self._path.rename(target)
