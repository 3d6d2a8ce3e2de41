"""From published labels and features to a training frame: what snapshots and backtests learn from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import mirror
from jobs.batch import Batches, parse_day
from jobs.errors import MissingBatchError
from jobs.features import leaks, vectors
from jobs.features.labels import matured
from jobs.features.offline import event_marts
from jobs.lake import Lake
from jobs.spec import FeatureView, LiveView, Model, Project
from jobs.storage import Published, current
from jobs.training.splits import plan

if TYPE_CHECKING:
    import pyarrow as pa


SLICE_ROWS = 2_000_000
"""How many rows are joined at a time: each takes most of a kilobyte until its inputs are made."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The published partitions that the frames of some days are read from."""

    project: Project
    days: Batches
    spine: Mapping[date, Published]
    """Those of the days that are published."""
    views: Mapping[FeatureView, Mapping[date, Published]]
    events: Mapping[LiveView, Mapping[date, Published]]
    """Those that the windows of the days' events reach."""

    @staticmethod
    def of(project: Project, lake: Lake, days: Batches) -> Sources:
        """What is published now of the events of these days, and of every batch whose values they may see."""
        known = published_days(lake.spine(project.name, days.first).parent)

        def published(mart: str, seen: Sequence[date]) -> dict[date, Published]:
            found = {day: current(lake.features(project.name, mart, day)) for day in seen}
            return {day: version for day, version in found.items() if version}

        return Sources(
            project=project,
            days=days,
            spine={day: known[day] for day in days if day in known},
            views={v: published(v.name, vectors.view_days(v, days.first, days.last)) for v in project.views},
            events={v: published(v.events, vectors.event_days(v, days.first, days.last)) for v in project.live_views},
        )

    @property
    def digests(self) -> dict[str, str]:
        """The digest of every partition."""
        read = {f"spine/{day}": version.digest for day, version in self.spine.items()}
        for view, versions in self.views.items():
            read |= {f"{view.name}/{day}": version.digest for day, version in versions.items()}
        for live, versions in self.events.items():
            read |= {f"{live.events}/{day}": version.digest for day, version in versions.items()}
        return read

    def frame(self, model: Model, as_of: date) -> pa.Table:
        """A row for every event whose label was known by the end of a day: id, request columns, label, model inputs.

        Ordered by (event time, event id). Raises DataRejected for values visible before they can have been known.
        """
        import pyarrow as pa

        return pa.concat_tables(self.frames(model, as_of)).combine_chunks()

    def frames(self, model: Model, as_of: date) -> Iterator[pa.Table]:
        """The frame in pieces: whole days, in order, about `SLICE_ROWS` rows at a time."""
        leaks.check_views(self.project, {view: _paths(versions) for view, versions in self.views.items()})
        for days in self._slices():
            yield self._frame(model, as_of, days)

    def _slices(self) -> list[Batches]:
        slices: list[Batches] = []
        rows = 0
        for day, version in sorted(self.spine.items()):
            if slices and rows + version.manifest.rows <= SLICE_ROWS:
                slices[-1] = Batches(slices[-1].first, day)
            else:
                slices.append(Batches(day, day))
                rows = 0
            rows += version.manifest.rows
        return slices

    def _frame(self, model: Model, as_of: date, days: Batches) -> pa.Table:
        import pyarrow as pa

        events = matured(_paths(_of(self.spine, days)), by=as_of)
        if self.project.label.sparse:
            events = events.filter(events.column("label").is_valid())
        events = events.sort_by([("event_time", "ascending"), ("event_id", "ascending")])
        first, last = days.first, days.last
        batch = {v: _paths(_of(versions, vectors.view_days(v, first, last))) for v, versions in self.views.items()}
        live = {v: _paths(_of(versions, vectors.event_days(v, first, last))) for v, versions in self.events.items()}
        matrix = vectors.inputs(self.project, vectors.join(self.project, events, batch, live), model)
        shown = [model.place] if model.place else []
        frame = events.select(["event_id", *vectors.payload_names(self.project, events.column_names), *shown, "label"])
        for index, name in enumerate(model.inputs):
            frame = frame.append_column(name, pa.array(matrix[:, index]))
        return frame.replace_schema_metadata(None).combine_chunks()


def newest_batch(project: Project, lake: Lake) -> date:
    """The newest batch of which every view and mart is published; raises MissingBatchError when there is none."""
    folders = [lake.features(project.name, mart, project.start).parent for mart in marts(project)]
    common = set.intersection(*(set(published_days(folder)) for folder in folders))
    if not common:
        raise MissingBatchError(
            f"no batch of {project.name} has all its features; run `tidemill features --project {project.name}` first"
        )
    return max(common)


def marts(project: Project) -> list[str]:
    """What has to be published of a batch before a training can be as of it."""
    return [*(view.name for view in project.views), *event_marts(project)]


def learned_from(project: Project, lake: Lake, as_of: date) -> dict[str, str]:
    """The digests of all that a training as of a day would learn from and be judged on now: declaration and partitions.

    Raises DataRejected when there are too few labelled days.
    """
    known = published_days(lake.spine(project.name, as_of).parent, as_of)
    digests = {"spec": project.digest}
    for model in project.models:
        planned = plan(model.split, project.label.delay_days, as_of, known.keys())
        digests |= Sources.of(project, lake, planned.days).digests
    return digests


def _of(versions: Mapping[date, Published], days: Iterable[date]) -> dict[date, Published]:
    wanted = set(days)
    return {day: version for day, version in versions.items() if day in wanted}


def _paths(versions: Mapping[date, Published]) -> list[str]:
    return [path for version in versions.values() for path in version.paths()]


def published_days(folder: Path, last: date = date.max) -> dict[date, Published]:
    """The published partitions of a folder by their day, up to a last one."""
    found = {}
    for path in mirror.partitions(folder):
        day = parse_day(path.name.removeprefix("batch="))
        published = current(path) if day <= last else None
        if published:
            found[day] = published
    return found
