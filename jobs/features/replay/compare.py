"""Logged vectors beside what the lake says they should have been, and a cause for each input that is not the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs import mirror
from jobs.features import vectors
from jobs.features.dependencies import dependencies
from jobs.features.inputs import days_between
from jobs.features.replay import before, causes, evidence, known, truth
from jobs.features.replay.before import Before
from jobs.features.replay.causes import Evidence, Flags
from jobs.features.replay.log import Log, Logged, Trace
from jobs.features.replay.truth import Truth
from jobs.features.scored import with_scored
from jobs.lake import Lake
from jobs.release.bundle import contract_of
from jobs.spec import LiveView, Project
from jobs.storage import MANIFEST, current

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """Answers, a row each, beside the truth."""

    project: Project
    logged: Logged
    causes: NDArray[np.int8]
    """(rows, inputs): the index of each input's cause, or `causes.NONE` where it is identical."""
    undelivered: NDArray[np.bool_]
    """Which answers are about an event that the lake does not have."""
    differing: NDArray[np.int64]
    """The rows that were looked at closely, rising: every one that is not identical is among them."""
    trace: Trace
    """What those were read from."""
    truth: Truth
    """What the lake says of them."""

    def take(self, rows: NDArray[np.int64]) -> Replayed:
        """These rows."""
        mine = np.flatnonzero(np.isin(rows, self.differing))
        order = np.searchsorted(self.differing, rows[mine])
        return Replayed(
            project=self.project,
            logged=self.logged.take(rows),
            causes=self.causes[rows],
            undelivered=self.undelivered[rows],
            differing=mine,
            trace=self.trace.take(order),
            truth=self.truth.take(order),
        )


def replay(log: Log, lake: Lake, condition: str, scratch: Path, *, limit: int | None = None) -> Replayed | None:
    """The answers of a log for which a condition holds, computed once more and compared; None when there are none.

    Of more than `limit` a fixed sample is taken. What is identical is found from the views that the inputs change
    with; the others are computed a second time, from every view and with what each was computed from.
    """
    project, connection = log.project, log.connection
    logged = log.rows(condition, limit=limit)
    if not len(logged):
        return None
    first, last = _days(logged)
    published = vectors.event_files(project, lake, first, last)
    but = condition if limit is None or len(logged) < limit else "false"
    files = with_scored(connection, project, published, last, scratch, but=but)
    views = {view for pairs in dependencies(project).values() for view, _ in pairs}
    batch = vectors.view_files(project, lake, first, last)
    offline = truth.inputs(
        project,
        logged.asked,
        {view: paths for view, paths in batch.items() if view.name in views},
        {view: paths for view, paths in files.items() if view.name in views},
    )
    whole = logged.widths == offline.shape[1]
    differing = np.flatnonzero(~(causes.same_bits(logged.vectors, offline).all(axis=1) & whole))
    some = logged.take(differing)
    trace = log.trace(condition, some)
    if len(differing):
        files = with_scored(connection, project, published, last, scratch)
    found = truth.from_files(project, some.asked, batch, files)
    decided = np.full(offline.shape, causes.NONE, dtype=np.int8)
    for number, rows in enumerate(_by_publication(project, lake, some, first, last)):
        few, moment = some.take(rows), Before(project, lake, int(some.times("served_at")[rows].max()))
        then = _as_it_was(log, moment, few, first, last, scratch / f"before-{number}")
        decided[differing[rows]] = _Some(project, lake, few, trace.take(rows), found.take(rows), moment).attributed(
            connection, files, then
        )
    return Replayed(
        project=project,
        logged=logged,
        causes=decided,
        undelivered=_undelivered(connection, project, lake, logged, first, last),
        differing=differing,
        trace=trace,
        truth=found,
    )


def _by_publication(project: Project, lake: Lake, some: Logged, first: date, last: date) -> Iterator[NDArray[np.int64]]:
    """The rows in groups that were answered between the same two publications of what they were computed from."""
    served = some.times("served_at")
    published = [
        before.published_us(lake.features(project.name, mart, day))
        for mart, days in (
            *((view.events, vectors.event_days(view, first, last)) for view in project.live_views),
            *((view.name, vectors.view_days(view, first, last)) for view in project.views),
        )
        for day in days
    ]
    group = np.searchsorted(np.unique(np.array(published, dtype=np.int64)), served, "left")
    for one in np.unique(group):
        yield np.flatnonzero(group == one)


