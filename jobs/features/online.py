"""The online store: the newest value of every feature view by key, in one SQLite file per project."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from jobs.errors import ServiceError, SettingError, SpecError
from jobs.spec import FeatureView, Project

_PREFIX = "sqlite:///"
_READ = 'select v.key, v.available_at, v.layout, v.data from json_each(?) k join "{view}" v on v.key = k.value'
_READ_ONE = 'select available_at, layout, data from "{view}" where key = ?'
_WRITE = """
insert into "{view}" (key, available_at, layout, data) values (?, ?, ?, ?)
on conflict (key) do update set available_at = excluded.available_at, layout = excluded.layout, data = excluded.data
where excluded.available_at >= "{view}".available_at
"""
_TABLE = """
create table if not exists "{view}"
(key text primary key, available_at integer not null, layout text not null, data blob not null) without rowid
"""
_OTHERS = 'delete from "{view}" where layout <> ?'
_STATE = "create table if not exists materialized (view text primary key, digest text not null) without rowid"


class OnlineStore:
    """Reads and writes packed 64-bit integers; safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._uri = f"{path.absolute().as_uri()}?mode=ro"
        self._local = threading.local()

    @classmethod
    def open(cls, url: str, project: Project) -> Self:
        """The project's store in the folder that `sqlite:///FOLDER` names; its file need not exist yet."""
        if not url.startswith(_PREFIX):
            raise SettingError(f"TIDEMILL_ONLINE_STORE_URL is {url!r}; it must be sqlite:/// and a folder")
        return cls(Path(url.removeprefix(_PREFIX)) / f"{project.name}.sqlite")

    def read(
        self, view: FeatureView, keys: Sequence[tuple[str, ...]], at_us: Sequence[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The values of `keys` as they were visible at `at_us`, and which of them were found; the others are zeros.

        A value that became visible later, or outlived its ttl, is not found. Raises SpecError when a value was
        written for other features than the view's, and ServiceError when the file cannot be read.
        """
        values = np.zeros((len(keys), len(view.features)), dtype=np.int64)
        found = np.zeros(len(keys), dtype=np.bool_)
        connection = self._reader()
        if connection is None or not keys:
            return values, found
        names = [_key(key) for key in keys]
        try:
            rows = self._rows(connection, view, names)
        except sqlite3.Error as error:
            self._forget()
            if "no such table" in str(error):
                return values, found
            raise ServiceError(
                f"the online store {self.path} cannot be read: {error}; see `tidemill doctor`"
            ) from error
        layout, ttl = view.schema, int(view.ttl.total_seconds() * 1_000_000)
        for index, (name, at) in enumerate(zip(names, at_us, strict=True)):
            row = rows.get(name)
            if row is None:
                continue
            available_at, written, data = row
            if written != layout:
                raise SpecError(
                    f"the online value of {view.name} {keys[index]} has layout {written}, not {layout}: it was written "
                    "for other features. Serve a release made with them, or run `tidemill features` again"
                )
            if available_at <= at < available_at + ttl:
                values[index] = np.frombuffer(data, dtype="<i8")
                found[index] = True
        return values, found

    def write(self, view: FeatureView, rows: Iterable[tuple[tuple[str, ...], int, Sequence[int]]]) -> int:
        """How many of the rows (key, available_at in microseconds, values) were written: none goes back in time."""
        packed = ((_key(key), at, view.schema, np.asarray(values, dtype="<i8").tobytes()) for key, at, values in rows)
        with closing(self._writer()) as connection, connection:
            connection.execute(_TABLE.format(view=view.name))
            connection.execute(_OTHERS.format(view=view.name), (view.schema,))
            before = connection.total_changes
            connection.executemany(_WRITE.format(view=view.name), packed)
            return connection.total_changes - before

    def materialized(self, view: FeatureView) -> str | None:
        """The digest that `mark` kept for the view, or None."""
        connection = self._reader()
        if connection is None:
            return None
        try:
            row = connection.execute("select digest from materialized where view = ?", (view.name,)).fetchone()
        except sqlite3.OperationalError:
            return None
        return str(row[0]) if row else None

    def mark(self, view: FeatureView, digest: str) -> None:
        """Keeps a digest of what was last written to the view, so that the same need not be written again."""
        with closing(self._writer()) as connection, connection:
            connection.execute(_STATE)
            connection.execute("insert or replace into materialized values (?, ?)", (view.name, digest))

    def close(self) -> None:
        """Closes this thread's connection."""
        self._forget()

    def _rows(
        self, connection: sqlite3.Connection, view: FeatureView, names: list[str]
    ) -> dict[str, tuple[int, str, bytes]]:
        if len(names) == 1:
            row = connection.execute(_READ_ONE.format(view=view.name), names).fetchone()
            return {names[0]: row} if row else {}
        wanted = json.dumps(sorted(set(names)))
        found = connection.execute(_READ.format(view=view.name), (wanted,))
        return {key: (at, layout, data) for key, at, layout, data in found}

    def _reader(self) -> sqlite3.Connection | None:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None and self.path.exists():
            try:
                # A request does not wait for a lock: serving answers with defaults, and says so.
                connection = sqlite3.connect(self._uri, uri=True, isolation_level=None, timeout=0.05)
            except sqlite3.Error as error:
                raise ServiceError(f"the online store {self.path} cannot be opened: {error}") from error
            self._local.connection = connection
        return connection

    def _forget(self) -> None:
        connection: Any = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
        self._local.connection = None

    def _writer(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=60)
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        return connection


def _key(key: tuple[str, ...]) -> str:
    return key[0] if len(key) == 1 else json.dumps(key)
