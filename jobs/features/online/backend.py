"""What the online store asks of a database: a few operations on bytes by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit

from jobs.errors import SettingError

ACCEPTED = (
    "sqlite:///FOLDER, redis://HOST:PORT/DB (rediss:// with TLS, unix://SOCKET) "
    "or dynamodb://TABLE?region=REGION&endpoint=URL"
)


class Change(NamedTuple):
    """A value to be put in the place of another."""

    name: str
    before: bytes | None
    """The first 24 bytes of the value it replaces; None where there is none yet."""
    after: bytes


class Backend(Protocol):
    """A database of named bytes. Every method raises ServiceError when the database does not do its work.

    A request is not `patient`: it waits for tens of milliseconds, not for seconds.
    """

    label: str
    """What a message calls it, without a password."""

    def ensure(self) -> None:
        """Makes the file or table if there is none."""

    def get(self, names: Sequence[str], *, patient: bool) -> dict[str, bytes]:
        """The values of those names that have one, in one round trip of up to 100 names."""

    def put(self, rows: Iterable[tuple[str, bytes]]) -> int:
        """How many values were written: those not older, by their first 8 bytes, than one of the same layout."""

    def swap(self, changes: Sequence[Change], *, patient: bool) -> list[bool]:
        """Which changes were made: those whose value was still the one to be replaced."""

    def sweep(self, prefix: str, layout: bytes) -> None:
        """Removes the values whose name begins with `prefix`, which ends in a colon, and whose layout is another."""

    def close(self) -> None:
        """Closes this thread's connection, or those that no thread uses; the next call opens another."""


def open_backend(url: str, project: str) -> Backend:
    """The backend that TIDEMILL_ONLINE_STORE_URL names, not connected yet; raises SettingError for another URL."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        from jobs.features.online.sqlite import SQLite

        return SQLite(rest[1:], project)
    if scheme in {"redis", "rediss", "unix"} and rest:
        from jobs.features.online.redis import Redis

        return Redis(url, project)
    if scheme == "dynamodb":
        from jobs.features.online.dynamodb import DynamoDB

        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        if parts.netloc and not parts.path.strip("/") and options.keys() <= {"region", "endpoint"}:
            return DynamoDB(parts.netloc, project, **options)
    raise SettingError(f"TIDEMILL_ONLINE_STORE_URL is {_masked(url)!r}; it must be {ACCEPTED}")


def _masked(url: str) -> str:
    before, at, after = url.rpartition("@")
    return f"{before.split('://')[0]}://…@{after}" if at else url
