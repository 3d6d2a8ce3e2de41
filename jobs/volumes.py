"""Whether a day brought about as many rows as the days before it: told, and no reason to hold it back.

What must not be fed to a model at all is bounded by the table's expectations; a day may still be within them, and be
ten times the day before, because a producer sent everything twice under new ids, or only a part.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from functools import cache
from statistics import median

from jobs.lake import Lake
from jobs.spec import Project
from jobs.storage import current

DAYS, ENOUGH = 7, 3
"""Days before a day that say what is usual, and how many of them there must be."""
LEAST, MOST = 0.2, 5.0
"""Times the median of those days, outside of which a day is told."""


def unusual(project: Project, lake: Lake, days: Iterable[date]) -> dict[str, list[str]]:
    """A sentence for each table with too many or too few rows, by day; days without either are left out."""

    @cache
    def rows(table: str, day: date) -> int | None:
        found = current(lake.clean(project.name, table, day))
        return found.manifest.rows if found else None

    told: dict[str, list[str]] = {}
    for day in days:
        for table in project.tables:
            before = [rows(table, day - timedelta(days=back)) for back in range(1, DAYS + 1)]
            known, mine = [one for one in before if one], rows(table, day)
            if mine is None or len(known) < ENOUGH or LEAST <= mine / median(known) <= MOST:
                continue
            usual = median(known)
            told.setdefault(day.isoformat(), []).append(
                f"{table} has {mine:,} rows, {mine / usual:.2g} times the {usual:,.0f} of the days before"
            )
    return told
