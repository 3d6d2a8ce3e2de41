"""What may be read to make features: the clean days that passed validation, and what they were made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from jobs.lake import Lake
from jobs.spec import Project
from jobs.storage import Published, current, verify


@dataclass(frozen=True, kw_only=True)
class CleanDay:
    """One event day of the clean zone."""

    verdict: bool | None
    """Whether what is there now passed validation; None while nothing has judged it."""
    tables: Mapping[str, Published]
    digests: Mapping[str, str]
    watermarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CleanDays:
    """The clean zone of a project, each day looked at once."""

    project: Project
    lake: Lake
    _seen: dict[date, CleanDay] = field(default_factory=dict)

    def __getitem__(self, day: date) -> CleanDay:
        if day not in self._seen:
            self._seen[day] = self._look(day)
        return self._seen[day]

    def passed(self, day: date) -> bool:
        """Whether the day may be read."""
        return self[day].verdict is True

    def files(self, days: Iterable[date]) -> dict[str, list[str]]:
        """The files of every table on the days that may be read; raises TamperedError for one that was altered since."""
        found: dict[str, list[str]] = {table: [] for table in self.project.tables}
        for day in sorted(days):
            for table, published in self[day].tables.items() if self.passed(day) else ():
                verify(published)
                found[table] += published.paths()
        return found

    def inputs(self, first: date, last: date) -> tuple[dict[str, str], str]:
        """The digest of every table and day from `first` to `last`, and the newest watermark among them.

        A day that is held out counts by that alone, so that letting it in changes the digests; its watermark
        counts too, because leaving it out is newer knowledge than what it held before.
        """
        digests: dict[str, str] = {}
        watermarks = [first.isoformat()]
        for day in days_between(first, last):
            found = self[day]
            watermarks += found.watermarks
            if found.verdict:
                digests |= {f"{table}/{day}": digest for table, digest in found.digests.items()}
            elif found.verdict is False:
                digests[f"held out/{day}"] = "validation failed"
        return digests, max(watermarks)

    def _look(self, day: date) -> CleanDay:
        name = self.project.name
        verdict = current(self.lake.validation(name, day))
        tables = {table: current(self.lake.clean(name, table, day)) for table in self.project.tables}
        found = {table: published for table, published in tables.items() if published}
        digests = {table: published.digest for table, published in found.items()}
        judged = verdict is not None and digests.items() <= dict(verdict.manifest.inputs).items()
        return CleanDay(
            verdict=bool(verdict.manifest.facts.get("passed")) if verdict and judged else None,
            tables=found,
            digests=digests,
            watermarks=tuple(published.manifest.watermark for published in found.values()),
        )


def days_between(first: date, last: date) -> list[date]:
    """The days from `first` to `last`, both included; none when it ends before it begins."""
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
