"""An online store in one SQLite file a project: every value in one table, read and written by name."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path

from jobs.errors import ServiceError
from jobs.features.online.backend import Change
from jobs.features.online.packing import HEADER, MARK, TIME

_REQUEST_SECONDS, _PATIENT_SECONDS = 0.05, 60.0
_AT_ONCE, _NAMES = 500, 4_096
_PAUSE = 0.001
"""Seconds between two bulk transactions, in which a request that waits gets its turn."""
_CHECKPOINT = 16_000
"""After how many changes the log is copied into the file."""
_RESTART_SECONDS = 2.0
"""How long a moment is looked for in which nobody writes and nobody reads from the log."""
_FORMAT = 1
_TABLE = "create table online (name text primary key, value blob not null)"
_PUT = f"""
insert into online values (?, ?) on conflict (name) do update set value = excluded.value
where substr(excluded.value, 1, {TIME}) >= substr(value, 1, {TIME})
   or substr(excluded.value, {TIME + 1}, {HEADER - TIME}) <> substr(value, {TIME + 1}, {HEADER - TIME})
"""  # noqa: S608
_ADD = "insert into online values (?, ?) on conflict (name) do nothing"
_SWAP = f"update online set value = ? where name = ? and substr(value, 1, {MARK}) = ?"  # noqa: S608
_SWEEP = f"""
delete from online where rowid in (
    select rowid from online
    where name >= ? and name < ? and substr(value, {TIME + 1}, {HEADER - TIME}) <> ? limit {_AT_ONCE}
)
"""  # noqa: S608


class SQLite:
    """A connection a thread, which follows the file when it is replaced or removed."""

    def __init__(self, folder: str, project: str) -> None:
        self.label = str(Path(folder) / f"{project}.sqlite")
        self._uri = Path(self.label).absolute().as_uri()
        self._local = threading.local()
        self._changes, self._copying = 0, threading.Lock()

    def ensure(self) -> None:
        try:
            Path(self.label).parent.mkdir(parents=True, exist_ok=True)
            connection = self._connection("rwc")
            if connection is None or _format(connection) == _FORMAT:
                return
            _execute(connection, "pragma journal_mode = wal", _PATIENT_SECONDS)
            _execute(connection, "begin immediate", _PATIENT_SECONDS)
            if _format(connection) != _FORMAT:
                # What an earlier form of the store left is dropped: `tidemill features` fills it again.
                for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
                    connection.execute(f'drop table "{table}"')
                connection.execute(_TABLE)
                connection.execute(f"pragma user_version = {_FORMAT}")
            connection.execute("commit")
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error

    def get(self, names: Sequence[str], *, patient: bool) -> dict[str, bytes]:
        try:
            connection = self._connection()
            if connection is None:
                return {}
            found: dict[str, bytes] = {}
            for start in range(0, len(names), _NAMES):
                asked = list(names[start : start + _NAMES])
                places = 1 << (len(asked) - 1).bit_length()  # few statements, which stay prepared
                asked += asked[:1] * (places - len(asked))
                seconds = _PATIENT_SECONDS if patient else _REQUEST_SECONDS
                found.update(_execute(connection, _select(places), seconds, asked).fetchall())
            return found
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error

    def put(self, rows: Iterable[tuple[str, bytes]]) -> int:
        written, rows = 0, iter(rows)
        while some := list(islice(rows, _AT_ONCE)):
            with self._transaction() as connection:
                before = connection.total_changes
                connection.executemany(_PUT, some)
                written += connection.total_changes - before
            self._changed(len(some), patient=True)
        return written

    def swap(self, changes: Sequence[Change], *, patient: bool) -> list[bool]:
        done: list[bool] = []
        for start in range(0, len(changes), _AT_ONCE):
            some = changes[start : start + _AT_ONCE]
            with self._transaction(_PATIENT_SECONDS if patient else _REQUEST_SECONDS) as connection:
                for name, before, after in some:
                    if before is None:
                        cursor = connection.execute(_ADD, (name, after))
                    else:
                        cursor = connection.execute(_SWAP, (after, name, before))
                    done.append(cursor.rowcount == 1)
            self._changed(len(some), patient)
        return done

    def sweep(self, prefix: str, layout: bytes) -> None:
        removed = 1
        while removed:
            with self._transaction() as connection:
                removed = connection.execute(_SWEEP, (prefix, f"{prefix[:-1]};", layout)).rowcount
            self._changed(removed, patient=True)

    def close(self) -> None:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        self._local.connection, self._local.file = None, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _transaction(self, seconds: float = _PATIENT_SECONDS) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._connection()
            if connection is None:
                raise ServiceError(f"the online store {self.label} is not there; `tidemill features` writes it")
            _execute(connection, "begin immediate", seconds)
            try:
                yield connection
                connection.execute("commit")
            finally:
                if connection.in_transaction:
                    connection.execute("rollback")
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error

    def _connection(self, mode: str = "rw") -> sqlite3.Connection | None:
        """This thread's connection to the file that is there now, or None: an open one would read a removed file on."""
        local = self._local
        connection: sqlite3.Connection | None = getattr(local, "connection", None)
        try:
            status = os.stat(self.label)  # noqa: PTH116 twice as fast, and done for every request
            if connection is not None and local.file == (status.st_ino, status.st_dev):
                return connection
        except FileNotFoundError:
            if mode == "rw":
                self.close()
                return None
        self.close()
        connection = sqlite3.connect(f"{self._uri}?mode={mode}", uri=True, isolation_level=None, timeout=0)
        # The log is copied into the file when `_changed` says so: waiting for the disk is not for a request.
        for pragma in ("synchronous = normal", "wal_autocheckpoint = 0", "cache_size = -32000"):
            _execute(connection, f"pragma {pragma}", _PATIENT_SECONDS if mode == "rwc" else _REQUEST_SECONDS)
        status = os.stat(self.label)  # noqa: PTH116
        local.connection, local.file = connection, (status.st_ino, status.st_dev)
        return connection

    def _failed(self, error: Exception) -> ServiceError:
        if not _is_busy(error):
            self.close()
        hint = "`tidemill features` fills it" if "no such table" in str(error) else "see `tidemill doctor`"
        return ServiceError(f"the online store {self.label} does not answer: {error}; {hint}")

    def _changed(self, changes: int, patient: bool) -> None:
        """Copies the write-ahead log into the file now and then: a bulk write itself, a request in another thread."""
        if patient:
            time.sleep(_PAUSE)
        self._changes += changes
        if self._changes < _CHECKPOINT or not self._copying.acquire(blocking=False):
            return
        self._changes = 0
        if patient:
            self._copy()
        else:
            threading.Thread(target=self._copy, daemon=True).start()

    def _copy(self) -> None:
        """Copies what is there, what came meanwhile, and the last while writers wait, so that the log begins anew.

        It does so only where all of it was copied, which never happens while somebody writes on: the log would grow
        until the disk is full. Writers wait for milliseconds, since only what two copies left is still to be done.
        """
        try:
            connection = sqlite3.connect(f"{self._uri}?mode=rw", uri=True, isolation_level=None, timeout=0)
            try:
                for _ in range(2):
                    connection.execute("pragma wal_checkpoint(passive)").fetchall()
                deadline = time.monotonic() + _RESTART_SECONDS
                while connection.execute("pragma wal_checkpoint(restart)").fetchone()[0]:
                    if time.monotonic() >= deadline:
                        break
                    time.sleep(_PAUSE / 5)
            finally:
                connection.close()
        except sqlite3.Error:
            pass  # whoever reads next meets the same error and says so
        finally:
            self._copying.release()


def _format(connection: sqlite3.Connection) -> int:
    """The file's format, waited for: whoever makes the file at this moment holds it for itself alone."""
    number: int = _execute(connection, "pragma user_version", _PATIENT_SECONDS).fetchone()[0]
    return number


@cache
def _select(places: int) -> str:
    return f"select name, value from online where name in ({'?' + ',?' * (places - 1)})"  # noqa: S608


def _execute(
    connection: sqlite3.Connection, statement: str, seconds: float, values: Sequence[str] = ()
) -> sqlite3.Cursor:
    """Executes it, again and again while the database is locked: SQLite's own waiting sleeps through short gaps."""
    try:
        return connection.execute(statement, values)
    except sqlite3.OperationalError as error:
        if not _is_busy(error):
            raise
    deadline = time.monotonic() + seconds
    while True:
        time.sleep(_PAUSE / 5)
        try:
            return connection.execute(statement, values)
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() >= deadline:
                raise


def _is_busy(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
