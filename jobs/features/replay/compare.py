"""Logged vectors beside what the lake says they should have been, and a cause for each input that is not the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.features import vectors
from jobs.features.dependencies import dependencies
from jobs.features.inputs import days_between
from jobs.features.replay import causes, evidence, known, truth
from jobs.features.replay.causes import Evidence, Flags
from jobs.features.replay.log import Log, Logged
from jobs.features.replay.truth import Truth
from jobs.lake import Lake
from jobs.release.bundle import contract_of
from jobs.spec import LiveView, Project
from jobs.storage import MANIFEST, current

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """Answers, a row each by event time, beside the truth."""

    project: Project
    logged: Logged
    truth: Truth
    causes: NDArray[np.int8]
    """(rows, inputs): the index of each input's cause, or `causes.NONE` where it is identical."""
    undelivered: NDArray[np.bool_]
    """Which answers are about an event that the lake does not have."""

    def take(self, rows: NDArray[np.int64]) -> Replayed:
        """These rows."""
        return Replayed(
            project=self.project,
            logged=self.logged.take(rows),
            truth=self.truth.take(rows),
            causes=self.causes[rows],
            undelivered=self.undelivered[rows],
        )


def replay(log: Log, lake: Lake, condition: str, scratch: Path, *, limit: int | None = None) -> Replayed | None:
    """The answers of a log for which a condition holds, computed once more and compared; None when there are none.

    Of more than `limit` a fixed sample is taken.
    """
    project, connection = log.project, log.connection
    logged = log.rows(condition, limit=limit)
    if not len(logged):
        return None
    first, last = _days(logged)
    published = vectors.event_files(project, lake, first, last)
    but = condition if limit is None or len(logged) < limit else "false"
    files = truth.with_scored(connection, project, published, last, scratch, but=but)
    found = truth.recompute(project, lake, logged.asked, files, first, last)
    whole = logged.widths == found.inputs.shape[1]
    differs = np.flatnonzero(~(causes.same_bits(logged.vectors, found.inputs).all(axis=1) & whole))
    decided = np.full(found.inputs.shape, causes.NONE, dtype=np.int8)
    if len(differs):
        files = truth.with_scored(connection, project, published, last, scratch)
        some = _Some(project, lake, logged.take(differs), found.take(differs))
        decided[differs] = some.attributed(connection, files)
    return Replayed(
        project=project,
        logged=logged,
        truth=found,
        causes=decided,
        undelivered=_undelivered(connection, project, lake, logged, first, last),
    )


@dataclass(frozen=True)
class _Some:
    """The answers whose vectors are not identical."""

    project: Project
    lake: Lake
    logged: Logged
    truth: Truth

    def attributed(
        self, connection: duckdb.DuckDBPyConnection, files: Mapping[LiveView, Sequence[str]]
    ) -> NDArray[np.int8]:
        """The causes of their inputs."""
        project, logged, features = self.project, self.logged, list(dependencies(self.project).values())
        found: dict[str, Evidence] = {}
        corrected: dict[int, Flags] = {}
        for view in project.views:
            found[view.name] = evidence.of_batch_view(project, self.lake, view, logged, self.truth)
        for live in project.live_views:
            replaced = evidence.published_since(project, self.lake, live, logged, again=True)
            events = known.look(connection, project, self.lake, live, logged, files[live], replaced)
            found[live.name] = evidence.of_live_view(live, logged, self.truth, events)
            for index, pairs in enumerate(features):
                rows = evidence.corrected(
                    project, self.lake, live, index, pairs, logged, self.truth, events, files[live]
                )
                corrected[index] = corrected.get(index, np.zeros(len(logged), dtype=np.bool_)) | rows
        other_code, other_views = self._other_code()
        for name, flags in other_views.items():
            found[name] = replace(found[name], other_definition=found[name].other_definition | flags)
        decided = causes.attribute(
            logged.vectors,
            self.truth.inputs,
            evidence=found,
            depends={index: frozenset(view for view, _ in pairs) for index, pairs in enumerate(features)},
            corrected=corrected,
            other_code=other_code,
            traced=logged.traced,
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
            manifest = json.loads((self.lake.release(self.project.name, release) / MANIFEST).read_bytes())
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
