"""From events to model inputs: a project's `features.request` fed from the offline or the online store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.features import point_in_time
from jobs.lake import Lake
from jobs.projects import hook
from jobs.spec import FeatureView, Project
from jobs.storage import current

if TYPE_CHECKING:
    import pyarrow as pa

_NOT_PAYLOAD = ("event_id", "label", "label_time")


def payload_names(project: Project, columns: list[str]) -> list[str]:
    """Which of a spine's columns the request carries: all but its id and label, and what the join added."""
    joined = tuple(f"{view.name}__" for view in project.views)
    return [name for name in columns if name not in _NOT_PAYLOAD and not name.startswith(joined)]


def payload(project: Project, events: pa.Table) -> dict[str, NDArray[Any]]:
    """The request columns of events as arrays: times as microseconds, ids as objects."""
    import pyarrow as pa

    arrays: dict[str, NDArray[Any]] = {}
    for name in payload_names(project, events.column_names):
        column = events.column(name)
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        arrays[name] = column.to_numpy()
    return arrays


def inputs(project: Project, joined: pa.Table) -> NDArray[np.float64]:
    """The model inputs of events that `point_in_time.join` gave their features."""
    features = {
        view.name: {name: joined.column(f"{view.name}__{name}").to_numpy() for name in (*view.features, "found")}
        for view in project.views
    }
    vectors: NDArray[np.float64] = hook(project, "features").request(payload(project, joined), features)
    return vectors


def offline(project: Project, lake: Lake, events: pa.Table) -> tuple[NDArray[np.float64], dict[str, NDArray[np.bool_]]]:
    """The model inputs of events (event_time, entity keys, request columns) and, by view, which were found.

    Values come from the published offline views, as they were visible at each event's time.
    """
    import pyarrow.compute as pc

    if not len(events):
        empty = np.zeros(0, dtype=np.bool_)
        return np.zeros((0, len(project.models[0].inputs))), {view.name: empty for view in project.views}
    times = pc.min_max(events.column("event_time")).as_py()
    sources = view_files(project, lake, times["min"].date(), times["max"].date())
    joined = point_in_time.join(events, sources)
    found = {view.name: joined.column(f"{view.name}__found").to_numpy() for view in project.views}
    return inputs(project, joined), found


def view_files(project: Project, lake: Lake, first: date, last: date) -> dict[FeatureView, list[str]]:
    """The files of every view that events of these days may see: from a ttl and a lag before them."""
    files: dict[FeatureView, list[str]] = {}
    for view in project.views:
        paths: list[str] = []
        for day in view_days(view, first, last):
            published = current(lake.features(project.name, view.name, day))
            paths += published.paths() if published else []
        files[view] = paths
    return files


def view_days(view: FeatureView, first: date, last: date) -> list[date]:
    """The batches whose values events from `first` to `last` may see."""
    reach = (view.ttl + view.lag).days + 2
    return [first + timedelta(days=offset) for offset in range(-reach, (last - first).days + 1)]


def online(
    project: Project, values: Mapping[str, NDArray[np.int64]], found: Mapping[str, NDArray[np.bool_]]
) -> dict[str, dict[str, NDArray[Any]]]:
    """What `features.request` takes, from the arrays that `OnlineStore.read` returned for every view."""
    return {
        view.name: {
            **{name: values[view.name][:, index] for index, name in enumerate(view.features)},
            "found": found[view.name],
        }
        for view in project.views
    }
