"""What a day's replay reads: the answers about its events, the earlier ones in reach, and every view they depend on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from jobs.batch import day_end, day_start
from jobs.features import vectors
from jobs.features.replay.compare import Replayed, replay
from jobs.features.replay.log import Log, text
from jobs.lake import Lake
from jobs.monitoring.labels import days
from jobs.spec import PREDICTIONS, Project
from jobs.storage import Published, current

TOGETHER, TOGETHER_DAYS = 1_500_000, 31
"""How many answers, and of how many days, are recomputed at a time: a range costs little more than one day of it."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The partitions that a day's replay is computed from."""

    answers: tuple[Published, ...]
    """Deliveries that hold answers about events of the day."""
    others: tuple[Published, ...]
    """Earlier answers, and the events and values of the views."""

    @property
    def rows(self) -> int:
        return sum(one.manifest.rows for one in self.answers)

    @property
    def digests(self) -> dict[str, str]:
        """What the result depends on, by names a person recognises."""
        every = (*self.answers, *self.others)
        return {f"{one.partition.parent.name}/{one.partition.name}": one.digest for one in every}

    @property
    def watermark(self) -> str:
        """The newest batch among them."""
        return max(one.partition.name.removeprefix("batch=") for one in (*self.answers, *self.others))


@dataclass
class Replays:
    """Replays of a project's days, each partition looked at once and neighbouring days computed together."""

    project: Project
    lake: Lake
    wanted: Sequence[date] = ()
    """The days that will be asked for, in order: while one is computed, those that follow are too."""
    release: str | None = None
    """Only what this release answered; None is every release."""
    _seen: dict[Path, Published | None] = field(default_factory=dict)
    _done: dict[date, Replayed | None] = field(default_factory=dict)

    def inputs(self, day: date) -> Inputs | None:
        """What a day's replay reads, or None when nothing was answered about its events."""
        answers = self._answers(day)
        if not answers:
            return None
        project, others = self.project, list[Path]()
        for live in project.live_views:
            others += [self.lake.features(project.name, live.events, one) for one in vectors.event_days(live, day, day)]
        for view in project.views:
            others += [self.lake.features(project.name, view.name, one) for one in vectors.view_days(view, day, day)]
        others.append(self.lake.spine(project.name, day))
        earlier = [one for before in self._reach(day) for one in self._answers(before)]
        return Inputs(answers=answers, others=(*earlier, *self._published(dict.fromkeys(others))))

    def of(self, day: date, scratch: Path) -> Replayed | None:
        """A day's answers, replayed; None when there are none."""
        if day not in self._done:
            self._compute(list(self._following(day)), scratch)
        return self._done.pop(day)

    def _following(self, day: date) -> Iterable[date]:
        """The day and the wanted ones after it, as many as are recomputed at a time."""
        total = 0
        for one in [day, *(later for later in self.wanted if later > day)]:
            total += sum(delivery.manifest.rows for delivery in self._answers(one))
            if one > day and (total > TOGETHER or (one - day).days >= TOGETHER_DAYS):
                return
            yield one

    def _compute(self, some: Sequence[date], scratch: Path) -> None:
        import duckdb

        first, last = some[0], some[-1]
        spans = " OR ".join(
            f"(event_time >= TIMESTAMPTZ '{day_start(one)}' AND event_time < TIMESTAMPTZ '{day_end(one)}')"
            for one in some
        )
        only = f" AND release = {text(self.release)}" if self.release else ""
        files = [
            path
            for one in (*self._reach(first), *days(first, last))
            for part in self._answers(one)
            for path in part.paths()
        ]
        with duckdb.connect() as connection:
            log = Log(connection, self.project, list(dict.fromkeys(files)))
            found = replay(log, self.lake, f"({spans}){only}", scratch)
        self._done |= dict.fromkeys(some)
        if found is not None:
            of = found.logged.times("event_time") // 86_400_000_000
            for one in some:
                rows = np.flatnonzero(of == (one - date(1970, 1, 1)).days)
                if len(rows):
                    self._done[one] = found if len(rows) == len(of) else found.take(rows)

    def _reach(self, day: date) -> list[date]:
        """The days before whose events are in a live window of an event of the day."""
        first = min((vectors.event_days(view, day, day)[0] for view in self.project.live_views), default=day)
        return list(days(first, day - timedelta(days=1)))

    def _answers(self, day: date) -> tuple[Published, ...]:
        """The deliveries that hold answers about events of a day."""
        late = days(day, day + timedelta(days=PREDICTIONS.lateness_days))
        found = self._published(self.lake.raw(self.project.name, PREDICTIONS.name, one) for one in late)
        return tuple(one for one in found if str(day) in one.manifest.facts.get("event_days", {str(day): 1}))

    def _published(self, partitions: Iterable[Path]) -> list[Published]:
        found = []
        for partition in partitions:
            if partition not in self._seen:
                self._seen[partition] = current(partition)
            one = self._seen[partition]
            if one is not None:
                found.append(one)
        return found
