"""From events to model inputs: a project's `features.request` fed from the offline or the online store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.features import point_in_time
from jobs.features.live.offline import windows
from jobs.lake import Lake
from jobs.projects import hook
from jobs.spec import FeatureView, LiveView, Model, Project
from jobs.storage import current

if TYPE_CHECKING:
    import pyarrow as pa


def payload_names(project: Project, columns: list[str]) -> list[str]:
    """Which of a spine's columns the request carries: the event's time, and what the project's first source requires."""
    carried = {column.name for column in project.sources[0].columns if not column.nullable} | {"event_time"}
    return [name for name in columns if name in carried]


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


def inputs(project: Project, joined: pa.Table, model: Model | None = None) -> NDArray[np.float64]:
    """The model inputs, (events, inputs), of events that `join` gave their features: of the last model by default."""
    features = {
        view.name: {name: joined.column(f"{view.name}__{name}").to_numpy() for name in (*view.features, "found")}
        for view in project.every_view
    }
    vectors: NDArray[np.float64] = transform(project, model)(payload(project, joined), features)
    return vectors


def transform(project: Project, model: Model | None = None) -> Callable[..., NDArray[np.float64]]:
    """What makes a model's inputs: `features.request` those of the last, which answers; of another the function of its name."""
    name = "request" if model is None or model.name == project.models[-1].name else model.name
    found: Callable[..., NDArray[np.float64]] = getattr(hook(project, "features"), name)
    return found


def rule(project: Project) -> Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]:
    """The project's plain rule, which says of rows by their payload whether it holds each back; without one, of none."""
    found = getattr(hook(project, "features"), "rule", None)
    return found or (lambda payload: np.zeros(len(next(iter(payload.values()))), dtype=np.bool_))


def offline(project: Project, lake: Lake, events: pa.Table) -> tuple[NDArray[np.float64], dict[str, NDArray[np.bool_]]]:
    """The model inputs of events (event_id, event_time, entity keys, request columns) and, by view, which were found.

    Batch values are as they were visible at each event's time; windows hold what is published and, of these events,
    those that are not.
    """
    import pyarrow.compute as pc

    if not len(events):
        empty = np.zeros(0, dtype=np.bool_)
        return np.zeros((0, len(project.models[-1].inputs))), {view.name: empty for view in project.every_view}
    times = pc.min_max(events.column("event_time")).as_py()
    first, last = times["min"].date(), times["max"].date()
    batch, live = view_files(project, lake, first, last), event_files(project, lake, first, last)
    joined = join(project, events, batch, live)
    found = {view.name: joined.column(f"{view.name}__found").to_numpy() for view in project.every_view}
    return inputs(project, joined), found


def join(
    project: Project,
    events: pa.Table,
    batch: Mapping[FeatureView, Sequence[str]],
    live: Mapping[LiveView, Sequence[str]],
    *,
    provenance: bool = False,
) -> pa.Table:
    """The events in their order, with `<view>__<feature>` and `<view>__found` of every view, from these files.

    With provenance also `<view>__available_at` of batch views, and `<view>__events` and `<view>__checksum` of live ones.
    """
    asked = events.select(["event_id", *payload_names(project, events.column_names)])
    answered = windows(project.live_views, asked, live, provenance=provenance)
    for name in answered.column_names[len(asked.column_names) :]:
        events = events.append_column(name, answered.column(name))
    return point_in_time.join(events, batch, provenance=provenance)


def view_files(project: Project, lake: Lake, first: date, last: date) -> dict[FeatureView, list[str]]:
    """The files of every batch view that events of these days may see: from a ttl and a lag before them."""
    return {view: _paths(project, lake, view.name, view_days(view, first, last)) for view in project.views}


def event_files(project: Project, lake: Lake, first: date, last: date) -> dict[LiveView, list[str]]:
    """The files of the event days that windows of events of these days reach, by live view."""
    return {view: _paths(project, lake, view.events, event_days(view, first, last)) for view in project.live_views}


def view_days(view: FeatureView, first: date, last: date) -> list[date]:
    """The batches whose values events from `first` to `last` may see."""
    return _days(first - timedelta(days=(view.ttl + view.lag).days + 2), last)


def event_days(view: LiveView, first: date, last: date) -> list[date]:
    """The days whose events are in a window of an event from `first` to `last`."""
    return _days(first + (-view.reach) // timedelta(days=1) * timedelta(days=1), last)


def online(
    project: Project, values: Mapping[str, NDArray[np.int64]], found: Mapping[str, NDArray[np.bool_]]
) -> dict[str, dict[str, NDArray[Any]]]:
    """What `features.request` takes, from the arrays that the online store returned for every view."""
    return {
        view.name: {
            **{name: values[view.name][:, index] for index, name in enumerate(view.features)},
            "found": found[view.name],
        }
        for view in project.every_view
    }


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def _paths(project: Project, lake: Lake, mart: str, days: Sequence[date]) -> list[str]:
    published = (current(lake.features(project.name, mart, day)) for day in days)
    return [path for version in published if version for path in version.paths()]