def _as_it_was(log: Log, moment: Before, some: Logged, first: date, last: date, scratch: Path) -> NDArray[np.float64]:
    """The inputs of some answers as the lake would have given them when the last of these was given."""
    project = log.project
    live = {view: moment.files(view, vectors.event_days(view, first, last)) for view in project.live_views}
    batch = {view: moment.files(view, vectors.view_days(view, first, last)) for view in project.views}
    scratch.mkdir(exist_ok=True)
    united = with_scored(log.connection, project, live, last, scratch)
    return truth.from_files(project, some.asked, batch, united).inputs


@dataclass(frozen=True)
class _Some:
    """The answers whose vectors are not identical."""

    project: Project
    lake: Lake
    logged: Logged
    trace: Trace
    truth: Truth
    before: Before

    def attributed(
        self,
        connection: duckdb.DuckDBPyConnection,
        files: Mapping[LiveView, Sequence[str]],
        then: NDArray[np.float64],
    ) -> NDArray[np.int8]:
        """The causes of their inputs."""
        project, logged, features = self.project, self.logged, list(dependencies(self.project).values())
        found: dict[str, Evidence] = {}
        for view in project.views:
            found[view.name] = evidence.of_batch_view(view, logged, self.trace, self.truth, self.before)
        for live in project.live_views:
            events = known.look(connection, project, self.lake, live, logged, files[live])
            found[live.name] = evidence.of_live_view(live, logged, self.trace, self.truth, self.before, events)
        counts = {
            (live.name, window.name) for live in project.live_views for window in live.windows if not window.column
        }
        other_code, other_views = self._other_code()
        for name, flags in other_views.items():
            found[name] = replace(found[name], other_definition=found[name].other_definition | flags)
        decided = causes.attribute(
            logged.vectors,
            self.truth.inputs,
            then,
            evidence=found,
            depends={index: frozenset(view for view, _ in pairs) for index, pairs in enumerate(features)},
            valued={index: frozenset(view for view, _ in pairs - counts) for index, pairs in enumerate(features)},
            other_code=other_code,
            traced=self.trace.traced,
        )
        decided[logged.widths != decided.shape[1]] = causes.DEFINITION
        return decided

    def _other_code(self) -> tuple[Flags, dict[str, Flags]]:
        """Which were answered by a release made for another transform or other inputs, and by view for another view."""
        now = contract_of(self.project)
        releases = self.logged.about.column("release").to_numpy()
        code, views = {}, {}
        for release in set(releases.tolist()):
            then = self._contract(release)
            code[release] = bool(then) and (then["request_transform"], then["inputs"]) != (
                now["request_transform"],
                self.project.models[-1].inputs,
            )
            views[release] = {name for name, view in now["views"].items() if then and then["views"].get(name) != view}
        rows = releases.tolist()
        return (
            np.array([code[release] for release in rows], dtype=np.bool_),
            {name: np.array([name in views[release] for release in rows], dtype=np.bool_) for name in now["views"]},
        )

    def _contract(self, release: str) -> dict[str, Any]:
        """What a release was made for, as its manifest says; empty when it cannot be read: evidence of nothing."""
        try:
            manifest = json.loads(mirror.read(self.lake.release(self.project.name, release) / MANIFEST) or b"")
            contract = manifest["contract"]
            return {
                "views": dict(contract["views"]),
                "request_transform": contract["request_transform"],
                "inputs": tuple(manifest["models"][-1]["inputs"]),
            }
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            return {}


def _days(logged: Logged) -> tuple[date, date]:
    import pyarrow.compute as pc

    times = pc.min_max(logged.asked.column("event_time")).as_py()
    return times["min"].date(), times["max"].date()


def _undelivered(
    connection: duckdb.DuckDBPyConnection, project: Project, lake: Lake, logged: Logged, first: date, last: date
) -> Flags:
    """Which answers are about an event that no published day of the spine holds."""
    import pyarrow as pa

    published = [current(lake.spine(project.name, day)) for day in days_between(first, last)]
    files = [path for one in published if one for path in one.paths()]
    absent = np.ones(len(logged), dtype=np.bool_)
    if files:
        rows = logged.about.select(["event_time", "event_id"])
        connection.register("answers", rows.append_column("row", pa.array(np.arange(len(logged)))))
        spine = f"read_parquet({files!r}, hive_partitioning = false)"
        query = f"SELECT row FROM answers SEMI JOIN {spine} AS spine USING (event_time, event_id)"  # noqa: S608
        absent[connection.execute(query).fetchnumpy()["row"]] = False
        connection.unregister("answers")
    return absent
