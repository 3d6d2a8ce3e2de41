"""A batch is a UTC day, named explicitly; a range is two of them, both included."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from jobs.errors import UsageError

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+\-]{0,199}\Z")
_EARLIEST, _LATEST = date(1970, 1, 2), date(2199, 12, 31)


@dataclass(frozen=True)
class Batches:
    """The UTC days from `first` to `last`, both included.

    >>> [str(day) for day in Batches.parse("2026-01-30..2026-02-01")]
    ['2026-01-30', '2026-01-31', '2026-02-01']
    >>> str(Batches.parse("2026-01-30"))
    '2026-01-30'
    """

    first: date
    last: date

    @classmethod
    def parse(cls, text: str) -> Batches:
        """The batches that `DAY` or `FROM..TO` names; raises UsageError for anything else."""
        first, dots, last = text.partition("..")
        batches = cls(parse_day(first), parse_day(last) if dots else parse_day(first))
        if batches.first > batches.last:
            raise UsageError(f"batch {text!r} ends before it begins; write FROM..TO with the earlier day first")
        return batches

    def __iter__(self) -> Iterator[date]:
        for offset in range(len(self)):
            yield self.first + timedelta(days=offset)

    def __len__(self) -> int:
        return (self.last - self.first).days + 1

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}..{self.last}"


def parse_day(text: str) -> date:
    """The day that an ISO date names, between 1970 and 2199; raises UsageError for anything else."""
    if _DAY.match(text):
        try:
            day = date.fromisoformat(text)
        except ValueError:
            pass
        else:
            if _EARLIEST <= day <= _LATEST:
                return day
    raise UsageError(
        f"batch {text[:80]!r} is not a UTC day such as 2026-11-20, or a range such as 2026-11-01..2026-11-20"
    )


def parse_run(text: str) -> str:
    """The run id, unchanged; raises UsageError unless it is 1 to 200 letters, digits and `_.:+-`."""
    if not _RUN.match(text):
        raise UsageError(
            f"run {text[:80]!r} is not a run id: letters, digits and _.:+- only, starting with a letter or digit"
        )
    return text


def day_start(day: date) -> datetime:
    """Midnight UTC at which the day begins."""
    return datetime.combine(day, time(), tzinfo=UTC)


def day_end(day: date) -> datetime:
    """Midnight UTC at which the day ends, which is the start of the next."""
    return day_start(day + timedelta(days=1))
